//! Why connecting failed: every attempt with its own reason. What a resolver says is its own failure and not wrapped here.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_reactor::io::Address;

/// Why no connection was made. The [`Failure`](ropewalk_reactor::Failure) of [`connect`](crate::connect) wraps it.
///
/// ```
/// use ropewalk_net::{ConnectError, Protocol, Transport, connect};
/// use ropewalk_reactor::Simulation;
/// # struct Printer;
/// # impl Protocol for Printer { fn data_received(&mut self, _: &Transport, _: &[u8]) {} }
///
/// let simulation = Simulation::new(1);
/// let reactor = simulation.reactor().clone();
/// let task = simulation.reactor().spawn(async move {
///     let endpoint = "tcp:localhost:9".parse().expect("it is well written");
///     let failure = connect(&reactor, &endpoint, || Printer).await.map(drop).expect_err("nobody listens");
///     let error = failure.check::<ConnectError>().expect("it is no name's fault");
///     assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
///     let tried: Vec<String> = error.attempts().iter().map(|attempt| attempt.address.to_string()).collect();
///     assert_eq!(tried, ["[::1]:9", "127.0.0.1:9"]);
/// });
/// simulation.advance(std::time::Duration::from_secs(1));
/// # let passed = std::rc::Rc::new(std::cell::Cell::new(false));
/// # let tell = passed.clone();
/// # simulation.reactor().spawn(async move { tell.set(task.await.is_ok()) });
/// # simulation.advance(std::time::Duration::from_secs(1));
/// # assert!(passed.get());
/// ```
#[derive(Clone, Debug)]
pub struct ConnectError {
    target: String,
    why: Why,
    attempts: Vec<FailedAttempt>,
    /// Addresses there was no time for.
    untried: usize,
}

/// One address that was tried in vain.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// Where.
    pub address: Address,
    /// Why; of the kind `TimedOut` if there was no answer until the end.
    pub error: Arc<io::Error>,
}

#[derive(Clone, Debug)]
enum Why {
    /// The program asked for what cannot be.
    Misuse(&'static str),
    TimedOut(Duration),
    AllFailed,
}

impl ConnectError {
    pub(super) fn misuse(target: &str, why: &'static str) -> ConnectError {
        ConnectError { target: target.to_owned(), why: Why::Misuse(why), attempts: Vec::new(), untried: 0 }
    }

    pub(super) fn timed_out(
        target: &str,
        limit: Duration,
        attempts: Vec<FailedAttempt>,
        untried: usize,
    ) -> ConnectError {
        ConnectError { target: target.to_owned(), why: Why::TimedOut(limit), attempts, untried }
    }

    pub(super) fn all_failed(target: &str, attempts: Vec<FailedAttempt>) -> ConnectError {
        ConnectError { target: target.to_owned(), why: Why::AllFailed, attempts, untried: 0 }
    }

    /// What it comes down to: `InvalidInput` for what cannot be, `TimedOut` if the endpoint's time was over, else the kind of
    /// the last attempt's error.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match (&self.why, self.attempts.last()) {
            (Why::Misuse(_), _) => io::ErrorKind::InvalidInput,
            (Why::AllFailed, Some(last)) => last.error.kind(),
            (Why::AllFailed, None) => io::ErrorKind::NotFound,
            (Why::TimedOut(_), _) => io::ErrorKind::TimedOut,
        }
    }

    /// Every attempt, in the order of their ends. Empty if it did not come to that.
    #[must_use]
    pub fn attempts(&self) -> &[FailedAttempt] {
        &self.attempts
    }
}

/// One line: where, and what each attempt came to.
impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConnectError { target, why, attempts, untried } = self;
        match (why, attempts.as_slice()) {
            (Why::Misuse(why), _) => return write!(f, "{target}: {why}"),
            (Why::TimedOut(limit), []) => write!(f, "{target}: timed out after {limit:?}")?,
            (Why::AllFailed, []) => write!(f, "{target}: nothing to try")?,
            (_, [only]) => write!(f, "{only}")?,
            (_, all) => {
                write!(f, "{target}: ")?;
                for (index, attempt) in all.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "; " };
                    write!(f, "{separator}{attempt}")?;
                }
            }
        }
        if *untried > 0 { write!(f, " (and {untried} more not tried)") } else { Ok(()) }
    }
}

impl fmt::Display for FailedAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Unix(Some(path)) => write!(f, "{}: {}", path.display(), self.error),
            address => write!(f, "{address}: {}", self.error),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.attempts.last().map(|attempt| &*attempt.error as &(dyn Error + 'static))
    }
}
