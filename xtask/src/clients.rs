//! `cargo xtask clients`: the integration tests whose file name starts with `clients_`, which drive foreign programs.
//!
//! It first says which programs are there. The tests themselves ask for theirs through `ropewalk_testkit::require`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cargo::{cargo, succeeds};
use crate::terminal;

/// A foreign program that tests may ask for.
struct Program {
    name: &'static str,
    /// Its package in Debian and its children.
    package: &'static str,
    /// What the tests do with it.
    purpose: &'static str,
}

/// `.ci/run` installs these packages by name: change both together (a test compares them).
const PROGRAMS: [Program; 10] = [
    Program { name: "curl", package: "curl", purpose: "HTTP as the world speaks it" },
    Program { name: "node", package: "nodejs", purpose: "fetch, as browsers have it" },
    Program { name: "ncat", package: "ncat", purpose: "raw viewers and plain protocols" },
    Program { name: "nc.openbsd", package: "netcat-openbsd", purpose: "plain protocols, half-closed" },
    Program { name: "socat", package: "socat", purpose: "UNIX sockets, datagrams, half-closed ones" },
    Program { name: "chromium", package: "chromium", purpose: "the pages, looked at" },
    Program { name: "python3", package: "python3", purpose: "clients written by others" },
    Program { name: "lftp", package: "lftp", purpose: "FTP, whole folders and aborts" },
    Program { name: "systemd-socket-activate", package: "systemd", purpose: "sockets handed over" },
    Program {
        name: "openssl",
        package: "openssl",
        purpose: "TLS from the other side, keys and certificates",
    },
];

/// Whether the environment says that this is a build machine.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// Says what is there and runs the tests; `require` makes a missing program a failure of the test that wants it.
pub(crate) fn run(root: &Path, require: bool) -> bool {
    terminal::heading("foreign programs");
    let path = std::env::var_os("PATH").unwrap_or_default();
    for program in &PROGRAMS {
        println!("{}", describe(program, find(program.name, std::env::split_paths(&path))));
    }
    terminal::heading("cargo test --workspace --test 'clients_*'");
    let mut command = cargo(root, &["test", "--workspace", "--test", "clients_*"]);
    if require {
        command.env("ROPEWALK_REQUIRE_CLIENTS", "1");
    }
    succeeds(command)
}

fn describe(program: &Program, found: Option<PathBuf>) -> String {
    let Program { name, package, purpose } = program;
    match found {
        Some(path) => format!("  there    {name:<10} {} ({purpose})", path.display()),
        None => format!("  MISSING  {name:<10} apt-get install {package} ({purpose})"),
    }
}

/// The first executable file of this name. The same rule as `ropewalk_testkit::program`, which this package does not
/// depend on: it must build in seconds.
fn find(name: &str, mut folders: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    folders.find_map(|folder| {
        let path = folder.join(name);
        let metadata = path.metadata().ok()?;
        (metadata.is_file() && metadata.permissions().mode() & 0o111 != 0).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_only_what_can_be_executed() {
        let folders = || std::env::split_paths("/nonexistent:/bin:/usr/bin");
        assert!(find("sh", folders()).is_some());
        assert!(find("no-such-program", folders()).is_none());
        assert!(find("passwd", std::env::split_paths("/etc")).is_none(), "a file without x is no program");
    }

    #[test]
    fn a_missing_program_says_how_to_get_it() {
        let line = describe(&Program { name: "ncat", package: "ncat", purpose: "a test" }, None);
        assert!(line.contains("MISSING") && line.contains("apt-get install ncat"), "{line}");
    }

    #[test]
    fn ci_installs_every_program() {
        let script = std::fs::read_to_string(crate::root().join(".ci/run")).unwrap();
        for Program { name, package, .. } in PROGRAMS {
            assert!(script.contains(&format!("{name}:{package}")), ".ci/run does not install {name}");
        }
    }
}
