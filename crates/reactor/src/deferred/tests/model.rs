//! Random histories of one chain, beside a model of it that is a list and an index.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::rc::Rc;

use proptest::prelude::*;

use super::harness::{Diary, Harness, harness, word};
use crate::deferred::{Deferred, Firing, Flow, fail, succeed};
use crate::{Failure, Outcome, Reactor};

/// Which side of the chain a link takes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Values,
    Failures,
    Both,
}

/// What its callback does.
#[derive(Clone, Copy, Debug)]
enum Act {
    Value(i32),
    Fail,
    Panic,
    /// Returns a deferred that has fired.
    Fired(Result<i32, ()>),
    /// Returns one that has not, with a link of its own and perhaps with a canceller that gives this value.
    Unfired(Option<i32>),
    /// Returns a paused one that has fired.
    Paused(i32),
}

#[derive(Clone, Debug)]
enum Op {
    Link(Side, Act),
    Fire(Result<i32, ()>),
    /// Fires one of the inner ones there have been.
    FireInner(usize, Result<i32, ()>),
    Cancel,
    Pause,
    Unpause,
    DropTail,
    Turn,
}

fn outcomes() -> impl Strategy<Value = Result<i32, ()>> {
    prop_oneof![3 => (0..100).prop_map(Ok), 1 => Just(Err(()))]
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..100).prop_map(Act::Value),
        1 => Just(Act::Fail),
        1 => Just(Act::Panic),
        1 => outcomes().prop_map(Act::Fired),
        3 => prop::option::of(0..100).prop_map(Act::Unfired),
        1 => (0..100).prop_map(Act::Paused),
    ]
}

fn ops() -> impl Strategy<Value = Op> {
    let sides = prop_oneof![2 => Just(Side::Values), 1 => Just(Side::Failures), 1 => Just(Side::Both)];
    prop_oneof![
        8 => (sides, acts()).prop_map(|(side, act)| Op::Link(side, act)),
        3 => outcomes().prop_map(Op::Fire),
        4 => (0_usize..4, outcomes()).prop_map(|(inner, outcome)| Op::FireInner(inner, outcome)),
        2 => Just(Op::Cancel),
        2 => Just(Op::Pause),
        2 => Just(Op::Unpause),
        1 => Just(Op::DropTail),
        6 => Just(Op::Turn),
    ]
}

/// An outcome as both sides of the comparison know it.
type Seen = Result<i32, String>;

fn given(outcome: Result<i32, ()>) -> Seen {
    outcome.map_err(|()| String::from("given"))
}

fn spelled(seen: &Seen) -> String {
    seen.as_ref().map_or_else(Clone::clone, i32::to_string)
}

/// The head of a chain: when it may be fired, and with what.
#[derive(Default)]
struct Head {
    outcome: Option<Seen>,
    swallow: bool,
    canceller: Option<i32>,
}

impl Head {
    fn fire(&mut self, seen: Seen) -> bool {
        if self.outcome.is_some() {
            return std::mem::take(&mut self.swallow);
        }
        self.outcome = Some(seen);
        true
    }

    fn cancel(&mut self) {
        if self.outcome.is_none() {
            self.swallow = self.canceller.is_none();
            self.outcome = Some(self.canceller.ok_or_else(|| String::from("cancelled")));
        }
    }
}

/// The chain as Twisted's documentation tells it.
#[derive(Default)]
struct Model {
    head: Head,
    inners: Vec<Head>,
    links: Vec<(Side, Act)>,
    /// The first link that has not run.
    at: usize,
    /// What it will be given.
    value: Option<Seen>,
    /// The head has given its outcome to the chain.
    begun: bool,
    waiting: Option<usize>,
    pauses: u32,
    diary: Vec<String>,
}

impl Model {
    fn turn(&mut self) {
        if let Some(inner) = self.waiting {
            let Some(seen) = self.inners[inner].outcome.clone() else { return };
            // The inner chain has a link that adds one.
            self.value = Some(seen.map(|n| n + 1));
            self.waiting = None;
        } else if !self.begun {
            self.value.clone_from(&self.head.outcome);
            self.begun = self.value.is_some();
        }
        while self.pauses == 0 && self.waiting.is_none() && self.at < self.links.len() {
            let Some(seen) = self.value.take() else { return };
            let (side, act) = self.links[self.at];
            self.at += 1;
            let passes = match side {
                Side::Values => seen.is_err(),
                Side::Failures => seen.is_ok(),
                Side::Both => false,
            };
            if passes {
                self.value = Some(seen);
                continue;
            }
            self.diary.push(format!("{}: {}", self.at - 1, spelled(&seen)));
            self.act(act);
        }
    }

    fn act(&mut self, act: Act) {
        self.value = match act {
            Act::Value(n) | Act::Paused(n) => Some(Ok(n)),
            Act::Fail => Some(Err("failed".into())),
            Act::Panic => Some(Err("panicked: oops".into())),
            Act::Fired(outcome) => Some(given(outcome)),
            Act::Unfired(canceller) => {
                self.waiting = Some(self.inners.len());
                self.inners.push(Head { canceller, ..Head::default() });
                None
            }
        };
    }

    fn cancel(&mut self) {
        match self.waiting {
            Some(inner) => self.inners[inner].cancel(),
            None => self.head.cancel(),
        }
    }
}

/// The same with the real thing.
struct Real {
    harness: Harness,
    firing: Firing<i32>,
    inners: Inners,
    deferred: Option<Deferred<i32>>,
    links: usize,
    diary: Diary,
}

type Inners = Rc<RefCell<Vec<Firing<i32>>>>;

fn failing(outcome: Result<i32, ()>) -> Outcome<i32> {
    outcome.map_err(|()| Failure::new("given"))
}

impl Real {
    fn new() -> Real {
        let harness = harness();
        let (firing, deferred) = Deferred::new(&harness.reactor);
        let (inners, diary) = (Inners::default(), Diary::default());
        Real { harness, firing, inners, deferred: Some(deferred), links: 0, diary }
    }

    fn link(&mut self, side: Side, act: Act) {
        let Some(deferred) = self.deferred.take() else { return };
        let (diary, number) = (self.diary.clone(), self.links);
        let (reactor, inners) = (self.harness.reactor.clone(), self.inners.clone());
        let run = move |outcome: Outcome<i32>| {
            diary.write(format!("{number}: {}", word(&outcome)));
            perform(act, &reactor, &inners)
        };
        self.links += 1;
        self.deferred = Some(match side {
            Side::Both => deferred.add_both(run),
            Side::Values => deferred.add_callback(move |value| run(Ok(value))),
            Side::Failures => deferred.add_errback(move |failure| run(Err(failure))),
        });
    }

    fn fire_inner(&self, inner: usize, outcome: Result<i32, ()>) -> bool {
        self.inners.borrow()[inner].fire(failing(outcome)).is_ok()
    }
}

fn perform(act: Act, reactor: &Reactor, inners: &Inners) -> Flow<i32> {
    match act {
        Act::Value(n) => Flow::Done(Ok(n)),
        Act::Fail => Flow::Done(Err(Failure::new("failed"))),
        Act::Panic => resume_unwind(Box::new("oops")),
        Act::Fired(Ok(n)) => Flow::Wait(succeed(reactor, n)),
        Act::Fired(Err(())) => Flow::Wait(fail(reactor, "given")),
        Act::Paused(n) => {
            let inner = succeed(reactor, n);
            inner.pause();
            Flow::Wait(inner)
        }
        Act::Unfired(canceller) => {
            let (firing, inner) = match canceller {
                None => Deferred::new(reactor),
                Some(n) => Deferred::with_canceller(reactor, move |firing| firing.callback(n).unwrap()),
            };
            inners.borrow_mut().push(firing);
            Flow::Wait(inner.add_callback(|n| n + 1))
        }
    }
}

fn step(model: &mut Model, real: &mut Real, op: Op) {
    let tail = real.deferred.as_ref();
    match op {
        Op::Link(side, act) if tail.is_some() => {
            model.links.push((side, act));
            real.link(side, act);
        }
        Op::Fire(outcome) => {
            let fired = real.firing.fire(failing(outcome)).is_ok();
            assert_eq!(fired, model.head.fire(given(outcome)));
        }
        Op::FireInner(back, outcome) if back < model.inners.len() => {
            let inner = model.inners.len() - 1 - back;
            assert_eq!(real.fire_inner(inner, outcome), model.inners[inner].fire(given(outcome)));
        }
        Op::Turn => {
            assert!(real.harness.ready() <= 1, "a chain has one entry at most");
            real.harness.run();
            model.turn();
        }
        Op::DropTail if tail.is_some() => {
            real.deferred = None;
            model.pauses = 0;
        }
        Op::Cancel if tail.is_some() => {
            tail.unwrap().cancel();
            model.cancel();
        }
        Op::Pause if tail.is_some() => {
            tail.unwrap().pause();
            model.pauses += 1;
        }
        Op::Unpause if tail.is_some() => {
            tail.unwrap().unpause();
            model.pauses = model.pauses.saturating_sub(1);
        }
        _ => {}
    }
    let diary = real.diary.read();
    assert_eq!(diary, std::mem::take(&mut model.diary));
}

/// Ends everything: no pause, every head fired, and the chain at its end.
fn finish(model: &mut Model, real: &mut Real) {
    for _ in 0..model.pauses {
        step(model, real, Op::Unpause);
    }
    step(model, real, Op::Fire(Ok(0)));
    step(model, real, Op::Turn);
    while model.waiting.is_some() {
        step(model, real, Op::FireInner(0, Ok(0)));
        step(model, real, Op::Turn);
    }
    if let Some(deferred) = real.deferred.take() {
        let outcome = real.harness.outcome(deferred).expect("every chain comes to its end");
        assert_eq!(Some(word(&outcome)), model.value.as_ref().map(spelled));
    }
    assert_eq!(model.at, model.links.len());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_agree_with_the_model(history in prop::collection::vec(ops(), 0..60)) {
        let (mut model, mut real) = (Model::default(), Real::new());
        for op in history {
            step(&mut model, &mut real, op);
        }
        finish(&mut model, &mut real);
    }
}
