//! The outcomes of deferreds, looked at without waiting: what should be there, or the test fails and says what was there instead.

use std::fmt::Debug;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use ropewalk_reactor::{Deferred, Failure, Outcome};

/// The value of a deferred that has succeeded. The links of a chain run on the loop: let it run first
/// ([`Bench::settle`](super::Bench::settle), [`Bench::advance`](super::Bench::advance)).
///
/// ```
/// use ropewalk_net::testing::{Bench, success_of};
/// use ropewalk_reactor::deferred;
/// let bench = Bench::new();
/// let doubled = deferred::succeed(bench.reactor(), 21).add_callback(|half| half * 2);
/// bench.settle();
/// assert_eq!(success_of(doubled), 42);
/// ```
///
/// # Panics
/// When it has failed, with the failure; when there is no result yet.
#[track_caller]
pub fn success_of<T>(deferred: Deferred<T>) -> T {
    match take(deferred) {
        Ok(Ok(value)) => value,
        Ok(Err(failure)) => panic!("a success was expected, but it failed: {failure:?}"),
        Err(waiting) => panic!("a success was expected, but there is no result yet: {waiting}"),
    }
}

/// The failure of a deferred that has failed; as for [`success_of`], the loop has to run first.
///
/// ```
/// use ropewalk_net::testing::{Bench, failure_of};
/// use ropewalk_reactor::{Outcome, deferred};
/// let bench = Bench::new();
/// let parsed = deferred::succeed(bench.reactor(), "many").add_callback(|text| -> Outcome<u8> { Ok(text.parse()?) });
/// bench.settle();
/// assert!(failure_of(parsed).is::<std::num::ParseIntError>());
/// ```
///
/// # Panics
/// When it has succeeded, with the value; when there is no result yet.
#[track_caller]
pub fn failure_of<T: Debug>(deferred: Deferred<T>) -> Failure {
    match take(deferred) {
        Ok(Err(failure)) => failure,
        Ok(Ok(value)) => panic!("a failure was expected, but it succeeded: {value:?}"),
        Err(waiting) => panic!("a failure was expected, but there is no result yet: {waiting}"),
    }
}

/// Asserts that a deferred still waits. It is as it was before, and may be used on.
///
/// ```
/// use ropewalk_net::testing::{Bench, assert_no_result, success_of};
/// use std::time::Duration;
/// let bench = Bench::new();
/// let mut tea = bench.reactor().defer_later(Duration::from_secs(180), || "tea");
/// bench.advance(Duration::from_secs(179));
/// assert_no_result(&mut tea);
/// bench.advance(Duration::from_secs(1));
/// assert_eq!(success_of(tea), "tea");
/// ```
///
/// # Panics
/// When there is a result, with what it is.
#[track_caller]
pub fn assert_no_result<T: Debug>(deferred: &mut Deferred<T>) {
    if !deferred.has_outcome() {
        return;
    }
    // Exclusive and never moved from here: pinning a deferred is a formality.
    let mut context = Context::from_waker(Waker::noop());
    let (firing, never) = Deferred::<T>::new(deferred.reactor());
    // The test ends here: what stands in for the deferred is to add nothing to what is logged.
    std::mem::forget(firing);
    match pin!(std::mem::replace(deferred, never)).as_mut().poll(&mut context) {
        Poll::Ready(Ok(value)) => panic!("no result was expected, but it succeeded: {value:?}"),
        Poll::Ready(Err(failure)) => panic!("no result was expected, but it failed: {failure:?}"),
        Poll::Pending => unreachable!("it has an outcome"),
    }
}

/// The outcome, or why there is none.
fn take<T>(deferred: Deferred<T>) -> Result<Outcome<T>, String> {
    if !deferred.has_outcome() {
        let made_at = deferred.made_at();
        let hint = if deferred.reactor().has_ready_work() {
            "; callbacks wait for their turn: let the loop run first"
        } else {
            ""
        };
        return Err(format!("it was made at {made_at} and waits{hint}"));
    }
    let mut context = Context::from_waker(Waker::noop());
    match pin!(deferred).as_mut().poll(&mut context) {
        Poll::Ready(outcome) => Ok(outcome),
        Poll::Pending => unreachable!("it has an outcome"),
    }
}
