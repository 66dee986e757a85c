//! The program under test as a child process, and a small client. Every wait is a read that blocks and is bounded; a child
//! never outlives its test.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it, as a module of its own")]

mod client;
mod folder;
mod foreign;
pub mod protocols;
mod server;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub use client::{Events, Reply, connect, exchange, get, read_reply};
#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub use folder::Folder;
#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub use foreign::{Talker, pipe, python};
#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub use server::{Server, listen_tcp, listen_udp};

/// No wait of a test is longer: a machine that is busy with other tests still answers in a fraction of it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running `ropewalk`.
pub struct Program {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    listening: Vec<(String, String)>,
    said: String,
}

/// How a program ended, and what it had said.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn ropewalk<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Program {
    /// Starts it and waits until it listens at so many endpoints.
    pub fn start<S: AsRef<OsStr>>(arguments: &[S], endpoints: usize) -> Program {
        Program::spawn(ropewalk(arguments), endpoints)
    }

    pub fn web<S: AsRef<OsStr>>(arguments: &[S]) -> Program {
        let mut all: Vec<&OsStr> = ["web", "--listen", "tcp:0"].map(OsStr::new).to_vec();
        all.extend(arguments.iter().map(AsRef::as_ref));
        Program::start(&all, 1)
    }

    pub fn tail<S: AsRef<OsStr>>(arguments: &[S]) -> Program {
        let mut all: Vec<&OsStr> = ["tail", "--raw", "tcp:0", "--web", "tcp:0"].map(OsStr::new).to_vec();
        all.extend(arguments.iter().map(AsRef::as_ref));
        Program::start(&all, 2)
    }

    /// A tail of its standard input, which is given back.
    pub fn tail_input(arguments: &[&str]) -> (Program, impl Write + use<>) {
        let mut command = ropewalk(&["tail", "-", "--raw", "tcp:0", "--web", "tcp:0"]);
        command.args(arguments).stdin(Stdio::piped());
        let mut program = Program::spawn(command, 2);
        let input = program.child.stdin.take().unwrap();
        (program, input)
    }

    pub fn spawn(mut command: Command, endpoints: usize) -> Program {
        let mut child = command.spawn().unwrap();
        let stdout = lines(child.stdout.take());
        let stderr = lines(child.stderr.take());
        let mut program = Program { child, stdout, stderr, listening: Vec::new(), said: String::new() };
        while program.listening.len() < endpoints {
            let Some(line) = program.line() else {
                panic!("it ended before it listened: {}", program.stderr.iter().collect::<String>());
            };
            if let Some((endpoint, service)) =
                line.strip_prefix("listening on ").and_then(|rest| rest.trim_end().split_once(" ("))
            {
                program.listening.push((service.trim_end_matches(')').to_owned(), endpoint.to_owned()));
            }
        }
        program
    }

    /// The next line of its standard output; none at its end.
    pub fn line(&mut self) -> Option<String> {
        let line = match self.stdout.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => panic!("no line came; before it were {}", self.said),
        };
        self.said.push_str(&line);
        Some(line)
    }

    pub fn endpoint(&self, service: &str) -> &str {
        let found = self.listening.iter().find(|(name, _)| name == service);
        &found.unwrap_or_else(|| panic!("no {service} in {:?}", self.listening)).1
    }

    pub fn port(&self, service: &str) -> u16 {
        self.endpoint(service).split(':').nth(1).and_then(|port| port.parse().ok()).unwrap()
    }

    /// The port of a `proxy:` endpoint.
    pub fn proxied_port(&self, service: &str) -> u16 {
        let inner = self.endpoint(service).split(":tcp:").nth(1).and_then(|rest| rest.split(':').next());
        inner.and_then(|port| port.parse().ok()).unwrap()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory that it has now.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end; what it still had to say was read.
    pub fn ended(mut self) -> Ended {
        while self.line().is_some() {}
        let code = self.child.wait().unwrap().code();
        Ended { code, stdout: std::mem::take(&mut self.said), stderr: self.stderr.iter().collect() }
    }

    /// Stops it as a supervisor does.
    pub fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.ended()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It fails when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs what is to end by itself.
pub fn run<S: AsRef<OsStr>>(arguments: &[S]) -> Ended {
    Program::spawn(ropewalk(arguments), 0).ended()
}

/// The one line with which a start is refused. Panics unless it is one line, exit code 2 and nothing else.
pub fn refused<S: AsRef<OsStr>>(arguments: &[S]) -> String {
    let ended = run(arguments);
    let shown: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
    assert_eq!(ended.code, Some(2), "{shown:?}: {}", ended.stderr);
    assert_eq!(ended.stdout, "", "{shown:?}");
    let line = ended.stderr.strip_suffix('\n').unwrap_or_else(|| panic!("{shown:?}: {:?}", ended.stderr));
    assert!(!line.contains(char::is_control), "{shown:?}: {line:?}");
    line.strip_prefix("ropewalk: ").unwrap_or_else(|| panic!("{line}")).to_owned()
}

/// Waits until something is so that no descriptor tells of.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "{what}: not in {PATIENCE:?}");
        std::thread::yield_now();
    }
}

fn lines(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    // Without a pipe there is nothing to read.
    let Some(pipe) = pipe else { return receiver };
    let mut pipe = BufReader::new(pipe);
    std::thread::spawn(move || {
        loop {
            let mut line = Vec::new();
            let count = pipe.read_until(b'\n', &mut line).unwrap_or(0);
            // The test has what it wanted.
            if count == 0 || sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}
