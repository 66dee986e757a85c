//! Foreign programs that tests drive: curl, Node, ncat, Chromium, Python.
//!
//! Tests in files named `clients_*.rs` ask here for theirs; `cargo xtask clients` runs them and says which are missing. Nothing
//! is started here.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

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
