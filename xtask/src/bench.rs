//! `cargo xtask bench [ARGS]`: builds the benchmark in its own workspace and runs it with these arguments.
//!
//! What is measured and how stands in `bench/`.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::cargo::{cargo, succeeds};

/// Runs it; the benchmark's own exit code is handed on.
pub(crate) fn run(root: &Path, arguments: &[String]) -> ExitCode {
    // The program that counts allocations stands beside the one that measures, and `run` would build only that one.
    if !succeeds(in_bench(root, "build", &["--bins"])) {
        return ExitCode::FAILURE;
    }
    let mut command = in_bench(root, "run", &["--"]);
    command.args(arguments);
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("could not start cargo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn in_bench(root: &Path, what: &str, arguments: &[&str]) -> Command {
    let mut command = cargo(root, &[what, "--release", "--quiet", "--manifest-path"]);
    // Its build stays in its own folder: the two workspaces lock different versions.
    command.arg(root.join("bench/Cargo.toml")).env("CARGO_TARGET_DIR", root.join("bench/target"));
    command.args(arguments);
    command
}
