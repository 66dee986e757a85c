//! Dialogues: the state is told each message in its turn, and its answer is the next state, however the bytes are cut: over
//! lines, over strings, and over blocks of a length that the state asks for.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::Probe;
use ropewalk_net::{
    Address, Blocks, Dialogue, LineReceiver, LineTransport, NetstringReceiver, Protocol, State, Stateful,
    StringTransport, Strings, Transport, listen,
};
use ropewalk_reactor::{Peer, Simulation};

fn serve<P: Protocol>(simulation: &Simulation, make: impl Fn() -> P + 'static) -> Peer {
    let port = listen(simulation.reactor(), &"tcp:7:interface=127.0.0.1".parse().unwrap(), make).unwrap();
    let Address::Inet(address) = *port.address() else { unreachable!() };
    let peer = simulation.network().connect(address);
    simulation.advance(Duration::from_millis(10));
    port.stop_listening();
    peer
}

/// What a peer that sends these pieces hears, and whether the connection has ended.
fn hear<P: Protocol>(make: impl Fn() -> P + 'static, pieces: &[&[u8]]) -> (String, bool) {
    let simulation = Simulation::new(1);
    let peer = serve(&simulation, make);
    for piece in pieces {
        peer.write(piece);
        simulation.advance(Duration::from_millis(20));
    }
    (peer.text(), peer.is_ended())
}

fn however_cut<P: Protocol>(make: impl Fn() -> P + Copy + 'static, bytes: &[u8], expected: &(String, bool)) {
    assert_eq!(hear(make, &[bytes]), *expected, "whole");
    for at in 1..bytes.len() {
        let (left, right) = bytes.split_at(at);
        assert_eq!(hear(make, &[left, right]), *expected, "split at {at}");
    }
    assert_eq!(hear(make, &bytes.chunks(1).collect::<Vec<_>>()), *expected, "bytewise");
}

/// Adds numbers until `=`; twice.
#[derive(Default)]
struct Sum(u32, u32);

impl Dialogue for Sum {
    fn begin(&mut self, transport: &LineTransport<'_>) -> State<Self> {
        transport.send_line(b"?");
        State::line(Self::number)
    }
}

impl Sum {
    fn number(&mut self, transport: &LineTransport<'_>, line: &[u8]) -> State<Self> {
        if line == b"=" {
            transport.send_line(self.0.to_string().as_bytes());
            return State::line(Self::over);
        }
        self.0 += String::from_utf8_lossy(line).parse::<u32>().unwrap_or(0);
        State::line(Self::number)
    }

    fn over(&mut self, transport: &LineTransport<'_>, line: &[u8]) -> State<Self> {
        self.1 += 1;
        if line == b"again" {
            self.0 = 0;
            return State::line(Self::number);
        }
        transport.send_line(format!("bye after {}", self.1).as_bytes());
        transport.lose_connection();
        State::line(Self::over)
    }
}

#[test]
fn a_dialogue_of_lines_is_the_same_however_it_is_cut() {
    let bytes = b"1\r\n2\r\n=\r\nagain\r\n40\r\n=\r\nno\r\nnever\r\n";
    let expected = ("?\r\n3\r\n40\r\nbye after 2\r\n".to_owned(), true);
    however_cut(|| LineReceiver::new(Stateful::new(Sum::default())), bytes, &expected);
}

/// A key, then a value.
#[derive(Default)]
struct Pairs(Vec<u8>);

impl Dialogue<Strings> for Pairs {
    fn begin(&mut self, _: &StringTransport<'_>) -> State<Self, Strings> {
        State::string(Self::key)
    }
}

impl Pairs {
    fn key(&mut self, _: &StringTransport<'_>, string: &[u8]) -> State<Self, Strings> {
        self.0 = string.to_vec();
        State::string(Self::value)
    }

    fn value(&mut self, transport: &StringTransport<'_>, string: &[u8]) -> State<Self, Strings> {
        transport.send_string(&[&self.0, b"=".as_slice(), string].concat()).unwrap();
        State::string(Self::key)
    }
}

#[test]
fn a_dialogue_of_strings_is_the_same_however_it_is_cut() {
    let make = || NetstringReceiver::new(Stateful::new(Pairs::default()));
    however_cut(make, b"1:a,2:12,1:b,0:,1:c,", &("4:a=12,2:b=,".to_owned(), false));
    assert_eq!(hear(make, &[b"1:a,1:b,05:"]), ("3:a=b,".to_owned(), true), "what is no netstring ends it");
    assert_eq!(hear(make, &[b"1:a,100000:"]), (String::new(), true), "and what is too long");
}

/// A length of two digits and a body, which is echoed; `99` pauses for a second before its body, `77` switches.
#[derive(Default)]
struct Echo {
    length: usize,
    next: Option<Probe>,
}

impl Dialogue<Blocks> for Echo {
    fn begin(&mut self, _: &Transport) -> State<Self, Blocks> {
        State::block(2, Self::length)
    }
}

impl Echo {
    fn length(&mut self, transport: &Transport, block: &[u8]) -> State<Self, Blocks> {
        assert_eq!(block.len(), 2);
        self.length = String::from_utf8_lossy(block).parse().unwrap();
        if self.length == 99 {
            self.length = 0;
            transport.pause_reading();
            let handle = transport.clone();
            transport.reactor().call_later(Duration::from_secs(1), move || handle.resume_reading());
        } else if self.length == 77 {
            transport.switch(Box::new(self.next.take().unwrap()));
        }
        State::block(self.length, Self::body)
    }

    fn body(&mut self, transport: &Transport, block: &[u8]) -> State<Self, Blocks> {
        assert_eq!(block.len(), self.length);
        transport.write_sequence([b"<".as_slice(), block, b">"]);
        State::block(2, Self::length)
    }
}

#[test]
fn a_dialogue_of_blocks_is_the_same_however_it_is_cut() {
    however_cut(
        || Stateful::new(Echo::default()),
        b"03abc00121234567890120001x",
        &("<abc><><123456789012><><x>".to_owned(), false),
    );
}

#[test]
fn a_state_that_wants_nothing_is_told_even_while_reading_is_paused() {
    let simulation = Simulation::new(1);
    let peer = serve(&simulation, || Stateful::new(Echo::default()));
    peer.write(b"9902hi");
    simulation.advance(Duration::from_millis(500));
    assert_eq!(peer.text(), "<>", "there was nothing to wait for, and nothing else came");
    simulation.advance(Duration::from_secs(1));
    assert_eq!(peer.text(), "<><hi>");
}

#[test]
fn a_dialogue_of_blocks_that_switches_leaves_the_rest() {
    let simulation = Simulation::new(1);
    let next = Probe::new();
    let seen = Rc::clone(&next.seen);
    let next = Cell::new(Some(next));
    let peer = serve(&simulation, move || Stateful::new(Echo { next: next.take(), ..Echo::default() }));
    peer.write(b"01a77 the ");
    simulation.advance(Duration::from_millis(20));
    peer.write(b"rest");
    simulation.advance(Duration::from_millis(20));
    assert_eq!((peer.text().as_str(), seen.data.borrow().as_slice()), ("<a>", b" the rest".as_slice()));
}

/// A length that a peer chose is asked for, and is too much.
#[test]
fn a_block_beyond_the_limit_ends_the_connection() {
    struct Greedy(Rc<RefCell<Vec<&'static str>>>);
    impl Dialogue<Blocks> for Greedy {
        fn begin(&mut self, _: &Transport) -> State<Self, Blocks> {
            State::block(4, Self::length)
        }
        fn length_limit_exceeded(&mut self, _: &Transport) {
            self.0.borrow_mut().push("too long");
        }
    }
    impl Greedy {
        fn length(&mut self, _: &Transport, block: &[u8]) -> State<Self, Blocks> {
            State::block(u32::from_be_bytes(block.try_into().unwrap()) as usize, Self::body)
        }
        fn body(&mut self, _: &Transport, _: &[u8]) -> State<Self, Blocks> {
            self.0.borrow_mut().push("body");
            State::block(4, Self::length)
        }
    }
    let told = Rc::new(RefCell::new(Vec::new()));
    let made = Rc::clone(&told);
    let make = move || Stateful::new(Greedy(Rc::clone(&made))).with_length_max(4);
    let (_, ended) = hear(make, &[b"\0\0\0\x03abc\0\0\0\0\xff\xff\xff\xff"]);
    assert!(ended);
    assert_eq!(told.take(), ["body", "body", "too long"]);
}
