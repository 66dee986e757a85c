//! This program again as a child process: on its core, under its sub-command, ended when it is dropped.
//!
//! `Child` is a server, asked for its port; `Worker` is a piece of library work, asked for one slice after the other.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child as System, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::account::{Memory, Usage};
use crate::library::{Slice, Work};
use crate::servers::{LISTENING, Server};

/// Ended when it is dropped.
struct Process(System);

impl Process {
    fn start(command: &mut Command) -> io::Result<Process> {
        command.stdout(Stdio::piped()).spawn().map(Process)
    }

    fn output(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.0.stdout.take().expect("it was asked to be piped, and is taken once"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn again(command: &str, name: &str, cores: &[usize]) -> io::Result<Command> {
    let mut program = Command::new(std::env::current_exe()?);
    program.args([command, name, "--tied"]);
    for core in cores {
        program.args(["--core", &core.to_string()]);
    }
    Ok(program)
}

/// A running server.
pub(crate) struct Child {
    process: Process,
    pub(crate) address: SocketAddr,
}

impl Child {
    /// Starts this program again as `serve NAME` with these options, and waits for the line that says its port.
    pub(crate) fn start(server: &Server, core: usize, options: &[(&str, &Path)]) -> io::Result<Child> {
        let mut command = again("serve", server.name, &[core])?;
        for (option, path) in options {
            command.arg(option).arg(path);
        }
        let mut process = Process::start(command.stdin(Stdio::null()))?;
        let mut line = String::new();
        let read = process.output().read_line(&mut line);
        let address = read.ok().and_then(|_| line.trim().strip_prefix(LISTENING)?.parse().ok());
        let address = address.ok_or_else(|| io::Error::other(format!("{} did not start", server.name)))?;
        Ok(Child { process, address })
    }

    /// What it serves, without TLS.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn usage(&self) -> io::Result<Usage> {
        Usage::of(self.process.0.id())
    }

    /// Waits until it has done what it still had to do: connections by the thousand are not let go of in a moment, and whoever is
    /// next has the same core.
    pub(crate) fn wait_idle(&self) -> io::Result<()> {
        const LOOK: Duration = Duration::from_millis(50);
        const IDLE_US: f64 = 500.0;
        const LOOKS: u32 = 200;
        let mut before = self.usage()?;
        for _ in 0..LOOKS {
            std::thread::sleep(LOOK);
            let now = self.usage()?;
            if now.since(before).cpu_us < IDLE_US {
                return Ok(());
            }
            before = now;
        }
        Err(io::Error::other("a server did not come to rest"))
    }

    pub(crate) fn memory(&self) -> io::Result<Memory> {
        Memory::of(self.process.0.id())
    }
}

/// A contestant that measures itself when it is told to, and sleeps meanwhile.
pub(crate) struct Worker {
    _process: Process,
    name: String,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts this program again as `measure NAME`.
    pub(crate) fn start(work: &Work, cores: &[usize]) -> io::Result<Worker> {
        let name = work.id();
        let mut process = Process::start(again("measure", &name, cores)?.stdin(Stdio::piped()))?;
        let orders = process.0.stdin.take().expect("it was asked to be piped");
        let answers = process.output();
        Ok(Worker { _process: process, name, orders, answers })
    }

    /// One slice, of about this length.
    pub(crate) fn slice(&mut self, length: Duration) -> io::Result<Slice> {
        writeln!(self.orders, "{}", length.as_millis())?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Slice::parse(&line).ok_or_else(|| io::Error::other(format!("{} gave no figures: {line}", self.name)))
    }
}

/// Called in the child: a suite that is killed leaves no child behind.
pub(crate) fn end_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}
