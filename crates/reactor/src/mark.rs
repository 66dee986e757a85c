//! A mark that says "already on its way": what is woken twice before it has come is woken once. Wakers hold one.
//!
//! Tried by `tests/loom.rs`.

use super::locks::{AtomicBool, Ordering};

pub(crate) struct Mark(AtomicBool);

impl Mark {
    pub(crate) fn new() -> Mark {
        Mark(AtomicBool::new(false))
    }

    /// Sets it; true for who was the first and has to see to it.
    pub(crate) fn set(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// It has come: the next one counts again.
    pub(crate) fn clear(&self) {
        // A swap, not a store: it also acquires what was written before a `set` that found the mark set.
        self.0.swap(false, Ordering::AcqRel);
    }
}
