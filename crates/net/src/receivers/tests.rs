//! What a receiver holds in memory: the one thing about it that its peers and its handler cannot see.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::{Peer, Simulation};

use super::Cut;
use super::stateful::{Blocks, Dialogue, State, Stateful};
use super::string::{Int32Receiver, NetstringReceiver, StringHandler, StringTransport};
use crate::line::{LineHandler, LineReceiver, LineTransport};
use crate::{Address, Protocol, Transport, listen};

/// What the buffer of a receiver was seen to be.
#[derive(Default)]
struct Weight {
    now: Cell<usize>,
    most: Cell<usize>,
    changes: Cell<usize>,
}

/// Looks at a receiver's buffer after every call.
struct Weighed<R>(R, Rc<Weight>);

impl<R: Protocol + Cut> Protocol for Weighed<R> {
    fn connection_made(&mut self, transport: &Transport) {
        self.0.connection_made(transport);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.0.data_received(transport, data);
        let capacity = self.0.partial().capacity();
        if self.1.now.replace(capacity) != capacity {
            self.1.changes.set(self.1.changes.get() + 1);
        }
        self.1.most.set(self.1.most.get().max(capacity));
    }
}

/// Counts messages, and never closes.
#[derive(Clone, Default)]
struct Count(Rc<RefCell<Vec<usize>>>);

impl StringHandler for Count {
    fn string_received(&mut self, _: &StringTransport<'_>, string: &[u8]) {
        self.0.borrow_mut().push(string.len());
    }

    fn length_limit_exceeded(&mut self, _: &StringTransport<'_>, _: u64) {}
}

impl LineHandler for Count {
    fn line_received(&mut self, _: &LineTransport<'_>, line: &[u8]) {
        self.0.borrow_mut().push(line.len());
    }

    fn line_length_exceeded(&mut self, _: &LineTransport<'_>, _: &[u8]) {}
}

impl Count {
    fn block(&mut self, _: &Transport, block: &[u8]) -> State<Self, Blocks> {
        self.0.borrow_mut().push(block.len());
        State::block(50_000, Self::block)
    }
}

impl Dialogue<Blocks> for Count {
    fn begin(&mut self, _: &Transport) -> State<Self, Blocks> {
        State::block(50_000, Self::block)
    }
}

struct Ground {
    simulation: Simulation,
    peer: Peer,
    weight: Rc<Weight>,
    count: Count,
}

impl Ground {
    fn new<R: Protocol + Cut>(make: impl Fn(Count) -> R + 'static) -> Ground {
        let simulation = Simulation::new(1);
        let (weight, count) = (Rc::new(Weight::default()), Count::default());
        let (weighing, counting) = (Rc::clone(&weight), count.clone());
        let factory = move || Weighed(make(counting.clone()), Rc::clone(&weighing));
        let port =
            listen(simulation.reactor(), &"tcp:7:interface=127.0.0.1".parse().unwrap(), factory).unwrap();
        let Address::Inet(address) = *port.address() else { unreachable!() };
        let peer = simulation.network().connect(address);
        simulation.advance(Duration::from_millis(10));
        Ground { simulation, peer, weight, count }
    }

    fn send(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.peer.write(bytes)..];
            self.simulation.advance(Duration::from_millis(20));
        }
    }

    /// A message that comes singly, byte by byte.
    fn send_bytewise(&self, bytes: &[u8]) {
        for byte in bytes {
            assert_eq!(self.peer.write(&[*byte]), 1);
            self.simulation.advance(Duration::from_millis(4));
        }
    }

    /// The buffer is empty, never held more than `most`, and the handler had these messages.
    fn check(&self, most: usize, messages: &[usize]) {
        assert_eq!(self.weight.now.get(), 0, "an idle connection holds no buffer");
        assert!(self.weight.most.get() <= most, "{} bytes were held", self.weight.most.get());
        assert_eq!(*self.count.0.borrow(), messages);
    }
}

#[test]
fn a_length_of_four_gibibytes_holds_nothing() {
    let ground = Ground::new(Int32Receiver::new);
    ground.send(b"\xff\xff\xff\xff");
    assert_eq!(ground.weight.now.get(), 0, "what is announced is not there");
    ground.send(&[0; 5_000_000]);
    ground.check(16, &[]);

    let ground = Ground::new(NetstringReceiver::new);
    ground.send_bytewise(b"4294967296:");
    ground.send(&[b'x'; 5_000_000]);
    ground.check(16, &[]);
}

#[test]
fn a_string_holds_what_has_arrived_of_it() {
    let ground = Ground::new(Int32Receiver::new);
    ground.send(b"\x00\x01\x86\x9f");
    assert!(ground.weight.now.get() <= 8, "four bytes have arrived: {}", ground.weight.now.get());
    ground.send(&[0; 1000]);
    assert!((1004..=4096).contains(&ground.weight.now.get()), "{}", ground.weight.now.get());
    ground.send(&[0; 98_999]);
    ground.send(b"\x00\x00\x00\x00");
    ground.check(300_000, &[99_999, 0]);
}

#[test]
fn single_bytes_are_gathered_without_copying_each_time() {
    let string = [b"20000:".as_slice(), &[b'x'; 20_000], b","].concat();
    let ground = Ground::new(NetstringReceiver::new);
    ground.send_bytewise(&string);
    ground.check(65_536, &[20_000]);
    assert!(ground.weight.changes.get() < 20, "it grew {} times", ground.weight.changes.get());

    let ground = Ground::new(LineReceiver::new);
    ground.send_bytewise(&[&[b'x'; 16_000], b"\r\n".as_slice()].concat());
    ground.check(65_536, &[16_000]);
    assert!(ground.weight.changes.get() < 20, "it grew {} times", ground.weight.changes.get());
}

#[test]
fn a_line_without_an_end_holds_one_lines_worth() {
    let ground = Ground::new(LineReceiver::new);
    ground.send(&vec![b'x'; 5_000_000]);
    ground.send(b"\r\nshort\r\n");
    ground.check(200_000, &[5]);
}

#[test]
fn a_block_is_gathered_and_forgotten() {
    let ground = Ground::new(Stateful::new);
    ground.send(&[0; 100_000]);
    ground.check(200_000, &[50_000, 50_000]);
}
