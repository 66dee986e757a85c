//! The program `ropewalk`: one service per sub-command, and the welcome page without one. Only the command line and the wiring are
//! here; what the services do is in the crates below.
#![forbid(unsafe_code)]

mod cert;
mod command;
mod data;
mod folder;
mod ftp;
mod hub;
mod kinds;
mod passwd;
mod publish;
mod push;
mod subscribe;
mod tail;
mod welcome;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::run()
}
