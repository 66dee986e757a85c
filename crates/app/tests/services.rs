//! The services that are no listeners, in simulated time.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_app::{ClientKeeper, Service, TimerService};
use ropewalk_net::{ClientPolicy, Protocol, Transport, listen};
use ropewalk_reactor::{Failure, Reactor, Simulation};

/// What comes of a future, once it has.
fn kept<T: 'static>(reactor: &Reactor, future: impl Future<Output = T> + 'static) -> Rc<RefCell<Option<T>>> {
    let slot = Rc::new(RefCell::new(None));
    let told = Rc::clone(&slot);
    reactor.spawn(async move { *told.borrow_mut() = Some(future.await) });
    slot
}

#[test]
fn a_timer_calls_until_it_fails_and_again_when_it_is_started_again() {
    let simulation = Simulation::new(1);
    let reactor = simulation.reactor();
    let calls = Rc::new(Cell::new(0));
    let count = Rc::clone(&calls);
    let mut timer = TimerService::new("timer", Duration::from_secs(10), move |_| {
        count.set(count.get() + 1);
        if count.get() == 3 { Err(Failure::new("worn out")) } else { Ok(()) }
    });
    assert_eq!(timer.name(), "timer");
    timer.start(reactor).unwrap();
    let failed = kept(reactor, timer.failed());
    simulation.advance(Duration::from_secs(19));
    assert_eq!((calls.get(), failed.borrow().is_none()), (2, true));
    simulation.advance(Duration::from_secs(2));
    assert_eq!(failed.borrow().as_ref().unwrap().error().to_string(), "worn out");
    drop(timer.stop());
    simulation.advance(Duration::from_secs(100));
    assert_eq!(calls.get(), 3, "it is stopped");
    timer.start(reactor).unwrap();
    let failed = kept(reactor, timer.failed());
    simulation.advance(Duration::from_secs(15));
    assert_eq!((calls.get(), failed.borrow().is_none()), (5, true));
    drop(timer.stop());
}

struct Deaf;
impl Protocol for Deaf {
    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

#[test]
fn a_client_is_ready_when_it_is_connected_if_that_is_required() {
    let simulation = Simulation::new(1);
    let reactor = simulation.reactor();
    let keeper = |required: bool| {
        let endpoint = "tcp:127.0.0.1:7".parse().unwrap();
        let keeper = ClientKeeper::new(reactor, "client", endpoint, || (Deaf, ()), ClientPolicy::default());
        if required { keeper.required() } else { keeper }
    };
    let (mut casual, mut strict) = (keeper(false), keeper(true));
    casual.start(reactor).unwrap();
    strict.start(reactor).unwrap();
    let ready = [kept(reactor, casual.ready()), kept(reactor, strict.ready())];
    simulation.advance(Duration::from_secs(5));
    assert!(ready[0].borrow().is_some() && ready[1].borrow().is_none());
    assert!(strict.health().unwrap_err().contains("not connected to tcp:host=127.0.0.1:port=7"));
    // Its server comes up, and the next attempt finds it.
    let port = listen(reactor, &"tcp:7:interface=127.0.0.1".parse().unwrap(), || Deaf).unwrap();
    simulation.advance(Duration::from_secs(60));
    assert!(ready[1].borrow().as_ref().unwrap().is_ok());
    assert!(strict.health().is_ok());
    let client = strict.client();
    let stopped = [kept(reactor, strict.stop()), kept(reactor, casual.stop())];
    simulation.advance(Duration::from_secs(1));
    assert!(stopped.iter().all(|stopped| stopped.borrow().is_some()));
    assert!(client.connected().is_none());
    port.stop_listening();
}
