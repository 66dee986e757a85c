//! Random nests of chains within chains, beside a model that runs them by recursion.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::rc::Rc;

use proptest::prelude::*;

use super::harness::{Diary, harness, word};
use crate::deferred::{Deferred, Firing, Flow};
use crate::{Failure, Outcome, Reactor};

/// One link of a chain: which side it takes, and what its callback does.
#[derive(Clone, Debug)]
enum Link {
    Values(Act),
    Failures(Act),
    Both(Act),
}

#[derive(Clone, Debug)]
enum Act {
    Value(i32),
    Fail,
    Panic,
    /// Returns a chain of its own.
    Nest(Chain),
}

#[derive(Clone, Debug)]
struct Chain {
    /// What it has from the start; else it waits to be fired.
    fired: Option<Result<i32, ()>>,
    links: Vec<Link>,
}

#[derive(Clone, Debug)]
enum Op {
    /// Fires one of the heads there are by now.
    Fire(usize, Result<i32, ()>),
    Cancel,
    Turn,
}

fn outcomes() -> impl Strategy<Value = Result<i32, ()>> {
    prop_oneof![3 => (0..100).prop_map(Ok), 1 => Just(Err(()))]
}

fn chains() -> impl Strategy<Value = Chain> {
    let chain = |links: BoxedStrategy<Vec<Link>>| {
        (prop::option::of(outcomes()), links).prop_map(|(fired, links)| Chain { fired, links })
    };
    let flat = chain(Just(Vec::new()).boxed());
    flat.prop_recursive(5, 40, 4, move |inner| {
        let act = prop_oneof![
            2 => (0..100).prop_map(Act::Value),
            1 => Just(Act::Fail),
            1 => Just(Act::Panic),
            4 => inner.prop_map(Act::Nest),
        ];
        let link = (0..3, act).prop_map(|(side, act)| match side {
            0 => Link::Values(act),
            1 => Link::Failures(act),
            _ => Link::Both(act),
        });
        chain(prop::collection::vec(link, 0..4).boxed())
    })
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => (0_usize..6, outcomes()).prop_map(|(head, outcome)| Op::Fire(head, outcome)),
        1 => Just(Op::Cancel),
        3 => Just(Op::Turn),
    ];
    prop::collection::vec(op, 0..30)
}

/// An outcome as both sides of the comparison know it.
type Seen = Result<i32, String>;

fn given(outcome: Result<i32, ()>) -> Seen {
    outcome.map_err(|()| String::from("given"))
}

fn spelled(seen: &Seen) -> String {
    seen.as_ref().map_or_else(Clone::clone, i32::to_string)
}

/// The heads of all chains that were made, in the order of their making: their outcome, and whether the next firing is
/// swallowed.
#[derive(Default)]
struct Heads(Vec<(Option<Seen>, bool)>);

impl Heads {
    fn fire(&mut self, head: usize, seen: Seen) -> bool {
        let (outcome, swallow) = &mut self.0[head];
        if outcome.is_some() {
            return std::mem::take(swallow);
        }
        *outcome = Some(seen);
        true
    }
}

/// A chain that runs.
struct Running {
    head: usize,
    links: std::vec::IntoIter<Link>,
    value: Option<Seen>,
    begun: bool,
    inner: Option<Box<Running>>,
}

impl Running {
    fn new(chain: Chain, heads: &mut Heads) -> Running {
        heads.0.push((chain.fired.map(given), false));
        let head = heads.0.len() - 1;
        Running { head, links: chain.links.into_iter(), value: None, begun: false, inner: None }
    }

    /// Runs as far as it goes; answers its outcome once it has one.
    fn run(&mut self, heads: &mut Heads, diary: &mut Vec<String>) -> Option<Seen> {
        if !self.begun {
            self.value.clone_from(&heads.0[self.head].0);
            self.begun = self.value.is_some();
        }
        loop {
            if let Some(inner) = &mut self.inner {
                self.value = Some(inner.run(heads, diary)?);
                self.inner = None;
            }
            let seen = self.value.take()?;
            let Some(link) = self.links.next() else {
                self.value = Some(seen.clone());
                return Some(seen);
            };
            let (takes, act) = match link {
                Link::Values(act) => (seen.is_ok(), act),
                Link::Failures(act) => (seen.is_err(), act),
                Link::Both(act) => (true, act),
            };
            if !takes {
                self.value = Some(seen);
                continue;
            }
            diary.push(spelled(&seen));
            match act {
                Act::Value(n) => self.value = Some(Ok(n)),
                Act::Fail => self.value = Some(Err("failed".into())),
                Act::Panic => self.value = Some(Err("panicked: oops".into())),
                Act::Nest(chain) => self.inner = Some(Box::new(Running::new(chain, heads))),
            }
        }
    }

    fn cancel(&self, heads: &mut Heads) {
        if let Some(inner) = &self.inner {
            return inner.cancel(heads);
        }
        let (outcome, swallow) = &mut heads.0[self.head];
        if outcome.is_none() {
            (*outcome, *swallow) = (Some(Err("cancelled".into())), true);
        }
    }
}

type Firings = Rc<RefCell<Vec<Firing<i32>>>>;

fn failing(outcome: Result<i32, ()>) -> Outcome<i32> {
    outcome.map_err(|()| Failure::new("given"))
}

/// The same with the real thing.
fn build(chain: Chain, reactor: &Reactor, firings: &Firings, diary: &Diary) -> Deferred<i32> {
    let (firing, mut deferred) = Deferred::new(reactor);
    if let Some(outcome) = chain.fired {
        firing.fire(failing(outcome)).unwrap();
    }
    firings.borrow_mut().push(firing);
    for link in chain.links {
        let (reactor, firings, diary) = (reactor.clone(), firings.clone(), diary.clone());
        let run = move |act: Act, outcome: Outcome<i32>| {
            diary.write(word(&outcome));
            match act {
                Act::Value(n) => Flow::Done(Ok(n)),
                Act::Fail => Flow::Done(Err(Failure::new("failed"))),
                Act::Panic => resume_unwind(Box::new("oops")),
                Act::Nest(chain) => Flow::Wait(build(chain, &reactor, &firings, &diary)),
            }
        };
        deferred = match link {
            Link::Values(act) => deferred.add_callback(move |value| run(act, Ok(value))),
            Link::Failures(act) => deferred.add_errback(move |failure| run(act, Err(failure))),
            Link::Both(act) => deferred.add_both(move |outcome| run(act, outcome)),
        };
    }
    deferred
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_nests_agree_with_the_model(chain in chains(), history in ops()) {
        let h = harness();
        let (firings, real_diary) = (Firings::default(), Diary::default());
        let (mut heads, mut diary) = (Heads::default(), Vec::new());
        let deferred = build(chain.clone(), &h.reactor, &firings, &real_diary);
        let mut model = Running::new(chain, &mut heads);
        // At the end every head is fired, until none is new.
        let ends = std::iter::repeat_n([Op::Turn, Op::Fire(usize::MAX, Ok(0))], 60).flatten();
        for op in history.into_iter().chain(ends) {
            match op {
                Op::Fire(usize::MAX, outcome) => {
                    let unfired = heads.0.iter().position(|(seen, _)| seen.is_none());
                    if let Some(head) = unfired {
                        prop_assert!(heads.fire(head, given(outcome)));
                        prop_assert!(firings.borrow()[head].fire(failing(outcome)).is_ok());
                    }
                }
                Op::Fire(head, outcome) if head < heads.0.len() => {
                    let fired = firings.borrow()[head].fire(failing(outcome)).is_ok();
                    prop_assert_eq!(fired, heads.fire(head, given(outcome)));
                }
                Op::Cancel => {
                    deferred.cancel();
                    model.cancel(&mut heads);
                }
                Op::Turn => {
                    h.run();
                    let _ = model.run(&mut heads, &mut diary);
                    prop_assert_eq!(firings.borrow().len(), heads.0.len());
                    prop_assert_eq!(real_diary.read(), std::mem::take(&mut diary));
                }
                Op::Fire(..) => {}
            }
        }
        let seen = model.run(&mut heads, &mut diary);
        prop_assert_eq!(word(&h.outcome(deferred).unwrap()), spelled(&seen.unwrap()));
    }
}
