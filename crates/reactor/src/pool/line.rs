//! A waiting line that one may leave from the middle: a list in one slab, every step of it in constant time.
//!
//! It knows nothing of threads; `queue` keeps it behind its lock.

/// First come, first served; and whoever changes their mind gives their place.
pub(crate) struct Line<J> {
    seats: Vec<Seat<J>>,
    first: u32,
    last: u32,
    free: u32,
    len: usize,
}

struct Seat<J> {
    job: Option<J>,
    /// Who sat here before has a place of an older generation.
    generation: u32,
    before: u32,
    /// The next in the line, or the next free seat.
    after: u32,
}

/// Where somebody waits. The place of one who waits no longer fits nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    seat: u32,
    generation: u32,
}

const NIL: u32 = u32::MAX;

impl<J> Line<J> {
    pub(crate) const fn new() -> Line<J> {
        Line { seats: Vec::new(), first: NIL, last: NIL, free: NIL, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, job: J) -> Place {
        if self.free == NIL {
            self.free = u32::try_from(self.seats.len()).expect("memory ends before two to the 32 jobs");
            self.seats.push(Seat { job: None, generation: 0, before: NIL, after: NIL });
        }
        let seat = self.free;
        let taken = &mut self.seats[seat as usize];
        self.free = taken.after;
        (taken.job, taken.before, taken.after) = (Some(job), self.last, NIL);
        let generation = taken.generation;
        match self.last {
            NIL => self.first = seat,
            last => self.seats[last as usize].after = seat,
        }
        self.last = seat;
        self.len += 1;
        Place { seat, generation }
    }

    pub(crate) fn pop(&mut self) -> Option<J> {
        let generation = self.seats.get(self.first as usize)?.generation;
        self.remove(Place { seat: self.first, generation })
    }

    /// Takes out who waits at this place, if that one still does.
    pub(crate) fn remove(&mut self, place: Place) -> Option<J> {
        let seat = self.seats.get_mut(place.seat as usize)?;
        if seat.generation != place.generation {
            return None;
        }
        let job = seat.job.take()?;
        seat.generation = seat.generation.wrapping_add(1);
        let (before, after) = (seat.before, seat.after);
        seat.after = std::mem::replace(&mut self.free, place.seat);
        match before {
            NIL => self.first = after,
            before => self.seats[before as usize].after = after,
        }
        match after {
            NIL => self.last = before,
            after => self.seats[after as usize].before = before,
        }
        self.len -= 1;
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn it_does_what_a_plain_list_does() {
        // A generator of one line; the seed is the story.
        for seed in 1..=200u64 {
            let mut random = seed;
            let mut next = |below: u64| {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) % below
            };
            let (mut line, mut plain, mut gone) = (Line::new(), VecDeque::new(), Vec::new());
            for job in 0..300u64 {
                match next(5) {
                    0 | 1 => plain.push_back((line.push(job), job)),
                    2 => assert_eq!(
                        line.pop(),
                        plain.pop_front().map(|(place, job)| {
                            gone.push(place);
                            job
                        })
                    ),
                    3 if !plain.is_empty() => {
                        let (place, job) = plain.remove(next(plain.len() as u64) as usize).unwrap();
                        assert_eq!(line.remove(place), Some(job), "seed {seed}");
                        gone.push(place);
                    }
                    _ => assert!(gone.iter().all(|&place| line.remove(place).is_none()), "seed {seed}"),
                }
                assert_eq!(line.len(), plain.len(), "seed {seed}");
            }
            let rest: Vec<u64> = std::iter::from_fn(|| line.pop()).collect();
            assert!(rest.iter().eq(plain.iter().map(|(_, job)| job)), "seed {seed}");
        }
    }
}
