//! The proxy: everything arrives, in order and with its end, and little of it is ever in between.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::proxy::proxy;
use crate::support::{Ground, MS, SECOND, SOON, address, pattern, serve};
use ropewalk::net::Port;
use ropewalk::net::policy::{Rates, Throttle, apply};
use ropewalk::reactor::Peer;
use ropewalk::{Factory, Lost, Protocol, Simulation, Transport};

const WINDOW: usize = 4096;
/// The high-water mark, and one read of the loop's buffer beyond it for each that a turn may do.
const PROXY_BYTES_MAX: usize = 64 * 1024 + 4 * 64 * 1024;

/// What the target saw. It can be told to read nothing.
#[derive(Default)]
struct Seen {
    transport: RefCell<Option<Transport>>,
    data: RefCell<Vec<u8>>,
    ended: Cell<bool>,
    lost: RefCell<Option<Lost>>,
    deaf: Cell<bool>,
}

impl Seen {
    fn transport(&self) -> Transport {
        self.transport.borrow().clone().unwrap()
    }

    fn len(&self) -> usize {
        self.data.borrow().len()
    }
}

struct Target(Rc<Seen>);

impl Protocol for Target {
    fn connection_made(&mut self, transport: &Transport) {
        *self.0.transport.borrow_mut() = Some(transport.clone());
        if self.0.deaf.get() {
            transport.pause_reading();
        }
    }

    fn data_received(&mut self, _transport: &Transport, data: &[u8]) {
        self.0.data.borrow_mut().extend_from_slice(data);
    }

    fn read_ended(&mut self, _transport: &Transport) {
        self.0.ended.set(true);
    }

    fn connection_lost(&mut self, _transport: &Transport, lost: &Lost) {
        *self.0.lost.borrow_mut() = Some(lost.clone());
    }
}

/// The port of the target, what it sees, and the proxy in front.
fn ground(seed: u64) -> (Ground, Rc<Seen>, Port) {
    let (simulation, seen) = (Simulation::new(seed), Rc::<Seen>::default());
    simulation.network().set_conditions(|conditions| conditions.window_bytes = WINDOW);
    let target = serve(&simulation, target(&seen));
    let port = serve(&simulation, proxy(format!("tcp:{}", address(&target)).parse().unwrap()));
    (Ground { simulation, port }, seen, target)
}

fn target(seen: &Rc<Seen>) -> impl Factory + use<> {
    let seen = Rc::clone(seen);
    move || Target(Rc::clone(&seen))
}

/// Sends as much as is taken, until all is sent or nobody has taken anything for a second.
fn send(ground: &Ground, peer: &Peer, data: &[u8]) -> usize {
    let (mut sent, mut idle) = (0, 0);
    while sent < data.len() && idle < 1000 {
        let count = peer.write(&data[sent..]);
        idle = if count == 0 { idle + 1 } else { 0 };
        sent += count;
        ground.advance(MS);
    }
    sent
}

/// Carries so many bytes both ways, the ends included.
fn carry(seed: u64, count: usize) {
    let (ground, seen, _target) = ground(seed);
    let client = ground.connect();
    let (question, answer) = (pattern(count), pattern(count + 1));
    assert_eq!(send(&ground, &client, &question), count, "seed {seed}");
    client.shutdown_write();
    ground.simulation.run_until(SECOND, || seen.ended.get());
    assert!(seen.ended.get() && *seen.data.borrow() == question, "seed {seed}");
    assert!(!client.is_ended(), "the other direction stands");

    seen.transport().write(&answer);
    seen.transport().lose_write_connection();
    for _ in 0..10_000 {
        if client.is_ended() {
            break;
        }
        ground.advance(MS);
    }
    assert!(client.is_ended() && client.take() == answer, "seed {seed}");
    ground.advance(SOON);
    assert!(matches!(*seen.lost.borrow(), Some(Lost::Ended)), "both directions have ended");
    assert_eq!((ground.sources(), ground.timers()), (2, 0), "only the listeners are left");
}

#[test]
fn proxy_carries_a_mebibyte_both_ways_through_small_windows() {
    carry(1, 1024 * 1024);
}

#[test]
fn proxy_carries_everything_whatever_the_network_does() {
    for seed in 0..100 {
        carry(seed, 20_000);
    }
}

#[test]
fn proxy_carries_both_directions_at_once() {
    let (ground, seen, _target) = ground(7);
    let client = ground.connect();
    let data = pattern(300_000);
    seen.transport().write(&data);
    let (mut sent, mut received) = (0, Vec::new());
    while sent < data.len() || received.len() < data.len() {
        sent += client.write(&data[sent..]);
        received.extend(client.take());
        ground.advance(MS);
    }
    ground.advance(SECOND);
    assert!(received == data && *seen.data.borrow() == data);
}

/// 64 MiB each way at once, through a proxy that lets 8 MiB pass in a second: the rate is held, every byte arrives in its place, and
/// what is in between never is more than a little.
#[test]
fn proxy_carries_a_lot_under_throttling_and_holds_little() {
    const RATE: usize = 8 << 20;
    const TOTAL: usize = 64 << 20;
    const BROAD: usize = 256 * 1024;
    let (simulation, seen) = (Simulation::new(1), Rc::<Seen>::default());
    simulation.network().set_conditions(|conditions| {
        conditions.latency = (Duration::ZERO, Duration::from_micros(100));
        (conditions.window_bytes, conditions.segment_bytes_max) = (BROAD, BROAD);
    });
    // What has come is looked at piece by piece: it must begin where the last one ended.
    let tape = pattern(BROAD).repeat(3);
    let is_next = |piece: &[u8], at: usize| *piece == tape[at % BROAD..][..piece.len()];
    let target = serve(&simulation, target(&seen));
    let proxy = proxy(format!("tcp:{}", address(&target)).parse().unwrap());
    let throttle = Throttle::new(simulation.reactor()).each(Rates::both(RATE as u64));
    let ground = Ground { port: serve(&simulation, apply(throttle, proxy)), simulation };
    let client = ground.connect();
    let (mut asked, mut heard, mut answered, mut received, mut most) = (0, 0, 0, 0, 0);
    let mut steps = 0;
    while heard < TOTAL || received < TOTAL {
        asked += client.write(&tape[asked % BROAD..][..BROAD.min(TOTAL - asked)]);
        let transport = seen.transport();
        while answered < TOTAL && !transport.is_full() {
            let count = (BROAD / 8).min(TOTAL - answered);
            transport.write(&tape[answered % BROAD..][..count]);
            answered += count;
        }
        ground.advance(4 * MS);
        let (data, taken) = (seen.data.take(), client.take());
        assert!(is_next(&data, heard) && is_next(&taken, received));
        (heard, received) = (heard + data.len(), received + taken.len());
        let sent = transport.traffic().1 as usize;
        most = most.max(asked - heard).max(sent - received);
        steps += 1;
    }
    assert!(most <= PROXY_BYTES_MAX + 2 * BROAD, "{most} bytes were in between");
    // The first second's worth is saved up; after that, the rate. It took as long as that takes, and not much longer.
    let due = (TOTAL / RATE - 1) * 250;
    assert!((due..due + due / 20).contains(&steps), "{steps} steps of 4 ms, {due} were due");
    client.shutdown_write();
    seen.transport().lose_connection();
    ground.advance(SECOND);
    assert_eq!((ground.sources(), ground.timers()), (2, 0), "only the listeners are left");
}

#[test]
fn a_target_that_does_not_read_holds_the_client_back() {
    let (ground, seen, _target) = ground(2);
    seen.deaf.set(true);
    let client = ground.connect();
    let data = pattern(1024 * 1024);
    let sent = send(&ground, &client, &data);
    assert_eq!(seen.len(), 0);
    assert!(sent <= PROXY_BYTES_MAX + 2 * WINDOW, "{sent} bytes were taken for a target that reads nothing");
    // Reading again, it gets everything.
    seen.transport().resume_reading();
    let rest = send(&ground, &client, &data[sent..]);
    assert_eq!(sent + rest, data.len());
    ground.advance(SECOND);
    assert!(*seen.data.borrow() == data);
}

#[test]
fn a_client_that_does_not_read_holds_the_target_back() {
    let (ground, seen, _target) = ground(3);
    let client = ground.connect();
    let data = pattern(1024 * 1024);
    seen.transport().write(&data);
    ground.advance(10 * SECOND);
    let (_, sent) = seen.transport().traffic();
    assert!(
        sent <= (PROXY_BYTES_MAX + 2 * WINDOW) as u64,
        "{sent} bytes were taken for a client that reads nothing"
    );
    let mut received = Vec::new();
    while received.len() < data.len() {
        received.extend(client.take_some(1000));
        ground.advance(MS);
    }
    assert!(received == data);
}

#[test]
fn who_reads_nothing_for_a_minute_is_broken_off_and_so_is_the_other_side() {
    let (ground, seen, _target) = ground(4);
    let client = ground.connect();
    seen.transport().write(&pattern(1024 * 1024));
    ground.advance(62 * SECOND);
    assert!(client.is_reset());
    assert!(matches!(*seen.lost.borrow(), Some(Lost::Broken(_))));
    assert_eq!((ground.sources(), ground.timers()), (2, 0), "only the listeners are left");
}

#[test]
fn a_reset_is_passed_on() {
    let (ground, seen, _target) = ground(5);
    let client = ground.connect();
    ground.ask(&client, b"half a ques");
    client.reset();
    ground.advance(SOON);
    assert_eq!(*seen.data.borrow(), b"half a ques");
    assert!(matches!(*seen.lost.borrow(), Some(Lost::Broken(_))));
    assert_eq!(ground.sources(), 2);
}

#[test]
fn without_a_target_the_client_is_told() {
    let (ground, _seen, target) = ground(6);
    target.stop_listening();
    let client = ground.connect();
    ground.advance(SOON);
    assert!(client.is_reset());
    assert_eq!((ground.sources(), ground.timers()), (1, 0), "only the proxy's listener is left");
}

#[test]
fn a_client_that_leaves_while_the_target_is_dialled_leaves_nothing_behind() {
    for reset in [false, true] {
        let (ground, seen, _target) = ground(8);
        let client = ground.simulation.network().connect(address(&ground.port));
        ground.simulation.run_until(SECOND, || client.is_connected());
        client.write(b"last words");
        if reset {
            client.reset()
        } else {
            drop(client)
        }
        ground.advance(SECOND);
        // It shut, or broke, both directions; the target may have seen the words before.
        assert!(seen.ended.get() || seen.lost.borrow().is_some(), "reset: {reset}");
        if !reset {
            assert_eq!(*seen.data.borrow(), b"last words");
            seen.transport().lose_connection();
        }
        ground.advance(SECOND);
        assert_eq!(
            (ground.sources(), ground.timers()),
            (2, 0),
            "only the listeners are left; reset: {reset}"
        );
    }
}

#[test]
fn a_proxy_that_stops_while_it_dials_gives_up() {
    let (ground, seen, _target) = ground(9);
    // Everything is far away: the client is there after 20 s, and the target would be after 40.
    ground.set_conditions(|conditions| conditions.latency = (20 * SECOND, 20 * SECOND));
    let client = ground.simulation.network().connect(address(&ground.port));
    ground.advance(21 * SECOND);
    assert!(client.is_connected());
    assert!(ground.timers() > 0, "dialling has a deadline");
    ground.simulation.reactor().announce_stop();
    ground.advance(SECOND);
    assert!(seen.transport.borrow().is_none());
    assert_eq!((ground.sources(), ground.timers()), (0, 0));
}
