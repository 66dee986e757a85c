//! The other side of a WebSub hub: a topic, and subscribers by the thousand at as many hosts as wanted, some of which die when they
//! are told to. A bare loop on a thread of its own; `scenario::hub` asks it what has come.
//!
//! A host is a loopback address with a port: what a hub takes for one (scheme aside, the authority of the callback's URL).

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// Bytes of the topic.
const CONTENT_BYTES: usize = 1024;

/// How often orders are looked at where nothing comes.
const LOOK: Duration = Duration::from_millis(20);

/// What becomes of a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Lives,
    /// Nobody listens any more.
    Refuses,
    /// It takes connections and requests, and never answers.
    Silent,
}

/// What has come so far, and what the loop is told.
#[derive(Debug)]
pub(crate) struct Tally {
    began: Instant,
    /// The edition that the topic has.
    edition: AtomicU64,
    /// Living subscribers that have it, and of these deliveries those over a connection that had served before.
    delivered: AtomicU64,
    delivered_kept: AtomicU64,
    /// Since `began`, of the last one that counts.
    last_ns: AtomicU64,
    fetched: AtomicU64,
    fetched_kept: AtomicU64,
    verified: AtomicU64,
    hub_port: AtomicU64,
    dying: AtomicBool,
    over: AtomicBool,
}

/// What came of one edition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Update {
    /// From the ping to the last living subscriber.
    pub(crate) took: Duration,
    /// Shares of those that came over connections that had served before.
    pub(crate) delivered_kept: f64,
    pub(crate) fetched_kept: f64,
}

/// The loop, running; it ends with this.
pub(crate) struct Subscribers {
    tally: Arc<Tally>,
    thread: Option<JoinHandle<io::Result<()>>>,
    hosts: Vec<SocketAddr>,
    living: u32,
}

impl Subscribers {
    /// So many at so many living hosts, and room for others at hosts that will die.
    pub(crate) fn start(hub: SocketAddr, living: u32, dead: u32) -> io::Result<Subscribers> {
        let poll = Poll::new()?;
        let mut doors = Vec::new();
        for number in 0..=living + dead {
            let ip = Ipv4Addr::new(127, 0, 3 + (number / 250) as u8, 1 + (number % 250) as u8);
            let mut listener = TcpListener::bind(SocketAddr::from((ip, 0)))?;
            poll.registry().register(&mut listener, Token(doors.len()), Interest::READABLE)?;
            let fate = match number {
                number if number <= living => Fate::Lives,
                number if number % 2 == 0 => Fate::Refuses,
                _ => Fate::Silent,
            };
            doors.push(Door { address: listener.local_addr()?, listener: Some(listener), fate });
        }
        // The first one is the topic's.
        let hosts: Vec<SocketAddr> = doors.iter().map(|door| door.address).collect();
        let tally = Arc::new(Tally {
            began: Instant::now(),
            edition: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            delivered_kept: AtomicU64::new(0),
            last_ns: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
            fetched_kept: AtomicU64::new(0),
            verified: AtomicU64::new(0),
            hub_port: AtomicU64::new(hub.port().into()),
            dying: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let first_peer = doors.len();
        let looping = Loop {
            poll,
            doors,
            first_peer,
            next: first_peer,
            peers: BTreeMap::new(),
            seen: Vec::new(),
            dead: false,
            tally: Arc::clone(&tally),
        };
        let thread = std::thread::spawn(move || looping.run());
        Ok(Subscribers { tally, thread: Some(thread), hosts, living })
    }

    pub(crate) fn topic(&self) -> String {
        format!("http://{}/topic", self.hosts[0])
    }

    /// The callback of a subscriber at a living host, or at one that will die.
    pub(crate) fn callback(&self, number: u32, dies: bool) -> String {
        let living = self.living as usize;
        let at = if dies {
            1 + living + number as usize % (self.hosts.len() - 1 - living)
        } else {
            1 + number as usize % living
        };
        format!("http://{}/{}/{number}", self.hosts[at], if dies { "dies" } else { "cb" })
    }

    /// How many were asked whether they want to be subscribed.
    pub(crate) fn verified(&self) -> u64 {
        self.tally.verified.load(Ordering::Acquire)
    }

    /// Lets those hosts die.
    pub(crate) fn die(&self) {
        self.tally.dying.store(true, Ordering::Release);
        std::thread::sleep(LOOK * 3);
    }

    /// A new edition; `ping` tells the hub. Waits until so many living subscribers have it.
    pub(crate) fn update(
        &self,
        subscribers: u32,
        patience: Duration,
        ping: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Update> {
        let tally = &self.tally;
        for counter in [&tally.delivered, &tally.delivered_kept, &tally.fetched, &tally.fetched_kept] {
            counter.store(0, Ordering::Release);
        }
        tally.edition.fetch_add(1, Ordering::AcqRel);
        let start = Instant::now();
        ping()?;
        while tally.delivered.load(Ordering::Acquire) < u64::from(subscribers) {
            if start.elapsed() > patience {
                let got = tally.delivered.load(Ordering::Acquire);
                return Err(io::Error::other(format!("{got} of {subscribers} subscribers got the update")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let last = tally.began + Duration::from_nanos(tally.last_ns.load(Ordering::Acquire));
        let share = |part: &AtomicU64, whole: &AtomicU64| {
            part.load(Ordering::Acquire) as f64 / whole.load(Ordering::Acquire).max(1) as f64
        };
        Ok(Update {
            took: last.saturating_duration_since(start),
            delivered_kept: share(&tally.delivered_kept, &tally.delivered),
            fetched_kept: share(&tally.fetched_kept, &tally.fetched),
        })
    }

    /// What went wrong with the loop, if it has ended.
    pub(crate) fn trouble(&mut self) -> io::Result<()> {
        match self.thread.take_if(|thread| thread.is_finished()) {
            Some(thread) => {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("the subscribers have panicked")))
            }
            None => Ok(()),
        }
    }
}

impl Drop for Subscribers {
    fn drop(&mut self) {
        self.tally.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // What it says is said by `trouble`, while it matters.
            let _ = thread.join();
        }
    }
}

struct Door {
    address: SocketAddr,
    listener: Option<TcpListener>,
    fate: Fate,
}

struct Peer {
    stream: TcpStream,
    door: usize,
    input: Vec<u8>,
    /// It has been answered before.
    used: bool,
}

struct Loop {
    poll: Poll,
    doors: Vec<Door>,
    first_peer: usize,
    next: usize,
    peers: BTreeMap<usize, Peer>,
    /// The last edition that each living subscriber got.
    seen: Vec<u64>,
    dead: bool,
    tally: Arc<Tally>,
}

impl Loop {
    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.tally.over.load(Ordering::Acquire) {
            self.poll.poll(&mut events, Some(LOOK))?;
            if !self.dead && self.tally.dying.load(Ordering::Acquire) {
                self.dead = true;
                self.bury();
            }
            for event in &events {
                let token = event.token().0;
                if token < self.first_peer { self.accept(token)? } else { self.serve(token)? }
            }
        }
        Ok(())
    }

    fn bury(&mut self) {
        for door in self.doors.iter_mut().filter(|door| door.fate == Fate::Refuses) {
            door.listener = None;
        }
        let doors = &self.doors;
        self.peers.retain(|_, peer| doors[peer.door].fate != Fate::Refuses);
    }

    fn accept(&mut self, door: usize) -> io::Result<()> {
        while let Some(listener) = &self.doors[door].listener {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            self.poll.registry().register(&mut stream, Token(self.next), Interest::READABLE)?;
            self.peers.insert(self.next, Peer { stream, door, input: Vec::new(), used: false });
            self.next += 1;
        }
        Ok(())
    }

    fn serve(&mut self, token: usize) -> io::Result<()> {
        let Some(mut peer) = self.peers.remove(&token) else { return Ok(()) };
        let mut buffer = [0; 16 * 1024];
        let open = loop {
            match peer.stream.read(&mut buffer) {
                Ok(0) => break false,
                Ok(count) => peer.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break true,
                // Hubs may reset what they no longer need.
                Err(_) => break false,
            }
        };
        if !open {
            return Ok(());
        }
        if self.dead && self.doors[peer.door].fate == Fate::Silent {
            peer.input.clear();
        }
        while let Some((head, total)) = whole(&peer.input) {
            let request: Vec<u8> = peer.input.drain(..total).collect();
            let answer = self.answer(&request[..head], &request[head..], peer.used);
            peer.used = true;
            if peer.stream.write_all(&answer).is_err() {
                return Ok(());
            }
        }
        self.peers.insert(token, peer);
        Ok(())
    }

    fn answer(&mut self, head: &[u8], body: &[u8], kept: bool) -> Vec<u8> {
        let tally = Arc::clone(&self.tally);
        let head = String::from_utf8_lossy(head);
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let edition = tally.edition.load(Ordering::Acquire);
        if target == "/topic" {
            tally.fetched.fetch_add(1, Ordering::AcqRel);
            tally.fetched_kept.fetch_add(u64::from(kept), Ordering::AcqRel);
            let links = format!(
                "Link: <http://{}/topic>; rel=\"self\", <http://127.0.0.1:{}/hub>; rel=\"hub\"\r\n",
                self.doors[0].address,
                tally.hub_port.load(Ordering::Acquire),
            );
            return response(200, &links, &content(edition));
        }
        if method == "GET" {
            tally.verified.fetch_add(1, Ordering::AcqRel);
            let challenge = target.split(['?', '&']).find_map(|pair| pair.strip_prefix("hub.challenge="));
            return response(200, "", challenge.unwrap_or_default());
        }
        if target.starts_with("/cb/") && body.starts_with(format!("edition {edition}\n").as_bytes()) {
            let number: usize = target[4..].parse().unwrap_or_default();
            if self.seen.len() <= number {
                self.seen.resize(number + 1, 0);
            }
            // A delivery may come twice.
            if std::mem::replace(&mut self.seen[number], edition) != edition {
                tally.delivered_kept.fetch_add(u64::from(kept), Ordering::AcqRel);
                tally.last_ns.store(tally.began.elapsed().as_nanos() as u64, Ordering::Release);
                tally.delivered.fetch_add(1, Ordering::AcqRel);
            }
        }
        response(204, "", "")
    }
}

fn content(edition: u64) -> String {
    let mut text = format!("edition {edition}\n");
    text.extend(std::iter::repeat_n('.', CONTENT_BYTES - text.len()));
    text
}

fn response(status: u16, fields: &str, body: &str) -> Vec<u8> {
    let length = if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("HTTP/1.1 {status} X\r\nContent-Type: text/plain\r\n{fields}{length}\r\n{body}").into_bytes()
}

/// Where the head of the first request ends, and the request, if all of it is there.
fn whole(input: &[u8]) -> Option<(usize, usize)> {
    let head = memchr::memmem::find(input, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&input[..head]).ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let total = head + length.unwrap_or(0);
    (input.len() >= total).then_some((head, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_when_its_body_is() {
        let request = b"POST /cb/1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET";
        let head = request.len() - "abcGET".len();
        for end in 0..request.len() {
            let found = whole(&request[..end]);
            assert_eq!(found, (end >= head + 3).then_some((head, head + 3)), "{end}");
        }
    }

    #[test]
    fn an_edition_has_its_size_and_says_which_it_is() {
        assert_eq!(content(12).len(), CONTENT_BYTES);
        assert!(content(12).starts_with("edition 12\n"));
    }
}
