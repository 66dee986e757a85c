//! `Remote`, the door for other threads: order, nothing lost, blocking calls and their refusals, and the end of the loop.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use ropewalk_reactor::{BlockingError, Deferred, Reactor, Simulation, Stopped, deferred};
use support::{PATIENCE, Trace, run};

thread_local! {
    /// What calls from other threads find on the loop's thread: they are `Send` and hold nothing of it.
    static SEEN: RefCell<Vec<(u32, u32)>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn calls_of_one_thread_keep_their_order_and_none_is_lost() {
    const THREADS: u32 = 4;
    const CALLS: u32 = 50_000;
    let reactor = Reactor::new().unwrap();
    let threads: Vec<_> = (0..THREADS)
        .map(|which| {
            let remote = reactor.remote();
            thread::spawn(move || {
                for serial in 0..CALLS {
                    let seen = move |reactor: &Reactor| {
                        let all = SEEN.with_borrow_mut(|seen| {
                            seen.push((which, serial));
                            seen.len() == (THREADS * CALLS) as usize
                        });
                        if all {
                            reactor.stop();
                        }
                    };
                    remote.call_from_thread(seen).expect("the loop runs until all have come");
                }
            })
        })
        .collect();
    run(&reactor);
    for thread in threads {
        thread.join().unwrap();
    }
    let seen = SEEN.take();
    for which in 0..THREADS {
        let serials = seen.iter().filter(|(thread, _)| *thread == which).map(|(_, serial)| *serial);
        assert!(serials.eq(0..CALLS), "the calls of thread {which} came in another order");
    }
}

#[test]
fn every_call_wakes_a_loop_that_sleeps() {
    // Ping-pong: the loop is asleep, or about to be, at each call. One lost wake-up ends the test by its patience.
    const ROUNDS: u32 = 20_000;
    let reactor = Reactor::new().unwrap();
    let remote = reactor.remote();
    let thread = thread::spawn(move || {
        for round in 0..ROUNDS {
            assert_eq!(remote.blocking_call_from_thread(move |_| round), Ok(round));
        }
        remote.call_from_thread(Reactor::stop).unwrap();
    });
    run(&reactor);
    thread.join().unwrap();
}

#[test]
fn a_call_from_the_loops_own_thread_comes_after_the_caller_has_returned() {
    let simulation = Simulation::new(1);
    let (trace, remote) = (Trace::default(), simulation.reactor().remote());
    let inner = trace.clone();
    simulation.reactor().call_soon(move || {
        remote.call_from_thread(|_| SEEN.with_borrow_mut(|seen| seen.push((0, 0)))).unwrap();
        inner.note(SEEN.with_borrow(Vec::len));
    });
    simulation.advance(Duration::from_millis(1));
    trace.note(SEEN.take().len());
    assert_eq!(trace.take(), "0 1");
}

#[test]
fn a_blocking_call_brings_its_value_or_says_that_it_panicked() {
    let reactor = Reactor::new().unwrap();
    let remote = reactor.remote();
    let thread = thread::spawn(move || {
        let sum = remote.blocking_call_from_thread(|reactor| reactor.statistics().timers + 40);
        let panicked = remote.blocking_call_from_thread(|_| -> u32 { panic!("as the test wants") });
        let after = remote.blocking_call_from_thread(|_| "the loop goes on");
        remote.call_from_thread(Reactor::stop).unwrap();
        (sum, panicked, after)
    });
    reactor.call_later(PATIENCE, || {});
    run(&reactor);
    let (sum, panicked, after) = thread.join().unwrap();
    assert_eq!((sum, panicked, after), (Ok(42), Err(BlockingError::Panicked), Ok("the loop goes on")));
}

#[test]
fn a_blocking_call_on_the_loops_own_thread_is_refused() {
    let reactor = Reactor::new().unwrap();
    let remote = reactor.remote();
    assert_eq!(remote.blocking_call_from_thread(|_| 1), Err(BlockingError::OnTheLoop), "before it runs");
    let (seen, stopper) = (Rc::new(Cell::new(None)), reactor.clone());
    let told = Rc::clone(&seen);
    reactor.call_soon(move || {
        told.set(Some(remote.blocking_call_from_thread(|_| 1)));
        stopper.stop();
    });
    run(&reactor);
    assert_eq!(seen.take(), Some(Err(BlockingError::OnTheLoop)), "while it runs");
}

#[test]
fn a_panic_in_a_call_from_a_thread_does_not_end_the_loop() {
    let reactor = Reactor::new().unwrap();
    let remote = reactor.remote();
    thread::spawn(move || {
        remote.call_from_thread(|_| panic!("as the test wants")).unwrap();
        remote.call_from_thread(Reactor::stop).unwrap();
    })
    .join()
    .unwrap();
    run(&reactor);
}

#[test]
fn nobody_can_call_a_loop_that_has_ended() {
    let reactor = Reactor::new().unwrap();
    let remote = reactor.remote();
    reactor.stop();
    run(&reactor);
    thread::spawn(move || {
        assert_eq!(remote.call_from_thread(|_| {}), Err(Stopped));
        assert_eq!(remote.blocking_call_from_thread(|_| 1), Err(BlockingError::Stopped));
    })
    .join()
    .unwrap();
}

#[test]
fn the_end_of_the_loop_leaves_no_caller_waiting() {
    // 1. Threads ask the loop as fast as they can. 2. The loop stops somewhere among their calls.
    // 3. A call that was posted between the last look into the mailbox and its closing had nobody to answer it:
    //    its thread waited for ever.
    for _ in 0..300 {
        let reactor = Reactor::new().unwrap();
        let start = Arc::new(Barrier::new(3));
        let answered = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (remote, start) = (reactor.remote(), Arc::clone(&start));
                let answered = Arc::clone(&answered);
                thread::spawn(move || {
                    start.wait();
                    while remote.blocking_call_from_thread(|_| ()).is_ok() {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let stopper = reactor.clone();
        reactor.call_soon(move || {
            start.wait();
            stopper.stop();
        });
        run(&reactor);
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

#[test]
fn a_reactor_dropped_before_it_ran_leaves_no_caller_waiting() {
    let (sender, receiver) = mpsc::channel();
    let reactor = Reactor::new().unwrap();
    let remote = reactor.remote();
    let posted = Arc::new(Barrier::new(2));
    let ready = Arc::clone(&posted);
    let thread = thread::spawn(move || {
        // This mail comes before the blocking call's; dropping it unread is what the test waits for.
        remote.call_from_thread(|_| {}).unwrap();
        ready.wait();
        sender.send(remote.blocking_call_from_thread(|_| 1)).unwrap();
    });
    posted.wait();
    drop(reactor);
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(Err(BlockingError::Stopped)));
    thread.join().unwrap();
}

#[test]
fn a_blocking_call_may_wait_for_a_deferred() {
    let reactor = Reactor::new().unwrap();
    let remote = reactor.remote();
    let thread = thread::spawn(move || {
        let value = remote.blocking_call_deferred(|reactor| reactor.defer_to_thread(|| 42));
        let failed = remote.blocking_call_deferred(|reactor| deferred::fail::<u32>(reactor, "no luck"));
        let panicked = remote.blocking_call_deferred(|_| -> Deferred<u32> { panic!("as the test wants") });
        remote.call_from_thread(Reactor::stop).unwrap();
        (value, failed, panicked)
    });
    assert!(matches!(
        reactor.remote().blocking_call_deferred(|reactor| deferred::succeed(reactor, 1)),
        Err(BlockingError::OnTheLoop)
    ));
    run(&reactor);
    let (value, failed, panicked) = thread.join().unwrap();
    assert_eq!(value.unwrap().unwrap(), 42);
    assert_eq!(failed.unwrap().unwrap_err().to_string(), "no luck");
    assert_eq!(panicked.unwrap_err(), BlockingError::Panicked);
    let remote = reactor.remote();
    let late = thread::spawn(move || remote.blocking_call_deferred(|reactor| deferred::succeed(reactor, 1)));
    assert_eq!(late.join().unwrap().unwrap_err(), BlockingError::Stopped);
}
