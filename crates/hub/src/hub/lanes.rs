//! Who is contacted next: one lane per host, so that a slow or dead one delays nobody else. A lane has its own share of connections and a
//! breaker, which opens when the host fails again and again, and then lets single tries through.
//!
//! Plain bookkeeping: no clock, no connection. The hub puts work in, takes what may run, and says how it ended.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::{Pair, Task, Work};

/// How many run at once, and when a breaker opens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneLimits {
    pub(crate) per_host: usize,
    pub(crate) total: usize,
    /// Failures in a row after which the breaker opens.
    pub(crate) failures: u32,
    /// For how long it opens first, and at most.
    pub(crate) pause_ms: (u64, u64),
}

/// How a host behaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Good,
    Bad,
    /// It was not asked.
    Unknown,
}

/// A host in one role: what it serves and what it is sent wait apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) callbacks: bool,
    pub(crate) host: String,
}

/// What is known of a host that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ailing {
    pub(crate) place: Place,
    pub(crate) failures: u32,
    pub(crate) open_until_ms: u64,
    pub(crate) waiting: usize,
}

#[derive(Default)]
struct Lane {
    waiting: BTreeSet<(u64, Task)>,
    running: usize,
    failures: u32,
    open_until_ms: u64,
    /// Where it stands in the agenda.
    next: Option<(u64, u64)>,
    /// When it last had its turn, in takes.
    turn: u64,
}

struct Running {
    place: Place,
    /// When it is to run again, if it was put in meanwhile.
    again_ms: Option<u64>,
    suspect: bool,
}

pub(crate) struct Lanes {
    limits: LaneLimits,
    lanes: BTreeMap<Place, Lane>,
    /// Where a task waits, and until when.
    queued: BTreeMap<Task, (Place, u64)>,
    running: BTreeMap<Task, Running>,
    /// Lanes that have something to run, by when; who had a turn is behind who had none, so that all hosts are done at about the same time,
    /// and none has the end to itself.
    agenda: BTreeSet<(u64, u64, Place)>,
    takes: u64,
    /// So many of what runs goes to hosts that have failed last time.
    suspects: usize,
}

impl Lanes {
    pub(crate) fn new(limits: LaneLimits) -> Lanes {
        Lanes {
            limits,
            lanes: BTreeMap::new(),
            queued: BTreeMap::new(),
            running: BTreeMap::new(),
            agenda: BTreeSet::new(),
            takes: 0,
            suspects: 0,
        }
    }

    /// Puts work in. What waits already waits until then instead; what runs runs again after.
    pub(crate) fn put(&mut self, work: Work, host: String) {
        let place = Place { callbacks: !matches!(work.task, Task::Fetch(_)), host };
        if let Some(running) = self.running.get_mut(&work.task) {
            running.again_ms = Some(running.again_ms.map_or(work.due_ms, |before| before.min(work.due_ms)));
            return;
        }
        self.unqueue(&work.task);
        self.lanes.entry(place.clone()).or_default().waiting.insert((work.due_ms, work.task.clone()));
        self.queued.insert(work.task, (place.clone(), work.due_ms));
        self.schedule(&place);
    }

    /// What may run now. Every task taken must be [finished](Lanes::finish).
    pub(crate) fn take(&mut self, now_ms: u64) -> Option<Task> {
        if self.running.len() >= self.limits.total {
            return None;
        }
        // Hosts that have failed may take half of all places: the other half is for those who answer.
        let spare = self.suspects < self.limits.total.div_ceil(2);
        let mut passed = Vec::new();
        let mut taken = None;
        for (next_ms, _, place) in &self.agenda {
            if *next_ms > now_ms {
                break;
            }
            let Some(lane) = self.lanes.get(place) else { continue };
            if lane.failures > 0 && !spare {
                continue;
            }
            match self.runnable(lane, now_ms) {
                Some(found) => {
                    taken = Some((place.clone(), found));
                    break;
                }
                None => passed.push(place.clone()),
            }
        }
        for place in passed {
            self.postpone(&place, now_ms);
        }
        let (place, entry) = taken?;
        let lane = self.lanes.get_mut(&place)?;
        lane.waiting.remove(&entry);
        lane.running += 1;
        self.takes += 1;
        lane.turn = self.takes;
        let suspect = lane.failures > 0;
        self.suspects += usize::from(suspect);
        self.queued.remove(&entry.1);
        self.running.insert(entry.1.clone(), Running { place: place.clone(), again_ms: None, suspect });
        self.schedule(&place);
        Some(entry.1)
    }

    /// A task has ended. `again_ms` puts it in again.
    pub(crate) fn finish(&mut self, task: &Task, health: Health, again_ms: Option<u64>, now_ms: u64) {
        let Some(Running { place, again_ms: put, suspect }) = self.running.remove(task) else { return };
        let limits = self.limits;
        self.suspects -= usize::from(suspect);
        if let Some(lane) = self.lanes.get_mut(&place) {
            lane.running -= 1;
            match health {
                Health::Good => (lane.failures, lane.open_until_ms) = (0, 0),
                Health::Bad => {
                    lane.failures = lane.failures.saturating_add(1);
                    if lane.failures >= limits.failures {
                        let doubled = (lane.failures - limits.failures).min(20);
                        let pause = limits.pause_ms.0.saturating_mul(1 << doubled).min(limits.pause_ms.1);
                        lane.open_until_ms = now_ms.saturating_add(pause);
                    }
                }
                Health::Unknown => {}
            }
        }
        self.schedule(&place);
        if let Some(due_ms) = again_ms.into_iter().chain(put).min() {
            self.put(Work { task: task.clone(), due_ms }, place.host);
        }
    }

    /// When something may run next; in the past if it may now and only places are missing.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        if self.running.len() >= self.limits.total {
            return None;
        }
        let spare = self.suspects < self.limits.total.div_ceil(2);
        let fine = |place: &Place| self.lanes.get(place).is_some_and(|lane| spare || lane.failures == 0);
        self.agenda.iter().find(|(.., place)| fine(place)).map(|(next_ms, ..)| *next_ms)
    }

    /// Tasks that wait, and that run.
    pub(crate) fn depth(&self) -> (usize, usize) {
        (self.queued.len(), self.running.len())
    }

    /// Hosts that have failed last time.
    pub(crate) fn ailing(&self) -> Vec<Ailing> {
        let failing = self.lanes.iter().filter(|(_, lane)| lane.failures > 0);
        let describe = |(place, lane): (&Place, &Lane)| Ailing {
            place: place.clone(),
            failures: lane.failures,
            open_until_ms: lane.open_until_ms,
            waiting: lane.waiting.len(),
        };
        failing.map(describe).collect()
    }

    /// Lets the breaker of a host try at once: somebody says that it is well again.
    pub(crate) fn forgive(&mut self, host: &str) {
        let places: Vec<Place> = self.lanes.keys().filter(|place| place.host == host).cloned().collect();
        for place in places {
            if let Some(lane) = self.lanes.get_mut(&place) {
                lane.open_until_ms = 0;
            }
            self.schedule(&place);
        }
    }

    /// Forgets hosts of which nothing waits and whose last failure is long ago.
    pub(crate) fn sweep(&mut self, now_ms: u64) {
        let long_ms = self.limits.pause_ms.1;
        self.lanes.retain(|_, lane| {
            let idle = lane.waiting.is_empty() && lane.running == 0;
            !idle || (lane.failures > 0 && lane.open_until_ms.saturating_add(long_ms) > now_ms)
        });
    }

    fn unqueue(&mut self, task: &Task) {
        if let Some((place, due_ms)) = self.queued.remove(task) {
            if let Some(lane) = self.lanes.get_mut(&place) {
                lane.waiting.remove(&(due_ms, task.clone()));
            }
            self.schedule(&place);
        }
    }

    /// The first task of the lane that is due and whose pair is free.
    fn runnable(&self, lane: &Lane, now_ms: u64) -> Option<(u64, Task)> {
        let due = lane.waiting.iter().take_while(|(due_ms, _)| *due_ms <= now_ms);
        due.into_iter().find(|(_, task)| self.is_free(task)).cloned()
    }

    /// A subscriber is told one thing at a time: nothing is delivered while it is asked whether it wants to be subscribed, or while
    /// that is about to be asked. So nothing comes after it has confirmed that it wants no more, not even after a crash.
    fn is_free(&self, task: &Task) -> bool {
        let verify = |pair: &Pair| Task::Verify(pair.clone());
        match task {
            Task::Fetch(_) => true,
            Task::Verify(pair) => !self.running.contains_key(&Task::Deliver(pair.clone())),
            Task::Deliver(pair) => {
                !self.running.contains_key(&verify(pair)) && !self.queued.contains_key(&verify(pair))
            }
        }
    }

    /// Nothing of the lane that is due may run: it is looked at again when something of it ends, or comes due.
    fn postpone(&mut self, place: &Place, now_ms: u64) {
        self.unschedule(place);
        let Some(lane) = self.lanes.get_mut(place) else { return };
        if let Some((due_ms, _)) = lane.waiting.iter().find(|(due_ms, _)| *due_ms > now_ms) {
            let due_ms = *due_ms;
            lane.next = Some((due_ms, lane.turn));
            self.agenda.insert((due_ms, lane.turn, place.clone()));
        }
    }

    fn unschedule(&mut self, place: &Place) {
        if let Some(lane) = self.lanes.get_mut(place)
            && let Some((next_ms, turn)) = lane.next.take()
        {
            self.agenda.remove(&(next_ms, turn, place.clone()));
        }
    }

    /// Puts the lane where it belongs in the agenda.
    fn schedule(&mut self, place: &Place) {
        self.unschedule(place);
        let (limits, Some(lane)) = (self.limits, self.lanes.get_mut(place)) else { return };
        // A host that has failed as often as may be is tried by one at a time.
        let share = if lane.failures >= limits.failures { 1 } else { limits.per_host };
        let Some((due_ms, _)) = lane.waiting.first() else {
            if lane.running == 0 && lane.failures == 0 {
                self.lanes.remove(place);
            }
            return;
        };
        if lane.running < share {
            let next_ms = (*due_ms).max(lane.open_until_ms);
            lane.next = Some((next_ms, lane.turn));
            self.agenda.insert((next_ms, lane.turn, place.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: LaneLimits = LaneLimits { per_host: 2, total: 6, failures: 3, pause_ms: (100, 1_000) };

    fn deliver(name: &str) -> Task {
        Task::Deliver(Pair::new("t", name))
    }

    fn lanes(works: &[(&str, &str, u64)]) -> Lanes {
        let mut lanes = Lanes::new(LIMITS);
        for (name, host, due_ms) in works {
            lanes.put(Work { task: deliver(name), due_ms: *due_ms }, (*host).to_owned());
        }
        lanes
    }

    fn drain(lanes: &mut Lanes, now_ms: u64) -> Vec<Task> {
        std::iter::from_fn(|| lanes.take(now_ms)).collect()
    }

    #[test]
    fn a_host_has_its_share_and_no_more() {
        let mut lanes =
            lanes(&[("a1", "a", 0), ("a2", "a", 0), ("a3", "a", 0), ("b1", "b", 5), ("c1", "c", 99)]);
        assert_eq!(drain(&mut lanes, 10), [deliver("a1"), deliver("a2"), deliver("b1")]);
        assert_eq!(lanes.next_ms(), Some(99));
        lanes.finish(&deliver("a1"), Health::Good, None, 10);
        assert_eq!(drain(&mut lanes, 10), [deliver("a3")]);
        assert_eq!(lanes.depth(), (1, 3));
    }

    #[test]
    fn hosts_that_wait_equally_long_take_turns() {
        let works: Vec<_> = ["a1", "a2", "a3", "b1", "b2", "b3"].map(|name| (name, &name[..1], 0)).into();
        let mut lanes = lanes(&works);
        assert_eq!(drain(&mut lanes, 0), ["a1", "b1", "a2", "b2"].map(deliver));
        lanes.finish(&deliver("a1"), Health::Good, None, 0);
        lanes.finish(&deliver("b1"), Health::Good, None, 0);
        assert_eq!(drain(&mut lanes, 0), ["a3", "b3"].map(deliver));
    }

    #[test]
    fn hosts_that_fail_leave_half_of_all_places_to_others() {
        let mut lanes = Lanes::new(LIMITS);
        for number in 0..6 {
            let host = format!("dead{number}");
            lanes.put(Work { task: deliver(&host), due_ms: 0 }, host.clone());
            assert_eq!(drain(&mut lanes, 0).len(), 1);
            lanes.finish(&deliver(&host), Health::Bad, Some(10), 0);
        }
        assert_eq!(drain(&mut lanes, 10).len(), 3);
        assert_eq!(lanes.next_ms(), None, "what waits now waits for a place");
        lanes.put(Work { task: deliver("live"), due_ms: 10 }, "live".to_owned());
        assert_eq!(drain(&mut lanes, 10), [deliver("live")]);
    }

    #[test]
    fn a_breaker_opens_longer_and_longer_and_closes_at_a_success() {
        let mut lanes = lanes(&[("1", "a", 0), ("2", "a", 0), ("3", "a", 0)]);
        let mut now_ms = 0;
        for expected in [0, 0, 100, 200, 400, 800, 1_000, 1_000] {
            let task = lanes.take(now_ms).unwrap();
            lanes.finish(&task, Health::Bad, Some(now_ms), now_ms);
            assert_eq!(lanes.next_ms(), Some(now_ms + expected));
            now_ms += expected;
            assert!(expected == 0 || lanes.take(now_ms - 1).is_none());
        }
        assert_eq!(lanes.ailing()[0].failures, 8);
        assert_eq!(drain(&mut lanes, now_ms).len(), 1, "one at a time");
        let running = lanes.running.keys().next().cloned().unwrap();
        lanes.finish(&running, Health::Good, None, now_ms);
        assert_eq!(drain(&mut lanes, now_ms).len(), 2);
        assert!(lanes.ailing().is_empty());
    }

    #[test]
    fn one_thing_at_a_time_for_a_pair_and_wishes_before_deliveries() {
        let verify = Task::Verify(Pair::new("t", "a1"));
        let mut lanes = lanes(&[("a1", "a", 0), ("a2", "a", 5)]);
        lanes.put(Work { task: verify.clone(), due_ms: 50 }, "a".to_owned());
        assert_eq!(drain(&mut lanes, 10), [deliver("a2")], "a1 is about to be asked");
        assert_eq!((lanes.take(50), lanes.take(50)), (Some(verify.clone()), None));
        lanes.finish(&deliver("a2"), Health::Good, None, 50);
        assert_eq!(drain(&mut lanes, 50), []);
        lanes.finish(&verify, Health::Good, None, 50);
        assert_eq!(drain(&mut lanes, 50), [deliver("a1")]);
        lanes.put(Work { task: verify.clone(), due_ms: 50 }, "a".to_owned());
        assert_eq!(drain(&mut lanes, 60), []);
        lanes.finish(&deliver("a1"), Health::Good, None, 60);
        assert_eq!(drain(&mut lanes, 60), [verify]);
    }

    #[test]
    fn a_delivery_waits_for_a_wish_that_is_tried_later() {
        let verify = Task::Verify(Pair::new("t", "a1"));
        let mut lanes = lanes(&[("a1", "a", 0)]);
        lanes.put(Work { task: verify.clone(), due_ms: 50 }, "a".to_owned());
        assert_eq!((drain(&mut lanes, 10), lanes.next_ms()), (vec![], Some(50)));
        assert_eq!(drain(&mut lanes, 50), [verify]);
    }

    #[test]
    fn what_is_put_in_while_it_runs_runs_again() {
        let mut lanes = lanes(&[("a", "a", 0)]);
        assert_eq!(lanes.take(0), Some(deliver("a")));
        lanes.put(Work { task: deliver("a"), due_ms: 7 }, "a".to_owned());
        assert_eq!(lanes.take(10), None);
        lanes.finish(&deliver("a"), Health::Good, None, 8);
        assert_eq!(lanes.take(10), Some(deliver("a")));
        lanes.finish(&deliver("a"), Health::Good, None, 10);
        assert_eq!((lanes.depth(), lanes.lanes.len()), ((0, 0), 0), "nothing is left behind");
    }

    #[test]
    fn what_waits_is_moved_and_not_doubled() {
        let mut lanes = lanes(&[("a", "a", 500)]);
        lanes.put(Work { task: deliver("a"), due_ms: 20 }, "a".to_owned());
        assert_eq!((lanes.depth(), lanes.next_ms()), ((1, 0), Some(20)));
        assert_eq!(drain(&mut lanes, 1_000), [deliver("a")]);
        lanes.finish(&deliver("a"), Health::Bad, None, 1_000);
        lanes.sweep(1_500);
        assert_eq!(lanes.ailing().len(), 0, "its breaker never opened");
    }
}
