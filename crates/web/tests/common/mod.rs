//! What the tests of the server share: a site under the simulated clock and network, scripts that are sent in every way that
//! they can be cut, and probes for what must not be left behind. No test of its own.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it, as a module of its own")]

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ropewalk_net::{Address, Port, listen};
use ropewalk_reactor::{Peer, Reactor, Simulation};
use ropewalk_web::{Handler, Site, SiteHandle, SiteStatistics};

/// Seeds of the simulated network that every script is run with.
pub const SEEDS: u64 = 100;
pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

/// A site that is served in a simulation.
pub struct Ground {
    pub simulation: Simulation,
    pub site: SiteHandle,
    pub port: Port,
    address: SocketAddr,
    sources: usize,
    timers: usize,
}

impl Ground {
    pub fn new(seed: u64, site: Site) -> Ground {
        let simulation = Simulation::new(seed);
        let handle = site.handle();
        let port = listen(simulation.reactor(), &"tcp:0:interface=127.0.0.1".parse().unwrap(), site).unwrap();
        let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
        simulation.advance(MS);
        let before = simulation.reactor().statistics();
        Ground { simulation, site: handle, port, address, sources: before.sources, timers: before.timers }
    }

    /// Every segment takes the same moment.
    pub fn calm(site: Site) -> Ground {
        let ground = Ground::new(1, site);
        ground.simulation.network().set_conditions(|conditions| {
            conditions.latency = (Duration::from_micros(1), Duration::from_micros(1));
        });
        ground
    }

    pub fn of(handler: impl Handler) -> Ground {
        Ground::calm(Site::new(handler).server(None))
    }

    pub fn reactor(&self) -> &Reactor {
        self.simulation.reactor()
    }

    pub fn statistics(&self) -> SiteStatistics {
        self.site.statistics()
    }

    pub fn connect(&self) -> Peer {
        let peer = self.simulation.network().connect(self.address);
        assert!(self.simulation.run_until(SECOND, || peer.is_connected()), "the server accepts");
        self.simulation.advance(Duration::from_micros(5));
        peer
    }

    /// A connection on which this was sent.
    pub fn send(&self, bytes: impl AsRef<[u8]>) -> Peer {
        let peer = self.connect();
        let (mut sent, bytes) = (0, bytes.as_ref());
        while sent < bytes.len() {
            let count = peer.write(&bytes[sent..]);
            sent += count;
            self.advance(MS);
            assert!(count > 0 || sent == bytes.len(), "the server reads");
        }
        peer
    }

    pub fn advance(&self, by: Duration) {
        self.simulation.advance(by);
    }

    /// What has come back since the last time, without the date.
    pub fn take(&self, peer: &Peer) -> String {
        self.advance(MS);
        undated(&peer.take())
    }

    /// What comes back to this request alone.
    pub fn ask(&self, bytes: impl AsRef<[u8]>) -> String {
        let peer = self.send(bytes);
        self.take(&peer)
    }

    /// Writes all of it, reading what comes back, until nothing has come for a while.
    fn converse(&self, pieces: &[&[u8]], step: Duration, quiet: Duration) -> (String, bool) {
        let peer = self.connect();
        let mut got = Vec::new();
        for piece in pieces {
            let mut sent = 0;
            while sent < piece.len() {
                sent += peer.write(&piece[sent..]);
                self.advance(step);
                got.extend(peer.take());
                if peer.is_ended() {
                    break;
                }
            }
        }
        let mut silent = Duration::ZERO;
        while silent < quiet && !peer.is_ended() {
            self.advance(quiet / 4);
            let more = peer.take();
            silent = if more.is_empty() { silent + quiet / 4 } else { Duration::ZERO };
            got.extend(more);
        }
        (undated(&got), peer.is_ended())
    }

    /// Asserts that connections left nothing behind, some time after the last one.
    pub fn is_clean(&self) {
        self.advance(5 * SECOND);
        let after = self.reactor().statistics();
        assert_eq!(after.sources, self.sources, "sources are left");
        assert_eq!(after.timers, self.timers, "timers are left");
        assert_eq!(self.port.statistics().connections, 0, "connections are counted");
    }
}

/// What came back, and whether the server closed behind it.
#[derive(Clone, PartialEq, Eq)]
pub struct Said {
    pub text: String,
    pub closed: bool,
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.text, if self.closed { "closed" } else { "open" })
    }
}

/// Sends a script whole, split at every byte, and one byte at a time, and then over a hundred networks that cut it and the
/// answer into small pieces. Asserts that the same comes back every time and that nothing is left, and answers what it was.
pub fn everyhow(make: impl Fn() -> Site, script: impl AsRef<[u8]>) -> Said {
    let script = script.as_ref();
    let step = Duration::from_micros(10);
    let quiet = 40 * MS;
    let ground = Ground::calm(make());
    let run = |pieces: &[&[u8]]| {
        let (text, closed) = ground.converse(pieces, step, quiet);
        Said { text, closed }
    };
    let whole = run(&[script]);
    for at in 1..script.len() {
        assert_eq!(run(&[&script[..at], &script[at..]]), whole, "split at {at}");
    }
    let bytes: Vec<&[u8]> = script.chunks(1).collect();
    assert_eq!(run(&bytes), whole, "one byte at a time");
    ground.is_clean();
    for seed in 0..SEEDS {
        let ground = Ground::new(seed, make());
        let random = |below: u64| (ground.simulation.network().random() % below) as usize;
        let (window, segment) = (20 + random(200), 1 + random(64));
        ground.simulation.network().set_conditions(|conditions| {
            conditions.window_bytes = window;
            conditions.segment_bytes_max = segment;
            conditions.latency = (Duration::from_micros(10), Duration::from_micros(500));
        });
        let (text, closed) = ground.converse(&[script], MS, quiet);
        assert_eq!(Said { text, closed }, whole, "seed {seed}");
        ground.is_clean();
    }
    whole
}

/// The text without its Date lines, which are the clock's, and with `#` for the digits of an incident, which are chance's.
pub fn undated(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: ")).collect();
    let mut parts = text.split("incident ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + "incident #" + part.trim_start_matches(|c: char| c.is_ascii_hexdigit())
    })
}

/// What a client of a site in production is told of a failure, on a connection that stays.
pub fn sorry() -> String {
    let fields = "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
                  Content-Security-Policy: default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n";
    let body =
        "500 Internal Server Error: the server could not answer; the reason is in its log, incident #\n";
    // The length that was sent is that of the digits.
    let length = body.len() - "#".len() + "5f3a9c01d2".len();
    format!("HTTP/1.1 500 Internal Server Error\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
}

/// The same on one that closes.
pub fn sorry_and_closed() -> String {
    sorry().replace("Content-Length", "Connection: close\r\nContent-Length")
}

/// An answer with these lines between status and length.
pub fn answer(status: &str, fields: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// A 200 of plain text on a connection that stays.
pub fn ok(body: &str) -> String {
    answer("200 OK", "Content-Type: text/plain; charset=utf-8\r\n", body)
}

/// The same on one that closes.
pub fn last(body: &str) -> String {
    answer("200 OK", "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n", body)
}

/// An error page on a connection that closes.
pub fn refused(status: &str, why: &str) -> String {
    answer(
        status,
        "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n",
        &format!("{status}: {why}\n"),
    )
}

/// Tells whether what captured it is gone.
#[derive(Clone, Default)]
pub struct Probe(Rc<Cell<u32>>);

/// Counts itself in and out.
pub struct Held(Probe);

impl Probe {
    pub fn hold(&self) -> Held {
        self.0.set(self.0.get() + 1);
        Held(self.clone())
    }

    pub fn held(&self) -> u32 {
        self.0.get()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() - 1);
    }
}

/// Counts what is logged as an error while `run` runs.
pub fn errors_logged(run: impl FnOnce()) -> usize {
    errors(run).len()
}

/// What is logged as an error while `run` runs on this thread: each event as `name=value` of its fields, the message last.
pub fn errors(run: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    let kept = Arc::clone(&lines.0);
    tracing::subscriber::with_default(lines, run);
    std::mem::take(&mut *kept.lock().unwrap())
}

#[derive(Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.0.lock().unwrap().push(format!("{}{}", line.fields, line.message));
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[derive(Default)]
struct Line {
    fields: String,
    message: String,
}

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields += &format!("{name}={value:?} "),
        }
    }
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Panics that are meant say nothing on standard error.
pub fn quietly() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let meant = panic.payload_as_str().is_some_and(|words| words.contains("as asked"));
            if !meant {
                usual(panic);
            }
        }));
    });
}
