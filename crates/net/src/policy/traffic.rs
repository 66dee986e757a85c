//! What passes, told to a function as it passes: Twisted's `TrafficLoggingFactory` and `SpewingFactory`.

use std::any::Any;
use std::io;
use std::rc::Rc;

use ropewalk_reactor::Key;
use ropewalk_reactor::Reactor;
use ropewalk_reactor::io::{Address, Below, Layer};

use super::Policy;

/// Something that passed on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Passed<'a> {
    /// Bytes that came.
    Read(&'a [u8]),
    /// Bytes that the system has taken.
    Written(&'a [u8]),
    /// The peer ended its direction.
    Ended,
    /// The connection is gone.
    Closed,
}

type Observer = Rc<dyn Fn(&Address, Passed<'_>)>;

/// Tells a function what passes. Under a layer of TLS that is what goes over the wire, above it the plain text: it depends on
/// which was applied last.
///
/// ```
/// use ropewalk_net::policy::{Passed, TrafficLog, apply};
/// # use ropewalk_net::{Factory, Protocol, Transport};
/// # struct Echo;
/// # impl Protocol for Echo { fn data_received(&mut self, t: &Transport, d: &[u8]) { t.write(d); } }
/// fn watched() -> impl Factory {
///     apply(
///         TrafficLog::new(|peer, passed| match passed {
///             Passed::Read(bytes) => eprintln!("{peer} > {}", bytes.escape_ascii()),
///             Passed::Written(bytes) => eprintln!("{peer} < {}", bytes.escape_ascii()),
///             _ => {}
///         }),
///         || Echo,
///     )
/// }
/// ```
#[derive(Clone)]
pub struct TrafficLog {
    observer: Observer,
}

impl TrafficLog {
    /// Calls `observer` on the loop, between reading and the protocol: it should not take long, and it must not write to
    /// the connection that it is told about.
    #[must_use]
    pub fn new(observer: impl Fn(&Address, Passed<'_>) + 'static) -> TrafficLog {
        TrafficLog { observer: Rc::new(observer) }
    }
}

impl Policy for TrafficLog {
    fn layer(&self, peer: &Address) -> Option<Box<dyn Layer>> {
        Some(Box::new(Observed { peer: peer.clone(), observer: Rc::clone(&self.observer), attached: false }))
    }
}

struct Observed {
    peer: Address,
    observer: Observer,
    attached: bool,
}

impl Observed {
    fn tell(&self, passed: Passed<'_>) {
        let told =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (self.observer)(&self.peer, passed)));
        if let Err(payload) = told {
            let failure = ropewalk_reactor::Failure::from_panic(payload);
            tracing::error!(peer = %self.peer, "an observer of traffic: {failure}");
        }
    }
}

impl Layer for Observed {
    fn attached(&mut self, _: &Reactor, _: Key) {
        self.attached = true;
    }

    fn read(&mut self, below: &Below, into: &mut [u8]) -> io::Result<usize> {
        let count = below.read(into)?;
        self.tell(if count == 0 { Passed::Ended } else { Passed::Read(&into[..count]) });
        Ok(count)
    }

    fn write(&mut self, below: &Below, from: &[u8]) -> io::Result<usize> {
        let count = below.write(from)?;
        self.tell(Passed::Written(&from[..count]));
        Ok(count)
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if self.attached {
            self.tell(Passed::Closed);
        }
    }
}
