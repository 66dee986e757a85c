//! What a job sends to the loop comes before its result: a report of progress is never late.
#![allow(clippy::unwrap_used, reason = "what fails in the helpers of a test fails the test")]

mod support;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::{Reactor, Simulation};
use support::{Trace, run};

thread_local! {
    /// What calls from other threads have said on the loop: they are `Send` and hold nothing of it.
    static SAID: RefCell<BTreeSet<u32>> = const { RefCell::new(BTreeSet::new()) };
}

/// One job after the other on several lanes; each says so twice, by a call and through the door, before it ends.
fn lanes(reactor: &Reactor, jobs: u32, done: impl Fn() + Clone + 'static) {
    let heard: Rc<RefCell<BTreeSet<u32>>> = Rc::default();
    let inner = Rc::clone(&heard);
    let (receiver, door) = reactor.receiver(1000, move |job| {
        inner.borrow_mut().insert(job);
    });
    let (receiver, left) = (Rc::new(receiver), Rc::new(Cell::new(jobs)));
    for lane in 0..10 {
        let (reactor, door, heard) = (reactor.clone(), door.clone(), Rc::clone(&heard));
        let (receiver, left, done) = (Rc::clone(&receiver), Rc::clone(&left), done.clone());
        reactor.clone().spawn(async move {
            for job in (lane..jobs).step_by(10) {
                let (remote, door) = (reactor.remote(), door.clone());
                let says = move || {
                    remote
                        .call_from_thread(move |_| assert!(SAID.with_borrow_mut(|said| said.insert(job))))
                        .unwrap();
                    door.send(job).unwrap();
                };
                // Now by a deferred, now by a callback.
                if job % 2 == 0 {
                    reactor.defer_to_thread(says).await.unwrap();
                } else {
                    let (firing, deferred) = ropewalk_reactor::Deferred::new(&reactor);
                    let heard = Rc::clone(&heard);
                    let callback = move |outcome: Result<(), _>| {
                        let before = heard.borrow().contains(&job);
                        let _ = firing.fire(outcome.map(|()| before));
                    };
                    reactor.call_in_thread_with_callback(says, callback).unwrap();
                    assert!(deferred.await.unwrap(), "job {job} had said it to the door");
                }
                assert!(SAID.with_borrow_mut(|said| said.remove(&job)), "job {job} had called");
                assert!(heard.borrow_mut().remove(&job), "job {job} had said it to the door");
                left.set(left.get() - 1);
            }
            if left.get() == 0 {
                done();
            }
            drop(receiver);
        });
    }
}

#[test]
fn what_a_job_sends_comes_before_its_result() {
    let reactor = Reactor::new().unwrap();
    let stopper = reactor.clone();
    lanes(&reactor, 20_000, move || stopper.stop());
    run(&reactor);
}

#[test]
fn what_a_simulated_job_sends_comes_before_its_result() {
    for seed in 0..100 {
        let (simulation, trace) = (Simulation::new(seed), Trace::default());
        let inner = trace.clone();
        lanes(simulation.reactor(), 100, move || inner.note("done"));
        simulation.advance(Duration::from_secs(10));
        assert_eq!(trace.take(), "done", "seed {seed}");
    }
}
