//! What connecting asks of a driver: bind addresses, names, interfaces, and how simulated addresses answer. And the parts that a
//! floor above keeps in a reactor.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::io::{Address, Socket};
use ropewalk_reactor::{ListenOptions, Reach, Reactor, Simulation};

const SECOND: Duration = Duration::from_secs(1);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(text: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(text), port)
}

/// What a lookup answers, as text.
fn look_up(simulation: &Simulation, host: &str) -> String {
    let said: Rc<RefCell<String>> = Rc::default();
    let say = Rc::clone(&said);
    let done = simulation.reactor().lookup(host, 80).add_callback(move |found| {
        *say.borrow_mut() = match found {
            Ok(found) => format!("{found:?}"),
            Err(error) => format!("{:?}", error.kind()),
        };
    });
    assert_eq!(*said.borrow(), "", "it takes a while");
    simulation.advance(SECOND);
    drop(done);
    said.take()
}

#[test]
fn a_simulated_lookup_answers_from_the_table() {
    let simulation = Simulation::new(1);
    let network = simulation.network();
    network.set_host("Example.ORG", &[ip("2001:db8::1"), ip("192.0.2.1")]);
    network.set_host("empty", &[]);
    network.fail_host("broken", io::ErrorKind::TimedOut);
    assert_eq!(look_up(&simulation, "example.org"), "[[2001:db8::1]:80, 192.0.2.1:80]");
    assert_eq!(look_up(&simulation, "localhost"), "[[::1]:80, 127.0.0.1:80]");
    assert_eq!(look_up(&simulation, "empty"), "[]");
    assert_eq!(look_up(&simulation, "broken"), "TimedOut");
    assert_eq!(look_up(&simulation, "elsewhere"), "NotFound");
    assert_eq!(network.lookups(), 5);
}

/// How connecting stands: connected, an error, or not yet.
fn state(socket: &Socket) -> Result<bool, io::ErrorKind> {
    match socket.take_error().unwrap() {
        Some(error) => Err(error.kind()),
        None => Ok(socket.peer_address().is_ok()),
    }
}

#[test]
fn simulated_addresses_answer_late_never_or_not_at_all() {
    let simulation = Simulation::new(1);
    let (reactor, network) = (simulation.reactor(), simulation.network());
    let _listener = reactor.listen_tcp(at("::", 80), &ListenOptions::default()).unwrap();
    network.set_reach(ip("2001:db8::1"), Reach::Slow(3 * SECOND));
    network.set_reach(ip("2001:db8::2"), Reach::Silent);
    network.set_reach(ip("2001:db8::3"), Reach::Unreachable);
    let [near, slow, silent] = ["::1", "2001:db8::1", "2001:db8::2"].map(|to| {
        let socket = reactor.connect_tcp(at(to, 80)).unwrap();
        assert_eq!(state(&socket), Ok(false));
        socket
    });
    let error = reactor.connect_tcp(at("2001:db8::3", 80)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NetworkUnreachable);
    let refused = reactor.connect_tcp(at("::1", 81)).unwrap();
    simulation.advance(SECOND);
    assert_eq!((state(&near), state(&slow)), (Ok(true), Ok(false)));
    assert_eq!(state(&refused), Err(io::ErrorKind::ConnectionRefused));
    simulation.advance(3 * SECOND);
    assert_eq!((state(&slow), state(&silent)), (Ok(true), Ok(false)));
    simulation.advance(3600 * SECOND);
    assert_eq!(state(&silent), Ok(false));
}

#[test]
fn a_simulated_connecting_that_is_given_up_is_not_accepted() {
    let simulation = Simulation::new(1);
    let reactor = simulation.reactor();
    let listener = reactor.listen_tcp(at("127.0.0.1", 80), &ListenOptions::default()).unwrap();
    let given_up = reactor.connect_tcp(at("127.0.0.1", 80)).unwrap();
    let kept = reactor.connect_tcp_from(ip("192.0.2.7"), at("127.0.0.1", 80)).unwrap();
    drop(given_up);
    simulation.advance(SECOND);
    let (_accepted, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), Some(ip("192.0.2.7")), "and a bind address is the one that is seen");
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let error = reactor.connect_tcp_from(ip("::1"), at("127.0.0.1", 80)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    drop(kept);
}

#[test]
fn a_bind_address_is_the_one_that_the_peer_sees() {
    let reactor = Reactor::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let socket = reactor.connect_tcp_from(ip("127.0.0.2"), to).unwrap();
    let (_accepted, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), ip("127.0.0.2"));
    assert_eq!(socket.local_address().unwrap(), Address::Inet(peer));
    let error = reactor.connect_tcp_from(ip("192.0.2.1"), to).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable, "it is nobody's");
    assert!(reactor.connect_tcp_from(ip("::1"), to).is_err(), "the other family");
}

#[test]
fn interfaces_have_an_index() {
    let reactor = Reactor::new().unwrap();
    assert!(reactor.interface("lo").unwrap() > 0);
    assert!(reactor.interface("no-such-thing").is_err());
    let simulation = Simulation::new(1);
    assert_eq!(simulation.reactor().interface("lo").unwrap(), 1);
    assert!(simulation.reactor().interface("eth0").is_err());
}

/// A part that holds the reactor that holds it, and tells when it goes.
struct Circle(#[allow(dead_code, reason = "it is held")] Reactor, Rc<Cell<bool>>);

impl Drop for Circle {
    fn drop(&mut self) {
        self.1.set(true);
    }
}

#[test]
fn a_part_is_made_once_and_goes_with_the_reactor() {
    let gone = Rc::new(Cell::new(false));
    let simulation = Simulation::new(1);
    let make = || Circle(simulation.reactor().clone(), Rc::clone(&gone));
    let first = simulation.reactor().part(make);
    let again = simulation.reactor().part::<Circle>(|| unreachable!("it is there"));
    assert!(Rc::ptr_eq(&first, &again));
    drop((first, again));
    assert!(!gone.get());
    drop(simulation);
    assert!(gone.get());
}
