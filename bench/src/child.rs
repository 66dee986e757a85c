//! A server as a child process: started on its core, asked for its port, ended when it is dropped.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child as Process, Command, Stdio};

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::account::{Memory, Usage};
use crate::servers::{LISTENING, Server};

/// A running server.
pub(crate) struct Child {
    process: Process,
    pub(crate) address: SocketAddr,
}

impl Child {
    /// Starts this program again as `serve NAME` with these options, and waits for the line that says its port.
    pub(crate) fn start(server: &Server, core: usize, options: &[(&str, &Path)]) -> io::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", server.name, "--tied", "--core", &core.to_string()]);
        for (option, path) in options {
            command.arg(option).arg(path);
        }
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let output = process.stdout.take().expect("it was asked to be piped");
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        let address = read.ok().and_then(|_| line.trim().strip_prefix(LISTENING)?.parse().ok());
        // Whatever happens from here on, dropping the child ends the process.
        let mut child = Child { process, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        child.address = address.ok_or_else(|| io::Error::other(format!("{} did not start", server.name)))?;
        Ok(child)
    }

    pub(crate) fn usage(&self) -> io::Result<Usage> {
        Usage::of(self.process.id())
    }

    pub(crate) fn memory(&self) -> io::Result<Memory> {
        Memory::of(self.process.id())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Called in the child: a suite that is killed leaves no server behind.
pub(crate) fn end_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}
