//! `cargo xtask bench [ARGS]`: builds the benchmark in its own workspace and runs it with these arguments.
//!
//! What is measured and how stands in `bench/`. Some scenarios measure the program `ropewalk` as people start it: for them it is built too.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::cargo::{cargo, succeeds};

/// Scenarios that start the program.
const OF_THE_PROGRAM: [&str; 3] = ["ftp", "hub", "start"];

/// Tells the benchmark where the program is.
const PROGRAM: &str = "ROPEWALK_BENCH_PROGRAM";

/// Runs it; the benchmark's own exit code is handed on.
pub(crate) fn run(root: &Path, arguments: &[String]) -> ExitCode {
    // The program that counts allocations stands beside the one that measures, and `run` would build only that one.
    if !succeeds(in_bench(root, "build", &["--bins"])) {
        return ExitCode::FAILURE;
    }
    let mut command = in_bench(root, "run", &["--"]);
    command.args(arguments);
    // Who names a program measures that one.
    if wants_the_program(arguments) && std::env::var_os(PROGRAM).is_none() {
        if !succeeds(cargo(root, &["build", "--release", "--quiet", "--package", "ropewalk"])) {
            return ExitCode::FAILURE;
        }
        command.env(PROGRAM, built(root));
    }
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("could not start cargo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Without a name everything is measured. A name may be an option's value, too: then it is built for nothing.
fn wants_the_program(arguments: &[String]) -> bool {
    let is_option = |word: &String| word.starts_with('-');
    arguments.first().is_none_or(is_option)
        || arguments.iter().any(|word| OF_THE_PROGRAM.contains(&word.as_str()))
}

fn built(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("release/ropewalk")
}

fn in_bench(root: &Path, what: &str, arguments: &[&str]) -> Command {
    let mut command = cargo(root, &[what, "--release", "--quiet", "--manifest-path"]);
    // Its build stays in its own folder: the two workspaces lock different versions.
    command.arg(root.join("bench/Cargo.toml")).env("CARGO_TARGET_DIR", root.join("bench/target"));
    command.args(arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::wants_the_program;

    #[test]
    fn the_program_is_built_for_its_scenarios() {
        let wants =
            |line: &str| wants_the_program(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert!(wants("") && wants("--rounds 3") && wants("hello ftp --rounds 1"));
        assert!(!wants("hello pool --rounds 1"));
    }
}
