//! `cargo xtask bench [ARGS]`: builds the benchmark in its own workspace and runs it with these arguments.
//!
//! What is measured and how stands in `bench/`.

use std::path::Path;
use std::process::ExitCode;

use crate::cargo::cargo;

/// Runs it; the benchmark's own exit code is handed on.
pub(crate) fn run(root: &Path, arguments: &[String]) -> ExitCode {
    let manifest = root.join("bench/Cargo.toml");
    let mut command = cargo(root, &["run", "--release", "--quiet", "--manifest-path"]);
    // Its build stays in its own folder: the two workspaces lock different versions.
    command.arg(&manifest).env("CARGO_TARGET_DIR", root.join("bench/target"));
    command.arg("--").args(arguments);
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("could not start cargo: {error}");
            ExitCode::FAILURE
        }
    }
}
