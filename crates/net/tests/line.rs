//! `LineReceiver`: lines whole, split at every byte and bytewise; raw mode, pausing and switching in the middle of what arrived
//! at once; lines that are too long.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use common::{Probe, SEEDS, client_of, everywhere};
use ropewalk_net::{Address, LineHandler, LineReceiver, LineTransport, Protocol, TransportOptions, listen};
use ropewalk_reactor::{Peer, Random, Simulation};

/// What was handed over: `L` a line, `R` raw bytes, `X` a line that is too long.
type Events = Rc<RefCell<Vec<String>>>;

/// Obeys its lines: `raw N` wants N raw bytes, `pause` a moment, `switch` another protocol.
struct Obedient {
    events: Events,
    raw_left: usize,
    raw: Vec<u8>,
    closes: bool,
    next: Option<Probe>,
}

impl LineHandler for Obedient {
    fn line_received(&mut self, transport: &LineTransport<'_>, line: &[u8]) {
        assert!(!transport.is_reading_paused() && !transport.is_raw());
        let text = String::from_utf8_lossy(line).into_owned();
        self.events.borrow_mut().push(format!("L{text}"));
        if let Some(count) = text.strip_prefix("raw ") {
            self.raw_left = count.parse().unwrap();
            transport.set_raw_mode();
        } else if text == "pause" {
            transport.pause_reading();
            let transport = (*transport).clone();
            transport
                .reactor()
                .clone()
                .call_later(Duration::from_millis(5), move || transport.resume_reading());
        } else if text == "switch" {
            transport.switch(Box::new(self.next.take().expect("once")));
        } else if text == "quit" {
            transport.send_line(b"bye");
            transport.lose_connection();
        }
    }

    fn raw_data_received(&mut self, transport: &LineTransport<'_>, data: &[u8]) {
        assert!(transport.is_raw());
        let count = data.len().min(self.raw_left);
        self.raw.extend_from_slice(&data[..count]);
        self.raw_left -= count;
        if self.raw_left == 0 {
            let raw = std::mem::take(&mut self.raw);
            self.events.borrow_mut().push(format!("R{}", String::from_utf8_lossy(&raw)));
            transport.set_line_mode(&data[count..]);
        }
    }

    fn line_length_exceeded(&mut self, transport: &LineTransport<'_>, line: &[u8]) {
        assert!(line.len() > 20);
        self.events.borrow_mut().push("X".to_owned());
        if self.closes {
            transport.lose_connection();
        }
    }
}

fn receiver(events: &Events, closes: bool) -> LineReceiver<Obedient> {
    let handler = Obedient {
        events: Rc::clone(events),
        raw_left: 0,
        raw: Vec::new(),
        closes,
        next: Some(Probe::new()),
    };
    LineReceiver::new(handler).with_max_length(20)
}

fn served<P: Protocol>(simulation: &Simulation, make: impl Fn() -> P + 'static) -> Peer {
    let port = listen(simulation.reactor(), &"tcp:7:interface=127.0.0.1".parse().unwrap(), make).unwrap();
    let Address::Inet(address) = *port.address() else { unreachable!() };
    let peer = simulation.network().connect(address);
    simulation.advance(Duration::from_millis(10));
    port.stop_listening();
    peer
}

/// What comes of these pieces.
fn cut(pieces: &[&[u8]], closes: bool) -> Vec<String> {
    let simulation = Simulation::new(1);
    let events = Events::default();
    let made = Rc::clone(&events);
    let peer = served(&simulation, move || receiver(&made, closes));
    for piece in pieces {
        peer.write(piece);
        simulation.advance(Duration::from_millis(20));
    }
    simulation.advance(Duration::from_secs(1));
    events.take()
}

const DIALOGUE: &[u8] =
    b"one\r\n\r\nraw 7\r\n\r\nraw\r\npause\r\nl\rm\nn\r\nraw 1\r\nxraw 2\r\nyz12345678901234567890\r\n\
123456789012345678901\r\nafter\r\n1234567890123456789012345678901234567890\r\nend\r\nquit\r\nnever\r\n";

fn expected() -> Vec<&'static str> {
    vec![
        "Lone",
        "L",
        "Lraw 7",
        "R\r\nraw\r\n",
        "Lpause",
        "Ll\rm\nn",
        "Lraw 1",
        "Rx",
        "Lraw 2",
        "Ryz",
        "L12345678901234567890",
        "X",
        "Lafter",
        "X",
        "Lend",
        "Lquit",
    ]
}

#[test]
fn lines_are_the_same_however_they_are_cut() {
    assert_eq!(cut(&[DIALOGUE], false), expected(), "whole");
    for at in 1..DIALOGUE.len() {
        let (left, right) = DIALOGUE.split_at(at);
        assert_eq!(cut(&[left, right], false), expected(), "split at {at}");
    }
    let bytes: Vec<&[u8]> = DIALOGUE.chunks(1).collect();
    assert_eq!(cut(&bytes, false), expected(), "bytewise");
}

#[test]
fn lines_over_every_transport() {
    everywhere(|ground| async move {
        let events = Events::default();
        let made = Rc::clone(&events);
        let port = ground.listen(TransportOptions::default(), move || receiver(&made, false));
        let client = Probe::new();
        let seen = Rc::clone(&client.seen);
        let client = std::cell::Cell::new(Some(client));
        let transport =
            ropewalk_net::connect(&ground.reactor, &client_of(&port), move || client.take().expect("once"));
        let transport = transport.await.unwrap();
        transport.write(DIALOGUE.strip_suffix(b"never\r\n").expect("it ends so"));
        ground.until("it is closed", || seen.is_lost()).await;
        assert_eq!(*events.borrow(), expected());
        assert_eq!(*seen.data.borrow(), b"bye\r\n");
        port.stop_listening();
    });
}

#[test]
fn a_line_that_is_too_long_closes_unless_overridden() {
    let events = cut(&[&[b'x'; 100], b"\r\nnot a line of its own\r\n"], true);
    assert_eq!(events, ["X"]);
    struct Usual(Events);
    impl LineHandler for Usual {
        fn line_received(&mut self, _: &LineTransport<'_>, line: &[u8]) {
            self.0.borrow_mut().push(String::from_utf8_lossy(line).into_owned());
        }
    }
    let simulation = Simulation::new(1);
    let events = Events::default();
    let made = Rc::clone(&events);
    let peer = served(&simulation, move || LineReceiver::new(Usual(Rc::clone(&made))).with_delimiter(b"\n"));
    peer.write(&[b'x'; 16_384]);
    peer.write(b"\n");
    simulation.advance(Duration::from_millis(50));
    assert_eq!(events.take().len(), 1, "exactly as much as may be");
    peer.write(&[b'x'; 16_385]);
    simulation.advance(Duration::from_millis(50));
    assert!(peer.is_ended() && events.borrow().is_empty());
}

#[test]
fn switching_in_the_middle_hands_over_the_rest() {
    let simulation = Simulation::new(1);
    let events = Events::default();
    let (made, next) = (Rc::clone(&events), Rc::new(RefCell::new(None)));
    let keep = Rc::clone(&next);
    let peer = served(&simulation, move || {
        let next = Probe::new();
        *keep.borrow_mut() = Some(Rc::clone(&next.seen));
        LineReceiver::new(Obedient {
            events: Rc::clone(&made),
            raw_left: 0,
            raw: Vec::new(),
            closes: true,
            next: Some(next),
        })
    });
    peer.write(b"one\r\nswi");
    peer.write(b"tch\r\nTLS: \r\n");
    simulation.advance(Duration::from_millis(20));
    peer.write(b"more");
    simulation.advance(Duration::from_millis(20));
    assert_eq!(events.take(), ["Lone", "Lswitch"]);
    assert_eq!(*next.take().expect("it is made").data.borrow(), b"TLS: \r\nmore");
}

/// What comes of a seeded mixture of lines, raw stretches and pauses, cut anywhere, is what a naive model makes of all of it.
#[test]
fn lines_and_raw_bytes_are_what_a_naive_model_reads() {
    for seed in 0..4 * SEEDS {
        let mut random = Random::new(seed);
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for _ in 0..random.below(40) {
            match random.below(6) {
                0 => {
                    let count = 1 + random.below(40) as usize;
                    let raw: String =
                        (0..count).map(|_| ['\r', '\n', 'r'][random.below(3) as usize]).collect();
                    bytes.extend_from_slice(format!("raw {count}\r\n{raw}").as_bytes());
                    expected.extend([format!("Lraw {count}"), format!("R{raw}")]);
                }
                1 => {
                    bytes.extend_from_slice(b"pause\r\n");
                    expected.push("Lpause".to_owned());
                }
                2 => {
                    bytes.extend(vec![b'x'; 21 + random.below(60) as usize]);
                    bytes.extend_from_slice(b"\r\n");
                    expected.push("X".to_owned());
                }
                _ => {
                    let count = random.below(21);
                    let line: String =
                        (0..count).map(|_| ['\r', '\n', 'l'][random.below(3) as usize]).collect();
                    let line = line.replace("\r\n", "..").trim_end_matches('\r').to_owned();
                    bytes.extend_from_slice(format!("{line}\r\n").as_bytes());
                    expected.push(format!("L{line}"));
                }
            }
        }
        let mut pieces = Vec::new();
        let mut rest = bytes.as_slice();
        let most = [1, 2, 30, 4000][random.below(4) as usize];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(1 + random.below(most) as usize));
            pieces.push(piece);
            rest = behind;
        }
        assert_eq!(cut(&pieces, false), expected, "seed {seed}");
    }
}

/// What a terminal sends and what a program sends, in one connection.
#[test]
fn both_endings_end_a_line_however_they_are_cut() {
    const BYTES: &[u8] = b"a\r\nb\n\n\r\n\r\r\nc\rd\n12345678901234567890\r\n12345678901234567890\n\
123456789012345678901\nend\r\n";
    let expected =
        ["La", "Lb", "L", "L", "L\r", "Lc\rd", "L12345678901234567890", "L12345678901234567890", "X", "Lend"];
    let cut = |pieces: &[&[u8]]| {
        let simulation = Simulation::new(1);
        let events = Events::default();
        let made = Rc::clone(&events);
        let peer = served(&simulation, move || receiver(&made, false).with_any_ending());
        for piece in pieces {
            peer.write(piece);
            simulation.advance(Duration::from_millis(20));
        }
        events.take()
    };
    assert_eq!(cut(&[BYTES]), expected, "whole");
    for at in 1..BYTES.len() {
        let (left, right) = BYTES.split_at(at);
        assert_eq!(cut(&[left, right]), expected, "split at {at}");
    }
    assert_eq!(cut(&BYTES.chunks(1).collect::<Vec<_>>()), expected, "bytewise");
}

/// A handler that changes its mind between bytes gets what was kept of a line as it is.
#[test]
fn raw_mode_from_outside_of_the_bytes_hands_over_the_beginning_of_a_line() {
    struct Impatient(Events);
    impl LineHandler for Impatient {
        fn connection_made(&mut self, transport: &LineTransport<'_>) {
            transport.set_deadline(Some(transport.reactor().now() + Duration::from_secs(1)));
        }
        fn line_received(&mut self, _: &LineTransport<'_>, line: &[u8]) {
            self.0.borrow_mut().push(format!("L{}", String::from_utf8_lossy(line)));
        }
        fn raw_data_received(&mut self, transport: &LineTransport<'_>, data: &[u8]) {
            self.0.borrow_mut().push(format!("R{}", String::from_utf8_lossy(data)));
            transport.set_line_mode(&[]);
        }
        fn timed_out(&mut self, transport: &LineTransport<'_>) {
            transport.set_raw_mode();
        }
    }
    let simulation = Simulation::new(1);
    let events = Events::default();
    let made = Rc::clone(&events);
    let peer = served(&simulation, move || LineReceiver::new(Impatient(Rc::clone(&made))));
    peer.write(b"one\r\nHTTP/1.1 \r");
    simulation.advance(Duration::from_millis(500));
    assert_eq!(events.take(), ["Lone"]);
    simulation.advance(Duration::from_secs(1));
    peer.write(b"two\r\n");
    simulation.advance(Duration::from_millis(50));
    assert_eq!(events.take(), ["RHTTP/1.1 \r", "Ltwo"]);
}
