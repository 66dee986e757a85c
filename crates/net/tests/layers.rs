//! Layers under protocols that do not know: one that holds bytes back, one that says farewell, one put on in the middle, and
//! two at once.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::any::Any;
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::policy::{Policy, apply};
use ropewalk_net::{Address, Below, Factory, Layer, Lost, Port, Protocol, Transport, listen};
use ropewalk_reactor::{Peer, Simulation};

const MS: Duration = Duration::from_millis(1);

/// Turns every byte over. Before it lets anything out it wants a greeting and sends one; at the end it says farewell. It holds
/// up to 1,000 bytes of its own, and sends them in its own time: everything that TLS does to a transport.
struct Flip {
    greeted: bool,
    held: Vec<u8>,
    plain: Vec<u8>,
    mask: u8,
}

const GREETING: &[u8] = b"hello, layer\n";
const FAREWELL: &[u8] = b"BYE";

impl Flip {
    fn new(mask: u8) -> Flip {
        Flip { greeted: false, held: GREETING.to_vec(), plain: Vec::new(), mask }
    }
}

impl Layer for Flip {
    fn read(&mut self, below: &Below, into: &mut [u8]) -> io::Result<usize> {
        let count = below.read(into)?;
        if self.greeted || count == 0 {
            into[..count].iter_mut().for_each(|byte| *byte ^= self.mask);
            return Ok(count);
        }
        self.plain.extend_from_slice(&into[..count]);
        if self.plain.len() < GREETING.len() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        assert_eq!(&self.plain[..GREETING.len()], GREETING);
        self.greeted = true;
        let rest = self.plain.split_off(GREETING.len());
        if rest.is_empty() {
            // What came was all for the layer, and more may have come.
            return self.read(below, into);
        }
        for (slot, byte) in into.iter_mut().zip(&rest) {
            *slot = byte ^ self.mask;
        }
        Ok(rest.len())
    }

    fn write(&mut self, _: &Below, from: &[u8]) -> io::Result<usize> {
        let room = 1000_usize.saturating_sub(self.held.len());
        if room == 0 || !self.greeted {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = room.min(from.len());
        self.held.extend(from[..count].iter().map(|byte| byte ^ self.mask));
        Ok(count)
    }

    fn flush(&mut self, below: &Below) -> io::Result<()> {
        while !self.held.is_empty() {
            let count = below.write(&self.held)?;
            self.held.drain(..count);
        }
        if self.greeted { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn end(&mut self) {
        self.held.extend(FAREWELL.iter().map(|byte| byte ^ self.mask));
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

struct Flipped(u8);

impl Policy for Flipped {
    fn layer(&self, _: &Address) -> Option<Box<dyn Layer>> {
        Some(Box::new(Flip::new(self.0)))
    }
}

fn flip(bytes: &[u8], mask: u8) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ mask).collect()
}

type Diary = Rc<RefCell<Vec<String>>>;

/// Speaks first, echoes, closes at a full stop, and tells a diary.
struct Echo(Diary);

impl Protocol for Echo {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(b"ready.");
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
        if data.ends_with(b".") {
            transport.lose_connection();
        }
    }

    fn read_ended(&mut self, transport: &Transport) {
        transport.write(b"end");
        transport.lose_connection();
    }

    fn connection_lost(&mut self, _: &Transport, lost: &Lost) {
        self.0.borrow_mut().push(lost.to_string());
    }
}

fn ground(seed: u64, factory: impl Factory) -> (Simulation, Port, Peer) {
    let simulation = Simulation::new(seed);
    let port = listen(simulation.reactor(), &"tcp:0:interface=127.0.0.1".parse().unwrap(), factory).unwrap();
    let peer = simulation.network().connect(address(&port));
    simulation.advance(10 * MS);
    (simulation, port, peer)
}

fn address(port: &Port) -> SocketAddr {
    let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
    address
}

fn echo(diary: &Diary) -> impl Fn() -> Echo + 'static {
    let diary = Rc::clone(diary);
    move || Echo(Rc::clone(&diary))
}

#[test]
fn a_layer_that_holds_back_delays_and_changes_nothing() {
    for seed in 0..100 {
        let diary = Diary::default();
        let (simulation, _port, peer) = ground(seed, apply(Flipped(0x55), echo(&diary)));
        simulation.network().set_conditions(|conditions| {
            (conditions.window_bytes, conditions.segment_bytes_max) = (700, 300);
        });
        assert_eq!(peer.take(), GREETING, "nothing but the layer's own before the peer's greeting");
        let sent: Vec<u8> = (0..5000_u32).map(|n| b'a' + (n % 23) as u8).collect();
        let wire = [GREETING, &flip(&sent, 0x55)].concat();
        let (mut written, mut heard) = (0, Vec::new());
        for _ in 0..200 {
            written += peer.write(&wire[written..]);
            simulation.advance(MS);
            heard.extend(peer.take());
        }
        assert!(flip(&heard, 0x55) == [b"ready.".as_slice(), &sent].concat(), "seed {seed}");
        assert!(diary.borrow().is_empty());
    }
}

#[test]
fn closing_waits_for_the_layer_and_its_farewell() {
    let diary = Diary::default();
    let (simulation, _port, peer) = ground(1, apply(Flipped(7), echo(&diary)));
    peer.write(&[GREETING, &flip(b"last.", 7)].concat());
    simulation.advance(10 * MS);
    let heard = peer.take().split_off(GREETING.len());
    assert_eq!(flip(&heard, 7), b"ready.last.BYE");
    assert!(peer.is_ended() && !peer.is_reset());
    assert_eq!(*diary.borrow(), ["closed by this side"]);
}

/// The protocol closes at once, and what it wrote still has to wait for the layer's greeting.
#[test]
fn closing_before_the_layer_is_ready_sends_what_was_written() {
    struct Brief;
    impl Protocol for Brief {
        fn connection_made(&mut self, transport: &Transport) {
            transport.write(b"go away");
            transport.pause_reading();
            transport.lose_connection();
        }
        fn data_received(&mut self, _: &Transport, _: &[u8]) {
            panic!("it is closing");
        }
    }
    let (simulation, _port, peer) = ground(1, apply(Flipped(7), || Brief));
    assert!(!peer.is_ended());
    peer.write(&[GREETING, &flip(b"what?", 7)].concat());
    simulation.advance(10 * MS);
    assert_eq!(flip(&peer.take()[GREETING.len()..], 7), b"go awayBYE");
    assert!(peer.is_ended());
    assert_eq!(simulation.reactor().statistics().sources, 1, "the listener is left");
}

#[test]
fn the_peers_end_passes_through() {
    let diary = Diary::default();
    let (simulation, _port, peer) = ground(1, apply(Flipped(7), echo(&diary)));
    peer.write(GREETING);
    peer.shutdown_write();
    simulation.advance(10 * MS);
    assert_eq!(flip(&peer.take()[GREETING.len()..], 7), b"ready.endBYE");
    assert_eq!(*diary.borrow(), ["ended by the peer"]);
}

#[test]
fn layers_stack() {
    let diary = Diary::default();
    let (simulation, _port, peer) = ground(3, apply(Flipped(1), apply(Flipped(2), echo(&diary))));
    assert_eq!(peer.take(), GREETING);
    peer.write(GREETING);
    simulation.advance(10 * MS);
    assert_eq!(peer.take(), flip(GREETING, 1), "the inner one's greeting, turned over by the outer one");
    peer.write(&flip(GREETING, 1));
    peer.write(&flip(b"both.", 3));
    simulation.advance(10 * MS);
    let heard = peer.take();
    let (inner, outer) = heard.split_at(heard.len() - FAREWELL.len());
    assert_eq!((flip(inner, 3), flip(outer, 1)), (b"ready.both.BYE".to_vec(), FAREWELL.to_vec()));
    assert!(peer.is_ended());
}

/// STARTTLS: the answer leaves in the clear, and what the peer has sent behind its request is for the layer.
struct Upgrading(Diary);

impl Protocol for Upgrading {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        let Some(at) = data.iter().position(|&byte| byte == b'\n') else { return transport.unread(data) };
        assert_eq!(&data[..at], b"STARTFLIP");
        transport.write(b"go ahead\n");
        transport.unread(&data[at + 1..]);
        transport.push_layer(Box::new(Flip::new(9)));
        assert!(transport.layer::<Flip, _>(|flip| flip.greeted) == Some(false));
        transport.switch(Box::new(Echo(Rc::clone(&self.0))));
    }
}

#[test]
fn a_layer_comes_in_the_middle_however_the_bytes_are_cut() {
    let wire = [b"STARTFLIP\n", GREETING, &flip(b"secret.", 9)].concat();
    for cut in 0..=wire.len() {
        let diary = Diary::default();
        let upgrading = Rc::clone(&diary);
        let (simulation, _port, peer) = ground(1, move || Upgrading(Rc::clone(&upgrading)));
        // The protocol asks for the whole line, so the cut is not within it.
        if (1..10).contains(&cut) {
            continue;
        }
        for piece in [&wire[..cut], &wire[cut..]] {
            peer.write(piece);
            simulation.advance(10 * MS);
        }
        let heard = peer.take();
        let (clear, rest) = heard.split_at(b"go ahead\n".len() + GREETING.len());
        assert_eq!(clear, [b"go ahead\n", GREETING].concat(), "cut at {cut}");
        assert_eq!(flip(rest, 9), b"ready.secret.BYE", "cut at {cut}");
        assert_eq!(*diary.borrow(), ["closed by this side"]);
    }
}

#[test]
fn a_broken_layer_breaks_its_connection_only() {
    struct Broken;
    impl Layer for Broken {
        fn read(&mut self, _: &Below, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(io::ErrorKind::InvalidData, "no such record"))
        }
        fn as_any(&mut self) -> &mut dyn Any {
            self
        }
    }
    struct Breaking;
    impl Policy for Breaking {
        fn layer(&self, _: &Address) -> Option<Box<dyn Layer>> {
            Some(Box::new(Broken))
        }
    }
    let diary = Diary::default();
    let (simulation, port, peer) = ground(1, apply(Breaking, echo(&diary)));
    peer.write(b"x");
    simulation.advance(10 * MS);
    assert_eq!(*diary.borrow(), ["broken: no such record"]);
    assert!(peer.is_ended());
    assert_eq!(port.statistics().connections, 0);
}

/// Asks below once more than it has to, as TLS does for a record that has not come whole, and tells of each answer.
struct Asking(Diary);

impl Asking {
    fn ask(&self, below: &Below, into: &mut [u8]) -> io::Result<usize> {
        let outcome = below.read(into);
        let answer = outcome.as_ref().map_or_else(|error| error.kind().to_string(), usize::to_string);
        let drained = if below.is_drained() { ", drained" } else { "" };
        self.0.borrow_mut().push(format!("{answer}{drained}"));
        outcome
    }
}

impl Layer for Asking {
    fn read(&mut self, below: &Below, into: &mut [u8]) -> io::Result<usize> {
        let count = self.ask(below, into)?;
        Ok(count + self.ask(below, &mut into[count..]).unwrap_or(0))
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

struct Asked(Diary);

impl Policy for Asked {
    fn layer(&self, _: &Address) -> Option<Box<dyn Layer>> {
        Some(Box::new(Asking(Rc::clone(&self.0))))
    }
}

#[test]
fn a_layer_hears_that_there_is_no_more_until_an_event_comes_and_never_misses_the_end() {
    let (told, lost) = (Diary::default(), Diary::default());
    let (simulation, _port, peer) = ground(6, apply(Asked(Rc::clone(&told)), echo(&lost)));
    for bytes in [&b"abc"[..], b"de"] {
        peer.write(bytes);
        simulation.advance(10 * MS);
    }
    assert_eq!(
        told.take(),
        ["3, drained", "operation would block, drained", "2, drained", "operation would block, drained"]
    );
    // The end comes with the last bytes, or behind them: it is told once, and a short read must not hide it.
    peer.write(b"f");
    peer.shutdown_write();
    simulation.advance(10 * MS);
    let heard = told.take();
    assert!(heard[0].starts_with('1') && heard.contains(&"0".to_owned()), "{heard:?}");
    assert_eq!(lost.take(), ["ended by the peer"]);
}
