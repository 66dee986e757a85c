//! What every transport does, whatever is below: each check runs in the simulation with 100 seeds (windows of a few bytes,
//! segments of one), over TCP and over UNIX sockets, with a file and without.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::{Ground, Kind, Probe, everywhere};
use ropewalk_net::{Producer, Protocol, Transport, TransportOptions};

#[test]
fn an_echo_comes_back_whole_split_and_bytewise() {
    everywhere(|ground| async move {
        let data = ground.bytes(ground.plenty() / 4);
        let bytewise = ground.bytes(500);
        let pair = ground.pair(Probe::echo(), Probe::new()).await;
        let transport = pair.client.transport();
        transport.write(&data);
        for chunk in data.chunks(1 + ground.random(5000)) {
            transport.write(chunk);
            if ground.random(4) == 0 {
                ground.pause(Duration::from_millis(1)).await;
            }
        }
        for byte in bytewise.chunks(1) {
            transport.write(byte);
            ground.pause(Duration::from_millis(1)).await;
        }
        let expected = [&data[..], &data, &bytewise].concat();
        ground.until("everything is back", || pair.client.len() >= expected.len()).await;
        assert!(*pair.client.data.borrow() == expected);
        transport.lose_connection();
        ground.until("both are lost", || pair.client.is_lost() && pair.server.is_lost()).await;
        assert_eq!(pair.client.reason(), "closed by this side");
        assert_eq!(pair.server.reason(), "ended by the peer");
        assert_eq!(transport.traffic(), (expected.len() as u64, expected.len() as u64));
    });
}

#[test]
fn a_greeting_needs_no_event() {
    everywhere(|ground| async move {
        let server = Probe::new().on_made(|transport| transport.write(b"220 ready"));
        let pair = ground.pair(server, Probe::new()).await;
        ground.until("the greeting", || pair.client.len() == 9).await;
        pair.client.transport().abort_connection();
    });
}

#[test]
fn what_an_event_brought_about_leaves_before_the_next_connection_is_heard() {
    everywhere(|ground| async move {
        // 1. Two connections that do not read get a byte each. 2. Both go on in the same turn.
        // 3. Each answers, and looks at what the other one has still to send.
        let heard = Rc::new(RefCell::new(Vec::<Transport>::new()));
        let unsent = Rc::new(Cell::new(0));
        let probe = || {
            let (heard, unsent) = (Rc::clone(&heard), Rc::clone(&unsent));
            Probe::new().on_made(Transport::pause_reading).on_data(move |transport, data| {
                let others: usize = heard.borrow().iter().map(Transport::buffered).sum();
                unsent.set(unsent.get() + others);
                transport.write(data);
                heard.borrow_mut().push(transport.clone());
            })
        };
        let pairs = [ground.pair(probe(), Probe::new()).await, ground.pair(probe(), Probe::new()).await];
        for pair in &pairs {
            pair.client.transport().write(b"x");
        }
        ground.pause(Duration::from_millis(20)).await;
        for pair in &pairs {
            pair.server.transport().resume_reading();
        }
        ground.until("both are answered", || pairs.iter().all(|pair| pair.client.len() == 1)).await;
        assert_eq!((heard.borrow().len(), unsent.get()), (2, 0));
        for pair in &pairs {
            pair.client.transport().abort_connection();
        }
    });
}

#[test]
fn output_waits_for_ready_work_that_may_add_to_it() {
    everywhere(|ground| async move {
        let waited = Rc::new(Cell::new(0));
        let found = Rc::clone(&waited);
        let server = Probe::new().on_data(move |transport, data| {
            transport.write(data);
            let (later, found) = (transport.clone(), Rc::clone(&found));
            transport.reactor().call_soon(move || {
                found.set(later.buffered());
                later.write(b"y");
            });
        });
        let pair = ground.pair(server, Probe::new()).await;
        pair.client.transport().write(b"x");
        ground.until("both bytes", || pair.client.len() == 2).await;
        assert_eq!((waited.get(), pair.client.data.borrow().as_slice()), (1, b"xy".as_slice()));
        pair.client.transport().abort_connection();
    });
}

#[test]
fn after_the_peers_end_the_answer_still_goes_out() {
    everywhere(|ground| async move {
        // 1. The client sends its question and ends its direction.
        // 2. The server sees question and end, and answers at length, later.
        // 3. The client gets the whole answer, then the end.
        let answer = ground.bytes(ground.plenty());
        let server = Probe::new().on_end(|_| {});
        let pair = ground.pair(server, Probe::new()).await;
        pair.client.transport().write(b"question");
        pair.client.transport().lose_write_connection();
        pair.client.transport().write(b"too late");
        ground.until("the end", || pair.server.ended.get()).await;
        assert_eq!(*pair.server.data.borrow(), b"question");
        assert!(pair.server.transport().is_read_ended());
        ground.pause(Duration::from_millis(5)).await;
        assert!(!pair.server.is_lost(), "it may still write");
        pair.server.transport().write(&answer);
        pair.server.transport().lose_write_connection();
        ground.until("both are lost", || pair.client.is_lost() && pair.server.is_lost()).await;
        assert!(*pair.client.data.borrow() == answer);
        assert_eq!(pair.server.reason(), "ended by the peer");
    });
}

#[test]
fn data_and_end_in_one_event_are_both_seen() {
    everywhere(|ground| async move {
        // While the server is paused the bytes and the end come as one edge; after it, no other ever comes.
        let server = Probe::new().on_made(Transport::pause_reading);
        let pair = ground.pair(server, Probe::new()).await;
        pair.client.transport().write(b"last words");
        pair.client.transport().lose_connection();
        ground.pause(Duration::from_millis(50)).await;
        assert_eq!(pair.server.len(), 0);
        pair.server.transport().resume_reading();
        ground.until("the server is lost", || pair.server.is_lost()).await;
        assert_eq!(*pair.server.data.borrow(), b"last words");
        assert!(pair.server.ended.get());

        let pair = ground.pair(Probe::new(), Probe::new()).await;
        pair.client.transport().write(b"last words");
        pair.client.transport().lose_connection();
        ground.until("the server is lost", || pair.server.is_lost()).await;
        assert_eq!(*pair.server.data.borrow(), b"last words");
    });
}

#[test]
fn losing_a_connection_sends_everything_first() {
    everywhere(|ground| async move {
        let data = ground.bytes(ground.plenty());
        let shared: Rc<[u8]> = data.clone().into();
        let pair = ground.pair(Probe::new(), Probe::new()).await;
        let transport = pair.client.transport();
        transport.write(&data);
        transport.write_shared(&shared);
        transport.write(&data);
        transport.lose_connection();
        transport.write(b"ignored");
        assert!(transport.is_closing() && !transport.is_disconnected());
        ground.until("the server is lost", || pair.server.is_lost()).await;
        assert!(*pair.server.data.borrow() == [&data[..], &data, &data].concat());
        assert_eq!(pair.client.reason(), "closed by this side");
    });
}

#[test]
fn aborting_resets() {
    everywhere(|ground| async move {
        let pair = ground.pair(Probe::new(), Probe::new()).await;
        let transport = pair.client.transport();
        let data = ground.bytes(ground.plenty());
        pair.server.transport().pause_reading();
        transport.write(&data);
        ground.pause(Duration::from_millis(5)).await;
        transport.abort_connection();
        assert!(!pair.client.is_lost(), "not before the callback that runs has returned");
        pair.server.transport().resume_reading();
        ground.until("both are lost", || pair.client.is_lost() && pair.server.is_lost()).await;
        assert_eq!(pair.client.reason(), "aborted by this side");
        assert!(pair.server.len() < data.len());
        if ground.kind == Kind::Tcp || ground.kind == Kind::Simulated {
            assert!(pair.server.reason().starts_with("broken"), "{}", pair.server.reason());
        }
    });
}

/// Takes a random part of what it is given, hands the rest back, and pauses now and then.
fn nibbler(ground: &Ground) -> (Probe, Rc<RefCell<Vec<u8>>>) {
    let taken: Rc<RefCell<Vec<u8>>> = Rc::default();
    let (out, ground) = (Rc::clone(&taken), ground.clone());
    let probe = Probe::new().on_data(move |transport, data| {
        let count = 1 + ground.random(data.len() as u64);
        out.borrow_mut().extend_from_slice(&data[..count]);
        transport.unread(&data[count..]);
        match ground.random(4) {
            0 => {
                transport.pause_reading();
                let transport = transport.clone();
                let delay = Duration::from_millis(ground.random(3) as u64);
                ground.reactor.call_later(delay, move || transport.resume_reading());
            }
            1 => {
                transport.pause_reading();
                transport.resume_reading();
            }
            2 => {
                transport.pause_reading();
                let transport = transport.clone();
                ground.reactor.call_soon(move || (0..3).for_each(|_| transport.resume_reading()));
            }
            // Handed back without a pause: it comes again in the next turn.
            _ => {}
        }
    });
    (probe, taken)
}

#[test]
fn what_is_handed_back_comes_again_once_and_in_order() {
    everywhere(|ground| async move {
        let (probe, taken) = nibbler(&ground);
        let data = ground.bytes(ground.plenty() / 10);
        let pair = ground.pair(probe, Probe::new()).await;
        pair.client.transport().write(&data);
        pair.client.transport().lose_connection();
        ground.until("the server is lost", || pair.server.is_lost()).await;
        assert!(*taken.borrow() == data);
        assert!(pair.server.ended.get(), "the end comes after the last byte, and it comes");
    });
}

#[test]
fn a_deadline_that_resumes_reads_what_was_put_off() {
    everywhere(|ground| async move {
        let server = Probe::new()
            .on_made(|transport| {
                transport.pause_reading();
                transport.set_deadline(Some(transport.reactor().now() + Duration::from_millis(50)));
            })
            .on_due(Transport::resume_reading);
        let pair = ground.pair(server, Probe::new()).await;
        pair.client.transport().write(b"early");
        ground.until("it is read", || pair.server.len() == 5).await;
        assert_eq!(pair.server.timed_out.get(), 1);
        pair.client.transport().abort_connection();
    });
}

#[test]
fn switching_hands_over_what_is_unread() {
    everywhere(|ground| async move {
        // The first protocol takes a line of the form "n\n"; the second gets every byte after it.
        let next = Probe::new();
        let second = Rc::clone(&next.seen);
        let next = Cell::new(Some(next));
        let mut line = Vec::new();
        let server =
            Probe::new().on_data(move |transport, data| match data.iter().position(|&byte| byte == b'\n') {
                None => line.extend_from_slice(data),
                Some(end) => {
                    line.extend_from_slice(&data[..end]);
                    assert_eq!(line, b"STARTTLS");
                    transport.switch(Box::new(next.take().expect("once")));
                    transport.unread(&data[end + 1..]);
                }
            });
        let pair = ground.pair(server, Probe::new()).await;
        // More than one read of the loop, so that the socket has more when the protocol switches.
        let data = ground.bytes(ground.plenty() / 4);
        pair.client.transport().write(b"STARTTLS\n");
        pair.client.transport().write(&data);
        pair.client.transport().lose_connection();
        ground.until("the second is lost", || second.is_lost()).await;
        assert!(*second.data.borrow() == data);
        assert!(!pair.server.is_lost(), "the first was dropped without a word");
        assert!(second.made.get(), "the second was told of its connection");
    });
}

/// Writes while it may.
struct Pump {
    transport: Transport,
    running: Cell<bool>,
    pauses: Cell<u32>,
    resumes: Cell<u32>,
    stopped: Cell<bool>,
    left: Cell<usize>,
    largest: Cell<usize>,
}

impl Pump {
    fn pump(&self) {
        while self.running.get() && self.left.get() > 0 && !self.transport.is_full() {
            let count = self.left.get().min(1000);
            self.left.set(self.left.get() - count);
            self.transport.write(&vec![7; count]);
            self.largest.set(self.largest.get().max(self.transport.buffered()));
        }
    }
}

impl Producer for Pump {
    fn pause_producing(&self) {
        assert!(self.running.replace(false), "paused twice");
        self.pauses.set(self.pauses.get() + 1);
    }

    fn resume_producing(&self) {
        assert!(!self.running.replace(true), "resumed without a pause");
        assert!(self.transport.buffered() <= 4000, "at low water: {}", self.transport.buffered());
        self.resumes.set(self.resumes.get() + 1);
        self.pump();
    }

    fn stop_producing(&self) {
        self.stopped.set(true);
    }
}

#[test]
fn a_producer_is_paused_at_high_water_and_resumed_at_low_water() {
    everywhere(|ground| async move {
        let options = TransportOptions {
            high_water_bytes: 16_000,
            low_water_bytes: 4000,
            ..TransportOptions::default()
        };
        let pair =
            ground.pair_with(options, Probe::new(), Probe::new().on_made(Transport::pause_reading)).await;
        let total = ground.plenty() * 5;
        let transport = pair.server.transport();
        let pump = Rc::new(Pump {
            transport: transport.clone(),
            running: Cell::new(true),
            pauses: Cell::new(0),
            resumes: Cell::new(0),
            stopped: Cell::new(false),
            left: Cell::new(total),
            largest: Cell::new(0),
        });
        transport.register_producer(pump.clone());
        // Started once, it fills up what a reader that does not read leaves room for: as long as the system takes all of it,
        // each pause is followed by going on.
        pump.pump();
        ground.until("it is held back", || !pump.running.get()).await;
        let (left, resumes) = (pump.left.get(), pump.resumes.get());
        assert!(left > 0);
        ground.pause(Duration::from_millis(20)).await;
        assert_eq!(pump.left.get(), left, "paused is paused");
        assert_eq!(pump.resumes.get(), resumes);
        pair.client.transport().resume_reading();
        ground.until("all of it has come", || pair.client.len() == total).await;
        assert!(pump.largest.get() < 17_000, "{}", pump.largest.get());
        assert!(pump.resumes.get() > 0 && pump.resumes.get() <= pump.pauses.get());
        pair.client.transport().lose_connection();
        ground.until("it is told of the end", || pump.stopped.get()).await;
    });
}

/// Small writes are gathered and large ones sent at once, but none overtakes another.
#[test]
fn writes_of_every_size_arrive_in_order() {
    everywhere(|ground| async move {
        let pair = ground.pair(Probe::new(), Probe::new()).await;
        let transport = pair.client.transport();
        let mut expected = Vec::new();
        for _ in 0..20 {
            let size =
                if ground.random(2) == 0 { ground.random(100) } else { 10_000 + ground.random(20_000) };
            let piece: Vec<u8> = (0..size).map(|at| (at + expected.len()) as u8).collect();
            match ground.random(4) {
                0 => transport.write_shared(&piece.clone().into()),
                1 => transport.write_sequence([&piece[..size / 2], &piece[size / 2..]]),
                _ => transport.write(&piece),
            }
            expected.extend(piece);
            if ground.random(3) == 0 {
                ground.pause(Duration::from_millis(1)).await;
            }
        }
        transport.lose_connection();
        ground.until("the server is lost", || pair.server.is_lost()).await;
        assert!(*pair.server.data.borrow() == expected);
        assert_eq!(pair.client.transport().traffic().1, expected.len() as u64);
    });
}

/// A peer that takes everything at once does not keep a writer from giving way to others.
#[test]
fn a_writer_is_full_in_the_end_however_much_the_peer_takes() {
    everywhere(|ground| async move {
        static PIECE: [u8; 20_000] = [7; 20_000];
        let options = TransportOptions { high_water_bytes: 50_000, ..TransportOptions::default() };
        let pair = ground.pair_with(options, Probe::new(), Probe::new()).await;
        let transport = pair.server.transport();
        let mut pieces = 0;
        while !transport.is_full() {
            transport.write(&PIECE);
            pieces += 1;
        }
        // So much is sent at once in a turn; where the peer takes less, a high-water mark waits.
        assert!(pieces * PIECE.len() < 256 * 1024 + 50_000 + 2 * PIECE.len(), "{pieces}");
        ground.until("there is room again", || !transport.is_full()).await;
        if ground.kind != Kind::Simulated {
            // One that does not ask is sent so much at once; the rest waits.
            let sent = transport.traffic().1;
            (0..20).for_each(|_| transport.write(&PIECE));
            pieces += 20;
            assert!(transport.traffic().1 - sent <= (256 * 1024 + PIECE.len()) as u64);
        }
        ground.until("all of it has come", || pair.client.len() == pieces * PIECE.len()).await;
    });
}

/// A producer that never comes to an end fills a connection again and again, and then it is being closed: whoever writes until it is
/// full must not be asked to go on writing where nothing arrives.
#[test]
fn a_producer_is_not_resumed_when_the_connection_is_being_closed() {
    struct Endless(Transport, Cell<bool>);
    impl Endless {
        fn produce(&self) {
            while !self.0.is_full() {
                assert!(!self.0.is_closing(), "it would never end");
                self.0.write(&[1; 20_000]);
            }
        }
    }
    impl Producer for Endless {
        fn pause_producing(&self) {}
        fn resume_producing(&self) {
            self.produce();
        }
        fn stop_producing(&self) {
            self.1.set(true);
        }
    }
    everywhere(|ground| async move {
        let options = TransportOptions { high_water_bytes: 20_000, ..TransportOptions::default() };
        let pair = ground.pair_with(options, Probe::new(), Probe::new()).await;
        let endless = Rc::new(Endless(pair.server.transport(), Cell::new(false)));
        endless.0.register_producer(endless.clone());
        endless.produce();
        ground.until("it is resumed", || pair.client.len() > 40_000).await;
        match ground.random(3) {
            0 => endless.0.lose_connection(),
            1 => pair.client.transport().abort_connection(),
            _ => pair.client.transport().lose_connection(),
        }
        ground.until("it is told of the end", || endless.1.get()).await;
    });
}

#[test]
fn a_shared_piece_to_a_stalled_reader_keeps_its_place_and_no_memory() {
    everywhere(|ground| async move {
        let pair = ground.pair(Probe::new(), Probe::new().on_made(Transport::pause_reading)).await;
        let transport = pair.server.transport();
        let pieces: Vec<Rc<[u8]>> = (0..10).map(|_| ground.bytes(1 + ground.random(4000)).into()).collect();
        let mut expected = Vec::new();
        let mut round = 0usize;
        while !transport.is_full() {
            let piece = &pieces[round % pieces.len()];
            transport.write_shared(piece);
            expected.extend_from_slice(piece);
            if round.is_multiple_of(7) {
                transport.write(&round.to_be_bytes());
                expected.extend_from_slice(&round.to_be_bytes());
            }
            round += 1;
            if round.is_multiple_of(20) {
                ground.pause(Duration::from_millis(1)).await;
            }
        }
        assert!(transport.buffered() < 64 * 1024 + 4096, "{}", transport.buffered());
        pair.client.transport().resume_reading();
        ground.until("it is all there", || pair.client.len() >= expected.len()).await;
        assert!(*pair.client.data.borrow() == expected);
        ground.until("nothing waits", || transport.buffered() == 0).await;
        assert!(pieces.iter().all(|piece| Rc::strong_count(piece) == 1), "no piece is held");
        transport.lose_connection();
    });
}

/// Switches in the middle of its own call and goes on using the transport: everything takes effect after it.
struct Turncoat;

impl Protocol for Turncoat {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        let next = Probe::echo().on_end(Transport::lose_connection);
        transport.switch(Box::new(next));
        transport.write(b"switched:");
        transport.unread(data);
    }
}

#[test]
fn a_protocol_that_switches_may_go_on_writing() {
    everywhere(|ground| async move {
        let port = ground.listen(TransportOptions::default(), || Turncoat);
        let client = Probe::new();
        let seen = Rc::clone(&client.seen);
        let client = Cell::new(Some(client));
        let transport = ground.connect(&port, move || client.take().expect("once")).await.unwrap();
        transport.write(b"hello");
        ground.until("the answer", || seen.len() == 14).await;
        assert_eq!(*seen.data.borrow(), b"switched:hello");
        transport.lose_connection();
        port.stop_listening();
    });
}
