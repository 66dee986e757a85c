//! The simulation: one seed is one run, however busy; and what a loop does that was away: it hears its peers before it
//! judges them.
#![allow(clippy::unwrap_used, reason = "what fails in the helpers of a test fails the test")]

mod support;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::io::{Listener, Socket};
use ropewalk_reactor::{
    Deadline, Key, ListenOptions, LoopingCall, Name, Peer, Reactor, Readiness, Simulation, Source, Time,
};
use support::Trace;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// How long a connection of these tests may be silent.
const SILENCE: Duration = Duration::from_millis(200);

/// Accepts, and makes an [`Echo`] of each connection.
struct Door {
    reactor: Reactor,
    key: Key,
    listener: RefCell<Option<Listener>>,
    trace: Trace,
    made: Cell<u32>,
}

impl Source for Door {
    fn name(&self) -> Name {
        Name::new("door")
    }

    fn ready(self: Rc<Self>, _: Readiness) {
        let listener = self.listener.borrow();
        while let Ok((socket, _)) = listener.as_ref().expect("it was put there").accept() {
            self.made.set(self.made.get() + 1);
            Echo::open(&self.reactor, socket, self.made.get(), &self.trace);
        }
    }
}

/// Sends back what comes, notes it, and closes after a silence.
struct Echo {
    reactor: Reactor,
    key: Key,
    which: u32,
    socket: RefCell<Option<Socket>>,
    output: RefCell<Vec<u8>>,
    deadline: Cell<Deadline>,
    trace: Trace,
}

impl Echo {
    fn open(reactor: &Reactor, mut socket: Socket, which: u32, trace: &Trace) {
        let mut made = None;
        let key = reactor.add_source(|key| {
            let echo = Rc::new(Echo {
                reactor: reactor.clone(),
                key,
                which,
                socket: RefCell::new(None),
                output: RefCell::default(),
                deadline: Cell::new(reactor.insert_deadline(reactor.now() + SILENCE, key)),
                trace: trace.clone(),
            });
            made = Some(Rc::clone(&echo));
            echo
        });
        reactor.register_socket(&mut socket, key).unwrap();
        *made.unwrap().socket.borrow_mut() = Some(socket);
    }

    fn note(&self, what: &str) {
        self.trace.note(format!("{}:{what}@{}", self.which, self.reactor.now().as_nanos()));
    }

    fn read(&self) -> io::Result<usize> {
        let mut buffer = [0; 512];
        let count = self.socket.borrow().as_ref().expect("it is open").read(&mut buffer)?;
        self.output.borrow_mut().extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    fn close(&self, why: &str) {
        self.note(why);
        self.reactor.remove_deadline(self.deadline.get());
        self.reactor.remove_source(self.key);
    }
}

impl Source for Echo {
    fn name(&self) -> Name {
        Name::new("echo")
    }

    fn ready(self: Rc<Self>, _: Readiness) {
        self.reactor.flush_later(self.key);
        loop {
            match self.read() {
                Ok(0) => return self.close("end"),
                Ok(count) => {
                    self.note(&format!("read{count}"));
                    assert!(self.reactor.reset_deadline(self.deadline.get(), self.reactor.now() + SILENCE));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.close(&error.kind().to_string()),
            }
        }
    }

    fn flush(self: Rc<Self>) {
        let mut output = self.output.borrow_mut();
        while !output.is_empty() {
            match self.socket.borrow().as_ref().expect("it is open").write(&output) {
                Ok(count) => drop(output.drain(..count)),
                Err(_) => return,
            }
        }
    }

    fn due(self: Rc<Self>) {
        self.close("silent");
    }

    fn put_off(self: Rc<Self>, until: Time) {
        self.note("put-off");
        self.deadline.set(self.reactor.insert_deadline(until, self.key));
    }

    fn abandoned(self: Rc<Self>) {
        self.socket.take();
    }
}

fn open_door(simulation: &Simulation, trace: &Trace) -> SocketAddr {
    let reactor = simulation.reactor();
    let address = SocketAddr::from(([127, 0, 0, 1], 80));
    let mut listener = reactor.listen_tcp(address, &ListenOptions::default()).unwrap();
    let mut made = None;
    let key = reactor.add_source(|key| {
        let listener = RefCell::new(None);
        let door = Rc::new(Door {
            reactor: reactor.clone(),
            key,
            listener,
            trace: trace.clone(),
            made: Cell::new(0),
        });
        made = Some(Rc::clone(&door));
        door
    });
    reactor.register_listener(&mut listener, key).unwrap();
    let door = made.unwrap();
    assert_eq!(door.key, key);
    *door.listener.borrow_mut() = Some(listener);
    address
}

/// Timers, looping calls, tasks, the pool and peers that come and go, all at once. Everything that happens is noted, with
/// its time to the nanosecond.
fn busy(seed: u64) -> String {
    let (simulation, trace) = (Simulation::new(seed), Trace::default());
    let reactor = simulation.reactor().clone();
    let address = open_door(&simulation, &trace);
    for timer in 0..20 {
        let delay = Duration::from_micros(reactor.random() % 900_000);
        reactor.call_later(delay, trace.noting(format!("timer{timer}")));
    }
    let (handle, inner) = (reactor.clone(), trace.clone());
    LoopingCall::new(&reactor, move |count| {
        inner.note(format!("tick{count}@{}", handle.now().as_nanos()));
        let (job, inner) = (handle.random() % 100, inner.clone());
        drop(handle.defer_to_thread(move || job).add_callback(move |job| inner.note(format!("job{job}"))));
    })
    .start(50 * MS, true);
    for task in 0..5u32 {
        let (handle, inner) = (reactor.clone(), trace.clone());
        drop(reactor.spawn(async move {
            for step in 0..5 {
                let weight = handle.random() % 1000;
                let heavy = handle.defer_to_thread(move || weight).await.unwrap();
                inner.note(format!("task{task}.{step}:{heavy}@{}", handle.now().as_nanos()));
            }
        }));
    }
    let mut peers: Vec<Peer> = (0..8).map(|_| simulation.network().connect(address)).collect();
    for round in 0..12 {
        simulation.advance(80 * MS);
        for (which, peer) in peers.iter().enumerate() {
            if simulation.network().random() % 3 != 0 {
                peer.write(format!("hello {which} in round {round}").as_bytes());
            }
            trace.note(format!("peer{which}:{}", peer.take().len()));
        }
        match simulation.network().random() % 4 {
            0 => peers.pop().into_iter().for_each(Peer::reset),
            1 => drop(peers.pop()),
            _ => simulation.network().hold(Duration::from_millis(simulation.network().random() % 700)),
        }
    }
    simulation.stop();
    trace.take()
}

#[test]
fn one_seed_is_one_run_however_busy() {
    let mut runs = Vec::new();
    for seed in 0..100 {
        let first = busy(seed);
        assert_eq!(first, busy(seed), "seed {seed} does not replay");
        for what in ["timer19", "task4.4", ":read", "tick", "job"] {
            assert!(first.contains(what), "seed {seed} has no {what}: {first}");
        }
        runs.push(first);
    }
    runs.sort();
    runs.dedup();
    assert_eq!(runs.len(), 100, "every seed is another run");
    let all = runs.concat();
    for what in ["put-off", "silent", "end@", "connection reset"] {
        assert!(all.contains(what), "no run has seen {what}");
    }
}

/// Connections that are accepted and have said something.
fn talking(simulation: &Simulation, address: SocketAddr, count: usize) -> Vec<Peer> {
    let peers: Vec<Peer> = (0..count).map(|_| simulation.network().connect(address)).collect();
    simulation.advance(10 * MS);
    peers.iter().for_each(|peer| assert_eq!(peer.write(b"x"), 1));
    simulation.advance(10 * MS);
    peers.iter().for_each(|peer| assert_eq!(peer.take(), b"x"));
    peers
}

#[test]
fn a_turn_after_a_long_sleep_kills_nobody() {
    // 1. Peers are connected. 2. The loop is held for ten seconds; some write meanwhile, some are silent. 3. The first
    // turn after it hears those who wrote, and gives the silent ones time: what they said may still be on its way.
    for seed in 0..100 {
        let (simulation, trace) = (Simulation::new(seed), Trace::default());
        let address = open_door(&simulation, &trace);
        let peers = talking(&simulation, address, 6);
        trace.take();
        peers[..3].iter().for_each(|peer| assert_eq!(peer.write(b"y"), 1));
        simulation.network().hold(10 * SECOND);
        simulation.advance(100 * MS);
        let told = trace.take();
        assert!(!told.contains("silent"), "seed {seed}: {told}");
        assert_eq!(told.matches("read1@").count(), 3, "seed {seed}: {told}");
        assert_eq!(told.matches("put-off@").count(), 3, "seed {seed}: {told}");
        assert_eq!(simulation.reactor().statistics().stalls, 1);
        // The three who spoke are silent from then on; the others have their grace.
        simulation.advance(SECOND);
        assert_eq!(trace.take().matches("silent@").count(), 3, "seed {seed}");
        simulation.advance(4 * SECOND);
        assert_eq!(trace.take().matches("silent@").count(), 3, "seed {seed}: grace has an end");
    }
}

#[test]
fn a_callback_that_holds_the_loop_costs_no_peer_its_deadline() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let address = open_door(&simulation, &trace);
    let _peers = talking(&simulation, address, 4);
    trace.take();
    let network = simulation.network().clone();
    simulation.reactor().call_later(50 * MS, move || network.hold(SECOND));
    simulation.advance(2 * SECOND);
    let told = trace.take();
    assert_eq!((told.matches("put-off@").count(), told.matches("silent@").count()), (4, 0), "{told}");
}

#[test]
fn what_is_there_is_read_before_deadlines_are_judged_also_after_a_short_hold() {
    // Not long enough for a stall: the deadline counts, but not against one whose bytes have come meanwhile.
    for seed in 0..100 {
        let (simulation, trace) = (Simulation::new(seed), Trace::default());
        let address = open_door(&simulation, &trace);
        let peers = talking(&simulation, address, 6);
        trace.take();
        peers[..3].iter().for_each(|peer| assert_eq!(peer.write(b"y"), 1));
        simulation.network().hold(SILENCE + 100 * MS);
        simulation.advance(MS);
        let told = trace.take();
        assert_eq!(told.matches("read1@").count(), 3, "seed {seed}: {told}");
        assert_eq!(told.matches("silent@").count(), 3, "seed {seed}: {told}");
        assert_eq!(simulation.reactor().statistics().stalls, 0);
    }
}

#[test]
fn time_passes_only_when_told_and_up_to_where_it_was_told() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let reactor = simulation.reactor();
    let wall = reactor.wall_clock();
    reactor.call_later(SECOND, trace.noting("rang"));
    simulation.advance(SECOND - MS);
    assert_eq!((trace.len(), reactor.now().as_millis()), (0, 999));
    assert!(simulation.run_until(SECOND, || trace.len() == 1));
    assert_eq!(reactor.now().as_millis(), 1000, "no further than the condition asks");
    assert!(!simulation.run_until(SECOND, || false));
    assert_eq!(reactor.wall_clock().duration_since(wall).unwrap(), 2 * SECOND);
}
