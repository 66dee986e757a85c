//! The door for messages: order, bounds, both of its ends, and one wake-up for many messages.
#![allow(clippy::unwrap_used, reason = "what fails in the helpers of a test fails the test")]

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use ropewalk_reactor::{Reactor, Receiver, SendError, Sender, Simulation};
use support::{PATIENCE, Trace, run, when};

fn is_send_and_sync<T: Send + Sync>(_: &T) {}

#[test]
fn messages_of_one_sender_keep_their_order_and_none_is_lost() {
    const SENDERS: u32 = 4;
    const MESSAGES: u32 = 20_000;
    let reactor = Reactor::new().unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (inner, home) = (Rc::clone(&seen), thread::current().id());
    // So little room that every sender waits, again and again.
    let (receiver, sender) = reactor.receiver(8, move |message: (u32, u32)| {
        assert_eq!(thread::current().id(), home);
        inner.borrow_mut().push(message);
    });
    is_send_and_sync(&sender);
    let threads: Vec<_> = (0..SENDERS)
        .map(|which| {
            let sender = sender.clone();
            thread::spawn(move || {
                (0..MESSAGES).for_each(|serial| sender.blocking_send((which, serial)).unwrap())
            })
        })
        .collect();
    drop(sender);
    let receiver = Rc::new(receiver);
    let (stopper, watched) = (reactor.clone(), Rc::clone(&receiver));
    when(&reactor, move |_| watched.is_closed(), move || stopper.stop());
    run(&reactor);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    for which in 0..SENDERS {
        let seen = seen.borrow();
        let serials = seen.iter().filter(|(sender, _)| *sender == which).map(|(_, serial)| *serial);
        assert!(serials.eq(0..MESSAGES), "the messages of sender {which} came in another order");
    }
    let told = receiver.statistics();
    assert_eq!((told.received, told.refused, told.senders), (u64::from(SENDERS * MESSAGES), 0, 0));
    assert_eq!(Rc::strong_count(&seen), 1, "the callback is dropped after the last message");
}

#[test]
fn every_message_wakes_a_loop_that_sleeps() {
    const ROUNDS: u32 = 20_000;
    let reactor = Reactor::new().unwrap();
    let (answer, answers) = mpsc::channel();
    let stopper = reactor.clone();
    let (receiver, sender) = reactor.receiver(1, move |round: u32| {
        answer.send(round).unwrap();
        if round + 1 == ROUNDS {
            stopper.stop();
        }
    });
    let thread = thread::spawn(move || {
        for round in 0..ROUNDS {
            sender.send(round).unwrap();
            assert_eq!(answers.recv_timeout(PATIENCE), Ok(round));
        }
    });
    run(&reactor);
    thread.join().unwrap();
    assert!(receiver.is_closed());
}

/// A door of a simulation that notes what comes.
fn noting(simulation: &Simulation, capacity: usize) -> (Trace, Receiver, Sender<&'static str>) {
    let trace = Trace::default();
    let inner = trace.clone();
    let (receiver, sender) = simulation.reactor().receiver(capacity, move |message| inner.note(message));
    (trace, receiver, sender)
}

#[test]
fn beyond_its_bound_a_message_comes_back() {
    let simulation = Simulation::new(1);
    let (trace, receiver, sender) = noting(&simulation, 2);
    sender.send("a").unwrap();
    sender.clone().send("b").unwrap();
    let refused = sender.send("c").unwrap_err();
    assert_eq!(refused, SendError::Full("c"));
    assert_eq!(refused.into_message(), "c");
    assert_eq!(receiver.statistics().queued, 2);
    assert_eq!(trace.take(), "", "never before send returns");
    simulation.advance(Duration::ZERO);
    sender.send("d").unwrap();
    simulation.advance(Duration::ZERO);
    assert_eq!(trace.take(), "a b d");
    let told = receiver.statistics();
    assert_eq!((told.queued, told.received, told.refused, told.senders), (0, 3, 1, 1));
}

#[test]
fn a_door_without_room_has_room_for_one() {
    let simulation = Simulation::new(1);
    let (trace, _receiver, sender) = noting(&simulation, 0);
    sender.send("a").unwrap();
    assert_eq!(sender.send("b"), Err(SendError::Full("b")));
    simulation.advance(Duration::ZERO);
    assert_eq!(trace.take(), "a");
}

#[test]
fn many_messages_wake_the_loop_once() {
    let simulation = Simulation::new(1);
    let (trace, _receiver, sender) = noting(&simulation, 1000);
    simulation.advance(Duration::ZERO);
    let before = simulation.reactor().statistics().calls;
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| (0..100).for_each(|_| sender.send("x").unwrap()));
        }
    });
    simulation.advance(Duration::ZERO);
    assert_eq!(trace.len(), 1000);
    assert_eq!(simulation.reactor().statistics().calls - before, 1);
}

#[test]
fn a_dropped_receiver_closes_the_door_and_drops_what_waits() {
    let simulation = Simulation::new(1);
    let (waiting, held) = (Arc::new(()), Rc::new(()));
    let callback = Rc::clone(&held);
    let (receiver, sender) = simulation.reactor().receiver(4, move |_| drop(callback.clone()));
    sender.send(Arc::clone(&waiting)).unwrap();
    assert!(!sender.is_closed());
    drop(receiver);
    assert!(sender.is_closed());
    assert_eq!((Arc::strong_count(&waiting), Rc::strong_count(&held)), (1, 1));
    assert_eq!(sender.send(Arc::clone(&waiting)), Err(SendError::Closed(Arc::clone(&waiting))));
    simulation.advance(Duration::ZERO);
    assert_eq!(simulation.reactor().statistics().sources, 0);
}

#[test]
fn the_last_sender_closes_the_door_when_all_is_received() {
    let simulation = Simulation::new(1);
    let (trace, receiver, sender) = noting(&simulation, 4);
    let other = sender.clone();
    sender.send("a").unwrap();
    drop(sender);
    simulation.advance(Duration::ZERO);
    assert!(!receiver.is_closed());
    other.send("b").unwrap();
    drop(other);
    assert!(!receiver.is_closed(), "its last message has not been received");
    simulation.advance(Duration::ZERO);
    assert!(receiver.is_closed());
    assert_eq!(trace.take(), "a b");
    assert_eq!(simulation.reactor().statistics().sources, 0);
}

#[test]
fn a_callback_may_close_its_own_door() {
    let simulation = Simulation::new(1);
    let (trace, slot) = (Trace::default(), Rc::new(Cell::new(None)));
    let (inner, own) = (trace.clone(), Rc::clone(&slot));
    let (receiver, sender) = simulation.reactor().receiver(4, move |message: u32| {
        inner.note(message);
        drop(own.take());
    });
    slot.set(Some(receiver));
    (1..4).for_each(|message| sender.send(message).unwrap());
    simulation.advance(Duration::ZERO);
    assert_eq!(trace.take(), "1");
    assert_eq!(sender.send(4), Err(SendError::Closed(4)));
    assert_eq!(Rc::strong_count(&slot), 1, "the callback is gone");
}

#[test]
fn a_panic_of_the_callback_costs_that_message() {
    let simulation = Simulation::new(1);
    let trace = Trace::default();
    let inner = trace.clone();
    let (_receiver, sender) = simulation.reactor().receiver(4, move |message: u32| {
        assert!(message != 2, "as the test wants");
        inner.note(message);
    });
    (1..4).for_each(|message| sender.send(message).unwrap());
    simulation.advance(Duration::ZERO);
    sender.send(4).unwrap();
    simulation.advance(Duration::ZERO);
    assert_eq!(trace.take(), "1 3 4");
}

#[test]
fn waiting_for_room_on_the_loops_own_thread_is_refused() {
    let simulation = Simulation::new(1);
    let (_, _receiver, sender) = noting(&simulation, 4);
    assert_eq!(sender.blocking_send("a"), Err(SendError::OnTheLoop("a")));
}

/// A sender that fills the door and then waits for room; what it waits for is told by the channel.
fn stuck(sender: Sender<u32>) -> mpsc::Receiver<Result<(), SendError<u32>>> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut message = 0;
        while sender.send(message).is_ok() {
            message += 1;
        }
        let _ = tell.send(Ok(()));
        let _ = tell.send(sender.blocking_send(message));
    });
    told
}

#[test]
fn closing_the_door_frees_who_waits_for_room() {
    // Repeated, for the sender may or may not have begun to wait.
    for _ in 0..200 {
        let simulation = Simulation::new(1);
        let (receiver, sender) = simulation.reactor().receiver(2, |_: u32| ());
        let told = stuck(sender);
        told.recv_timeout(PATIENCE).unwrap().unwrap();
        drop(receiver);
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Err(SendError::Closed(2)));
    }
}

#[test]
fn room_frees_who_waits_for_it() {
    for _ in 0..200 {
        let simulation = Simulation::new(1);
        let (receiver, sender) = simulation.reactor().receiver(2, |_: u32| ());
        let told = stuck(sender);
        told.recv_timeout(PATIENCE).unwrap().unwrap();
        simulation.advance(Duration::ZERO);
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Ok(()));
        drop(receiver);
    }
}

#[test]
fn the_end_of_the_loop_frees_a_job_that_waits_for_room() {
    // 1. A job waits for room. 2. The loop ends, and waits for the job. 3. It closes the door first.
    let reactor = Reactor::new().unwrap();
    let (receiver, sender) = reactor.receiver(1, |_: u32| ());
    let (tell, told) = mpsc::channel();
    let stopper = reactor.remote();
    reactor
        .call_in_thread(move || {
            stopper.call_from_thread(Reactor::stop).unwrap();
            let mut message = 0;
            let end = loop {
                match sender.blocking_send(message) {
                    Ok(()) => message += 1,
                    Err(error) => break error,
                }
            };
            tell.send(matches!(end, SendError::Closed(_))).unwrap();
        })
        .unwrap();
    run(&reactor);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(true));
    assert!(receiver.is_closed());
    let (late, sender) = reactor.receiver(1, |_: u32| ());
    assert!(late.is_closed());
    assert_eq!(sender.send(1), Err(SendError::Closed(1)), "a loop that has ended receives nothing");
}
