//! Signals: functions that the loop calls when one arrives. The real driver turns them into readiness; a simulation raises
//! them by hand. The application floor decides what each signal means.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use signal_hook::consts::FORBIDDEN;

use crate::name::Name;
use crate::reactor::Reactor;

type Handler = Rc<dyn Fn()>;

/// The last real-time signal of Linux.
const SIGNAL_MAX: i32 = 64;

#[derive(Default)]
pub(crate) struct Signals(RefCell<BTreeMap<i32, Vec<(Name, Handler)>>>);

impl Signals {
    pub(crate) fn clear(&self) {
        let handlers = std::mem::take(&mut *self.0.borrow_mut());
        drop(handlers);
    }
}

impl Reactor {
    /// Calls `handler` on the loop whenever the signal (`SIGTERM` is 15, `SIGHUP` 1, …) arrives. Several handlers run in the
    /// order in which they were added. The signal's default action no longer happens.
    ///
    /// # Errors
    /// A signal that cannot be handled (`SIGKILL` and `SIGSTOP`, faults such as `SIGSEGV`, a number that is none), or no
    /// descriptor left.
    #[track_caller]
    pub fn on_signal(&self, signal: i32, handler: impl Fn() + 'static) -> io::Result<()> {
        // The library underneath panics at these.
        if !(1..=SIGNAL_MAX).contains(&signal) || FORBIDDEN.contains(&signal) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("signal {signal} cannot be handled"),
            ));
        }
        self.0.driver.watch_signal(signal)?;
        self.0.signals.0.borrow_mut().entry(signal).or_default().push((Name::here(), Rc::new(handler)));
        Ok(())
    }

    pub(crate) fn deliver_signal(&self, signal: i32) {
        let handlers = self.0.signals.0.borrow().get(&signal).cloned().unwrap_or_default();
        for (name, handler) in handlers {
            self.enter(name);
            self.guard(name, || handler());
        }
    }
}
