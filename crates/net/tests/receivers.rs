//! Receivers of strings: each framing whole, split at every byte and bytewise; random bytes, splits, pauses and switches against
//! a naive model that sees everything at once; and a list of what a hostile peer may send, each with its outcome.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::{Probe, SEEDS, Seen, client_of, everywhere};
use ropewalk_net::{
    Address, Framing, Int8, Int16, Int32, Netstring, NetstringError, Protocol, StringHandler, StringReceiver,
    StringTransport, TransportOptions, listen,
};
use ropewalk_reactor::{Peer, Random, Simulation};

/// Strings longer than this are too long for the receivers under test.
const LIMIT: usize = 300;

/// What a handler was told.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    String(Vec<u8>),
    TooLong,
    Refused(NetstringError),
}

/// How a handler behaves.
#[derive(Clone, Copy, Default)]
struct Manner {
    /// It pauses after one of so many strings; never if zero.
    pauses: u64,
    /// It switches to another protocol at this string.
    switches_at: Option<usize>,
    /// It closes when a string is too long.
    closes: bool,
}

struct Clerk {
    manner: Manner,
    random: Random,
    told: Rc<RefCell<Vec<Told>>>,
    next: Option<Probe>,
}

impl Clerk {
    fn tell(&mut self, transport: &StringTransport<'_>, told: Told) {
        assert!(!transport.is_reading_paused(), "paused is paused");
        assert!(!transport.is_closing(), "nothing comes after the end");
        assert!(self.next.is_some() || self.manner.switches_at.is_none(), "switched is switched");
        let count = {
            let mut all = self.told.borrow_mut();
            all.push(told);
            all.len() - 1
        };
        if self.manner.switches_at == Some(count) {
            transport.switch(Box::new(self.next.take().unwrap()));
        } else if self.manner.pauses > 0 && self.random.below(self.manner.pauses) == 0 {
            transport.pause_reading();
            let transport = (**transport).clone();
            let wait = Duration::from_millis(self.random.below(4));
            let reactor = transport.reactor().clone();
            if wait.is_zero() {
                // Within the same turn, or even within the callback.
                transport.resume_reading();
            } else {
                reactor.call_later(wait, move || transport.resume_reading());
            }
        }
    }
}

impl StringHandler for Clerk {
    fn string_received(&mut self, transport: &StringTransport<'_>, string: &[u8]) {
        self.tell(transport, Told::String(string.to_vec()));
    }

    fn length_limit_exceeded(&mut self, transport: &StringTransport<'_>, length: u64) {
        assert!(length > LIMIT as u64);
        self.tell(transport, Told::TooLong);
        if self.manner.closes && self.next.is_some() {
            transport.lose_connection();
        }
    }

    fn netstring_refused(&mut self, transport: &StringTransport<'_>, error: NetstringError) {
        self.tell(transport, Told::Refused(error));
    }
}

/// A connection to a receiver.
struct Desk {
    simulation: Simulation,
    peer: Peer,
    told: Rc<RefCell<Vec<Told>>>,
    next: Rc<Seen>,
}

impl Desk {
    fn new<F: Framing>(seed: u64, manner: Manner) -> Desk {
        let simulation = Simulation::new(seed);
        let told = Rc::default();
        let next = Probe::new();
        let seen = Rc::clone(&next.seen);
        let random = Random::new(seed);
        let clerk = Cell::new(Some(Clerk { manner, random, told: Rc::clone(&told), next: Some(next) }));
        let peer = serve(&simulation, move || {
            StringReceiver::<_, F>::new(clerk.take().unwrap()).with_length_max(LIMIT)
        });
        Desk { simulation, peer, told, next: seen }
    }

    fn send(&self, mut piece: &[u8]) {
        while !piece.is_empty() && !self.peer.is_ended() {
            piece = &piece[self.peer.write(piece)..];
            self.simulation.advance(Duration::from_millis(3));
        }
    }

    /// What came of it, once everything has happened that will.
    fn end(self) -> (Vec<Told>, Vec<u8>, bool) {
        self.simulation.advance(Duration::from_secs(5));
        (self.told.take(), self.next.data.take(), self.peer.is_ended())
    }
}

fn serve<P: Protocol>(simulation: &Simulation, make: impl Fn() -> P + 'static) -> Peer {
    let port = listen(simulation.reactor(), &"tcp:7:interface=127.0.0.1".parse().unwrap(), make).unwrap();
    let Address::Inet(address) = *port.address() else { unreachable!() };
    let peer = simulation.network().connect(address);
    simulation.advance(Duration::from_millis(10));
    port.stop_listening();
    peer
}

/// The framings, and how a model of each reads the whole of what will ever arrive: a string, or why not, and where the next
/// begins.
trait Model: Framing {
    fn frame(string: &[u8]) -> Vec<u8>;
    /// Longest string that can be framed.
    const MOST: usize;
    fn read(bytes: &[u8]) -> Option<(Result<Vec<u8>, NetstringError>, usize)>;
}

macro_rules! int_models {
    ($($framing:ident $int:ident;)*) => {
        $(impl Model for $framing {
            const MOST: usize = $int::MAX as usize;
            fn frame(string: &[u8]) -> Vec<u8> {
                [&$int::try_from(string.len()).unwrap().to_be_bytes(), string].concat()
            }
            fn read(bytes: &[u8]) -> Option<(Result<Vec<u8>, NetstringError>, usize)> {
                let (head, rest) = bytes.split_at_checked(size_of::<$int>())?;
                let length = $int::from_be_bytes(head.try_into().unwrap()) as usize;
                Some((Ok(rest.get(..length)?.to_vec()), head.len() + length))
            }
        })*
    };
}

int_models! {
    Int8 u8;
    Int16 u16;
    Int32 u32;
}

impl Model for Netstring {
    const MOST: usize = usize::MAX;

    fn frame(string: &[u8]) -> Vec<u8> {
        [format!("{}:", string.len()).as_bytes(), string, b","].concat()
    }

    fn read(bytes: &[u8]) -> Option<(Result<Vec<u8>, NetstringError>, usize)> {
        let digits: Vec<u8> = bytes.iter().copied().take_while(u8::is_ascii_digit).collect();
        let refused = |error| Some((Err(error), 0));
        if digits.len() > 1 && digits[0] == b'0' {
            return refused(NetstringError::LeadingZero);
        }
        if digits.len() > 19 {
            return refused(NetstringError::Endless);
        }
        match bytes.get(digits.len())? {
            b':' if !digits.is_empty() => {}
            found if digits.is_empty() => return refused(NetstringError::NoDigit(*found)),
            found => return refused(NetstringError::NoColon(*found)),
        }
        let length: usize = String::from_utf8(digits.clone()).unwrap().parse().unwrap();
        let start = digits.len() + 1;
        let string = bytes.get(start..start.checked_add(length)?)?;
        match bytes.get(start + length)? {
            b',' => Some((Ok(string.to_vec()), start + length + 1)),
            found => refused(NetstringError::NoComma(*found)),
        }
    }
}

/// What a handler of this manner is told of these bytes, what the next protocol gets, and whether the connection ends.
fn model<F: Model>(mut bytes: &[u8], manner: Manner) -> (Vec<Told>, Vec<u8>, bool) {
    let mut told = Vec::new();
    loop {
        // One that is too long is told before it is complete, or refused.
        let digits = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
        let netstring = F::frame(b"").len() == 3;
        let announced = if netstring {
            let digits = String::from_utf8(bytes[..digits.min(19)].to_vec()).unwrap();
            if digits.starts_with('0') { 0 } else { digits.parse::<u64>().unwrap_or(0) }
        } else {
            let width = F::frame(b"").len();
            bytes.get(..width).map_or(0, |head| head.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
        };
        let too_long = announced > LIMIT as u64;
        if too_long {
            told.push(Told::TooLong);
        }
        let switches = |told: &[Told]| manner.switches_at == told.len().checked_sub(1);
        if too_long && switches(&told) {
            return (told, bytes.to_vec(), false);
        }
        if too_long && manner.closes {
            return (told, Vec::new(), true);
        }
        match F::read(bytes) {
            None => return (told, Vec::new(), false),
            Some((Err(error), _)) => {
                told.push(Told::Refused(error));
                return (told, Vec::new(), true);
            }
            Some((Ok(string), used)) => {
                bytes = &bytes[used..];
                if too_long {
                    continue;
                }
                told.push(Told::String(string));
                if switches(&told) {
                    return (told, bytes.to_vec(), false);
                }
            }
        }
    }
}

fn check<F: Model>(seed: u64, pieces: &[&[u8]], manner: Manner, how: &str) {
    let desk = Desk::new::<F>(seed, manner);
    pieces.iter().for_each(|piece| desk.send(piece));
    let (told, rest, ended) = desk.end();
    let (told_model, rest_model, ended_model) = model::<F>(&pieces.concat(), manner);
    assert_eq!(told, told_model, "{how}");
    assert_eq!(rest.escape_ascii().to_string(), rest_model.escape_ascii().to_string(), "{how}");
    assert_eq!(ended, ended_model, "{how}");
}

fn however_cut<F: Model>() {
    let strings: [&[u8]; 7] = [b"", b"hello", b"12:not a head,", b"", b"\r\n\0\xff", &[b'x'; 255], b"end"];
    let mut bytes: Vec<u8> = strings.iter().flat_map(|string| F::frame(string)).collect();
    if F::MOST > 255 {
        bytes.extend(F::frame(&[b'l'; LIMIT]));
        bytes.extend(F::frame(&[b'l'; LIMIT + 1]));
        bytes.extend(F::frame(b"after"));
    }
    let expected = model::<F>(&bytes, Manner::default()).0;
    assert!(expected.len() >= 7 && expected.iter().all(|told| !matches!(told, Told::Refused(_))));
    check::<F>(1, &[&bytes], Manner::default(), "whole");
    for at in 1..bytes.len() {
        let (left, right) = bytes.split_at(at);
        check::<F>(1, &[left, right], Manner::default(), &format!("split at {at}"));
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    check::<F>(1, &single, Manner::default(), "bytewise");
    check::<F>(1, &single, Manner { pauses: 2, ..Manner::default() }, "bytewise with pauses");
}

#[test]
fn netstrings_are_the_same_however_they_are_cut() {
    however_cut::<Netstring>();
}

#[test]
fn strings_behind_lengths_are_the_same_however_they_are_cut() {
    however_cut::<Int8>();
    however_cut::<Int16>();
    however_cut::<Int32>();
}

/// Strings of random lengths, a few of them too long; now and then one byte is another than it should be.
fn scribble<F: Model>(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(30) {
        let most = [3, 20, LIMIT as u64 + 40][random.below(3) as usize];
        let length = (random.below(most) as usize).min(F::MOST);
        let string: Vec<u8> = (0..length).map(|_| b"0123:,\r\nxy"[random.below(10) as usize]).collect();
        bytes.extend(F::frame(&string));
    }
    if random.below(3) == 0 && !bytes.is_empty() {
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] = random.below(256) as u8;
    }
    if random.below(3) == 0 {
        bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
    }
    bytes
}

fn against_the_model<F: Model>() {
    for seed in 0..4 * SEEDS {
        let mut random = Random::new(seed);
        let bytes = scribble::<F>(&mut random);
        let manner = Manner {
            pauses: random.below(4),
            switches_at: (random.below(3) == 0).then(|| random.below(10) as usize),
            closes: random.below(2) == 0,
        };
        let mut pieces = Vec::new();
        let mut rest = bytes.as_slice();
        let most = [2, 30, 4000][random.below(3) as usize];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(1 + random.below(most) as usize));
            pieces.push(piece);
            rest = behind;
        }
        check::<F>(seed, &pieces, manner, &format!("seed {seed}"));
    }
}

#[test]
fn netstrings_are_what_a_naive_model_reads() {
    against_the_model::<Netstring>();
}

#[test]
fn strings_behind_lengths_are_what_a_naive_model_reads() {
    against_the_model::<Int8>();
    against_the_model::<Int16>();
    against_the_model::<Int32>();
}

#[test]
fn bad_netstrings_end_the_connection_at_their_first_impossible_byte() {
    for (bad, error) in [
        ("05:hello,", NetstringError::LeadingZero),
        ("00:,", NetstringError::LeadingZero),
        ("-1:x,", NetstringError::NoDigit(b'-')),
        ("+5:hello,", NetstringError::NoDigit(b'+')),
        (" 5:hello,", NetstringError::NoDigit(b' ')),
        (":hello,", NetstringError::NoDigit(b':')),
        ("5 :hello,", NetstringError::NoColon(b' ')),
        ("0x5:hello,", NetstringError::NoColon(b'x')),
        ("5:hello;", NetstringError::NoComma(b';')),
        ("5:hello world,", NetstringError::NoComma(b' ')),
        ("0:x", NetstringError::NoComma(b'x')),
    ] {
        let desk = Desk::new::<Netstring>(1, Manner::default());
        desk.send(b"2:ok,");
        desk.send(bad.as_bytes());
        let expected = vec![Told::String(b"ok".to_vec()), Told::Refused(error)];
        assert_eq!(desk.end(), (expected, Vec::new(), true), "{bad}");

        // The byte that is impossible is the first that makes a difference.
        let at = (1..=bad.len()).find(|at| Netstring::read(&bad.as_bytes()[..*at]).is_some()).unwrap();
        let desk = Desk::new::<Netstring>(1, Manner::default());
        desk.send(&bad.as_bytes()[..at - 1]);
        assert_eq!(desk.end(), (Vec::new(), Vec::new(), false), "{bad}: not before");
        let desk = Desk::new::<Netstring>(1, Manner::default());
        desk.send(&bad.as_bytes()[..at]);
        assert_eq!(desk.end(), (vec![Told::Refused(error)], Vec::new(), true), "{bad}: but then");
    }
}

/// The usual handler: it answers each string, and leaves the rest to the defaults.
struct Usual;

impl StringHandler for Usual {
    fn string_received(&mut self, transport: &StringTransport<'_>, string: &[u8]) {
        transport.send_string(string).unwrap();
    }
}

#[test]
fn what_is_too_long_closes_unless_overridden() {
    let simulation = Simulation::new(1);
    let soon = || simulation.advance(Duration::from_millis(100));
    let peer = serve(&simulation, || StringReceiver::<_, Int32>::new(Usual));
    peer.write(b"\x00\x00\x00\x02ok\xff\xff\xff\xff");
    soon();
    assert_eq!(peer.take(), b"\x00\x00\x00\x02ok", "what was asked before is answered");
    assert!(peer.is_ended(), "4 GiB are not waited for");

    let peer = serve(&simulation, || StringReceiver::<_, Int32>::new(Usual));
    peer.write(b"\x00\x01\x86\xa0");
    soon();
    assert!(peer.is_ended(), "100,000 bytes are one too many");

    let peer = serve(&simulation, || StringReceiver::<_, Netstring>::new(Usual));
    peer.write(b"99999");
    soon();
    assert!(!peer.is_ended(), "99,999 bytes may be");
    peer.write(b"9");
    soon();
    assert!(peer.is_ended(), "six digits may not, whatever follows them");
}

#[test]
fn the_limit_itself_arrives() {
    let simulation = Simulation::new(1);
    simulation.network().set_conditions(|conditions| conditions.window_bytes = 300_000);
    let peer = serve(&simulation, || StringReceiver::<_, Netstring>::new(Usual));
    let framed = Netstring::frame(&[b'm'; 99_999]);
    assert_eq!(peer.write(&framed), framed.len());
    simulation.advance(Duration::from_secs(1));
    assert!(peer.take() == framed);
}

#[test]
fn what_a_frame_cannot_say_is_not_sent() {
    struct Sender(Rc<Cell<bool>>);
    impl StringHandler for Sender {
        fn string_received(&mut self, _: &StringTransport<'_>, _: &[u8]) {}
        fn connection_made(&mut self, transport: &StringTransport<'_>) {
            transport.send_string(&[b'x'; 255]).unwrap();
            let error = transport.send_string(&[b'y'; 256]).unwrap_err();
            assert_eq!((error.length, error.length_max), (256, 255));
            transport.send_string(b"").unwrap();
            self.0.set(true);
        }
    }
    let simulation = Simulation::new(1);
    let done = Rc::new(Cell::new(false));
    let made = Rc::clone(&done);
    let peer = serve(&simulation, move || StringReceiver::<_, Int8>::new(Sender(Rc::clone(&made))));
    simulation.advance(Duration::from_millis(50));
    assert!(done.get());
    assert_eq!(peer.take(), [b"\xff".as_slice(), &[b'x'; 255], b"\0"].concat());
}

/// A handler that lets go of a connection outside of its bytes: what it had kept of a string is the next protocol's.
#[test]
fn switching_between_bytes_hands_over_the_beginning_of_a_string() {
    struct Leaver(Option<Probe>);
    impl StringHandler for Leaver {
        fn string_received(&mut self, _: &StringTransport<'_>, _: &[u8]) {}
        fn connection_made(&mut self, transport: &StringTransport<'_>) {
            let at = transport.reactor().now() + Duration::from_secs(1);
            transport.set_deadline(Some(at));
        }
        fn timed_out(&mut self, transport: &StringTransport<'_>) {
            transport.switch(Box::new(self.0.take().unwrap()));
        }
    }
    let simulation = Simulation::new(1);
    let next = Probe::new();
    let seen = Rc::clone(&next.seen);
    let next = Cell::new(Some(next));
    let peer = serve(&simulation, move || StringReceiver::<_, Netstring>::new(Leaver(next.take())));
    peer.write(b"2:ok,5:hel");
    simulation.advance(Duration::from_millis(500));
    assert_eq!(seen.len(), 0);
    simulation.advance(Duration::from_secs(1));
    peer.write(b"lo");
    simulation.advance(Duration::from_millis(50));
    assert_eq!(*seen.data.borrow(), b"5:hello");
}

#[test]
fn strings_over_every_transport() {
    everywhere(|ground| async move {
        let strings: Vec<Vec<u8>> = (0..20).map(|_| ground.bytes(ground.random(250))).collect();
        let bytes: Vec<u8> = strings.iter().flat_map(|string| Int16::frame(string)).collect();
        let port = ground.listen(TransportOptions::default(), || StringReceiver::<_, Int16>::new(Usual));
        let client = Probe::new();
        let seen = Rc::clone(&client.seen);
        let client = Cell::new(Some(client));
        let connected =
            ropewalk_net::connect(&ground.reactor, &client_of(&port), move || client.take().expect("once"));
        let transport = connected.await.unwrap();
        transport.write(&bytes);
        transport.lose_write_connection();
        ground.until("it is closed", || seen.ended.get()).await;
        assert!(*seen.data.borrow() == bytes);
        port.stop_listening();
    });
}
