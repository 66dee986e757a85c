//! A client who does whatever a client could: right, half right, or wrong, and leaves when it likes. All it does comes of its seed; when
//! the server answers does not.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ropewalk_reactor::Random;
use ropewalk_wire::ftp::Verb;
use rustix::net::sockopt::{Timeout, set_socket_linger, set_socket_timeout};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, bind, connect, send, socket_with};

use super::Shared;

/// How long it waits for an answer, at most.
const WAIT: Duration = Duration::from_millis(1500);
/// Bytes of its longest upload: what all of them leave on the disk is bounded by this and the names there are.
const UPLOAD_BYTES_MAX: u64 = 200_000;
const PATHS: [&[u8]; 30] = [
    b"hello.txt",
    b"large.bin",
    b"inner",
    b"inner/deep",
    b"inner/deep/x",
    b"/inner/new",
    b"a",
    b"b c",
    b"a/b/c",
    b"..",
    b"../rooted",
    b"../../../../etc/passwd",
    b"../canary/secret",
    b"inner/../../canary/mine",
    b"way",
    b"way/secret",
    b"way/mine",
    b"leaf",
    b"up/canary/secret",
    b"up/mine",
    b"absolute/secret",
    b"inner/out/egg",
    b"loop",
    b"/",
    b"~root",
    b"*",
    b"-la /",
    b"\xff\xfe",
    b"nul\0byte",
    b".ropewalk-upload-1",
];

pub struct Attacker {
    address: SocketAddr,
    /// Its own: another address's data connections are not its own business.
    source: Ipv4Addr,
    random: Random,
    shared: Arc<Shared>,
}

/// One connection, and what hangs on it.
struct Session<'a> {
    of: &'a mut Attacker,
    control: TcpStream,
    heard: Vec<u8>,
    listening: Option<TcpListener>,
    open: Vec<TcpStream>,
}

impl Attacker {
    pub fn new(address: SocketAddr, seed: u64, shared: Arc<Shared>) -> Attacker {
        let mut random = Random::new(seed);
        let source = Ipv4Addr::new(127, 0, 0, 2 + random.below(200) as u8);
        Attacker { address, source, random, shared }
    }

    pub fn go_on(&mut self) {
        while !self.is_over() {
            // The network may refuse, or the server end it: then the next.
            let _ = self.attack();
        }
    }

    fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::SeqCst)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    fn dial(&self, port: u16) -> std::io::Result<TcpStream> {
        self.dial_from(self.source, port)
    }

    fn dial_from(&self, source: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(WAIT))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(WAIT))?;
        bind(&socket, &SocketAddr::from((source, 0)))?;
        connect(&socket, &SocketAddr::new(self.address.ip(), port))?;
        Ok(TcpStream::from(socket))
    }

    fn attack(&mut self) -> std::io::Result<()> {
        let control = self.dial(self.address.port())?;
        self.shared.sessions.fetch_add(1, Ordering::Relaxed);
        let mut session = Session { of: self, control, heard: Vec::new(), listening: None, open: Vec::new() };
        let outcome = session.play();
        session.leave();
        outcome
    }

    fn path(&mut self) -> Vec<u8> {
        match self.below(12) {
            0 => vec![b'x'; self.below(6000) as usize],
            1 => b"a/".repeat(self.below(2500) as usize),
            2 => b"../".repeat(self.below(100) as usize),
            3 => self.noise(60),
            _ => self.pick(&PATHS).to_vec(),
        }
    }

    fn noise(&mut self, length_max: u64) -> Vec<u8> {
        (0..self.below(length_max)).map(|_| self.below(256) as u8).collect()
    }

    fn argument(&mut self) -> Vec<u8> {
        let own = self.source.octets().map(|byte| byte.to_string()).join(",");
        match self.below(9) {
            0..4 => self.path(),
            4 => self.below(u64::MAX).to_string().into_bytes(),
            5 => format!("{own},{},{}", self.below(300), self.below(300)).into_bytes(),
            6 => {
                let (family, port) = (1 + self.below(3), self.below(70_000));
                format!("|{family}|{}|{port}|", self.source).into_bytes()
            }
            7 => self
                .pick(&[
                    &b""[..],
                    b"A",
                    b"I",
                    b"P",
                    b"0",
                    b"TLS",
                    b"ALL",
                    b"20260101000000 a",
                    b"CHMOD 4777 a",
                    b"CHMOD 0 inner",
                    b"MLST size;",
                    b"127,0,0,1,0,21",
                    b"8,8,8,8,200,1",
                    b"|1|127.0.0.1|21|",
                    b"UTF8 ON",
                ])
                .to_vec(),
            _ => self.noise(30),
        }
    }
}

impl Session<'_> {
    fn play(&mut self) -> std::io::Result<()> {
        if self.of.below(20) == 0 {
            // It never says a word.
            return Ok(());
        }
        if self.of.below(10) > 0 {
            self.reply()?;
            let user = self.of.pick(&["ada", "ada", "ada", "guest", "anonymous", "slow", "blind", "nobody"]);
            self.say(format!("USER {user}").as_bytes())?;
            self.say(b"PASS x")?;
            self.say(b"TYPE I")?;
        }
        for _ in 0..self.of.below(60) {
            if self.of.is_over() {
                break;
            }
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> std::io::Result<()> {
        match self.of.below(20) {
            0..5 => self.download(),
            5..9 => self.upload(),
            9 => self.active(),
            10 => self.rename(),
            11 => self.telnet(),
            12 => self.send(b"ABOR"),
            13 => {
                let noise = self.of.noise(300);
                self.write(&noise)
            }
            14 => self.answers(),
            15 => self.many(),
            _ => {
                self.line()?;
                if self.of.below(2) == 0 { self.reply().map(drop) } else { Ok(()) }
            }
        }
    }

    /// Any command with any argument.
    fn line(&mut self) -> std::io::Result<()> {
        let verb = self.of.pick(Verb::ALL);
        // Leaving is a matter of its own, and of TLS there is no more than its beginning here.
        let name = match verb {
            Verb::Quit => "NOOP",
            Verb::Auth if self.of.below(8) > 0 => "FEAT",
            _ => verb.name(),
        };
        let argument = self.of.argument();
        self.send(&[name.as_bytes(), b" ", &argument].concat())
    }

    /// So many commands that they wait for each other.
    fn many(&mut self) -> std::io::Result<()> {
        for _ in 0..self.of.below(60) {
            self.line()?;
        }
        Ok(())
    }

    fn telnet(&mut self) -> std::io::Result<()> {
        const INTERRUPT: &[u8] = b"\xff\xf4";
        self.write(INTERRUPT)?;
        if self.of.below(2) == 0 {
            // The synch signal, as the RFC has it: DM is urgent.
            send(&self.control, b"\xff\xf2", SendFlags::OOB | SendFlags::NOSIGNAL)?;
        } else {
            let (word, option) = (251 + self.of.below(5) as u8, self.of.below(256) as u8);
            self.write(&[255, word, option])?;
        }
        self.send(b"ABOR")
    }

    fn rename(&mut self) -> std::io::Result<()> {
        for verb in [&b"RNFR "[..], b"RNTO "] {
            let path = self.of.path();
            self.say(&[verb, &path].concat())?;
        }
        Ok(())
    }

    /// A passive data connection; none if it was refused, or is not to be made.
    fn passive(&mut self) -> std::io::Result<Option<TcpStream>> {
        let reply = self.say(b"EPSV")?;
        let port = reply.split('|').nth(3).and_then(|port| port.parse().ok());
        let Some(port) = port.filter(|_| self.of.below(10) > 0) else { return Ok(None) };
        if self.of.below(15) == 0 {
            let stranger = Ipv4Addr::new(127, 0, 1, 1);
            self.open.push(self.of.dial_from(stranger, port)?);
        }
        let stream = self.of.dial(port)?;
        self.of.shared.data_connections.fetch_add(1, Ordering::Relaxed);
        Ok(Some(stream))
    }

    fn download(&mut self) -> std::io::Result<()> {
        let data = self.passive()?;
        if self.of.below(6) == 0 {
            let offset = self.of.below(4 << 20);
            self.say(format!("REST {offset}").as_bytes())?;
        }
        let verb = self.of.pick(&["RETR", "RETR", "RETR", "LIST", "NLST", "MLSD"]);
        let path = match self.of.below(3) {
            0 => self.of.path(),
            1 => b"hello.txt".to_vec(),
            _ => b"large.bin".to_vec(),
        };
        self.send(&[verb.as_bytes(), b" ", &path].concat())?;
        let Some(mut data) = data else { return self.reply().map(drop) };
        match self.of.below(5) {
            // Half of it, and then nothing, for as long as it likes.
            0 => {
                let mut some = vec![0; 1000];
                let _ = data.read(&mut some);
                self.open.push(data);
                return self.reply().map(drop);
            }
            1 => {
                let mut some = vec![0; 10_000];
                let _ = data.read(&mut some);
                reset(data.into());
            }
            2 => {
                self.send(b"ABOR")?;
                drop(data);
            }
            _ => {
                let mut rest = vec![0; 64 << 10];
                // Not for ever: some are served slowly.
                for _ in 0..200 {
                    if self.of.is_over() || data.read(&mut rest)? == 0 {
                        break;
                    }
                }
            }
        }
        self.answers()
    }

    fn upload(&mut self) -> std::io::Result<()> {
        let data = self.passive()?;
        if self.of.below(8) == 0 {
            let offset = self.of.below(300_000);
            self.say(format!("REST {offset}").as_bytes())?;
        }
        let verb = self.of.pick(&["STOR", "STOR", "STOR", "APPE", "STOU"]);
        let path = self.of.path();
        let first = self.say(&[verb.as_bytes(), b" ", &path].concat())?;
        let Some(mut data) = data.filter(|_| first.starts_with('1')) else { return Ok(()) };
        let size = self.of.below(UPLOAD_BYTES_MAX) as usize;
        let _ = data.write_all(&vec![b'u'; size]);
        match self.of.below(5) {
            0 => self.open.push(data),
            1 => reset(data.into()),
            2 => self.send(b"ABOR")?,
            _ => drop(data),
        }
        self.answers()
    }

    /// PORT to its own address: it listens there, or does not.
    fn active(&mut self) -> std::io::Result<()> {
        let listener = TcpListener::bind((self.of.source, 0))?;
        let port = listener.local_addr()?.port();
        let own = self.of.source.octets().map(|byte| byte.to_string()).join(",");
        self.say(format!("PORT {own},{},{}", port >> 8, port & 255).as_bytes())?;
        if self.of.below(3) == 0 {
            drop(listener);
            self.send(b"LIST")?;
            return self.reply().map(drop);
        }
        let verb = self.of.pick(&["LIST", "RETR large.bin", "STOR a", "STOR inner/active"]);
        self.send(verb.as_bytes())?;
        set_socket_timeout(&listener, Timeout::Recv, Some(WAIT))?;
        match self.of.below(3) {
            0 => self.listening = Some(listener),
            _ => {
                if let Ok((mut data, _)) = listener.accept() {
                    self.of.shared.data_connections.fetch_add(1, Ordering::Relaxed);
                    data.set_read_timeout(Some(WAIT))?;
                    data.set_write_timeout(Some(WAIT))?;
                    let mut some = vec![0; 5000];
                    let _ = if verb.starts_with("STOR") { data.write(&some) } else { data.read(&mut some) };
                    if self.of.below(2) == 0 {
                        reset(data.into());
                    }
                }
            }
        }
        self.answers()
    }

    fn say(&mut self, line: &[u8]) -> std::io::Result<String> {
        // What was answered before is not what is waited for.
        self.answers()?;
        self.send(line)?;
        self.reply()
    }

    fn send(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.of.shared.lines.fetch_add(1, Ordering::Relaxed);
        let end: &[u8] = if self.of.below(50) == 0 { b"\n" } else { b"\r\n" };
        self.write(&[line, end].concat())
    }

    /// All at once, or in pieces that arrive by themselves.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self.of.below(10) {
            0 => bytes.chunks(3).try_for_each(|piece| self.control.write_all(piece)),
            _ => self.control.write_all(bytes),
        }
    }

    /// The next reply's last line, for which it waits a while; empty if none comes.
    fn reply(&mut self) -> std::io::Result<String> {
        loop {
            while let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                if line.get(3) == Some(&b' ') {
                    return Ok(String::from_utf8_lossy(&line).into_owned());
                }
            }
            let mut piece = [0; 4096];
            match self.control.read(&mut piece) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.heard.extend(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(String::new()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads what is there, and does not wait.
    fn answers(&mut self) -> std::io::Result<()> {
        self.heard.clear();
        self.control.set_nonblocking(true)?;
        let mut piece = [0; 16 << 10];
        let outcome = loop {
            match self.control.read(&mut piece) {
                Ok(0) => break Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.control.set_nonblocking(false)?;
        outcome
    }

    fn leave(mut self) {
        match self.of.below(5) {
            0 => reset(self.control.into()),
            1 => {
                // The server may have ended it before.
                let _ = self.send(b"QUIT").and_then(|()| self.reply());
            }
            2 => {
                let _ = self.control.shutdown(std::net::Shutdown::Write);
                let _ = self.reply();
            }
            _ => {}
        }
    }
}

/// Closes with a reset, as a machine does that is switched off.
fn reset(socket: OwnedFd) {
    // A socket that is gone already does not mind.
    let _ = set_socket_linger(socket.as_fd(), Some(Duration::ZERO));
}
