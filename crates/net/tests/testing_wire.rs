//! `testing::Wire`: what a protocol is fed and how, what it writes and how much of it is taken, every way in which its
//! connection can end, and that its panic is the test's.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::testing::{Bench, Chunking, Wire};
use ropewalk_net::{Address, Factory, Lost, Producer, Protocol, Transport, TransportOptions};
use ropewalk_reactor::{Reactor, Simulation};

const SECOND: Duration = Duration::from_secs(1);

/// Notes each piece that it is given, and does what the piece says.
#[derive(Default)]
struct Obedient {
    pieces: Rc<RefCell<Vec<Vec<u8>>>>,
    lost: Rc<RefCell<Vec<String>>>,
}

impl Protocol for Obedient {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(b"hello ");
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.pieces.borrow_mut().push(data.to_vec());
        match data {
            b"close" => transport.lose_connection(),
            b"linger" => transport.lose_connection_lingering(),
            b"shut" => transport.lose_write_connection(),
            b"abort" => transport.abort_connection(),
            b"pause" => transport.pause_reading(),
            b"deadline" => transport.set_deadline(Some(transport.reactor().now() + 5 * SECOND)),
            b"much" => transport.write(&[b'x'; 300_000]),
            b"panic" => panic!("it was told to"),
            b"random" => transport.write(transport.reactor().random().to_string().as_bytes()),
            b"switch" => transport
                .switch(Box::new(Obedient { pieces: Rc::clone(&self.pieces), lost: Rc::clone(&self.lost) })),
            other => transport.write(other),
        }
    }

    fn connection_lost(&mut self, _: &Transport, lost: &Lost) {
        self.lost.borrow_mut().push(lost.to_string());
    }
}

fn obedient() -> Wire {
    let wire = Wire::new(Obedient::default());
    assert_eq!(wire.take_written(), b"hello ");
    wire
}

fn lost(wire: &Wire) -> String {
    wire.lost().map_or("it stands".to_owned(), |lost| lost.to_string())
}

#[test]
fn every_piece_arrives_alone() {
    let protocol = Obedient::default();
    let pieces = Rc::clone(&protocol.pieces);
    let wire = Wire::new(protocol);
    wire.feed(b"abcdef");
    wire.feed_chunked(b"abcdef", Chunking::At(&[1, 3, 3, 99]));
    wire.feed_chunked(b"abc", Chunking::Bytes);
    wire.feed_each(&[b"ab", b"", b"c"]);
    wire.feed(b"");
    let seen: Vec<String> =
        pieces.take().iter().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect();
    assert_eq!(seen, ["abcdef", "a", "bc", "def", "a", "b", "c", "ab", "c"]);
    assert_eq!(wire.take_written(), b"hello abcdefabcdefabcabc");
    assert_eq!(wire.written(), b"", "it was taken out");

    wire.feed_chunked(&[b'z'; 500], Chunking::Random(3));
    let random = pieces.take();
    assert!(random.len() > 10 && random.iter().any(|piece| piece.len() > 4), "{random:?}");
    assert_eq!(random.concat(), [b'z'; 500]);
    assert_eq!(Wire::new(Obedient::default()).bench().network().now(), wire.bench().network().now());
}

#[test]
#[should_panic(expected = "the places to cut at do not ascend: [3, 1]")]
fn places_ascend() {
    let _ = Chunking::At(&[3, 1]).cut(b"hello");
}

#[test]
fn no_time_passes_but_in_advance() {
    let wire = obedient();
    let before = wire.reactor().now();
    wire.feed(b"deadline");
    wire.feed_chunked(&[b'x'; 2000], Chunking::Random(1));
    wire.feed(b"much");
    assert_eq!(wire.take_written().len(), 302_000);
    assert_eq!(wire.reactor().now(), before);
    wire.advance(5 * SECOND - Duration::from_millis(1));
    assert!(!wire.is_closed());
    wire.advance(Duration::from_millis(1));
    assert_eq!(lost(&wire), "timed out: idle");
    assert!(wire.is_closed() && wire.is_reset());
}

#[test]
fn a_connection_ends_in_every_way() {
    type Act = fn(&Wire);
    let ways: [(&str, Act, &str); 9] = [
        ("the protocol closes", |wire| wire.feed(b"close"), "closed by this side"),
        ("the peer ends", Wire::end, "ended by the peer"),
        ("the peer ends twice", |wire| (wire.end(), wire.end()).0, "ended by the peer"),
        ("the peer resets", Wire::reset, "broken: connection reset"),
        ("the protocol aborts", |wire| wire.feed(b"abort"), "aborted by this side"),
        (
            "the protocol shuts and the peer ends",
            |wire| (wire.feed(b"shut"), wire.end()).0,
            "ended by the peer",
        ),
        ("it lingers until the peer ends", |wire| (wire.feed(b"linger"), wire.end()).0, "ended by the peer"),
        (
            "it lingers for a while",
            |wire| (wire.feed(b"linger"), wire.advance(3 * SECOND)).0,
            "closed by this side",
        ),
        (
            "the test aborts",
            |wire| (wire.transport().abort_connection(), wire.settle()).0,
            "aborted by this side",
        ),
    ];
    for (name, act, expected) in ways {
        let protocol = Obedient::default();
        let told = Rc::clone(&protocol.lost);
        let wire = Wire::new(protocol);
        assert!(!wire.is_closed() && wire.lost().is_none() && !wire.is_ended());
        act(&wire);
        assert_eq!(lost(&wire), expected, "{name}");
        assert_eq!(told.take(), [expected], "{name}");
        assert!(wire.is_closed(), "{name}");
        wire.bench().assert_clean();
    }
}

#[test]
fn half_closed_it_goes_on_in_the_other_direction() {
    let wire = obedient();
    wire.feed(b"shut");
    assert!(wire.is_ended() && !wire.is_closed());
    wire.feed(b"abc");
    assert_eq!(wire.written(), b"", "its direction has ended");
    assert!(!wire.is_closed());
    wire.end();
    assert!(wire.is_closed());

    let wire = Wire::new(HalfClosed);
    wire.end();
    assert!(!wire.is_closed());
    wire.transport().write(b"still here");
    wire.settle();
    assert_eq!(wire.written(), b"still here");
}

struct HalfClosed;
impl Protocol for HalfClosed {
    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
    fn read_ended(&mut self, _: &Transport) {}
}

#[test]
#[should_panic(expected = "the test has ended its direction")]
fn nothing_is_fed_after_the_end() {
    let wire = Wire::new(HalfClosed);
    wire.end();
    wire.feed(b"late");
}

#[test]
fn what_is_fed_to_a_connection_that_is_gone_is_lost() {
    let wire = obedient();
    wire.feed(b"close");
    wire.feed(b"hello?");
    wire.feed(&[b'x'; 100_000]);
    assert_eq!(wire.written(), b"");
    wire.end();
    wire.bench().assert_clean();
}

#[test]
fn a_protocol_that_pauses_is_given_the_rest_when_it_reads_again() {
    let protocol = Obedient::default();
    let pieces = Rc::clone(&protocol.pieces);
    let wire = Wire::new(protocol);
    wire.feed(b"pause");
    // More than the network holds: some of it stays with the test, and the end behind it.
    wire.feed(&[b'x'; 200_000]);
    wire.end();
    assert_eq!(pieces.take(), [b"pause"]);
    assert!(!wire.is_closed());
    wire.transport().resume_reading();
    wire.settle();
    assert_eq!(pieces.take().concat().len(), 200_000);
    assert_eq!(wire.take_written().len(), "hello ".len() + 200_000);
    assert_eq!(lost(&wire), "ended by the peer");
}

#[test]
fn time_passes_to_its_end_also_when_the_connection_does_not_last() {
    let wire = obedient();
    wire.feed(b"deadline");
    wire.feed(b"pause");
    wire.feed(&[b'x'; 200_000]);
    wire.advance(10 * SECOND);
    assert_eq!(lost(&wire), "timed out: idle");
    assert_eq!(wire.bench().network().now().as_millis(), 10_000);
}

#[test]
fn a_cap_holds_back_to_the_byte() {
    let wire = obedient();
    wire.write_cap(4);
    wire.feed(b"abcdefgh");
    assert_eq!(wire.written(), b"abcd");
    assert_eq!(wire.transport().buffered(), 4);
    wire.read_some(0);
    assert_eq!(wire.transport().buffered(), 4);
    wire.read_some(3);
    assert_eq!(wire.take_written(), b"abcdefg");
    assert_eq!(wire.transport().buffered(), 1);
    wire.write_cap(0);
    wire.feed(b"ij");
    assert_eq!(wire.written(), b"");
    wire.read_on();
    wire.feed(b"kl");
    assert_eq!(wire.take_written(), b"hijkl");
    wire.read_some(1);
    wire.feed(b"mn");
    assert_eq!(wire.written(), b"mn", "without a cap some more is no limit");

    wire.write_cap(0);
    wire.feed(b"op");
    wire.feed(b"close");
    assert!(!wire.is_closed(), "it closes once all is sent");
    wire.read_on();
    assert_eq!(wire.written(), b"mnop");
    assert_eq!(lost(&wire), "closed by this side");
}

#[derive(Default)]
struct Spring {
    paused: Cell<u32>,
    resumed: Cell<u32>,
}

impl Producer for Spring {
    fn pause_producing(&self) {
        self.paused.set(self.paused.get() + 1);
    }
    fn resume_producing(&self) {
        self.resumed.set(self.resumed.get() + 1);
    }
}

#[test]
fn a_producer_is_held_back_and_a_stall_is_broken_off() {
    struct Make;
    impl Factory for Make {
        fn build_protocol(&self, _: &Address) -> Option<Box<dyn Protocol>> {
            Some(Box::new(HalfClosed))
        }
    }
    let options =
        TransportOptions { high_water_bytes: 100, low_water_bytes: 10, write_stall: Some(30 * SECOND) };
    let wire = Wire::build(&Bench::new(), Rc::new(Make), options);
    let producer = Rc::new(Spring::default());
    let transport = wire.transport();
    transport.register_producer(producer.clone());
    wire.write_cap(50);
    transport.write(&[b'x'; 150]);
    wire.settle();
    assert_eq!((transport.buffered(), transport.is_full()), (100, true));
    assert_eq!((producer.paused.get(), producer.resumed.get()), (1, 0));
    wire.read_some(89);
    assert_eq!((producer.paused.get(), producer.resumed.get()), (1, 0), "not yet at low water");
    wire.read_some(1);
    assert_eq!((producer.paused.get(), producer.resumed.get()), (1, 1));

    wire.advance(29 * SECOND);
    assert!(!wire.is_closed());
    wire.advance(2 * SECOND);
    assert_eq!(lost(&wire), "timed out: write stall");
}

#[test]
fn what_is_switched_to_is_listened_to() {
    let wire = obedient();
    wire.feed(b"switch");
    wire.feed(b"abc");
    assert_eq!(wire.take_written(), b"hello abc");
    wire.feed(b"close");
    assert_eq!(lost(&wire), "closed by this side");

    let wire = obedient();
    wire.transport().switch(Box::new(Obedient::default()));
    wire.settle();
    wire.feed(b"switch");
    wire.end();
    assert_eq!(wire.take_written(), b"hello hello ");
    assert_eq!(lost(&wire), "ended by the peer", "also when it was switched from outside");
}

#[test]
#[should_panic(expected = "it was told to")]
fn a_panic_of_the_protocol_is_the_tests() {
    obedient().feed(b"panic");
}

#[test]
#[should_panic(expected = "it was told to")]
fn a_panic_of_a_protocol_that_was_switched_to_is_the_tests() {
    let wire = obedient();
    wire.feed(b"switch");
    wire.feed(b"panic");
}

#[test]
fn after_its_panic_a_protocol_can_still_be_looked_at() {
    let wire = obedient();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| wire.feed(b"panic")));
    assert!(outcome.is_err());
    wire.settle();
    assert_eq!(wire.lost().map(|lost| lost.to_string()), None, "nobody was left to be told");
    assert!(wire.is_closed() && wire.is_reset());
}

#[test]
#[should_panic(expected = "the protocol writes without end")]
fn a_protocol_that_never_rests_is_found_out() {
    struct Endless;
    impl Protocol for Endless {
        fn connection_made(&mut self, transport: &Transport) {
            transport.write(b"on");
            transport.wake();
        }
        fn data_received(&mut self, _: &Transport, _: &[u8]) {}
        fn woken(&mut self, transport: &Transport) {
            let again = transport.waker();
            transport.write(b" and on");
            // It waits for the room that the test makes by reading.
            let transport = transport.clone();
            transport.reactor().clone().spawn(async move {
                std::future::poll_fn(|context| transport.poll_writable(context)).await;
                again.wake();
            });
        }
    }
    let bench = Bench::new();
    let options = TransportOptions { high_water_bytes: 1, low_water_bytes: 0, write_stall: None };
    struct Make;
    impl Factory for Make {
        fn build_protocol(&self, _: &Address) -> Option<Box<dyn Protocol>> {
            Some(Box::new(Endless))
        }
    }
    bench.network().set_conditions(|conditions| conditions.window_bytes = 1);
    let _ = Wire::build(&bench, Rc::new(Make), options);
}

#[derive(Default)]
struct Counting {
    started: Cell<u32>,
    stopped: Cell<u32>,
    refuses: bool,
}

impl Factory for Counting {
    fn build_protocol(&self, _: &Address) -> Option<Box<dyn Protocol>> {
        (!self.refuses).then(|| Box::new(Obedient::default()) as Box<dyn Protocol>)
    }
    fn start_factory(&self, _: &Reactor) {
        self.started.set(self.started.get() + 1);
    }
    fn stop_factory(&self) {
        self.stopped.set(self.stopped.get() + 1);
    }
}

#[test]
fn a_factory_is_started_makes_one_protocol_and_is_stopped() {
    let factory = Rc::new(Counting::default());
    let wire = Wire::build(&Bench::new(), factory.clone(), TransportOptions::default());
    wire.feed(b"abc");
    assert_eq!(wire.written(), b"hello abc");
    assert_eq!((factory.started.get(), factory.stopped.get()), (1, 0));
    drop(wire);
    assert_eq!((factory.started.get(), factory.stopped.get()), (1, 1));

    let refusing = Counting { refuses: true, ..Counting::default() };
    let wire = Wire::build(&Bench::new(), Rc::new(refusing), TransportOptions::default());
    assert!(wire.is_ended() && wire.is_closed() && wire.lost().is_none());
}

#[test]
fn a_seed_decides_what_is_random() {
    let number = |seed| {
        let wire = Wire::with_seed(seed, Obedient::default());
        wire.feed(b"random");
        wire.take_written()
    };
    assert_eq!(number(1), number(1));
    assert_ne!(number(1), number(2));
}

#[test]
fn on_a_network_of_its_own_the_same_is_said() {
    for seed in 0..100 {
        let simulation = Simulation::new(seed);
        simulation.network().set_conditions(|conditions| {
            conditions.window_bytes = 1 + seed as usize * 10;
            conditions.segment_bytes_max = 7;
        });
        let wire = Wire::on(&Bench::on(simulation), HalfClosed);
        wire.transport().write(b"hello, world");
        wire.settle();
        assert_eq!(wire.take_written(), b"hello, world", "seed {seed}");
        wire.write_cap(3);
        wire.transport().write(b"abcdef");
        wire.settle();
        assert_eq!((wire.written(), wire.transport().buffered()), (b"abc".to_vec(), 3), "seed {seed}");
        wire.read_on();
        wire.transport().lose_connection();
        wire.advance(SECOND);
        assert_eq!((wire.written(), lost(&wire)), (b"abcdef".to_vec(), "closed by this side".to_owned()));
    }
}

#[test]
fn several_wires_stand_on_one_bench() {
    #[derive(Clone, Default)]
    struct Room(Rc<RefCell<Vec<Transport>>>);
    struct Guest(Room);
    impl Protocol for Guest {
        fn connection_made(&mut self, transport: &Transport) {
            self.0.0.borrow_mut().push(transport.clone());
        }
        fn data_received(&mut self, _: &Transport, data: &[u8]) {
            self.0.0.borrow().iter().for_each(|guest| guest.write(data));
        }
    }
    let (bench, room) = (Bench::new(), Room::default());
    let [one, two] = [(); 2].map(|()| Wire::on(&bench, Guest(room.clone())));
    one.feed(b"hello");
    assert_eq!((one.take_written(), two.take_written()), (b"hello".to_vec(), b"hello".to_vec()));
    two.write_cap(0);
    one.feed(b"again");
    assert_eq!(
        (one.written(), two.written()),
        (b"again".to_vec(), Vec::new()),
        "one stalls, and delays nobody"
    );
}
