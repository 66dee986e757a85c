//! A client service's random life: a server that accepts, refuses, drops, resets, goes silent and loses its name, and a program
//! that stops, starts and waits as it likes. With every seed: never two connections, a connection once the server stays up,
//! every waiter is answered, and nothing is left after the end.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::{ClientPolicy, ClientService, Connected, Lost, Port, Protocol, Transport, listen};
use ropewalk_reactor::{Deferred, Outcome, Reach, Simulation};

const SEEDS: u64 = 150;
const SECOND: Duration = Duration::from_secs(1);
/// The longest delay, and an attempt that runs into its timeout before.
const BACK_BY: Duration = Duration::from_secs(90);

/// What a server does with whom it accepts.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Mode {
    Greets,
    Mute,
    Closes,
    Resets,
}

struct Served(Rc<World>);

impl Protocol for Served {
    fn connection_made(&mut self, transport: &Transport) {
        match self.0.mode.get() {
            Mode::Greets => transport.write(b"hello"),
            Mode::Mute => {}
            Mode::Closes => return transport.lose_connection(),
            Mode::Resets => return transport.abort_connection(),
        }
        self.0.served.borrow_mut().push(transport.clone());
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

struct World {
    simulation: Simulation,
    mode: Cell<Mode>,
    port: RefCell<Option<Port>>,
    served: RefCell<Vec<Transport>>,
    clients: Rc<Clients>,
}

/// What the client's protocols have seen. A panic in a protocol would be caught: what is wrong is noted.
#[derive(Default)]
struct Clients {
    made: Cell<u64>,
    standing: Cell<i32>,
    most: Cell<i32>,
    panics: Cell<bool>,
    /// Nothing fails on this side any more.
    calm: Cell<bool>,
}

impl Clients {
    fn stand(&self, change: i32) {
        self.standing.set(self.standing.get() + change);
        self.most.set(self.most.get().max(self.standing.get()));
    }
}

/// Wants to be greeted within three seconds.
struct Client(Rc<Clients>);

impl Protocol for Client {
    fn connection_made(&mut self, transport: &Transport) {
        self.0.made.set(self.0.made.get() + 1);
        self.0.stand(1);
        transport.set_deadline(Some(transport.reactor().now() + 3 * SECOND));
    }

    fn data_received(&mut self, transport: &Transport, _: &[u8]) {
        if self.0.panics.replace(false) {
            // It will not hear of its end.
            self.0.stand(-1);
            panic!("as asked");
        }
        transport.set_deadline(None);
    }

    fn connection_lost(&mut self, _: &Transport, _: &Lost) {
        self.0.stand(-1);
    }
}

impl World {
    fn new(seed: u64) -> Rc<World> {
        Rc::new(World {
            simulation: Simulation::new(seed),
            mode: Cell::new(Mode::Greets),
            port: RefCell::default(),
            served: RefCell::default(),
            clients: Rc::default(),
        })
    }

    fn random(&self, below: u64) -> u64 {
        self.simulation.network().random() % below
    }

    fn open(self: &Rc<World>) {
        let world = Rc::downgrade(self);
        let serve = move || Served(world.upgrade().expect("the test holds it"));
        let port = listen(self.simulation.reactor(), &"tcp:80:interface=127.0.0.1".parse().unwrap(), serve);
        self.close();
        *self.port.borrow_mut() = Some(port.unwrap());
    }

    fn close(&self) {
        if let Some(port) = self.port.take() {
            port.stop_listening();
        }
    }

    fn reach(&self, reach: Reach) {
        self.simulation.network().set_reach("127.0.0.1".parse().unwrap(), reach);
    }

    fn name(&self, known: bool) {
        let addresses = ["127.0.0.1".parse().unwrap()];
        self.simulation.network().set_host("server.test", if known { &addresses } else { &[] });
    }

    /// The server, or the way to it, changes.
    fn disturb(self: &Rc<World>) {
        match self.random(11) {
            0 => self.close(),
            1 | 2 => {
                self.close();
                self.open();
            }
            3 => self.reach(Reach::Silent),
            4 => self.reach(Reach::Slow(Duration::from_millis(self.random(8000)))),
            5 | 6 => self.reach(Reach::Near),
            7 => self.name(self.random(2) == 0),
            8 => self.clients.panics.set(true),
            9 => {
                let modes = [Mode::Greets, Mode::Greets, Mode::Mute, Mode::Closes, Mode::Resets];
                self.mode.set(modes[self.random(5) as usize]);
            }
            _ => {}
        }
        let orderly = self.random(2) == 0;
        if self.random(3) == 0 {
            let served = self.served.take();
            served.iter().for_each(|transport| match orderly {
                true => transport.lose_connection(),
                false => transport.abort_connection(),
            });
        }
    }
}

/// Everybody who has ever waited, and how many were told.
#[derive(Default)]
struct Waiting {
    asked: Cell<u32>,
    told: Rc<Cell<u32>>,
    held: RefCell<Vec<Deferred<()>>>,
}

impl Waiting {
    fn ask<T: 'static>(&self, deferred: Deferred<T>) {
        self.asked.set(self.asked.get() + 1);
        let told = Rc::clone(&self.told);
        let held = deferred.add_both(move |outcome: Outcome<T>| {
            drop(outcome);
            told.set(told.get() + 1);
        });
        self.held.borrow_mut().push(held);
    }
}

/// The program does something with its service.
fn use_it(world: &World, service: &ClientService<()>, waiting: &Waiting) {
    match world.random(12) {
        0 => waiting.ask(service.stop()),
        1..=3 => service.start(),
        4 => waiting.ask(service.when_connected(None)),
        5 => waiting.ask(service.when_connected(Some(world.random(4) as u32))),
        6 => waiting.held.borrow().iter().rev().take(2).for_each(Deferred::cancel),
        7 => service.connected().into_iter().for_each(|connected| connected.transport.write(b"ping")),
        _ => {}
    }
}

fn life(seed: u64) {
    let world = World::new(seed);
    world.simulation.advance(SECOND);
    let before = world.simulation.reactor().statistics();
    world.name(true);
    let clients = Rc::clone(&world.clients);
    let endpoint = "tcp:server.test:80:timeout=6".parse().unwrap();
    let reactor = world.simulation.reactor();
    let service = ClientService::new(
        reactor,
        endpoint,
        move || (Client(Rc::clone(&clients)), ()),
        ClientPolicy::default(),
    );
    if seed.is_multiple_of(2) {
        let clients = Rc::clone(&world.clients);
        service.prepare_connection(move |connected: &Connected<()>| prepare(connected, &clients));
    }
    let waiting = Waiting::default();
    service.start();
    for _ in 0..80 {
        world.disturb();
        use_it(&world, &service, &waiting);
        world.simulation.advance(Duration::from_millis(world.random(3000)));
        assert!(world.clients.most.get() <= 1, "seed {seed}: two connections at once");
        let standing = service.connected().is_some();
        assert!(!standing || world.clients.standing.get() == 1, "seed {seed}: connected to nothing");
    }

    // The server stays up.
    world.mode.set(Mode::Greets);
    world.clients.panics.set(false);
    world.clients.calm.set(true);
    world.reach(Reach::Near);
    world.name(true);
    world.open_if_closed();
    service.start();
    let connected = || service.connected().is_some();
    assert!(world.simulation.run_until(BACK_BY, connected), "seed {seed}: {:?}", service.last_failure());
    world.simulation.advance(10 * SECOND);

    waiting.ask(service.stop());
    world.close();
    world.simulation.advance(10 * SECOND);
    world.served.borrow_mut().drain(..).for_each(|transport| transport.abort_connection());
    world.simulation.advance(10 * SECOND);
    assert_eq!(waiting.told.get(), waiting.asked.get(), "seed {seed}: somebody was never told");
    assert_eq!((world.clients.standing.get(), world.clients.most.get()), (0, 1), "seed {seed}");
    let after = world.simulation.reactor().statistics();
    assert_eq!((after.sources, after.timers), (before.sources, before.timers), "seed {seed}");
    let statistics = service.statistics();
    assert!(
        statistics.attempts >= statistics.failures + statistics.connections,
        "seed {seed}: {statistics:?}"
    );
    assert!(world.clients.made.get() >= statistics.connections, "seed {seed}");
}

impl World {
    fn open_if_closed(self: &Rc<World>) {
        let closed = self.port.borrow().is_none();
        if closed {
            self.open();
        }
    }
}

/// Takes a moment, and fails now and then.
fn prepare(connected: &Connected<()>, clients: &Clients) -> Deferred<()> {
    let reactor = connected.transport.reactor();
    let (firing, prepared) = Deferred::new(reactor);
    let fine = clients.calm.get() || !reactor.random().is_multiple_of(4);
    reactor.call_later(Duration::from_millis(reactor.random() % 500), move || {
        let outcome = if fine { Ok(()) } else { Err("not today".into()) };
        // The connection may have been lost meanwhile.
        let _ = firing.fire(outcome);
    });
    prepared
}

#[test]
fn whatever_the_server_does_there_is_one_connection_in_the_end() {
    for seed in 0..SEEDS {
        life(seed);
    }
}
