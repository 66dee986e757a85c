//! Sources: whatever the loop calls. A connection, a listener, a foreign descriptor and a task are each one entry in one
//! slab; the entry's key is the token that the operating system gives back, and its generation makes late events harmless.

use std::any::Any;
use std::fmt;
use std::rc::Rc;

use crate::name::Name;
use crate::time::Time;

/// What a source is known by: an index and a generation. A key of a source that is gone fits nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

/// Generations stay below this: of a token's two highest bits one says which half of a pair of descriptors is meant, and both
/// together are the driver's own.
const GENERATION_MASK: u32 = 0x3FFF_FFFF;

/// One of two descriptors that are watched under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// What is read.
    Input,
    /// What is written.
    Output,
}

const INPUT: usize = 1 << 62;
const OUTPUT: usize = 1 << 63;

impl Key {
    pub(crate) fn token(self) -> usize {
        ((self.generation as usize) << 32) | self.index as usize
    }

    pub(crate) fn from_token(token: usize) -> Key {
        Key { index: token as u32, generation: (token >> 32) as u32 & GENERATION_MASK }
    }

    pub(crate) fn half_token(self, half: Half) -> usize {
        match half {
            Half::Input => self.token() | INPUT,
            Half::Output => self.token() | OUTPUT,
        }
    }
}

impl Half {
    /// Which half a token is of; `None` for a descriptor that does both.
    pub(crate) fn from_token(token: usize) -> Option<Half> {
        match token & (INPUT | OUTPUT) {
            INPUT => Some(Half::Input),
            OUTPUT => Some(Half::Output),
            _ => None,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.index, self.generation)
    }
}

/// What the operating system said about a descriptor. Flags may come together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness(u8);

impl Readiness {
    /// Nothing.
    pub const NONE: Readiness = Readiness(0);
    /// There is something to read, or to accept.
    pub const READABLE: Readiness = Readiness(1);
    /// There is room to write.
    pub const WRITABLE: Readiness = Readiness(2);
    /// The peer will send no more.
    pub const READ_CLOSED: Readiness = Readiness(4);
    /// Nothing can be sent any more.
    pub const WRITE_CLOSED: Readiness = Readiness(8);
    /// The descriptor has an error to tell.
    pub const ERROR: Readiness = Readiness(16);
    /// Urgent data.
    pub const PRIORITY: Readiness = Readiness(32);

    /// Whether any of these flags is set.
    #[must_use]
    pub const fn has(self, flags: Readiness) -> bool {
        self.0 & flags.0 != 0
    }

    /// Whether there is something to read.
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.has(Readiness::READABLE)
    }

    /// Whether there is room to write.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.has(Readiness::WRITABLE)
    }

    /// Both sets of flags.
    #[must_use]
    pub const fn and(self, other: Readiness) -> Readiness {
        Readiness(self.0 | other.0)
    }

    pub(crate) fn set(&mut self, flags: Readiness, on: bool) {
        if on {
            self.0 |= flags.0;
        }
    }
}

/// One event of the driver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) key: Key,
    pub(crate) readiness: Readiness,
}

/// What the loop calls. Nothing of the reactor is borrowed while one of these runs.
pub trait Source {
    /// What the watchdog calls it.
    fn name(&self) -> Name;
    /// What kind of thing it is, in a word or two: what [`Reactor::pending`](crate::Reactor::pending) calls it.
    fn kind(&self) -> &'static str {
        "source"
    }
    /// Itself, for a floor above that knows its type and looks for it among [`Reactor::sources`](crate::Reactor::sources).
    fn any(self: Rc<Self>) -> Option<Rc<dyn Any>> {
        None
    }
    /// Its descriptor is ready. Edge-triggered: read until a short read, write until blocked.
    fn ready(self: Rc<Self>, readiness: Readiness) {
        let _ = readiness;
    }
    /// Its deadline has passed.
    fn due(self: Rc<Self>) {}
    /// Its deadline passed while the loop itself was away: it is to set another, not before `until`.
    fn put_off(self: Rc<Self>, until: Time) {
        let _ = until;
    }
    /// A waker of its was used.
    fn woken(self: Rc<Self>) {}
    /// It asked to be flushed at the end of the turn.
    fn flush(self: Rc<Self>) {}
    /// The program is about to stop: come to an end politely, soon.
    fn stopping(self: Rc<Self>) {}
    /// The loop has ended: let go of everything.
    fn abandoned(self: Rc<Self>) {}
}

struct Slot {
    source: Option<Rc<dyn Source>>,
    generation: u32,
    /// Of a free slot, the next free one. Of a taken one, what its source is to be told in the next turn: there a source is once, or a
    /// busy one would be read once more in every turn for each event that came while it was there.
    link: u32,
}

/// All sources of one reactor.
pub(crate) struct Sources {
    slots: Vec<Slot>,
    free: u32,
    len: usize,
}

const NIL: u32 = u32::MAX;

impl Sources {
    pub(crate) fn new() -> Sources {
        Sources { slots: Vec::new(), free: NIL, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, make: impl FnOnce(Key) -> Rc<dyn Source>) -> Key {
        let index = if self.free == NIL {
            self.slots.push(Slot { source: None, generation: 0, link: NIL });
            u32::try_from(self.slots.len() - 1).expect("descriptors run out long before")
        } else {
            self.free
        };
        let slot = &mut self.slots[index as usize];
        let key = Key { index, generation: slot.generation };
        slot.source = Some(make(key));
        self.free = slot.link;
        slot.link = 0;
        self.len += 1;
        key
    }

    pub(crate) fn find(&self, key: Key) -> Option<Rc<dyn Source>> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.generation == key.generation { slot.source.clone() } else { None }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Rc<dyn Source>> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let source = slot.source.take()?;
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        slot.link = std::mem::replace(&mut self.free, key.index);
        self.len -= 1;
        Some(source)
    }

    /// Notes what a source is to be told in the next turn; whether it is the first such note.
    pub(crate) fn mark(&mut self, key: Key, readiness: Readiness) -> bool {
        let Some(slot) = self.taken(key) else { return false };
        let first = slot.link == 0;
        slot.link |= u32::from(readiness.0);
        first
    }

    /// Takes all that was noted.
    pub(crate) fn take_mark(&mut self, key: Key) -> Readiness {
        let noted = self.taken(key).map_or(0, |slot| std::mem::take(&mut slot.link));
        Readiness(u8::try_from(noted).expect("the link of a taken slot is the readiness that was noted"))
    }

    fn taken(&mut self, key: Key) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key.index as usize)?;
        (slot.generation == key.generation && slot.source.is_some()).then_some(slot)
    }

    /// Every source that is there.
    pub(crate) fn all(&self) -> Vec<(Key, Rc<dyn Source>)> {
        let entry = |(index, slot): (usize, &Slot)| {
            let key = Key { index: index as u32, generation: slot.generation };
            slot.source.clone().map(|source| (key, source))
        };
        self.slots.iter().enumerate().filter_map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dummy;
    impl Source for Dummy {
        fn name(&self) -> Name {
            Name::here()
        }
    }

    #[test]
    fn what_is_noted_adds_up_and_is_of_nobody_else() {
        let mut sources = Sources::new();
        let first = sources.insert(|_| Rc::new(Dummy));
        assert!(sources.mark(first, Readiness::READABLE), "the first");
        assert!(!sources.mark(first, Readiness::WRITABLE));
        assert_eq!(sources.take_mark(first), Readiness::READABLE.and(Readiness::WRITABLE));
        assert_eq!(sources.take_mark(first), Readiness::NONE);
        assert!(sources.mark(first, Readiness::ERROR), "the first again");
        // Whoever has the place next is told nothing of it.
        sources.remove(first);
        let second = sources.insert(|_| Rc::new(Dummy));
        assert_eq!((sources.take_mark(first), sources.take_mark(second)), (Readiness::NONE, Readiness::NONE));
        assert!(!sources.mark(first, Readiness::READABLE), "it is gone");
    }

    #[test]
    fn a_key_used_again_does_not_fit_the_old_one() {
        let mut sources = Sources::new();
        let first = sources.insert(|_| Rc::new(Dummy));
        assert!(sources.remove(first).is_some());
        let second = sources.insert(|_| Rc::new(Dummy));
        assert_eq!(first.index, second.index);
        assert!(sources.find(first).is_none());
        assert!(sources.find(second).is_some());
        assert!(sources.remove(first).is_none());
        assert_eq!(Key::from_token(second.token()), second);
        assert_eq!(Half::from_token(second.token()), None);
        for half in [Half::Input, Half::Output] {
            assert_eq!(Key::from_token(second.half_token(half)), second);
            assert_eq!(Half::from_token(second.half_token(half)), Some(half));
        }
        assert_eq!(sources.len(), 1);
    }
}
