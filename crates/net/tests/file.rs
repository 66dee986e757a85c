//! Files among the output: in order, whole, to readers that are slow, stall or leave, over every transport; files that shrink or
//! grow meanwhile; transforms; and what of it is in memory.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::{Cell, RefCell};
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use common::{Ground, Kind, Probe, everywhere, real};
use ropewalk_net::{Address, FileSender, Lost, Port, Protocol, Transport, TransportOptions, listen};
use ropewalk_reactor::{Peer, Random, Readiness, Simulation};

/// A file of its own for each test, gone at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &[u8]) -> Scratch {
        let path = std::env::temp_dir().join(format!("ropewalk-net-file-{}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        Scratch(path)
    }

    fn open(&self) -> FileSender {
        FileSender::new(File::open(&self.0).unwrap()).unwrap()
    }

    fn set_len(&self, length: u64) {
        OpenOptions::new().write(true).open(&self.0).unwrap().set_len(length).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn pattern(seed: u64, count: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.below(256) as u8).collect()
}

/// Two megabytes need not be printed when they differ.
fn digest(bytes: &[u8]) -> (usize, u64) {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    (bytes.len(), hasher.finish())
}

/// Files before, between and after bytes of all kinds, twice, and then the end.
#[test]
fn files_are_sent_in_order_over_every_transport() {
    let long = pattern(1, 1_500_000);
    let scratch = Rc::new(Scratch::new("order", &long));
    everywhere(move |ground| {
        let (scratch, long) = (Rc::clone(&scratch), long.clone());
        async move {
            let plenty = ground.plenty() / 2;
            let told = Rc::new(RefCell::new(Vec::new()));
            let telling = Rc::clone(&told);
            let shared: Rc<[u8]> = vec![b's'; 600].into();
            let mut expected = Vec::new();
            for _ in 0..2 {
                expected.extend_from_slice(b"head");
                expected.extend_from_slice(&long[3..3 + length_of(plenty)]);
                expected.extend_from_slice(&shared);
                expected.extend_from_slice(&long[..70]);
                expected.extend_from_slice(&long[70..71]);
                expected.extend_from_slice(b"tail");
            }
            let server = Probe::new().on_made(move |transport| {
                for _ in 0..2 {
                    transport.write(b"head");
                    let length = length_of(plenty) as u64;
                    let parts = [(3, length), (0, 70), (70, 1), (9, 0)];
                    for (index, (offset, length)) in parts.into_iter().enumerate() {
                        let telling = Rc::clone(&telling);
                        let sent = scratch.open().with_part(offset, length).send(transport);
                        drop(sent.add_callback(move |count| telling.borrow_mut().push(count)));
                        if index == 0 {
                            transport.write_shared(&shared);
                        }
                    }
                    transport.write(b"tail");
                }
                assert!(transport.buffered() > 2 * length_of(plenty));
                transport.lose_connection();
                transport.write(b"never");
            });
            let pair = ground.pair(server, Probe::new()).await;
            ground.until("all has come", || pair.client.is_lost()).await;
            assert_eq!(digest(&pair.client.data.borrow()), digest(&expected));
            let mut counts = told.take();
            counts.sort_unstable();
            let length = length_of(plenty) as u64;
            assert_eq!(counts, [0, 0, 1, 1, 70, 70, length, length]);
        }
    });
}

/// As much of the file as is plenty.
fn length_of(plenty: usize) -> usize {
    plenty.min(1_000_000)
}

/// Whoever writes behind a file is told to wait for it, and none of it is in memory.
#[test]
fn a_file_is_backpressure_and_no_memory() {
    let scratch = Scratch::new("backpressure", &pattern(2, 300_000));
    let simulation = Simulation::new(1);
    simulation.network().set_conditions(|conditions| conditions.window_bytes = 10_000);
    let kept = Rc::new(RefCell::new(None));
    let keep = Rc::clone(&kept);
    let sender = scratch.open();
    let sender = Cell::new(Some(sender));
    let (peer, _port) = serve(&simulation, move || {
        let (keep, sender) = (Rc::clone(&keep), sender.take());
        let sender = Cell::new(sender);
        Probe::new().on_made(move |transport| {
            transport.send_file(sender.take().unwrap());
            *keep.borrow_mut() = Some(transport.clone());
        })
    });
    simulation.advance(Duration::from_secs(1));
    let transport: Transport = kept.take().unwrap();
    assert!(transport.is_full());
    assert_eq!(transport.buffered(), 290_000, "the window is full, the rest waits");
    assert!(transport.buffered_in_memory() <= 64 * 1024, "{} bytes", transport.buffered_in_memory());
    let mut got = Vec::new();
    while transport.is_full() {
        got.extend(peer.take());
        simulation.advance(Duration::from_millis(10));
    }
    assert!(transport.buffered() <= 16 * 1024);
    for _ in 0..20 {
        simulation.advance(Duration::from_millis(10));
        got.extend(peer.take());
    }
    assert_eq!(digest(&got), digest(&pattern(2, 300_000)));
    assert_eq!(transport.buffered(), 0);
}

fn serve<P: Protocol>(simulation: &Simulation, make: impl Fn() -> P + 'static) -> (Peer, Port) {
    let port = listen(simulation.reactor(), &"tcp:7:interface=127.0.0.1".parse().unwrap(), make).unwrap();
    let Address::Inet(address) = *port.address() else { unreachable!() };
    let peer = simulation.network().connect(address);
    simulation.advance(Duration::from_millis(10));
    (peer, port)
}

type Told = Rc<RefCell<Option<Result<u64, String>>>>;

/// A server that sends one file and tells what became of it, before it tells that the connection is lost.
fn sending(sender: FileSender) -> (Probe, Told) {
    let told = Told::default();
    let telling = Rc::clone(&told);
    let sender = Cell::new(Some(sender));
    let probe = Probe::new().on_made(move |transport| {
        let sent = sender.take().unwrap().send(transport);
        let telling = Rc::clone(&telling);
        drop(sent.add_both(move |outcome: ropewalk_reactor::Outcome<u64>| {
            let outcome = outcome.map_err(|failure| failure.check::<Lost>().unwrap().to_string());
            assert!(telling.borrow_mut().replace(outcome).is_none(), "told once");
        }));
    });
    (probe, told)
}

#[test]
fn a_reader_that_leaves_in_the_middle_ends_it() {
    let scratch = Rc::new(Scratch::new("leaves", &pattern(3, 9_000_000)));
    everywhere(move |ground| {
        let scratch = Rc::clone(&scratch);
        async move {
            let (server, told) = sending(scratch.open());
            let after = ground.random(5_000);
            let got = Rc::new(Cell::new(0));
            let client = Probe::new().on_data(move |transport, data| {
                got.set(got.get() + data.len());
                if got.get() > after {
                    transport.abort_connection();
                }
            });
            let pair = ground.pair(server, client).await;
            ground.until("it is told", || told.borrow().is_some() && pair.server.is_lost()).await;
            let told = told.take().unwrap().unwrap_err();
            assert_eq!(told, pair.server.reason());
            assert!(told.starts_with("broken") || told.starts_with("ended"), "{told}");
        }
    });
}

#[test]
fn a_reader_that_stalls_is_broken_off_and_the_file_closed() {
    let scratch = Scratch::new("stalls", &pattern(4, 100_000));
    let simulation = Simulation::new(4);
    simulation.network().set_conditions(|conditions| conditions.window_bytes = 5_000);
    let lost = Rc::new(RefCell::new(None));
    let losing = Rc::clone(&lost);
    let sender = Cell::new(Some(scratch.open()));
    let (peer, _port) = serve(&simulation, move || {
        let (sender, losing) = (Cell::new(sender.take()), Rc::clone(&losing));
        Probe::new().on_made(move |transport| {
            let losing = Rc::clone(&losing);
            let sent = sender.take().unwrap().send(transport);
            drop(sent.add_errback(move |failure| {
                *losing.borrow_mut() = Some(failure.to_string());
                0
            }));
        })
    });
    // Half of it, slowly: that is no stall.
    for _ in 0..10 {
        peer.take();
        simulation.advance(Duration::from_secs(30));
    }
    assert!(lost.borrow().is_none());
    simulation.advance(Duration::from_secs(61));
    assert!(peer.is_reset());
    assert!(lost.take().unwrap().contains("write stall"));
}

#[test]
fn a_file_that_has_become_shorter_aborts_the_connection() {
    let count = Cell::new(0);
    everywhere(move |ground| {
        let scratch =
            Scratch::new(&format!("shrinks-{}", count.replace(count.get() + 1)), &pattern(5, 400_000));
        async move {
            let (server, told) = sending(scratch.open());
            scratch.set_len(3_000);
            let pair = ground.pair(server, Probe::new()).await;
            ground.until("both are gone", || pair.client.is_lost() && pair.server.is_lost()).await;
            let reason = "a file could not be sent: it has become shorter than it was";
            assert_eq!(pair.server.reason(), reason);
            assert_eq!(told.take().unwrap().unwrap_err(), reason);
            assert!(pair.client.len() <= 3_000);
            // A UNIX socket has no resets.
            if matches!(ground.kind, Kind::Simulated | Kind::Tcp) {
                assert!(pair.client.reason().starts_with("broken"), "{}", pair.client.reason());
            }
        }
    });
}

#[test]
fn a_file_that_has_grown_is_sent_as_long_as_it_was() {
    let content = pattern(6, 200_000);
    let count = Cell::new(0);
    real(Kind::Tcp, &move |ground: Ground| {
        let scratch = Scratch::new(&format!("grows-{}", count.replace(count.get() + 1)), &content);
        let content = content.clone();
        async move {
            let (server, told) = sending(scratch.open());
            OpenOptions::new().append(true).open(&scratch.0).unwrap().write_all(&[0; 100_000]).unwrap();
            let pair = ground.pair(server, Probe::new()).await;
            ground.until("it is told", || told.borrow().is_some()).await;
            pair.server.transport().lose_connection();
            ground.until("it is closed", || pair.client.is_lost()).await;
            assert_eq!(told.take().unwrap(), Ok(200_000));
            assert_eq!(digest(&pair.client.data.borrow()), digest(&content));
        }
    });
}

#[test]
fn a_part_that_the_file_does_not_have_aborts_the_connection() {
    let scratch = Rc::new(Scratch::new("beyond", b"short"));
    for (offset, length) in [(2, 4), (5, 1), (1000, 1000), (u64::MAX, 1), (1, u64::MAX)] {
        let scratch = Rc::clone(&scratch);
        everywhere(move |ground| {
            let sender = scratch.open().with_part(offset, length);
            async move {
                let (server, told) = sending(sender);
                let pair = ground.pair(server, Probe::new()).await;
                ground.until("it is gone", || pair.server.is_lost()).await;
                assert!(pair.server.reason().starts_with("a file could not be sent"));
                assert_eq!(told.take().unwrap().unwrap_err(), pair.server.reason());
            }
        });
    }
}

/// Shorter, longer, and nothing at all: what is made of a piece is sent in its place.
#[test]
fn a_transform_makes_of_each_piece_what_it_likes() {
    let content = Rc::new(pattern(7, 200_000));
    let scratch = Rc::new(Scratch::new("transform", &content));
    everywhere(move |ground| {
        let (scratch, content) = (Rc::clone(&scratch), Rc::clone(&content));
        async move {
            let length = (ground.plenty() * 20).min(200_000);
            let mut pieces = 0;
            let seen = Rc::new(Cell::new(0));
            let seeing = Rc::clone(&seen);
            let sender = scratch.open().with_part(0, length as u64).with_transform(move |piece: Vec<u8>| {
                pieces += 1;
                seeing.set(seeing.get() + piece.len());
                match pieces % 3 {
                    0 => Vec::new(),
                    1 => piece.iter().step_by(100).copied().collect(),
                    _ => [b"<".as_slice(), &piece[..100.min(piece.len())], b">"].concat(),
                }
            });
            let (server, told) = sending(sender);
            let pair = ground.pair(server, Probe::new()).await;
            ground.until("it is told", || told.borrow().is_some()).await;
            pair.server.transport().write(b"end");
            pair.server.transport().lose_connection();
            ground.until("it is closed", || pair.client.is_lost()).await;
            let mut expected = Vec::new();
            for (index, piece) in content[..length].chunks(64 * 1024).enumerate() {
                match (index + 1) % 3 {
                    0 => {}
                    1 => expected.extend(piece.iter().step_by(100)),
                    _ => expected.extend([b"<".as_slice(), &piece[..100.min(piece.len())], b">"].concat()),
                }
            }
            expected.extend_from_slice(b"end");
            assert_eq!(digest(&pair.client.data.borrow()), digest(&expected));
            assert_eq!(told.take().unwrap(), Ok(length as u64));
            assert_eq!(seen.get(), length);
        }
    });
}

#[test]
fn a_transform_that_panics_costs_its_connection() {
    let scratch = Rc::new(Scratch::new("panics", &[1; 100]));
    everywhere(move |ground| {
        let sender = scratch.open().with_transform(|_| panic!("the transform of the test"));
        async move {
            let (server, told) = sending(sender);
            let pair = ground.pair(server, Probe::new()).await;
            ground.until("it is gone", || pair.server.is_lost()).await;
            assert_eq!(pair.server.reason(), "the protocol panicked");
            assert_eq!(told.take().unwrap().unwrap_err(), "the protocol panicked");
        }
    });
}

/// A transform that itself writes to its connection: its bytes come after the file.
#[test]
fn a_transform_may_write() {
    let scratch = Scratch::new("writes", &[b'f'; 100_000]);
    real(Kind::Tcp, &move |ground: Ground| {
        let sender = Cell::new(Some(scratch.open()));
        let server = Probe::new().on_made(move |transport| {
            let writer = transport.clone();
            let sender = sender.take().unwrap().with_transform(move |piece| {
                writer.write(b"!");
                piece
            });
            transport.send_file(sender);
        });
        async move {
            let pair = ground.pair(server, Probe::new()).await;
            ground.until("it is there", || pair.client.len() == 100_002).await;
            assert!(pair.client.data.borrow().ends_with(b"f!!"));
        }
    });
}

/// One fast download does not hold the loop: 64 MiB take hundreds of turns, with others in between.
#[test]
fn a_turn_sends_a_bounded_part_of_a_file() {
    let scratch = Scratch::new("fair", b"");
    scratch.set_len(64 * 1024 * 1024);
    real(Kind::Tcp, &move |ground: Ground| {
        let (server, told) = sending(scratch.open());
        async move {
            let got = Rc::new(Cell::new(0_u64));
            let getting = Rc::clone(&got);
            let client = Probe::new().on_data(move |_, data| getting.set(getting.get() + data.len() as u64));
            let before = ground.reactor.statistics().turns;
            let pair = ground.pair(server, client).await;
            ground.until("it is there", || got.get() == 64 * 1024 * 1024).await;
            let turns = ground.reactor.statistics().turns - before;
            assert!(turns >= 256, "{turns} turns");
            ground.until("it is told", || told.borrow().is_some()).await;
            assert_eq!(told.take().unwrap(), Ok(64 * 1024 * 1024));
            drop(pair);
        }
    });
}

/// The system has forgotten the file: it is read in the pool, and all of it comes.
#[test]
fn a_file_that_is_not_in_memory_comes_all_the_same() {
    let content = pattern(8, 2_000_000);
    let scratch = Scratch::new("cold", &content);
    let file = File::open(&scratch.0).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    real(Kind::Tcp, &move |ground: Ground| {
        let (server, told) = sending(scratch.open());
        let content = content.clone();
        async move {
            let pair = ground.pair(server, Probe::new()).await;
            ground.until("it is there", || pair.client.len() == content.len()).await;
            assert_eq!(digest(&pair.client.data.borrow()), digest(&content));
            ground.until("it is told", || told.borrow().is_some()).await;
        }
    });
}

/// A driver may report readiness that says nothing; a file that waits for the disk or for its turn is not sent twice by it.
#[test]
fn readiness_that_says_nothing_changes_nothing() {
    let content = pattern(9, 300_000);
    let scratch = Scratch::new("spurious", &content);
    for seed in 0..10 {
        let simulation = Simulation::new(seed);
        simulation.network().set_conditions(|conditions| conditions.window_bytes = 400_000);
        let sender = Cell::new(Some(scratch.open().with_transform(|piece| piece)));
        let (peer, _port) = serve(&simulation, move || {
            let sender = Cell::new(sender.take());
            Probe::new().on_made(move |transport| {
                transport.send_file(sender.take().unwrap());
                transport.write(b"end");
                let (reactor, id) = (transport.reactor().clone(), transport.id());
                for delay in 0..200 {
                    let again = reactor.clone();
                    let nudge = move || again.ready_again(id, Readiness::NONE);
                    reactor.call_later(Duration::from_micros(delay * 250), nudge);
                }
            })
        });
        simulation.advance(Duration::from_secs(5));
        assert_eq!(digest(&peer.take()), digest(&[&content, b"end".as_slice()].concat()), "seed {seed}");
    }
}

#[test]
fn only_regular_files_are_sent() {
    let refused = FileSender::new(File::open("/dev/null").unwrap()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
    assert!(FileSender::new(File::open(std::env::temp_dir()).unwrap()).is_err());
}

#[test]
fn a_file_for_a_connection_that_is_closing_is_not_sent() {
    let scratch = Scratch::new("closing", b"never");
    real(Kind::Tcp, &move |ground: Ground| {
        let told = Rc::new(RefCell::new(None));
        let telling = Rc::clone(&told);
        let sender = Cell::new(Some(scratch.open()));
        let server = Probe::new().on_made(move |transport| {
            transport.lose_connection();
            let telling = Rc::clone(&telling);
            drop(sender.take().unwrap().send(transport).add_errback(move |failure| {
                *telling.borrow_mut() = Some(failure.to_string());
                0
            }));
        });
        async move {
            let port = ground.listen(TransportOptions::default(), {
                let server = Cell::new(Some(server));
                move || server.take().unwrap()
            });
            let client = Probe::new();
            let seen = Rc::clone(&client.seen);
            let client = Cell::new(Some(client));
            ground.connect(&port, move || client.take().unwrap()).await.unwrap();
            ground.until("it is told", || told.borrow().is_some() && seen.is_lost()).await;
            assert!(told.take().unwrap().contains("closed by this side"));
            assert_eq!(seen.len(), 0);
        }
    });
}
