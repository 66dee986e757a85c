//! The command to remember: `cargo xtask check`.
//!
//! This is the list of commands and nothing else: each has a module of its own. Only people and `.ci/run` call it; no crate
//! depends on it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to the terminal")]

mod autobahn;
mod bench;
mod cargo;
mod check;
mod clients;
mod terminal;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
The commands of this workspace.

Usage: cargo xtask COMMAND

  check [--no-tests]     format, clippy, tidy, tests, documentation; stops at the first failure
  tidy                   the house rules alone: module heads, lengths, floors, manifests
  clients [--require]    the tests that drive foreign programs; --require (or CI in the environment)
                         makes a missing program a failure
  autobahn [SIDE] [CASES]
                         WebSocket before the Autobahn test suite; SIDE is server or client
  bench [ARGS]           builds and runs the benchmark beside its peers; `bench --help` says more";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let root = root();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => return misuse("say which command"),
    };
    let passed = match (command, rest) {
        ("check", []) => check::run(&root, check::Tests::Run),
        ("check", [flag]) if flag == "--no-tests" => check::run(&root, check::Tests::Skip),
        ("tidy", []) => tidy::run(&root),
        ("clients", []) => clients::run(&root, clients::in_ci()),
        ("clients", [flag]) if flag == "--require" => clients::run(&root, true),
        ("autobahn", arguments) => autobahn::run(&root, arguments),
        ("bench", arguments) => return bench::run(&root, arguments),
        ("help" | "--help" | "-h", _) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        ("check" | "tidy" | "clients", _) => {
            return misuse(&format!("`{command}` does not take these arguments"));
        }
        _ => return misuse(&format!("there is no command `{command}`")),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The workspace's root: the folder above this package. Asked when it runs, because with a target folder that several worktrees
/// share, the program may have been built in another one.
fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).parent().expect("the package stands in the workspace").to_path_buf()
}

fn misuse(what: &str) -> ExitCode {
    eprintln!("{what}\n\n{USAGE}");
    ExitCode::from(2)
}
