//! Foreign programs that tests drive: curl, Node, ncat, Chromium, Python; and packages of Python's and Node's.
//!
//! Tests in files named `clients_*.rs` ask here for theirs; `cargo xtask clients` runs them and says which are missing. Nothing
//! is started here.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set to `1`, a missing program fails the test that wants it; `cargo xtask clients --require` sets it.
const REQUIRE: &str = "ROPEWALK_REQUIRE_CLIENTS";

/// The first executable file of this name in `PATH`.
///
/// ```
/// assert!(ropewalk_testkit::program("sh").is_some());
/// assert!(ropewalk_testkit::program("no-such-program").is_none());
/// ```
pub fn program(name: &str) -> Option<PathBuf> {
    find(name, &std::env::var_os("PATH")?)
}

/// The same for a test that is skipped, with a line on standard error, where the program is missing.
///
/// ```no_run
/// let Some(curl) = ropewalk_testkit::require("curl") else { return };
/// # drop(curl);
/// ```
///
/// # Panics
/// If the program is missing and the environment says `ROPEWALK_REQUIRE_CLIENTS=1`.
pub fn require(name: &str) -> Option<PathBuf> {
    let found = program(name);
    if found.is_none() {
        let required = std::env::var_os(REQUIRE).is_some_and(|value| value == "1");
        assert!(
            !required,
            "missing: {name}, and {REQUIRE}=1 wants it; `cargo xtask clients` says how to get it"
        );
        skip(name);
    }
    found
}

/// A headless Chromium with this folder for its profile, that asks the network for nothing of its own; it is yet to be told what to do.
///
/// ```no_run
/// # use std::path::Path;
/// let Some(chromium) = ropewalk_testkit::require("chromium") else { return };
/// let mut browser = ropewalk_testkit::headless(&chromium, Path::new("/tmp/profile"));
/// browser.args(["--dump-dom", "http://127.0.0.1:8080/"]);
/// ```
pub fn headless(chromium: &Path, profile: &Path) -> Command {
    let mut command = Command::new(chromium);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]);
    command.args(["--no-proxy-server", "--disable-background-networking"]);
    command.arg(format!("--user-data-dir={}", profile.display()));
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// The folder where `.ci/packages` has put a package of Python's, for `PYTHONPATH`; `module` is the name it is imported by.
/// Where it is missing the test is skipped, with a line on standard error.
///
/// ```no_run
/// let (Some(python), Some(path)) = (ropewalk_testkit::require("python3"), ropewalk_testkit::python("requests")) else { return };
/// std::process::Command::new(python).env("PYTHONPATH", path).args(["-c", "import requests"]);
/// ```
///
/// # Panics
/// If the package is missing and the environment says `ROPEWALK_REQUIRE_CLIENTS=1`.
pub fn python(module: &str) -> Option<PathBuf> {
    package(packages("python"), "", module)
}

/// The folder in which `node` finds a package of npm's: run it there, or name it by `NODE_PATH` with `node_modules` behind.
/// Where it is missing the test is skipped, with a line on standard error.
///
/// # Panics
/// If the package is missing and the environment says `ROPEWALK_REQUIRE_CLIENTS=1`.
pub fn node(package_name: &str) -> Option<PathBuf> {
    package(packages("node"), "node_modules", package_name)
}

/// Where `.ci/packages` installs: beside what is built, but in one place, wherever that is.
fn packages(kind: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/foreign")).join(kind)
}

fn package(folder: PathBuf, below: &str, name: &str) -> Option<PathBuf> {
    let place = folder.join(below).join(name);
    if place.exists() || place.with_extension("py").exists() {
        return Some(folder);
    }
    let required = std::env::var_os(REQUIRE).is_some_and(|value| value == "1");
    assert!(!required, "missing: the package {name}, and {REQUIRE}=1 wants it; run .ci/packages");
    skip(name);
    None
}

#[allow(clippy::print_stderr, reason = "a skipped test must not look like one that ran")]
fn skip(name: &str) {
    eprintln!("missing: {name} (skipped)");
}

fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).find_map(|folder| {
        let candidate = folder.join(name);
        let metadata = candidate.metadata().ok()?;
        let executable = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
        executable.then_some(candidate)
    })
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn a_program_is_a_file_that_can_be_executed() {
        assert!(find("sh", "/nonexistent:/bin".as_ref()).is_some());
        assert!(find("passwd", "/etc".as_ref()).is_none(), "a file without the right to execute");
        assert!(find("bin", "/usr".as_ref()).is_none(), "a folder");
        assert!(find("sh", "".as_ref()).is_none(), "an empty path");
    }
}
