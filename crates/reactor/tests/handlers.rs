//! Foreign descriptors: level-triggered, updated, paused and removed, also within the turn that has their event already.

mod support;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::{Handler, Reactor, Readiness, Simulation};
use support::{Trace, run};

const MS: Duration = Duration::from_millis(1);

fn pipe() -> (File, File) {
    let (read, write): (OwnedFd, OwnedFd) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).expect("the system gives a pipe");
    (read.into(), write.into())
}

/// Stops the loop after it has turned a few times more with nothing to wait for.
fn stop_after(reactor: &Reactor, turns: u32) {
    let again = reactor.clone();
    if turns == 0 {
        return reactor.stop();
    }
    reactor.call_later(Duration::ZERO, move || stop_after(&again, turns - 1));
}

#[test]
fn it_is_called_while_there_is_something_to_read_and_not_only_once() {
    let (reactor, trace, (read, mut write)) = (Reactor::new().unwrap(), Trace::default(), pipe());
    write.write_all(b"abc").unwrap();
    let (inner, handle, mut source) = (trace.clone(), reactor.clone(), read.try_clone().unwrap());
    reactor
        .add_handler(&read, Readiness::READABLE, move |readiness| {
            assert!(readiness.is_readable());
            let mut byte = [0];
            source.read_exact(&mut byte).unwrap();
            inner.note(format!("{}@{}", byte[0] as char, handle.statistics().turns));
            if byte[0] == b'c' {
                stop_after(&handle, 3);
            }
        })
        .unwrap();
    drop(read);
    run(&reactor);
    let told = trace.take();
    let turns: Vec<&str> = told.split(' ').collect();
    assert_eq!(turns.len(), 3, "once per byte, and not when nothing is left: {told}");
    assert!(
        turns.is_sorted() && turns.windows(2).all(|pair| pair[0][2..] != pair[1][2..]),
        "one per turn: {told}"
    );
}

#[test]
fn an_update_changes_what_it_waits_for() {
    let (reactor, trace, (read, write)) = (Reactor::new().unwrap(), Trace::default(), pipe());
    let own = Rc::new(RefCell::new(None::<Handler>));
    let (inner, held, handle, mut sink) =
        (trace.clone(), Rc::clone(&own), reactor.clone(), write.try_clone().unwrap());
    let mut writes = 0;
    let writer = reactor
        .add_handler(&write, Readiness::WRITABLE, move |readiness| {
            assert!(readiness.is_writable());
            writes += 1;
            inner.note("writable");
            sink.write_all(b"x").unwrap();
            if writes == 2 {
                handle.update_handler(held.borrow().as_ref().unwrap(), Readiness::NONE).unwrap();
            }
        })
        .unwrap();
    *own.borrow_mut() = Some(writer.clone());
    let reader = reactor.add_handler(&read, Readiness::NONE, |_| {}).unwrap();
    reader.remove();
    let (inner, handle, mut source) = (trace.clone(), reactor.clone(), read.try_clone().unwrap());
    reactor.call_later(20 * MS, move || {
        let mut bytes = Vec::new();
        assert!(source.read_to_end(&mut bytes).is_err(), "the writer is still there");
        inner.note(bytes.len());
        writer.update(Readiness::WRITABLE).unwrap();
        let inner = inner.clone();
        handle.clone().call_later(10 * MS, move || {
            inner.note("stop");
            handle.stop();
        });
    });
    run(&reactor);
    let told = trace.take();
    assert!(told.starts_with("writable writable 2 writable writable"), "{told}");
    assert!(own.borrow().as_ref().unwrap().update(Readiness::READABLE).is_err(), "the loop has ended");
}

#[test]
fn one_removed_in_the_turn_that_has_its_event_is_not_called() {
    // Whichever of the two is called first removes the other.
    let (reactor, trace, (read, mut write)) = (Reactor::new().unwrap(), Trace::default(), pipe());
    let handlers: Rc<RefCell<Vec<Handler>>> = Rc::default();
    for which in 0..2 {
        let (inner, held, handle) = (trace.clone(), Rc::clone(&handlers), reactor.clone());
        let handler = reactor.add_handler(&read, Readiness::READABLE, move |_| {
            inner.note("called");
            held.borrow()[1 - which].remove();
            held.borrow()[1 - which].remove();
            held.borrow()[which].remove();
            stop_after(&handle, 3);
        });
        handlers.borrow_mut().push(handler.unwrap());
    }
    write.write_all(b"x").unwrap();
    run(&reactor);
    assert_eq!(trace.take(), "called");
}

#[test]
fn one_updated_in_the_turn_that_has_its_event_is_not_called_for_what_it_no_longer_wants() {
    let (reactor, trace, (read, mut write)) = (Reactor::new().unwrap(), Trace::default(), pipe());
    let handlers: Rc<RefCell<Vec<Handler>>> = Rc::default();
    for which in 0..2 {
        let (inner, held, handle) = (trace.clone(), Rc::clone(&handlers), reactor.clone());
        let handler = reactor.add_handler(&read, Readiness::READABLE, move |_| {
            inner.note("called");
            held.borrow()[1 - which].update(Readiness::NONE).unwrap();
            held.borrow()[which].remove();
            stop_after(&handle, 3);
        });
        handlers.borrow_mut().push(handler.unwrap());
    }
    write.write_all(b"x").unwrap();
    run(&reactor);
    assert_eq!(trace.take(), "called");
}

#[test]
fn one_that_is_paused_is_not_called_when_its_peer_ends() {
    // The end of a peer is reported whatever one waits for: a paused handler was called for it, in every turn.
    let (reactor, calls, (read, write)) = (Reactor::new().unwrap(), Rc::new(Cell::new(0)), pipe());
    let counted = Rc::clone(&calls);
    let paused =
        reactor.add_handler(&read, Readiness::READABLE, move |_| counted.set(counted.get() + 1)).unwrap();
    paused.update(Readiness::NONE).unwrap();
    drop(write);
    let (counted, stopper) = (Rc::clone(&calls), reactor.clone());
    reactor.call_later(10 * MS, move || {
        assert_eq!(counted.get(), 0);
        paused.update(Readiness::READABLE).unwrap();
        stop_after(&stopper, 5);
    });
    run(&reactor);
    assert!(calls.get() > 0, "resumed, it is told");
}

#[test]
fn a_panic_in_one_does_not_end_the_loop_and_it_is_called_again() {
    let (reactor, trace, (read, mut write)) = (Reactor::new().unwrap(), Trace::default(), pipe());
    write.write_all(b"ab").unwrap();
    let (inner, handle, mut source) = (trace.clone(), reactor.clone(), read.try_clone().unwrap());
    reactor
        .add_handler(&read, Readiness::READABLE, move |_| {
            let mut byte = [0];
            source.read_exact(&mut byte).unwrap();
            inner.note(byte[0] as char);
            assert_ne!(byte[0], b'a', "as the test wants");
            handle.stop();
        })
        .unwrap();
    run(&reactor);
    assert_eq!(trace.take(), "a b");
}

#[test]
fn its_descriptor_is_its_own_and_goes_with_it() {
    let (reactor, (read, write)) = (Reactor::new().unwrap(), pipe());
    let held = Rc::new(());
    let inner = Rc::clone(&held);
    let handler = reactor.add_handler(&read, Readiness::READABLE, move |_| drop(Rc::clone(&inner))).unwrap();
    drop(read);
    assert!((&write).write_all(b"x").is_ok(), "the handler reads from a duplicate");
    handler.remove();
    assert_eq!(Rc::strong_count(&held), 1, "the function is dropped at once");
    drop(handler);
    assert!((&write).write_all(b"x").is_err(), "nobody reads any more");
}

#[test]
fn what_cannot_be_watched_is_an_error() {
    let reactor = Reactor::new().unwrap();
    let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    assert!(reactor.add_handler(&file, Readiness::READABLE, |_| {}).is_err());
    assert_eq!(reactor.statistics().sources, 0);
    let (read, _write) = pipe();
    assert!(Simulation::new(1).reactor().add_handler(&read, Readiness::READABLE, |_| {}).is_err());
}
