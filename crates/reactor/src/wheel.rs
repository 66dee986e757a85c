//! The timer wheel: six levels of 64 slots of one millisecond, a doubly linked list of entries in each slot, all entries
//! in one slab. Insert, cancel and move cost a few nanoseconds however many there are.
//!
//! Moving an entry **later** only writes its deadline; the wheel finds out when the old slot comes up. So a connection that
//! re-arms its deadline at every request pays one store. The wheel knows ticks, not clocks, and calls nobody: the turn asks
//! it what is due. Entries of one tick come out in the order in which they were put in.

use std::cell::Cell;

/// Slots per level, as a power of two.
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 6;
/// Ticks further away than this wait in the last level and go around again.
const SPAN: u64 = 1 << (SLOT_BITS * LEVELS as u32);
const NIL: u32 = u32::MAX;
/// An entry that is in no slot (it is free).
const NO_SLOT: u16 = u16::MAX;

/// What an entry is known by. The generation makes a key that outlived its entry harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey {
    index: u32,
    generation: u32,
}

impl TimerKey {
    /// A key that fits no entry.
    pub(crate) const NONE: TimerKey = TimerKey { index: NIL, generation: 0 };
}

struct Entry<T> {
    value: Option<T>,
    deadline: u64,
    prev: u32,
    next: u32,
    generation: u32,
    slot: u16,
}

#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
}

const EMPTY: List = List { head: NIL, tail: NIL };

/// The wheel. `T` is what an entry carries.
pub(crate) struct Wheel<T> {
    entries: Vec<Entry<T>>,
    free: u32,
    len: usize,
    /// The tick up to which everything due has been taken out.
    elapsed: u64,
    lists: Box<[List; SLOTS * LEVELS]>,
    /// One bit per slot that is not empty.
    occupied: [u64; LEVELS],
    /// The tick at which the first of these begins, or `NEVER`, if it is known since they last changed: every turn asks twice.
    first: Cell<Option<u64>>,
    /// Entries that are due: a batch that is being taken out, and those that came after it was begun.
    due: [List; 2],
    /// Which of the two is filled.
    filled: usize,
}

/// The end of all ticks.
const NEVER: u64 = u64::MAX;

/// The pseudo slots of the due lists.
const DUE_SLOT: u16 = (SLOTS * LEVELS) as u16;

impl<T> Wheel<T> {
    pub(crate) fn new() -> Wheel<T> {
        Wheel {
            entries: Vec::new(),
            free: NIL,
            len: 0,
            elapsed: 0,
            lists: Box::new([EMPTY; SLOTS * LEVELS]),
            occupied: [0; LEVELS],
            first: Cell::new(None),
            due: [EMPTY; 2],
            filled: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts an entry in, due when `deadline` is reached.
    pub(crate) fn insert(&mut self, deadline: u64, value: T) -> TimerKey {
        let index = if self.free == NIL {
            let index = u32::try_from(self.entries.len()).expect("fewer than four thousand million timers");
            self.entries.push(Entry {
                value: Some(value),
                deadline,
                prev: NIL,
                next: NIL,
                generation: 0,
                slot: NO_SLOT,
            });
            index
        } else {
            let index = self.free;
            let entry = &mut self.entries[index as usize];
            self.free = entry.next;
            entry.value = Some(value);
            entry.deadline = deadline;
            index
        };
        self.len += 1;
        self.link(index);
        TimerKey { index, generation: self.entries[index as usize].generation }
    }

    /// Takes an entry out; `None` if it has fired or was cancelled.
    pub(crate) fn cancel(&mut self, key: TimerKey) -> Option<T> {
        self.find(key)?;
        self.unlink(key.index);
        self.release(key.index)
    }

    /// Gives an entry another deadline. Answers whether there is such an entry.
    pub(crate) fn reset(&mut self, key: TimerKey, deadline: u64) -> bool {
        let Some(entry) = self.find(key) else { return false };
        let earlier = deadline < entry.deadline;
        entry.deadline = deadline;
        if earlier {
            self.unlink(key.index);
            self.link(key.index);
        }
        true
    }

    /// When an entry is due; `None` if it has fired or was cancelled.
    pub(crate) fn deadline(&self, key: TimerKey) -> Option<u64> {
        let entry = self.entries.get(key.index as usize)?;
        (entry.generation == key.generation && entry.slot != NO_SLOT).then_some(entry.deadline)
    }

    /// Every entry with its deadline, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        let waiting = self.entries.iter().filter(|entry| entry.slot != NO_SLOT);
        waiting.filter_map(|entry| entry.value.as_ref().map(|value| (entry.deadline, value)))
    }

    /// The tick at which the wheel wants to be asked again: no entry is due earlier. (It may be earlier than any entry:
    /// at the border of a coarse slot the wheel sorts it into finer ones.)
    pub(crate) fn next_tick(&self) -> Option<u64> {
        if self.due.iter().any(|list| list.head != NIL) {
            return Some(self.elapsed);
        }
        let first = self.first();
        (first != NEVER).then_some(first)
    }

    /// When the first slot begins that is not empty, or never.
    #[inline]
    fn first(&self) -> u64 {
        self.first.get().unwrap_or_else(|| self.find_first())
    }

    #[inline(never)]
    fn find_first(&self) -> u64 {
        let tick = self.next_slot().map_or(NEVER, |(_, _, tick)| tick);
        self.first.set(Some(tick));
        tick
    }

    /// Begins a batch: all that is due at `now`. What is put in from here on, even if it is due at once, is of the next. Answers
    /// whether there is anything in it.
    pub(crate) fn begin(&mut self, now: u64) -> bool {
        if self.first() <= now {
            self.open_slots(now);
        }
        self.elapsed = self.elapsed.max(now);
        // A batch that was not taken out to its end comes first.
        if self.due[1 - self.filled].head == NIL {
            self.filled = 1 - self.filled;
        }
        self.due[1 - self.filled].head != NIL
    }

    /// Takes out one entry of the batch. Call until it answers `None`.
    pub(crate) fn pop(&mut self) -> Option<T> {
        loop {
            let index = self.due[1 - self.filled].head;
            if index == NIL {
                return None;
            }
            self.unlink(index);
            if self.entries[index as usize].deadline > self.elapsed {
                // It was moved later after it had been sorted: find its place again.
                self.link(index);
            } else {
                return self.release(index);
            }
        }
    }

    fn find(&mut self, key: TimerKey) -> Option<&mut Entry<T>> {
        let entry = self.entries.get_mut(key.index as usize)?;
        (entry.generation == key.generation && entry.slot != NO_SLOT).then_some(entry)
    }

    fn release(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.free;
        entry.slot = NO_SLOT;
        self.free = index;
        self.len -= 1;
        entry.value.take()
    }

    /// The level and slot where a deadline belongs: the level is that of the highest digit in which it differs from now.
    fn slot_of(&self, deadline: u64) -> u16 {
        if deadline <= self.elapsed {
            return DUE_SLOT + self.filled as u16;
        }
        let deadline = deadline.min(self.elapsed.saturating_add(SPAN - 1));
        let differing = (self.elapsed ^ deadline) | 1;
        let level = ((63 - differing.leading_zeros()) / SLOT_BITS).min(LEVELS as u32 - 1);
        let digit = (deadline >> (level * SLOT_BITS)) as usize % SLOTS;
        (level as usize * SLOTS + digit) as u16
    }

    fn link(&mut self, index: u32) {
        let slot = self.slot_of(self.entries[index as usize].deadline);
        if slot < DUE_SLOT {
            self.occupied[slot as usize / SLOTS] |= 1 << (slot as usize % SLOTS);
            self.first.set(None);
        }
        let list = self.list(slot);
        let tail = std::mem::replace(&mut list.tail, index);
        if tail == NIL {
            list.head = index;
        } else {
            self.entries[tail as usize].next = index;
        }
        let entry = &mut self.entries[index as usize];
        entry.prev = tail;
        entry.next = NIL;
        entry.slot = slot;
    }

    fn list(&mut self, slot: u16) -> &mut List {
        match slot.checked_sub(DUE_SLOT) {
            Some(due) => &mut self.due[due as usize],
            None => &mut self.lists[slot as usize],
        }
    }

    fn unlink(&mut self, index: u32) {
        let Entry { prev, next, slot, .. } = self.entries[index as usize];
        if prev != NIL {
            self.entries[prev as usize].next = next;
        }
        if next != NIL {
            self.entries[next as usize].prev = prev;
        }
        let list = self.list(slot);
        if prev == NIL {
            list.head = next;
        }
        if next == NIL {
            list.tail = prev;
        }
        if list.head == NIL && slot < DUE_SLOT {
            self.occupied[slot as usize / SLOTS] &= !(1 << (slot as usize % SLOTS));
            self.first.set(None);
        }
    }

    /// The first slot that is not empty, and the tick at which it begins.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        for level in 0..LEVELS {
            if self.occupied[level] == 0 {
                continue;
            }
            let shift = level as u32 * SLOT_BITS;
            let here = (self.elapsed >> shift) as u32 % SLOTS as u32;
            let ahead = self.occupied[level].rotate_right(here).trailing_zeros();
            let slot = (here + ahead) as usize % SLOTS;
            // Only the last level can hold its own current slot: an entry more than a whole round away.
            let ahead = if ahead == 0 { SLOTS as u64 } else { u64::from(ahead) };
            let tick = ((self.elapsed >> shift) + ahead) << shift;
            return Some((level, slot, tick));
        }
        None
    }

    /// Sorts what begins up to `now`.
    #[inline(never)]
    fn open_slots(&mut self, now: u64) {
        while let Some((level, slot, tick)) = self.next_slot() {
            if tick > now {
                break;
            }
            self.open_slot(level, slot, tick);
        }
    }

    /// Moves to `tick` and sorts the entries of a slot anew: into finer slots, or to what is due.
    fn open_slot(&mut self, level: usize, slot: usize, tick: u64) {
        self.elapsed = tick;
        let list = std::mem::replace(&mut self.lists[level * SLOTS + slot], EMPTY);
        self.occupied[level] &= !(1 << slot);
        self.first.set(None);
        let mut index = list.head;
        while index != NIL {
            let next = self.entries[index as usize].next;
            self.link(index);
            index = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(wheel: &mut Wheel<u32>, now: u64) -> Vec<u32> {
        wheel.begin(now);
        std::iter::from_fn(|| wheel.pop()).collect()
    }

    #[test]
    fn fires_in_order_of_deadline_then_of_insertion() {
        let mut wheel = Wheel::new();
        for (deadline, value) in [(70, 4), (5, 1), (70, 5), (5, 2), (6, 3), (100_000, 6)] {
            wheel.insert(deadline, value);
        }
        assert_eq!(drain(&mut wheel, 4), []);
        assert_eq!(drain(&mut wheel, 5), [1, 2]);
        assert_eq!(drain(&mut wheel, 99_999), [3, 4, 5]);
        assert_eq!(drain(&mut wheel, 100_000), [6]);
        assert_eq!(wheel.next_tick(), None);
    }

    #[test]
    fn a_key_that_fired_or_was_cancelled_fits_nothing_any_more() {
        let mut wheel = Wheel::new();
        let key = wheel.insert(3, 1);
        assert_eq!(wheel.cancel(key), Some(1));
        assert_eq!(wheel.cancel(key), None);
        let again = wheel.insert(3, 2);
        assert!(!wheel.reset(key, 9), "the slot is used again, the key is not");
        assert_eq!(drain(&mut wheel, 3), [2]);
        assert_eq!(wheel.deadline(again), None);
    }

    #[test]
    fn further_than_the_span_goes_around_again() {
        let mut wheel = Wheel::new();
        wheel.insert(SPAN * 3 + 7, 1);
        let mut now = 0;
        let mut steps = 0;
        while let Some(tick) = wheel.next_tick() {
            now = tick;
            steps += 1;
            if drain(&mut wheel, now) == [1] {
                break;
            }
        }
        assert_eq!(now, SPAN * 3 + 7);
        assert!(steps < 400, "{steps}");
    }

    #[test]
    fn what_is_put_in_while_a_batch_is_taken_out_is_of_the_next() {
        let mut wheel = Wheel::new();
        for value in 1..=3 {
            wheel.insert(5, value);
        }
        let moved = wheel.insert(5, 4);
        wheel.begin(5);
        assert_eq!(wheel.pop(), Some(1));
        wheel.insert(5, 10);
        wheel.insert(2, 11);
        assert!(wheel.reset(moved, 8));
        assert_eq!((wheel.pop(), wheel.pop(), wheel.pop()), (Some(2), Some(3), None));
        assert_eq!(wheel.next_tick(), Some(5), "the next batch waits already");
        assert_eq!(drain(&mut wheel, 5), [10, 11]);
        assert_eq!(drain(&mut wheel, 7), []);
        assert_eq!(drain(&mut wheel, 8), [4]);
        assert_eq!(wheel.len(), 0);
    }

    proptest! {
        /// Random insertions, cancellations, moves and advances agree with a plain list.
        #[test]
        fn agrees_with_a_model(ops in proptest::collection::vec((0u8..4, 0u64..300_000, 0usize..40), 1..300)) {
            let mut wheel = Wheel::new();
            let mut model: Vec<(u64, u32, TimerKey)> = Vec::new();
            let mut now = 0;
            for (serial, (op, ticks, which)) in ops.into_iter().enumerate() {
                match op {
                    0 => {
                        let key = wheel.insert(now + ticks, serial as u32);
                        model.push((now + ticks, serial as u32, key));
                    }
                    1 if !model.is_empty() => {
                        let (_, value, key) = model.remove(which % model.len());
                        prop_assert_eq!(wheel.cancel(key), Some(value));
                    }
                    2 if !model.is_empty() => {
                        let which = which % model.len();
                        model[which].0 = now + ticks / 2;
                        prop_assert!(wheel.reset(model[which].2, now + ticks / 2));
                    }
                    _ => {
                        now += ticks / 8;
                        let mut fired = drain(&mut wheel, now);
                        let mut expected: Vec<u32> =
                            model.iter().filter(|entry| entry.0 <= now).map(|entry| entry.1).collect();
                        model.retain(|entry| entry.0 > now);
                        fired.sort_unstable();
                        expected.sort_unstable();
                        prop_assert_eq!(fired, expected);
                        let first = model.iter().map(|entry| entry.0).min();
                        prop_assert!(wheel.next_tick() <= first || first.is_none());
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
            }
        }
    }
}
