//! Switching protocols, and bytes that were handed back: who hears what, in which order, and in which turn.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::{Address, Lost, Protocol, Transport, listen};
use ropewalk_reactor::Simulation;

type Heard = Rc<RefCell<Vec<String>>>;

const A_MOMENT: Duration = Duration::from_millis(10);

fn port(simulation: &Simulation, factory: impl ropewalk_net::Factory) -> SocketAddr {
    let port = listen(simulation.reactor(), &"tcp:0:interface=127.0.0.1".parse().unwrap(), factory).unwrap();
    let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
    address
}

/// Tells what it hears, and hands over to itself under another name.
struct Teller {
    name: &'static str,
    next: Option<&'static str>,
    heard: Heard,
    known: Rc<RefCell<Option<Transport>>>,
}

impl Teller {
    fn hears(&self, what: &str) {
        self.heard.borrow_mut().push(format!("{} {what}", self.name));
    }

    fn next(&self, name: &'static str) -> Box<Teller> {
        Box::new(Teller { name, next: None, heard: Rc::clone(&self.heard), known: Rc::clone(&self.known) })
    }
}

impl Protocol for Teller {
    fn connection_made(&mut self, transport: &Transport) {
        self.hears("made");
        *self.known.borrow_mut() = Some(transport.clone());
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.hears(std::str::from_utf8(data).unwrap());
        if let Some(next) = self.next.take() {
            transport.unread(&data[3..]);
            transport.switch(self.next(next));
            self.hears("after");
        }
    }

    fn connection_lost(&mut self, _transport: &Transport, lost: &Lost) {
        self.hears(&format!("lost: {lost}"));
    }
}

#[test]
fn whoever_takes_over_hears_of_the_connection_and_then_the_unread_bytes() {
    let simulation = Simulation::new(1);
    let heard = Heard::default();
    let known = Rc::default();
    let address = {
        let (heard, known) = (Rc::clone(&heard), Rc::clone(&known));
        let first = move || Teller {
            name: "first",
            next: Some("second"),
            heard: Rc::clone(&heard),
            known: Rc::clone(&known),
        };
        port(&simulation, first)
    };
    let peer = simulation.network().connect(address);
    simulation.advance(A_MOMENT);
    peer.write(b"onetwo");
    simulation.advance(A_MOMENT);
    assert_eq!(heard.take(), ["first made", "first onetwo", "first after", "second made", "second two"]);

    // From outside of a callback the new one hears of it in the next turn, not within the call.
    let transport: Transport = known.borrow().clone().unwrap();
    let third = Teller { name: "third", next: None, heard: Rc::clone(&heard), known: Rc::clone(&known) };
    transport.switch(Box::new(third));
    assert!(heard.borrow().is_empty());
    simulation.advance(A_MOMENT);
    peer.shutdown_write();
    simulation.advance(A_MOMENT);
    assert_eq!(heard.take(), ["third made", "third lost: ended by the peer"]);
}

/// Takes one byte at a time, and answers each when it is woken, as a server of waiting requests does.
struct Slow;

impl Protocol for Slow {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.unread(&data[1..]);
        transport.pause_reading();
        transport.wake();
    }

    fn woken(&mut self, transport: &Transport) {
        transport.write(b"answer ");
        transport.resume_reading();
    }
}

#[test]
fn bytes_that_were_handed_back_come_again_in_the_same_turn() {
    let simulation = Simulation::new(1);
    // The least latency there is: whatever arrives at another time was sent in another turn.
    let address = port(&simulation, || Slow);
    let peer = simulation.network().connect(address);
    simulation.advance(A_MOMENT);
    let turns = simulation.reactor().statistics().turns;
    peer.write(b"12345678");
    simulation.advance(A_MOMENT);
    assert_eq!(peer.take(), b"answer ".repeat(8));
    let turns = simulation.reactor().statistics().turns - turns;
    assert!(turns <= 4, "eight answers took {turns} turns");
}

/// Reads nothing.
struct Deaf(Heard);

impl Protocol for Deaf {
    fn connection_made(&mut self, transport: &Transport) {
        transport.pause_reading();
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}

    fn connection_lost(&mut self, _transport: &Transport, lost: &Lost) {
        self.0.borrow_mut().push(lost.to_string());
    }
}

#[test]
fn a_reset_is_noticed_while_reading_is_paused() {
    let simulation = Simulation::new(1);
    let heard = Heard::default();
    let address = {
        let heard = Rc::clone(&heard);
        port(&simulation, move || Deaf(Rc::clone(&heard)))
    };
    let peer = simulation.network().connect(address);
    simulation.advance(A_MOMENT);
    peer.write(b"nobody reads this");
    simulation.advance(A_MOMENT);
    peer.reset();
    simulation.advance(A_MOMENT);
    assert_eq!(heard.take().len(), 1, "the connection is lost");
}
