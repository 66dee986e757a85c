//! Random publishes, stalls, resumes, removals and crashes against a model, in memory and over a journal that is slow and fails.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_channel::{
    Channel, ChannelOptions, Channels, ChannelsOptions, Event, EventId, Limit, Listener, MemoryJournal,
    Retention, Since, Subscription,
};
use ropewalk_reactor::Simulation;

const SEEDS: u64 = 200;
const NAMES: [&str; 3] = ["a", "b", "c"];

/// What is known to have happened to one channel's name, over all processes.
#[derive(Default)]
struct History {
    /// Every event that was answered, by its id.
    answered: BTreeMap<EventId, String>,
    /// Every event that anybody has seen.
    seen: BTreeMap<EventId, String>,
    /// Events up to here went with a channel that was removed, or with a process that kept nothing.
    gone: EventId,
}

impl History {
    fn saw(&mut self, event: &Event) {
        let text = event.data.text().unwrap().to_owned();
        let before = self.seen.insert(event.id, text.clone());
        assert!(before.is_none_or(|before| before == text), "the id {} was given twice", event.id);
    }
}

/// A face as they are built: writes at once while drained, else lags and reads on later.
struct Face {
    name: &'static str,
    /// Where it began.
    began: EventId,
    cursor: Cell<EventId>,
    drained: Cell<bool>,
    received: RefCell<Vec<EventId>>,
    gaps: RefCell<Vec<(EventId, EventId)>>,
    world: Rc<RefCell<BTreeMap<&'static str, History>>>,
}

impl Face {
    fn take(&self, event: &Event) {
        assert!(event.id > self.cursor.get(), "{} after {}", event.id, self.cursor.get());
        self.world.borrow_mut().entry(self.name).or_default().saw(event);
        self.received.borrow_mut().push(event.id);
        self.cursor.set(event.id);
    }

    fn read_on(&self, channel: &Channel, events_max: usize) {
        let batch = channel.since(Since::After(self.cursor.get()), Limit { events_max, ..Limit::default() });
        if let Some(gap) = batch.gap {
            assert!(gap.resumed > gap.asked, "ids never run backwards here");
            self.gaps.borrow_mut().push((gap.asked, gap.resumed));
            self.cursor.set(gap.resumed);
        }
        batch.events.iter().for_each(|event| self.take(event));
        self.cursor.set(batch.next);
        self.drained.set(!batch.more);
    }
}

impl Listener for Face {
    fn published(&self, event: &Event) {
        if self.drained.get() && event.id > self.cursor.get() {
            self.take(event);
        }
    }
}

/// A face, and its connection while it has one.
type Viewer = (Rc<Face>, Option<(Channel, Subscription)>);

struct World {
    simulation: Simulation,
    journal: Option<MemoryJournal>,
    channels: Channels,
    options: ChannelsOptions,
    history: Rc<RefCell<BTreeMap<&'static str, History>>>,
    faces: Vec<Viewer>,
    number: u64,
    seed: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let simulation = Simulation::new(seed);
        let retention = Retention { events_max: 3 + (seed % 20) as usize, bytes_max: 400, age_max: None };
        let options = ChannelsOptions {
            channel: ChannelOptions { retention, ..ChannelOptions::default() },
            // So small that channels which nobody looks at are let go of.
            memory_bytes_max: if seed.is_multiple_of(4) { 2_500 } else { 1 << 20 },
            idle: Duration::from_secs(20),
            ..ChannelsOptions::default()
        };
        let journal = (!seed.is_multiple_of(3)).then(|| MemoryJournal::new(simulation.reactor()));
        if let Some(journal) = &journal {
            journal.set_delay(Duration::from_millis(seed % 50));
            journal.set_failing(seed % 7 * 2);
        }
        let channels = open(&simulation, journal.as_ref(), &options);
        let (history, faces) = (Rc::default(), Vec::new());
        World { simulation, journal, channels, options, history, faces, number: 0, seed }
    }

    fn random(&self, below: u64) -> u64 {
        self.simulation.network().random() % below
    }

    fn name(&self) -> &'static str {
        NAMES[self.random(3) as usize]
    }

    /// The channel, when it is there; none when the journal failed.
    fn channel(&self, name: &str) -> Option<Channel> {
        let got: Rc<RefCell<Option<Channel>>> = Rc::default();
        let mine = Rc::clone(&got);
        let done = self.channels.channel(name).add_both(move |outcome| *mine.borrow_mut() = outcome.ok());
        assert!(self.simulation.run_until(Duration::from_secs(60), || done.has_outcome()), "it is answered");
        got.take()
    }

    fn step(&mut self) {
        match self.random(20) {
            0..8 => self.publish(),
            8..10 => self.join(),
            10..12 => self.each_face(|face, _| face.drained.set(false)),
            12..16 => {
                let events = 1 + self.random(5) as usize;
                self.each_face(move |face, channel| face.read_on(channel, events));
            }
            16 => self.leave(),
            17 if self.random(4) == 0 => self.remove(),
            18 if self.random(3) == 0 => self.crash(),
            _ => {
                let ms = if self.random(5) == 0 { 30_000 } else { self.random(40) };
                self.simulation.advance(Duration::from_millis(ms));
            }
        }
    }

    fn publish(&mut self) {
        for _ in 0..=self.random(4) {
            let name = self.name();
            self.number += 1;
            let text = format!("{} {}", self.number, "x".repeat(self.random(60) as usize));
            let history = Rc::clone(&self.history);
            let answered =
                self.channels.publish(name, text.as_str()).add_both(move |outcome: Result<EventId, _>| {
                    if let Ok(id) = outcome {
                        let mut history = history.borrow_mut();
                        let history = history.entry(name).or_default();
                        assert!(
                            history.answered.last_key_value().is_none_or(|(last, _)| *last < id),
                            "ids rise"
                        );
                        history.answered.insert(id, text);
                    }
                });
            answered.detach();
        }
    }

    /// A new face, or one that comes back at any id that was ever given, or made up.
    fn join(&mut self) {
        let name = self.name();
        let Some(channel) = self.channel(name) else { return };
        let began = {
            let history = self.history.borrow();
            let ids: Vec<EventId> =
                history.get(name).map_or(Vec::new(), |history| history.answered.keys().copied().collect());
            match self.random(3) {
                0 if !ids.is_empty() => ids[self.random(ids.len() as u64) as usize],
                1 => channel.since(Since::Last(2), Limit { events_max: 0, bytes_max: 0 }).next,
                _ => channel.last(),
            }
        };
        let face = Rc::new(Face {
            name,
            began,
            cursor: Cell::new(began),
            drained: Cell::new(false),
            received: RefCell::default(),
            gaps: RefCell::default(),
            world: Rc::clone(&self.history),
        });
        let subscription = channel.subscribe(face.clone());
        self.faces.push((face, Some((channel, subscription))));
    }

    fn each_face(&self, act: impl Fn(&Face, &Channel)) {
        if !self.faces.is_empty() {
            let (face, place) = &self.faces[self.random(self.faces.len() as u64) as usize];
            if let Some((channel, _)) = place {
                act(face, channel);
            }
        }
    }

    /// Its connection is lost; it comes back at the end, or after a crash.
    fn leave(&mut self) {
        if !self.faces.is_empty() {
            let at = self.random(self.faces.len() as u64) as usize;
            self.faces[at].1 = None;
        }
    }

    fn remove(&mut self) {
        let name = self.name();
        let removed = self.channels.remove(name);
        let ok: Rc<Cell<bool>> = Rc::default();
        let mine = Rc::clone(&ok);
        let removed = removed.add_both(move |outcome: Result<bool, _>| mine.set(outcome.is_ok()));
        assert!(self.simulation.run_until(Duration::from_secs(60), || removed.has_outcome()));
        for (face, place) in &mut self.faces {
            if face.name == name {
                *place = None;
            }
        }
        self.simulation.advance(Duration::from_secs(1));
        let mut history = self.history.borrow_mut();
        let history = history.entry(name).or_default();
        let last = history.answered.last_key_value().map_or(EventId(0), |(id, _)| *id);
        // Also where the journal could not: nobody may rely on it any more.
        history.gone = history.gone.max(last);
    }

    fn crash(&mut self) {
        for (_, place) in &mut self.faces {
            *place = None;
        }
        self.seed += 1_000_000;
        let next = Simulation::new(self.seed);
        // The wall clock of the next process is a little later than that of this one.
        let passed =
            self.simulation.reactor().wall_clock().duration_since(next.reactor().wall_clock()).unwrap();
        next.advance(passed + Duration::from_secs(1));
        self.journal = self.journal.take().map(|journal| journal.crash(next.reactor()));
        let mut history = self.history.borrow_mut();
        for history in history.values_mut() {
            let last = history.answered.last_key_value().map_or(EventId(0), |(id, _)| *id);
            history.gone = if self.journal.is_none() { history.gone.max(last) } else { history.gone };
        }
        drop(history);
        self.channels = open(&next, self.journal.as_ref(), &self.options);
        self.simulation = next;
    }

    /// Everybody comes back and reads to the end; nothing is lost, repeated or reordered except what a gap has announced.
    fn check(mut self) {
        if let Some(journal) = &self.journal {
            journal.set_failing(0);
        }
        self.simulation.advance(Duration::from_secs(5));
        // All connections are lost, so that every channel can be let go of for another one.
        let faces: Vec<_> = std::mem::take(&mut self.faces).into_iter().map(|(face, _)| face).collect();
        for face in faces {
            let channel = self.channel(face.name).expect("nothing fails any more");
            face.read_on(&channel, usize::MAX);
            face.read_on(&channel, usize::MAX);
            let history = self.history.borrow();
            let Some(history) = history.get(face.name) else { continue };
            let gaps = face.gaps.borrow();
            let in_gap = |id: EventId| gaps.iter().any(|(asked, resumed)| *asked < id && id <= *resumed);
            let received = face.received.borrow();
            for (id, text) in history
                .answered
                .range((std::ops::Bound::Excluded(face.began), std::ops::Bound::Included(face.cursor.get())))
            {
                assert!(
                    received.binary_search(id).is_ok() || in_gap(*id),
                    "{text} ({id}) is lost to {} from {}, with {gaps:?}",
                    face.name,
                    face.began
                );
            }
            let last = history.answered.last_key_value().map_or(EventId(0), |(id, _)| *id);
            assert!(face.cursor.get() >= last, "everybody comes to the end");
            for (id, text) in &history.answered {
                assert!(history.seen.get(id).is_none_or(|seen| seen == text), "{id} is another event now");
            }
        }
        self.kept_as_promised();
    }

    /// What retention keeps is there: the last answered events, unless they went with their channel.
    fn kept_as_promised(&self) {
        for (name, history) in self.history.borrow().iter() {
            let channel = self.channel(name).expect("nothing fails any more");
            let kept =
                channel.since(Since::Earliest, Limit { events_max: usize::MAX, bytes_max: usize::MAX });
            let floor = channel.statistics().floor;
            for (id, text) in history.answered.iter().filter(|(id, _)| **id > history.gone.max(floor)) {
                let found = kept.events.iter().find(|event| event.id == *id).expect("it was answered");
                assert_eq!(found.data.text(), Some(text.as_str()));
            }
            if channel.is_durable() {
                let alive = history.answered.keys().filter(|id| **id > history.gone).count();
                let full = kept.events.len() >= self.options.channel.retention.events_max
                    || channel.statistics().bytes > 400 - 70;
                assert!(full || kept.events.len() >= alive, "{} of {alive} in {name}", kept.events.len());
            }
        }
    }
}

fn open(simulation: &Simulation, journal: Option<&MemoryJournal>, options: &ChannelsOptions) -> Channels {
    match journal {
        Some(journal) => Channels::durable(simulation.reactor(), journal.clone(), options.clone()),
        None => Channels::in_memory(simulation.reactor(), options.clone()),
    }
}

#[test]
fn a_viewer_misses_only_what_a_gap_announces_whatever_happens() {
    for seed in 0..SEEDS {
        let run = move || {
            let mut world = World::new(seed);
            for _ in 0..150 {
                world.step();
            }
            world.check();
        };
        if let Err(panic) = std::panic::catch_unwind(run) {
            panic!("seed {seed}: {}", panic.downcast_ref::<String>().map_or("", |text| text.as_str()));
        }
    }
}
