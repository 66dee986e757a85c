//! Locks, semaphores, queues, events and conditions: order, limits, cancelling, and nothing lost on the way to one who left.

mod support;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use ropewalk_reactor::failure::{Abandoned, Cancelled, TimedOut};
use ropewalk_reactor::sync::{
    Condition, DeferredLock, DeferredQueue, DeferredSemaphore, Event, JoinableQueue, Permit, QueueUnderflow,
    TooManyDone,
};
use ropewalk_reactor::{Deferred, Outcome, Simulation};
use support::Trace;

const MS: Duration = Duration::from_millis(1);

fn poll<T>(deferred: &mut Pin<Box<Deferred<T>>>) -> Option<Outcome<T>> {
    match deferred.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

/// The outcome, which has to be there.
fn now<T>(deferred: Deferred<T>) -> Outcome<T> {
    match pin!(deferred).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("it has not fired"),
    }
}

#[test]
fn a_lock_goes_from_hand_to_hand_in_order() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let lock = DeferredLock::new(simulation.reactor());
    let mut firings = Vec::new();
    for number in 0..3 {
        let (firing, work) = Deferred::<()>::new(simulation.reactor());
        firings.push(firing);
        let (begun, done) = (trace.clone(), trace.clone());
        let run: Deferred<()> = lock.run(move || {
            begun.note(format!("begin {number}"));
            work
        });
        drop(run.add_callback(move |()| done.note(format!("done {number}"))));
    }
    simulation.advance(MS);
    assert_eq!((lock.locked(), lock.waiting()), (true, 2));
    assert_eq!(trace.take(), "begin 0");
    for firing in &firings {
        firing.callback(()).unwrap();
        simulation.advance(MS);
    }
    assert_eq!(trace.take(), "done 0 begin 1 done 1 begin 2 done 2");
    assert!(!lock.locked());
}

#[test]
fn a_failure_or_a_panic_lets_go_of_the_lock() {
    let simulation = Simulation::new(1);
    let lock = DeferredLock::new(simulation.reactor());
    let failed: Deferred<()> = lock.run(|| -> Outcome<()> { Err("no".into()) });
    let panicked: Deferred<()> = lock.run(|| -> () { std::panic::resume_unwind(Box::new("oops")) });
    simulation.advance(MS);
    assert_eq!(now(failed).unwrap_err().to_string(), "no");
    assert_eq!(now(panicked).unwrap_err().to_string(), "panicked: oops");
    assert!(!lock.locked());
}

#[test]
fn who_is_cancelled_leaves_the_line() {
    let simulation = Simulation::new(1);
    let semaphore = DeferredSemaphore::new(simulation.reactor(), 1);
    let held = semaphore.try_acquire().unwrap();
    assert!(semaphore.try_acquire().is_none());
    let (first, second) = (semaphore.acquire(), semaphore.acquire());
    first.cancel();
    assert_eq!(semaphore.waiting(), 1);
    assert!(now(first).unwrap_err().is::<Cancelled>());
    drop(held);
    let permit = now(second).unwrap();
    assert_eq!((semaphore.tokens(), semaphore.limit()), (0, 1));
    drop(permit);
    assert_eq!(semaphore.tokens(), 1);
}

#[test]
fn a_timeout_leaves_the_line() {
    let simulation = Simulation::new(1);
    let semaphore = DeferredSemaphore::new(simulation.reactor(), 0);
    let late = semaphore.acquire().add_timeout(5 * MS);
    simulation.advance(4 * MS);
    assert_eq!(semaphore.waiting(), 1);
    simulation.advance(MS);
    assert_eq!(semaphore.waiting(), 0);
    assert!(now(late).unwrap_err().is::<TimedOut>());
}

#[test]
fn a_token_on_its_way_to_one_who_left_goes_to_the_next() {
    let simulation = Simulation::new(1);
    let semaphore = DeferredSemaphore::new(simulation.reactor(), 1);
    let held = semaphore.try_acquire();
    let mut awaited = Box::pin(semaphore.acquire());
    let next = semaphore.acquire();
    assert!(poll(&mut awaited).is_none());
    drop(held);
    drop(awaited);
    assert!(now(next).is_ok());
}

#[test]
fn ten_thousand_who_left_without_a_word_take_no_stack() {
    let small = std::thread::Builder::new().stack_size(1 << 20);
    let thread = small.spawn(|| {
        let simulation = Simulation::new(1);
        let semaphore = DeferredSemaphore::new(simulation.reactor(), 1);
        let queue = DeferredQueue::new(simulation.reactor());
        let condition = Condition::new(simulation.reactor());
        let held = semaphore.try_acquire();
        for _ in 0..10_000 {
            drop(semaphore.acquire());
            drop(queue.get());
            drop(condition.wait());
        }
        drop(held);
        queue.put(7).unwrap();
        condition.notify(1);
        assert_eq!((semaphore.tokens(), queue.len(), condition.waiting()), (1, 1, 0));
        assert_eq!(now(queue.get()).unwrap(), 7);
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn a_semaphore_that_is_gone_leaves_nobody_waiting() {
    let simulation = Simulation::new(1);
    let semaphore = DeferredSemaphore::new(simulation.reactor(), 0);
    let waiting = semaphore.acquire();
    drop(semaphore);
    assert!(now(waiting).unwrap_err().is::<Abandoned>());
}

#[test]
fn a_queue_has_a_size_and_a_backlog() {
    let simulation = Simulation::new(1);
    let queue = DeferredQueue::with_limits(simulation.reactor(), Some(2), Some(1));
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    assert_eq!(queue.put(3).unwrap_err().into_item(), 3);
    assert_eq!(now(queue.get()).unwrap(), 1);
    assert_eq!(now(queue.get()).unwrap(), 2);
    let waiting = queue.get();
    assert!(now(queue.get()).unwrap_err().is::<QueueUnderflow>());
    queue.put(4).unwrap();
    assert_eq!(now(waiting).unwrap(), 4);
    assert!(queue.is_empty());
}

#[test]
fn an_item_that_nobody_looked_at_is_back_in_its_place() {
    let simulation = Simulation::new(1);
    let queue = DeferredQueue::new(simulation.reactor());
    let mut awaited = Box::pin(queue.get());
    assert!(poll(&mut awaited).is_none());
    queue.put("first").unwrap();
    queue.put("second").unwrap();
    assert_eq!(queue.len(), 1);
    drop(awaited);
    assert_eq!(queue.len(), 2);
    drop(queue.get());
    assert_eq!(now(queue.get()).unwrap(), "first");
    assert_eq!(now(queue.get()).unwrap(), "second");
}

#[test]
fn putting_waits_for_room_and_join_for_the_work() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let queue = JoinableQueue::new(simulation.reactor(), Some(1));
    assert!(now(queue.join()).is_ok(), "nothing is outstanding");
    now(queue.put(1)).unwrap();
    let (second, third) = (queue.put(2), queue.put(3));
    let noted = trace.clone();
    drop(queue.join().add_callback(move |()| noted.note("joined")));
    third.cancel();
    assert!(now(third).unwrap_err().is::<Cancelled>());
    assert_eq!(queue.try_put(4).unwrap_err().into_item(), 4);
    assert_eq!(queue.try_get(), Ok(1));
    now(second).unwrap();
    assert_eq!((queue.len(), queue.unfinished()), (1, 2));
    assert_eq!(now(queue.get()).unwrap(), 2);
    queue.task_done().unwrap();
    simulation.advance(MS);
    assert_eq!(trace.take(), "");
    queue.task_done().unwrap();
    simulation.advance(MS);
    assert_eq!(trace.take(), "joined");
    assert_eq!(queue.task_done(), Err(TooManyDone));
    let waiting = queue.get();
    queue.try_put(5).unwrap();
    assert_eq!(now(waiting).unwrap(), 5);
}

#[test]
fn an_event_is_waited_for_by_all() {
    let simulation = Simulation::new(1);
    let event = Event::new(simulation.reactor());
    let (first, second, third) = (event.wait(), event.wait(), event.wait());
    second.cancel();
    assert_eq!(event.waiting(), 2);
    event.set();
    assert!(event.is_set() && event.waiting() == 0);
    assert!(now(first).is_ok() && now(second).is_err() && now(third).is_ok());
    assert!(now(event.wait()).is_ok());
    event.clear();
    let mut later = Box::pin(event.wait());
    assert!(poll(&mut later).is_none());
}

#[test]
fn a_condition_tells_some_or_all_and_keeps_nothing() {
    let simulation = Simulation::new(1);
    let condition = Condition::new(simulation.reactor());
    condition.notify_all();
    let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(condition.wait())).collect();
    assert!(waiting.iter_mut().all(|one| poll(one).is_none()), "what came before is gone");
    condition.notify(2);
    // The first was told, and leaves without a look: the third is told in its place.
    drop(waiting.remove(0));
    let told: Vec<bool> = waiting.iter_mut().map(|one| poll(one).is_some()).collect();
    assert_eq!(told, [true, true, false]);
    condition.notify(9);
    assert!(poll(&mut waiting[2]).is_some());
    let mut after = Box::pin(condition.wait());
    assert!(poll(&mut after).is_none(), "nothing was kept");
}

/// What happens to a semaphore and a queue.
#[derive(Clone, Copy, Debug)]
enum Op {
    Acquire,
    /// One of those who hold a permit lets go.
    Release(usize),
    /// One of those who wait or were given something unseen is cancelled and dropped.
    Leave(usize),
    /// One of those looks.
    Look(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => Just(Op::Acquire),
        2 => (0_usize..5).prop_map(Op::Release),
        2 => (0_usize..5).prop_map(Op::Leave),
        2 => (0_usize..5).prop_map(Op::Look),
    ];
    prop::collection::vec(op, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tokens_are_neither_lost_nor_made(history in ops(), limit in 1_usize..4) {
        let simulation = Simulation::new(1);
        let semaphore = DeferredSemaphore::new(simulation.reactor(), limit);
        let mut asked: Vec<Pin<Box<Deferred<Permit>>>> = Vec::new();
        let mut held: Vec<Permit> = Vec::new();
        for op in history {
            match op {
                Op::Acquire => asked.push(Box::pin(semaphore.acquire())),
                Op::Release(one) if one < held.len() => drop(held.remove(one)),
                Op::Leave(one) if one < asked.len() => {
                    let one = asked.remove(one);
                    one.cancel();
                }
                Op::Look(one) if one < asked.len() => {
                    if let Some(permit) = poll(&mut asked[one]) {
                        held.push(permit.unwrap());
                        drop(asked.remove(one));
                    }
                }
                _ => {}
            }
            prop_assert!(held.len() <= limit);
            prop_assert!(semaphore.tokens() == 0 || semaphore.waiting() == 0, "a free token and one who waits");
            let given = asked.len() - semaphore.waiting();
            prop_assert_eq!(semaphore.tokens() + given + held.len(), limit);
        }
        drop((asked, held));
        prop_assert_eq!((semaphore.tokens(), semaphore.waiting()), (limit, 0));
    }

    /// Every item is got once and in order, however many getters leave without a look.
    #[test]
    fn items_keep_their_order(history in prop::collection::vec((0_u8..4, 0_usize..4), 0..80)) {
        let simulation = Simulation::new(1);
        let queue = DeferredQueue::new(simulation.reactor());
        let mut asked: VecDeque<Pin<Box<Deferred<u32>>>> = VecDeque::new();
        let (mut put, mut got) = (0, Vec::new());
        for (op, one) in history {
            match op {
                0 => {
                    put += 1;
                    queue.put(put).unwrap();
                }
                1 => asked.push_back(Box::pin(queue.get())),
                // Only the last one leaves: what is given to others between would be overtaken by what comes back.
                2 => drop(asked.pop_back()),
                _ if one == 0 => {
                    if let Some(item) = asked.front_mut().and_then(poll) {
                        got.push(item.unwrap());
                        asked.pop_front();
                    }
                }
                _ => {}
            }
        }
        while let Some(mut getter) = asked.pop_front() {
            if let Some(item) = poll(&mut getter) {
                got.push(item.unwrap());
            }
        }
        while !queue.is_empty() {
            got.push(now(queue.get()).unwrap());
        }
        prop_assert_eq!(got, (1..=put).collect::<Vec<_>>());
    }
}

#[test]
fn workers_over_a_queue_share_the_work() {
    let simulation = Simulation::new(1);
    let reactor = simulation.reactor().clone();
    let queue = JoinableQueue::new(&reactor, Some(3));
    let (done, at_once, most) =
        (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    for _ in 0..4 {
        let (reactor, queue) = (reactor.clone(), queue.clone());
        let (done, at_once, most) = (done.clone(), at_once.clone(), most.clone());
        reactor.clone().spawn(async move {
            while let Ok(item) = queue.get().await {
                at_once.set(at_once.get() + 1);
                most.set(most.get().max(at_once.get()));
                reactor.sleep(10 * MS).await;
                at_once.set(at_once.get() - 1);
                done.borrow_mut().push(item);
                queue.task_done().unwrap();
            }
        });
    }
    let producer = queue.clone();
    let joined = reactor.ensure_deferred(async move {
        for item in 0..20 {
            producer.put(item).await?;
        }
        producer.join().await
    });
    simulation.advance(49 * MS);
    assert_eq!(done.borrow().len(), 16);
    simulation.advance(MS);
    assert_eq!((done.borrow().len(), most.get()), (20, 4));
    assert!(now(joined).is_ok());
}
