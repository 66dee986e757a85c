//! A server under a simulation, and a client in the test's hand: lines out, replies in, data connections both ways; and a server on real
//! sockets for clients of others. No test of its own.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it, as a module of its own")]
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ropewalk_ftp::{
    Accounts, Anonymous, Attempt, FtpOptions, FtpServer, FtpStatistics, MemoryStorage, Permissions, Storage,
    User,
};
use ropewalk_net::{Address, listen};
use ropewalk_reactor::{Peer, Reactor, Remote, Simulation};

/// Seeds that every check of transfers is run with.
pub const SEEDS: u64 = 100;
/// No wait is longer, in virtual time.
pub const PATIENCE: Duration = Duration::from_secs(1000);

/// `ada` and `proper` with the password `x` may do everything, `guest` only read; anonymous reads.
pub struct Users(pub Arc<dyn Storage>);

impl Accounts for Users {
    fn login(&self, attempt: &Attempt) -> Option<User> {
        let storage = Arc::clone(&self.0);
        match (attempt.user.as_str(), attempt.password.as_slice()) {
            (name @ ("ada" | "proper"), b"x") => Some(User::new(name, storage, Permissions::ALL)),
            ("guest", b"x") => Some(User::new("guest", storage, Permissions::READ_ONLY)),
            ("blind", b"x") => Some(User::new("blind", storage, "w".parse().unwrap())),
            ("single", b"x") => {
                Some(User { sessions_max: Some(1), ..User::new("single", storage, Permissions::ALL) })
            }
            ("slow", b"x") => {
                let mut user = User::new("slow", storage, Permissions::ALL);
                user.bandwidth.download = Some(1000);
                user.bandwidth.upload = Some(1000);
                Some(user)
            }
            _ => Anonymous::new(storage).login(attempt),
        }
    }
    fn is_open(&self, user: &str) -> bool {
        user == "anonymous"
    }
}

/// A server on real sockets, on a thread of its own, which ends with this.
pub struct Served {
    pub address: SocketAddr,
    remote: Remote,
    thread: Option<JoinHandle<FtpStatistics>>,
}

impl Served {
    /// What `make` makes on that thread, at this endpoint.
    pub fn new(endpoint: &'static str, make: impl FnOnce() -> FtpServer + Send + 'static) -> Served {
        let (tell, told) = channel();
        let thread = thread::spawn(move || {
            let reactor = Reactor::new().unwrap();
            let server = make();
            let port = listen(&reactor, &endpoint.parse().unwrap(), server.clone()).unwrap();
            let Address::Inet(address) = *port.address() else { unreachable!("it was asked for TCP") };
            tell.send((address, reactor.remote())).unwrap();
            reactor.run().unwrap();
            server.statistics()
        });
        let (address, remote) = told.recv_timeout(Duration::from_secs(20)).expect("it listens");
        Served { address, remote, thread: Some(thread) }
    }

    /// Ends it; what it counted.
    pub fn end(mut self) -> FtpStatistics {
        self.remote.call_from_thread(Reactor::stop).unwrap();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // It fails when the loop has ended by itself.
        let _ = self.remote.call_from_thread(Reactor::stop);
        let ended = thread.join();
        assert!(thread::panicking() || ended.is_ok());
    }
}

pub struct Ground {
    pub simulation: Simulation,
    pub storage: MemoryStorage,
    pub server: FtpServer,
    pub address: SocketAddr,
}

impl Ground {
    pub fn new(seed: u64) -> Ground {
        Ground::with(seed, FtpOptions::default())
    }

    pub fn with(seed: u64, options: FtpOptions) -> Ground {
        let storage = MemoryStorage::new(8 << 20);
        storage.put("/hello.txt", b"hello\nworld\n").unwrap();
        storage.put("/sub/deep.bin", &[7; 5000]).unwrap();
        let mut ground = Ground::over(seed, options, Arc::new(storage.clone()));
        ground.storage = storage;
        ground
    }

    pub fn over(seed: u64, options: FtpOptions, storage: Arc<dyn Storage>) -> Ground {
        Ground::of(seed, options, Users(storage))
    }

    pub fn of(seed: u64, options: FtpOptions, accounts: impl Accounts) -> Ground {
        let simulation = Simulation::new(seed);
        let server = FtpServer::new(accounts, options);
        let endpoint = "tcp:2121:interface=127.0.0.1".parse().unwrap();
        let port = listen(simulation.reactor(), &endpoint, server.clone()).unwrap();
        let Address::Inet(address) = *port.address() else { unreachable!() };
        Ground { simulation, storage: MemoryStorage::new(0), server, address }
    }

    /// A client that has heard the greeting.
    pub fn client(&self) -> Client<'_> {
        let client = self.stranger();
        assert_eq!(client.code(), "220");
        client
    }

    /// One that has not.
    pub fn stranger(&self) -> Client<'_> {
        self.client_from([127, 0, 0, 1].into())
    }

    pub fn client_from(&self, from: IpAddr) -> Client<'_> {
        let control = self.simulation.network().connect_from(from, self.address);
        assert!(self.simulation.run_until(PATIENCE, || control.is_connected()));
        Client { ground: self, control, heard: RefCell::default() }
    }

    /// One who may do everything, in type I.
    pub fn ada(&self) -> Client<'_> {
        let client = self.user("ada");
        client.expect("TYPE I", "200");
        client
    }

    pub fn user(&self, name: &str) -> Client<'_> {
        let client = self.client();
        client.expect(&format!("USER {name}"), "331");
        client.expect("PASS x", "230");
        client
    }

    pub fn advance(&self, milliseconds: u64) {
        self.simulation.advance(Duration::from_millis(milliseconds));
    }

    pub fn until(&self, what: &str, condition: impl Fn() -> bool) {
        assert!(self.simulation.run_until(PATIENCE, condition), "{what}");
    }

    /// Everything that a peer gets until the other side ends.
    pub fn drain(&self, data: &Peer) -> Vec<u8> {
        let all = RefCell::new(Vec::new());
        self.until("the data connection ends", || {
            all.borrow_mut().extend(data.take());
            data.is_ended()
        });
        all.into_inner()
    }

    /// Writes all of it, however small the window is.
    pub fn pour(&self, data: &Peer, bytes: &[u8]) {
        let sent = std::cell::Cell::new(0);
        self.until("the data connection takes all", || {
            if data.is_writable() {
                sent.set(sent.get() + data.write(&bytes[sent.get()..]));
            }
            sent.get() == bytes.len() || data.is_reset()
        });
    }
}

pub struct Client<'a> {
    pub ground: &'a Ground,
    pub control: Peer,
    heard: RefCell<Vec<u8>>,
}

impl Client<'_> {
    pub fn write(&self, bytes: &[u8]) {
        assert_eq!(self.control.write(bytes), bytes.len());
    }

    pub fn send(&self, line: &str) {
        self.write(line.as_bytes());
        self.write(b"\r\n");
    }

    /// The next reply, all of its lines; empty if the connection ends before.
    pub fn reply(&self) -> String {
        let end = std::cell::Cell::new(None);
        self.ground.until("a reply comes", || {
            let mut heard = self.heard.borrow_mut();
            heard.extend(self.control.take());
            end.set(reply_end(&heard));
            end.get().is_some() || self.control.is_ended()
        });
        let Some(end) = end.get() else { return String::new() };
        String::from_utf8_lossy(&self.heard.borrow_mut().drain(..end).collect::<Vec<u8>>()).into_owned()
    }

    pub fn code(&self) -> String {
        self.reply().chars().take(3).collect()
    }

    pub fn say(&self, line: &str) -> String {
        self.send(line);
        self.reply()
    }

    #[track_caller]
    pub fn expect(&self, line: &str, code: &str) -> String {
        let reply = self.say(line);
        assert!(reply.starts_with(code), "{line}: expected {code}, got {reply:?}");
        reply
    }

    /// Whether the server has nothing to say, and goes on saying nothing for a second.
    pub fn is_silent(&self) -> bool {
        self.ground.advance(1000);
        self.heard.borrow_mut().extend(self.control.take());
        self.heard.borrow().is_empty()
    }

    pub fn is_over(&self) -> bool {
        self.ground.simulation.run_until(PATIENCE, || self.control.is_ended())
    }

    /// Asks for a passive data connection; answers where it is.
    pub fn passive(&self) -> SocketAddr {
        let reply = self.expect("PASV", "227");
        let numbers: Vec<u8> = reply
            .split(['(', ')'])
            .nth(1)
            .unwrap()
            .split(',')
            .map(|number| number.parse().unwrap())
            .collect();
        let [a, b, c, d, high, low] = numbers[..] else { panic!("{reply}") };
        SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low])))
    }

    /// A passive data connection that is being made.
    pub fn data(&self) -> Peer {
        self.ground.simulation.network().connect(self.passive())
    }

    /// What a command sends over a passive data connection, and its last reply.
    pub fn fetch(&self, line: &str) -> (Vec<u8>, String) {
        let data = self.data();
        let first = self.say(line);
        if !first.starts_with('1') {
            return (Vec::new(), first);
        }
        let bytes = self.ground.drain(&data);
        (bytes, self.reply())
    }

    pub fn fetch_text(&self, line: &str) -> String {
        let (bytes, reply) = self.fetch(line);
        assert!(reply.starts_with("226"), "{line}: {reply}");
        String::from_utf8(bytes).unwrap()
    }

    /// Sends bytes by a command over a passive data connection; its last reply.
    pub fn store(&self, line: &str, bytes: &[u8]) -> String {
        let data = self.data();
        let first = self.say(line);
        if !first.starts_with('1') {
            return first;
        }
        self.ground.pour(&data, bytes);
        data.shutdown_write();
        self.reply()
    }
}

fn reply_end(heard: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut code = None;
    while let Some(length) = heard[at..].iter().position(|byte| *byte == b'\n') {
        let line = &heard[at..at + length];
        at += length + 1;
        let opens = code.is_none() && line.get(3) == Some(&b'-');
        if opens {
            code = Some(line[..3].to_vec());
        } else if code.as_deref().is_none_or(|code| line.starts_with(code) && line.get(3) == Some(&b' ')) {
            return Some(at);
        }
    }
    None
}
