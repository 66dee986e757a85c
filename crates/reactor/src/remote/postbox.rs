//! The mail's own protocol: letters under a lock, and a loop that sleeps only when there are none.
//!
//! Tried by `tests/loom.rs`. The loop sets its mark, looks into the box once more, and only then sleeps; a sender puts its
//! letter in, and only then takes the mark away. One of the two always sees the other: each touches the mark by a swap, the
//! swaps have one order, and who comes later sees what the one before did first. It rings no bell: who posts is told to.

use super::locks::{AtomicBool, Mutex, Ordering, lock};

pub(crate) struct Postbox<M> {
    letters: Mutex<Letters<M>>,
    /// Set while there are letters, so that the loop looks without taking the lock.
    full: AtomicBool,
    sleeping: AtomicBool,
}

struct Letters<M> {
    queue: Vec<M>,
    /// Under the same lock as the queue: mail put in after the last look would wait for ever, and so would its sender.
    closed: bool,
}

impl<M> Postbox<M> {
    pub(crate) fn new() -> Postbox<M> {
        Postbox {
            letters: Mutex::new(Letters { queue: Vec::new(), closed: false }),
            full: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
        }
    }

    /// Puts a letter in. Answers whether the loop sleeps and is to be rung for, or hands the letter back when it is closed.
    pub(crate) fn post(&self, letter: M) -> Result<bool, M> {
        let mut letters = lock(&self.letters);
        if letters.closed {
            return Err(letter);
        }
        letters.queue.push(letter);
        self.full.store(true, Ordering::Release);
        drop(letters);
        // Of several senders one rings.
        Ok(self.sleeping.swap(false, Ordering::AcqRel))
    }

    pub(crate) fn set_sleeping(&self, sleeping: bool) {
        // Also on waking up: a plain store between the swaps would hide from the next one what came before it.
        self.sleeping.swap(sleeping, Ordering::AcqRel);
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.full.load(Ordering::Acquire)
    }

    pub(crate) fn take(&self) -> Vec<M> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut letters = lock(&self.letters);
        self.full.store(false, Ordering::Relaxed);
        std::mem::take(&mut letters.queue)
    }

    /// Takes no more letters from now on; gives back those that were not read.
    pub(crate) fn close(&self) -> Vec<M> {
        let mut letters = lock(&self.letters);
        letters.closed = true;
        self.full.store(false, Ordering::Relaxed);
        std::mem::take(&mut letters.queue)
    }
}
