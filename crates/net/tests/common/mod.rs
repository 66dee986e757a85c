//! What the tests of transports share: a ground to stand on (simulated, TCP, UNIX), a protocol that records, and patience
//! that is the reactor's own time. No test of its own.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it, as a module of its own")]

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::testing::Bench;
use ropewalk_net::{
    Address, ClientEndpoint, Factory, Lost, Port, Protocol, ServerEndpoint, ServerOptions, Transport,
    TransportOptions, connect, listen_with,
};
use ropewalk_reactor::{Deferred, Random, Reactor, Simulation};

/// Seeds of the simulated network that every check is run with.
pub const SEEDS: u64 = 100;

/// Where a check runs.
#[derive(Clone)]
pub struct Ground {
    pub reactor: Reactor,
    pub kind: Kind,
    random: Rc<RefCell<Random>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Simulated,
    /// The network of [`Bench`], which delivers whole and in order.
    Memory,
    Tcp,
    Unix(PathBuf),
    Abstract,
}

impl Ground {
    fn new(reactor: Reactor, kind: Kind, seed: u64) -> Ground {
        Ground { reactor, kind, random: Rc::new(RefCell::new(Random::new(seed))) }
    }

    /// In a simulation of one's own.
    pub fn at(simulation: &Simulation) -> Ground {
        Ground::new(simulation.reactor().clone(), Kind::Simulated, 1)
    }

    pub fn random(&self, below: u64) -> usize {
        self.random.borrow_mut().below(below) as usize
    }

    pub fn bytes(&self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.random(256) as u8).collect()
    }

    /// More than every buffer on the way holds.
    pub fn plenty(&self) -> usize {
        if self.kind == Kind::Simulated { 10_000 } else { 3_000_000 }
    }

    pub fn listen(&self, options: TransportOptions, factory: impl Factory) -> Port {
        let endpoint: ServerEndpoint = match &self.kind {
            Kind::Simulated | Kind::Memory | Kind::Tcp => "tcp:0:interface=127.0.0.1".parse().unwrap(),
            Kind::Unix(folder) => {
                let path = folder.join(format!("s{}", self.random(u64::MAX)));
                format!("unix:{}", path.display()).parse().unwrap()
            }
            Kind::Abstract => {
                let name = format!("ropewalk-{}-{:x}", std::process::id(), self.random(u64::MAX));
                format!("unix:@{name}-{:?}", std::thread::current().id()).parse().unwrap()
            }
        };
        let options = ServerOptions { transport: options, ..ServerOptions::default() };
        listen_with(&self.reactor, &endpoint, Rc::new(factory), options).unwrap()
    }

    pub fn client(&self, port: &Port) -> ClientEndpoint {
        client_of(port)
    }

    pub fn connect<P: Protocol>(&self, port: &Port, make: impl Fn() -> P + 'static) -> Deferred<Transport> {
        connect(&self.reactor, &self.client(port), make)
    }

    /// A connection between two probes: the server's side and the client's.
    pub async fn pair(&self, server: Probe, client: Probe) -> Pair {
        self.pair_with(TransportOptions::default(), server, client).await
    }

    pub async fn pair_with(&self, options: TransportOptions, server: Probe, client: Probe) -> Pair {
        let (seen_server, seen_client) = (Rc::clone(&server.seen), Rc::clone(&client.seen));
        let server = Once::new(server);
        let port = self.listen(options, move || server.take());
        let client = Once::new(client);
        self.connect(&port, move || client.take()).await.unwrap();
        self.until("the server has accepted", || seen_server.made.get()).await;
        port.stop_listening();
        Pair { server: seen_server, client: seen_client }
    }

    /// Waits on the reactor's clock.
    pub async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        for _ in 0..30_000 {
            if condition() {
                return;
            }
            self.pause(Duration::from_millis(1)).await;
        }
        panic!("not within 30 s: {what}");
    }

    /// Lets the reactor's time pass.
    pub async fn pause(&self, time: Duration) {
        let (resolver, deferred) = Deferred::new(&self.reactor);
        self.reactor.call_later(time, move || {
            let _ = resolver.callback(());
        });
        deferred.await.unwrap();
    }
}

pub fn client_of(port: &Port) -> ClientEndpoint {
    match port.address() {
        Address::Inet(address) => format!("tcp:127.0.0.1:{}", address.port()).parse().unwrap(),
        Address::Unix(path) => format!("unix:{}", path.as_ref().unwrap().display()).parse().unwrap(),
        address @ Address::Abstract(_) => address.to_string().parse().unwrap(),
        other => unreachable!("nothing listens at {other}"),
    }
}

pub struct Pair {
    pub server: Rc<Seen>,
    pub client: Rc<Seen>,
}

/// A value that a factory gives away once.
struct Once<T>(RefCell<Option<T>>);

impl<T> Once<T> {
    fn new(value: T) -> Once<T> {
        Once(RefCell::new(Some(value)))
    }

    fn take(&self) -> T {
        self.0.borrow_mut().take().expect("one connection")
    }
}

/// What a probe has seen.
#[derive(Default)]
pub struct Seen {
    pub made: Cell<bool>,
    pub ended: Cell<bool>,
    pub timed_out: Cell<u32>,
    pub data: RefCell<Vec<u8>>,
    pub pieces: Cell<usize>,
    pub lost: RefCell<Option<Lost>>,
    pub transport: RefCell<Option<Transport>>,
}

impl Seen {
    pub fn transport(&self) -> Transport {
        self.transport.borrow().clone().expect("it is made")
    }

    pub fn is_lost(&self) -> bool {
        self.lost.borrow().is_some()
    }

    pub fn reason(&self) -> String {
        self.lost.borrow().as_ref().map_or("not lost".to_owned(), ToString::to_string)
    }

    pub fn len(&self) -> usize {
        self.data.borrow().len()
    }
}

type OnData = Box<dyn FnMut(&Transport, &[u8])>;
type OnCall = Box<dyn FnMut(&Transport)>;

/// A protocol that records, and does what it is told.
#[derive(Default)]
pub struct Probe {
    pub seen: Rc<Seen>,
    made: Option<OnCall>,
    data: Option<OnData>,
    end: Option<OnCall>,
    due: Option<OnCall>,
}

impl Probe {
    pub fn new() -> Probe {
        Probe::default()
    }

    pub fn on_made(mut self, call: impl FnMut(&Transport) + 'static) -> Probe {
        self.made = Some(Box::new(call));
        self
    }

    /// Instead of recording the bytes.
    pub fn on_data(mut self, call: impl FnMut(&Transport, &[u8]) + 'static) -> Probe {
        self.data = Some(Box::new(call));
        self
    }

    /// Instead of closing.
    pub fn on_end(mut self, call: impl FnMut(&Transport) + 'static) -> Probe {
        self.end = Some(Box::new(call));
        self
    }

    /// Instead of aborting.
    pub fn on_due(mut self, call: impl FnMut(&Transport) + 'static) -> Probe {
        self.due = Some(Box::new(call));
        self
    }

    pub fn echo() -> Probe {
        Probe::new().on_data(|transport, data| transport.write(data))
    }
}

impl Protocol for Probe {
    fn connection_made(&mut self, transport: &Transport) {
        assert!(!self.seen.made.replace(true), "made twice");
        *self.seen.transport.borrow_mut() = Some(transport.clone());
        if let Some(made) = &mut self.made {
            made(transport);
        }
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        assert!(!data.is_empty(), "no bytes are no news");
        assert!(!transport.is_reading_paused(), "paused is paused");
        assert!(!self.seen.ended.get() && !self.seen.is_lost(), "nothing comes after the end");
        self.seen.pieces.set(self.seen.pieces.get() + 1);
        match &mut self.data {
            Some(take) => take(transport, data),
            None => self.seen.data.borrow_mut().extend_from_slice(data),
        }
    }

    fn read_ended(&mut self, transport: &Transport) {
        assert!(!self.seen.ended.replace(true), "ended twice");
        match &mut self.end {
            Some(end) => end(transport),
            None => transport.lose_connection(),
        }
    }

    fn timed_out(&mut self, transport: &Transport) {
        self.seen.timed_out.set(self.seen.timed_out.get() + 1);
        match &mut self.due {
            Some(due) => due(transport),
            None => transport.abort(Lost::TimedOut("idle")),
        }
    }

    fn connection_lost(&mut self, _transport: &Transport, lost: &Lost) {
        assert!(self.seen.lost.borrow_mut().replace(lost.clone()).is_none(), "lost twice");
    }
}

/// Runs a check in the simulation with every seed, in memory, over TCP, and over UNIX sockets with a file and without.
pub fn everywhere<F: Future<Output = ()> + 'static>(check: impl Fn(Ground) -> F) {
    for seed in 0..SEEDS {
        simulated(seed, &check);
    }
    memory(&check);
    real(Kind::Tcp, &check);
    let folder = std::env::temp_dir().join(format!(
        "ropewalk-net-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&folder).unwrap();
    real(Kind::Unix(folder.clone()), &check);
    std::fs::remove_dir_all(&folder).unwrap();
    real(Kind::Abstract, &check);
}

fn simulated<F: Future<Output = ()> + 'static>(seed: u64, check: &impl Fn(Ground) -> F) {
    let simulation = Simulation::new(seed);
    let mut random = Random::new(seed);
    simulation.network().set_conditions(|conditions| {
        // A window of a few bytes takes a round trip per byte: those are short, so that a check ends.
        let tiny = seed.is_multiple_of(3);
        conditions.window_bytes = 1 + random.below(if tiny { 20 } else { 4000 }) as usize;
        conditions.segment_bytes_max =
            1 + random.below(if seed.is_multiple_of(2) { 30 } else { 3000 }) as usize;
        let slowest = Duration::from_micros(1 + random.below(if tiny { 50 } else { 3000 }));
        conditions.latency = (Duration::ZERO, slowest);
    });
    let ground = Ground::new(simulation.reactor().clone(), Kind::Simulated, seed);
    let task = simulation.reactor().spawn(check(ground));
    let done = Rc::new(Cell::new(None));
    let told = Rc::clone(&done);
    simulation.reactor().spawn(async move { told.set(Some(task.await.is_ok())) });
    simulation.run_until(Duration::from_secs(600), || done.get().is_some());
    assert_eq!(done.get(), Some(true), "seed {seed}");
}

/// Runs a check over the transport in memory that users' tests stand on.
fn memory<F: Future<Output = ()> + 'static>(check: &impl Fn(Ground) -> F) {
    let bench = Bench::new();
    // Where nothing takes time, a producer that never ends keeps the clock from moving.
    bench.network().set_conditions(|conditions| {
        conditions.latency = (Duration::from_micros(1), Duration::from_micros(1))
    });
    let ground = Ground::new(bench.reactor().clone(), Kind::Memory, 1);
    bench.run(Duration::from_secs(600), check(ground));
}

/// Runs a check over the system's sockets.
pub fn real<F: Future<Output = ()> + 'static>(kind: Kind, check: &impl Fn(Ground) -> F) {
    let reactor = Reactor::new().unwrap();
    let ground = Ground::new(reactor.clone(), kind.clone(), 1);
    let task = reactor.spawn(check(ground));
    let done = Rc::new(Cell::new(false));
    let (told, handle) = (Rc::clone(&done), reactor.clone());
    reactor.spawn(async move {
        told.set(task.await.is_ok());
        handle.stop();
    });
    reactor.run().unwrap();
    assert!(done.get(), "over {kind:?}");
}
