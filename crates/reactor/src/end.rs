//! The end of a loop: its threads end, and it lets go of everything that holds it, for what it holds mostly holds a handle
//! of its own. Called by `run`, by the simulation, and when a reactor is dropped.

use crate::name::Name;
use crate::reactor::{Core, Phase, Reactor};
use crate::wheel::Wheel;

/// Rounds of letting go. Destructors may add something new; one that always does is not waited for.
const ROUNDS_MAX: usize = 100;

impl Reactor {
    /// After the last turn. A panic in what is let go of is reported, and keeps the rest from nothing.
    pub(crate) fn finish(&self) {
        let core = &self.0;
        core.phase.set(Phase::Stopped);
        let name = Name::new("the end");
        self.guard(name, || core.mailbox.close());
        let watchdog = core.watchdog.borrow_mut().take();
        drop(watchdog);
        for _ in 0..ROUNDS_MAX {
            if !self.let_go(name) {
                break;
            }
        }
        self.guard(name, || core.signals.clear());
        core.dirty.borrow_mut().clear();
        core.again.borrow_mut().clear();
        self.guard(name, || core.parts.clear());
    }

    /// Lets go of all there is; answers whether there was anything.
    fn let_go(&self, name: Name) -> bool {
        let core = &self.0;
        let pools = core.pools.borrow_mut().take();
        let sources = core.sources.borrow().all();
        let ready = std::mem::take(&mut *core.ready.borrow_mut());
        let wheel = std::mem::replace(&mut *core.wheel.borrow_mut(), Wheel::new());
        let triggers = std::mem::take(&mut *core.triggers.borrow_mut());
        let any = !pools.is_empty()
            || !sources.is_empty()
            || !ready.is_empty()
            || wheel.len() > 0
            || !triggers.is_empty();
        pools.close();
        for (key, source) in sources {
            self.remove_source(key);
            let name = source.name();
            self.guard(name, || source.abandoned());
        }
        ready.into_iter().for_each(|ready| self.guard(name, || drop(ready)));
        self.guard(name, || drop(wheel));
        self.guard(name, || drop(triggers));
        // It waits for the jobs that have begun. By now they wait for nothing that the loop had: it has let go of all that.
        self.guard(name, || drop(pools));
        any
    }
}

impl Drop for Core {
    /// A reactor that is dropped without having run leaves nobody waiting for it.
    fn drop(&mut self) {
        self.mailbox.close();
    }
}
