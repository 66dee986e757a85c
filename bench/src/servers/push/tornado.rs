//! Tornado, one process, as its manual would have it: `channels.py` is the whole server.
//!
//! This process becomes Python, so that the account and the core are its own. The port is found by binding it for a moment.

use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::super::{Setup, announce};

const SERVER: &str = include_str!("channels.py");

const MISSING: &str = "Tornado is missing, and is left out; get it with `pip install tornado` for the `python3` in PATH, \
    or with `pip install --target FOLDER tornado` and PYTHONPATH=FOLDER";

const PYTHON: &str = "python3";

/// What is not here.
pub(in super::super) fn missing() -> Option<&'static str> {
    let tried = Command::new(PYTHON).args(["-c", "import tornado"]).stderr(Stdio::null()).status();
    (!tried.is_ok_and(|status| status.success())).then_some(MISSING)
}

/// Serves channels until it is killed.
pub(in super::super) fn run(setup: Setup) -> io::Result<()> {
    let listener = TcpListener::bind(setup.address)?;
    let address = listener.local_addr()?;
    drop(listener);
    announce(address)?;
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    Err(Command::new(PYTHON).args(["-c", SERVER, &ip, &port]).exec())
}
