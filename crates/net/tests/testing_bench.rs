//! `testing::Bench` and `testing::Pair`, the outcomes of deferreds, and cutting: what they show, and that they fail where
//! something is wrong, and say what.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::testing::{
    Bench, Chunking, Pair, Wire, assert_clean, assert_no_result, couple, failure_of, split_everywhere,
    success_of,
};
use ropewalk_net::{
    Address, DatagramOptions, DatagramProtocol, DatagramTransport, Lost, Port, Protocol, Transport, connect,
    listen, listen_udp,
};
use ropewalk_reactor::{Act, Deferred, LoopingCall, Name, Reactor, Simulation, deferred};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Sends back what comes.
struct Echo;
impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

/// Says its words, and closes when it has heard as many bytes.
struct Caller {
    words: &'static [u8],
    heard: usize,
}

impl Caller {
    fn new(words: &'static [u8]) -> Caller {
        Caller { words, heard: 0 }
    }
}

impl Protocol for Caller {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(self.words);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.heard += data.len();
        if self.heard >= self.words.len() {
            transport.lose_connection();
        }
    }
}

struct Ear;
impl DatagramProtocol for Ear {
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: SocketAddr) {
        transport.write_to(data, from).unwrap();
    }
}

fn address(port: &Port) -> SocketAddr {
    match port.address() {
        Address::Inet(address) => *address,
        Address::Unix(_) => unreachable!("it listens on TCP"),
        other => panic!("not an address to connect to: {other}"),
    }
}

/// What a closure says when it panics.
fn complaint(run: impl FnOnce()) -> String {
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).expect_err("it panics");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().expect("a panic has words")).to_owned(),
    }
}

// Two protocols.

#[test]
fn a_pair_talks_until_it_is_quiet() {
    let pair = couple(Caller::new(b"hello"), Echo);
    assert_eq!(pair.client().sent(), b"hello");
    assert_eq!(pair.server().sent(), b"hello");
    assert_eq!(pair.client().lost().unwrap().to_string(), "closed by this side");
    assert_eq!(pair.server().lost().unwrap().to_string(), "ended by the peer");
    pair.bench().assert_clean();
}

#[test]
fn a_pair_under_every_network_says_the_same() {
    for seed in 0..100 {
        let simulation = Simulation::new(seed);
        simulation.network().set_conditions(|conditions| {
            conditions.latency = (MS, 30 * MS);
            conditions.window_bytes = 4;
            conditions.segment_bytes_max = 3;
        });
        let pair = Pair::on(&Bench::on(simulation), Caller::new(b"hello, world"), Echo);
        assert_eq!(pair.client().sent(), b"hello, world", "seed {seed}");
        assert_eq!(pair.server().sent(), b"hello, world", "seed {seed}");
        let pieces = pair.bench().log().iter().filter(|entry| matches!(entry.act, Act::Sent(_))).count();
        assert!(pieces >= 8, "in pieces of three bytes at the most, seed {seed}");
        pair.bench().assert_clean();
    }
}

#[test]
fn a_pair_is_moved_by_hand_too() {
    let pair = couple(Echo, Caller::new(b""));
    pair.client().transport().write(b"are you there?");
    pair.settle();
    assert!(pair.server().is_closed());
    let pair = couple(Caller::new(b"never mind"), HalfDeaf);
    pair.server().transport().set_deadline(Some(pair.bench().reactor().now() + SECOND));
    pair.advance(SECOND);
    assert!(matches!(pair.server().lost(), Some(Lost::TimedOut("idle"))));
    assert!(matches!(pair.client().lost(), Some(Lost::Broken(_))));
}

struct HalfDeaf;
impl Protocol for HalfDeaf {
    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

#[test]
#[should_panic(expected = "the server fell over")]
fn a_panic_in_a_pair_is_the_tests() {
    struct Falling;
    impl Protocol for Falling {
        fn data_received(&mut self, _: &Transport, _: &[u8]) {
            panic!("the server fell over");
        }
    }
    let _ = couple(Caller::new(b"hello"), Falling);
}

// What listens and connects.

#[test]
fn a_bench_shows_who_listens_and_is_bound() {
    let bench = Bench::new();
    assert_eq!((bench.listens(), bench.datagrams()), (vec![], vec![]));
    let here = "tcp:80:interface=127.0.0.1".parse().unwrap();
    let port = listen(bench.reactor(), &here, || Echo).unwrap();
    let udp = listen_udp(bench.reactor(), "127.0.0.1:53".parse().unwrap(), Ear, DatagramOptions::default());
    assert_eq!(bench.listens(), [address(&port)]);
    assert_eq!(bench.datagrams(), ["127.0.0.1:53".parse().unwrap()]);

    let peer = bench.dial(address(&port));
    peer.write(b"hello");
    bench.settle();
    assert_eq!(peer.take(), b"hello");
    let log: Vec<String> = bench.log().iter().map(ToString::to_string).collect();
    let from = peer.local_address();
    assert!(log.contains(&format!("  0.000000  127.0.0.1:80 > {from}  sent 5: \"hello\"")), "{log:#?}");

    let complaints = complaint(|| bench.assert_clean());
    assert_eq!(
        complaints,
        "the reactor is not clean:\n    listener connection\n    datagram socket datagrams\n    connection connection"
    );
    drop(peer);
    port.stop_listening();
    udp.unwrap().stop_listening();
    bench.assert_clean();
    assert_eq!((bench.listens(), bench.datagrams()), (vec![], vec![]));
}

#[test]
fn to_dial_where_nobody_listens_is_a_mistake_of_the_test() {
    let bench = Bench::new();
    let said = complaint(|| drop(bench.dial("127.0.0.1:9".parse().unwrap())));
    assert_eq!(said, "nothing listens at 127.0.0.1:9; there is: []");
}

fn call(bench: &Bench, port: u16) -> Deferred<Transport> {
    connect(bench.reactor(), &format!("tcp:192.0.2.1:{port}").parse().unwrap(), || Caller::new(b"hello"))
}

#[test]
fn a_test_answers_connects_by_hand() {
    let bench = Bench::new();
    let (made, refused) = (call(&bench, 1), call(&bench, 2));
    let (mut unanswered, given_up) = (call(&bench, 3), call(&bench, 4));
    bench.settle();
    let there = |port| SocketAddr::new([192, 0, 2, 1].into(), port);
    assert_eq!(bench.connects(), [1, 2, 3, 4].map(|port| (there(port), Act::Asked)));

    let mut callers = bench.callers();
    assert_eq!(callers.iter().map(|caller| caller.to()).collect::<Vec<_>>(), [1, 2, 3, 4].map(there));
    let peer = callers.remove(0).accept();
    callers.remove(0).refuse(ErrorKind::HostUnreachable);
    given_up.cancel();
    bench.settle();
    assert!(!callers[0].is_gone() && callers[1].is_gone());
    assert!(failure_of(given_up).is::<ropewalk_reactor::failure::Cancelled>());
    assert_eq!(peer.take(), b"hello");
    assert!(!success_of(made).is_closing());
    let said = failure_of(refused).to_string();
    assert!(said.contains("host unreachable"), "{said}");
    assert_no_result(&mut unanswered);
    bench.advance(60 * SECOND);
    let said = failure_of(unanswered).to_string();
    assert!(said.contains("timed out"), "{said}");
    let outcomes: Vec<Act> = bench.connects().into_iter().map(|(_, act)| act).collect();
    let expected = [Act::Connected, Act::Refused(ErrorKind::HostUnreachable), Act::GivenUp, Act::GivenUp];
    assert_eq!(outcomes, expected);

    peer.write(b"world");
    bench.settle();
    bench.assert_clean();
}

#[test]
fn a_future_is_run_to_its_end() {
    let bench = Bench::new();
    let reactor = bench.reactor().clone();
    let port = listen(&reactor, &"tcp:80:interface=127.0.0.1".parse().unwrap(), || Echo).unwrap();
    let answer = bench.run(SECOND, async move {
        reactor.sleep(500 * MS).await;
        let transport = connect(&reactor, &"tcp:127.0.0.1:80".parse().unwrap(), || Echo).await?;
        transport.lose_connection();
        Ok::<_, ropewalk_reactor::Failure>(reactor.now().as_millis())
    });
    assert_eq!(answer.unwrap(), 500);
    port.stop_listening();
    bench.assert_clean();
}

#[test]
fn what_is_not_done_in_time_or_panics_says_so() {
    let bench = Bench::new();
    let reactor = bench.reactor().clone();
    reactor.call_at_named(Name::new("tea"), reactor.now() + 60 * SECOND, || ());
    let said = complaint(|| bench.run(SECOND, std::future::pending()));
    assert_eq!(said, "not done within 1s; pending:\n    task what the test runs\n    timer tea, due in 59s");
    assert_eq!(bench.pending().len(), 1, "it was given up");
    let said = complaint(|| bench.run(SECOND, async { panic!("no luck") }));
    assert!(said.starts_with("what the test ran failed: ") && said.contains("no luck"), "{said}");
}

// What is left over.

#[test]
#[should_panic(expected = "timer forgotten, due in 5s")]
fn a_timer_that_is_left_is_found() {
    struct Forgetful;
    impl Protocol for Forgetful {
        fn data_received(&mut self, transport: &Transport, _: &[u8]) {
            let reactor = transport.reactor();
            reactor.call_at_named(Name::new("forgotten"), reactor.now() + 5 * SECOND, || ());
        }
    }
    let wire = Wire::new(Forgetful);
    wire.feed(b"hello");
    wire.end();
    assert!(wire.is_closed());
    wire.bench().assert_clean();
}

#[test]
fn all_that_is_left_is_named() {
    let bench = Bench::new();
    assert_clean(bench.reactor());
    let reactor = bench.reactor();
    reactor.spawn_named(Name::new("waiter"), std::future::pending::<()>());
    let ticker = LoopingCall::new(reactor, |_| ());
    ticker.start(SECOND, false);
    let wire = Wire::on(&bench, Echo);
    wire.transport().set_deadline(Some(reactor.now() + 30 * SECOND));
    let said = complaint(|| assert_clean(reactor));
    let ticking = format!("{}:{}", file!(), line!() - 5);
    assert_eq!(
        said,
        format!(
            "the reactor is not clean:\n    task waiter\n    connection connection, with a deadline in 30s\
             \n    timer {ticking}, due in 1s"
        )
    );
}

#[test]
fn errors_that_were_only_logged_are_found() {
    let bench = Bench::new();
    let reactor = bench.reactor().clone();
    reactor.call_soon_named(Name::new("clumsy"), || panic!("dropped a plate"));
    bench.settle();
    let said = complaint(|| bench.assert_clean());
    assert!(said.starts_with("errors were logged:\n    "), "{said}");
    assert!(said.contains("dropped a plate") && said.contains("callback=clumsy"), "{said}");
    bench.assert_clean();

    let handle = reactor.clone();
    reactor.call_soon(move || drop(deferred::fail::<u8>(&handle, "out of paper")));
    reactor.spawn(async { panic!("stumbled") });
    bench.settle();
    let errors = bench.take_errors();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors.iter().any(|error| error.contains("nobody looked") && error.contains("out of paper")));
    assert!(errors.iter().any(|error| error.contains("stumbled")));
    bench.assert_clean();
}

#[test]
fn who_listened_to_the_log_before_still_does() {
    let lines = Lines::default();
    let heard = lines.0.clone();
    tracing::subscriber::with_default(lines, || {
        let bench = Bench::new();
        bench.reactor().call_soon(|| {
            let _span = tracing::info_span!("outer").entered();
            tracing::info!("for all");
            tracing::error!("for both");
        });
        bench.settle();
        assert_eq!(bench.take_errors(), ["for both"]);
    });
    assert_eq!(*heard.lock().unwrap(), ["span outer", "INFO", "ERROR"]);
}

#[derive(Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<String>>>);
impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::INFO
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        self.0.lock().unwrap().push(format!("span {}", span.metadata().name()));
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        self.0.lock().unwrap().push(event.metadata().level().to_string());
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn what_never_comes_to_rest_is_said() {
    let bench = Bench::new();
    bench.network().set_conditions(|conditions| conditions.latency = (SECOND, SECOND));
    struct Talker;
    impl Protocol for Talker {
        fn connection_made(&mut self, transport: &Transport) {
            transport.write(b"ping");
        }
        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            transport.write(data);
        }
    }
    let said = complaint(|| drop(Pair::on(&bench, Talker, Talker)));
    assert!(said.starts_with("it does not come to rest within 3600s; pending:\n"), "{said}");
    assert!(said.contains("\n    connection "), "{said}");
}

// Outcomes.

#[test]
#[should_panic(expected = "a success was expected, but it failed: out of paper")]
fn a_failure_is_no_success() {
    let bench = Bench::new();
    success_of(deferred::fail::<u8>(bench.reactor(), "out of paper"));
}

#[test]
#[should_panic(expected = "a failure was expected, but it succeeded: 7")]
fn a_success_is_no_failure() {
    let bench = Bench::new();
    failure_of(deferred::succeed(bench.reactor(), 7));
}

#[test]
fn waiting_is_neither() {
    let bench = Bench::new();
    let (firing, waiting) = Deferred::<u8>::new(bench.reactor());
    let place = format!("{}:{}", file!(), line!() - 1);
    let said = complaint(|| assert_eq!(success_of(waiting), 7));
    assert!(
        said.starts_with("a success was expected, but there is no result yet: it was made at "),
        "{said}"
    );
    assert!(said.contains(&place) && said.ends_with(" and waits"), "{said}");
    drop(firing);

    let queued = deferred::succeed(bench.reactor(), 7).add_callback(|value| value + 1);
    let said = complaint(|| drop(failure_of(queued)));
    assert!(said.starts_with("a failure was expected, but there is no result yet"), "{said}");
    assert!(said.ends_with("let the loop run first"), "{said}");
}

#[test]
fn no_result_is_asserted_without_touching_the_deferred() {
    let bench = Bench::new();
    let (firing, mut waiting) = Deferred::<u8>::new(bench.reactor());
    assert_no_result(&mut waiting);
    let ran: Rc<Cell<u8>> = Rc::default();
    let seen = Rc::clone(&ran);
    drop(waiting.add_callback(move |value| seen.set(value)));
    firing.callback(7).unwrap();
    bench.settle();
    assert_eq!(ran.get(), 7, "to look was not to wait: dropped, it was not cancelled");
}

#[test]
fn a_result_that_is_there_is_told() {
    let bench = Bench::new();
    let mut there = deferred::succeed(bench.reactor(), 7);
    assert_eq!(complaint(|| assert_no_result(&mut there)), "no result was expected, but it succeeded: 7");
    let mut failed = deferred::fail::<u8>(bench.reactor(), "out of paper");
    let said = complaint(|| assert_no_result(&mut failed));
    assert!(said.starts_with("no result was expected, but it failed: out of paper"), "{said}");
}

// Cutting.

/// Counts lines, and forgets that the network may cut between the two bytes of a line's end.
#[derive(Default)]
struct Careless(u32);
impl Protocol for Careless {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.0 += data.windows(2).filter(|pair| pair == b"\r\n").count() as u32;
        if data.ends_with(b"\n") {
            transport.write(self.0.to_string().as_bytes());
        }
    }
}

#[test]
fn a_bug_at_the_border_of_two_pieces_is_found() {
    let script = b"ab\r\n";
    let said = complaint(|| {
        split_everywhere(script, |pieces| {
            let wire = Wire::new(Careless::default());
            wire.feed_each(pieces);
            String::from_utf8(wire.take_written()).unwrap()
        });
    });
    assert_eq!(
        said,
        "the outcome depends on where the bytes are cut\n   cut: At([3]), \"ab\\r\" | \"\\n\"\n whole: \"1\"\n  here: \"0\""
    );
}

#[test]
fn every_way_to_cut_is_tried() {
    let tried = RefCell::new(Vec::new());
    let outcome = split_everywhere(b"abcd", |pieces| {
        tried.borrow_mut().push(pieces.iter().map(|piece| piece.len()).collect::<Vec<_>>());
        pieces.concat()
    });
    assert_eq!(outcome, b"abcd");
    let tried = tried.take();
    assert_eq!(tried[..5], [vec![4], vec![1, 3], vec![2, 2], vec![3, 1], vec![1, 1, 1, 1]]);
    assert!(tried.len() > 15);
    assert_eq!(split_everywhere(b"", |pieces| pieces.len()), 0);
}

#[test]
fn cuts_are_what_they_say() {
    assert_eq!(Chunking::Whole.cut(b"abc"), [b"abc"]);
    assert_eq!(Chunking::At(&[]).cut(b"abc"), [b"abc"]);
    assert_eq!(Chunking::At(&[0, 2, 3, 7]).cut(b"abc"), [&b"ab"[..], b"c"]);
    for seed in 0..100 {
        let bytes: Vec<u8> = (0..=255).collect();
        let cut = Chunking::Random(seed).cut(&bytes);
        assert_eq!(cut.concat(), bytes);
        assert_eq!(cut, Chunking::Random(seed).cut(&bytes), "a seed is one way");
    }
}

#[test]
fn a_reactor_of_ones_own_is_asked_as_well() {
    let reactor = Reactor::new().unwrap();
    assert_clean(&reactor);
    reactor.call_soon_named(Name::new("next"), || ());
    assert_eq!(complaint(|| assert_clean(&reactor)), "the reactor is not clean:\n    call next");
}
