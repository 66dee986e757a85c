//! `cargo xtask autobahn [server|client] [CASES]`: WebSocket before the Autobahn test suite, this library's server and its client.
//!
//! The suite is Python 2.7's (`autobahntestsuite` at PyPI); it is installed under `target/` where that is found: by
//! `AUTOBAHN_PYTHON`, among pyenv's versions, or as `python2.7`. What each case came to is written to
//! `crates/wire/autobahn/{server,client}.txt`, which are checked in; a run that differs from them, or in which a case fails, fails.
//! All cases take twenty minutes on two processors. With CASES, such as `7.*`, only those are run, and nothing is written.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cargo::{cargo, succeeds};
use crate::terminal;

/// The version whose cases the checked-in results are of.
const SUITE: &str = "autobahntestsuite==25.10.1";
/// What a case may come to.
const PASSED: [&str; 3] = ["OK", "NON-STRICT", "INFORMATIONAL"];
/// All cases, in groups that are tested beside each other. Those of compression are most of the work.
const GROUPS: [&str; 14] = [
    "1.* 2.* 3.* 4.* 5.* 6.* 7.* 10.*",
    "9.*",
    "12.1.*",
    "12.2.*",
    "12.3.*",
    "12.4.*",
    "12.5.*",
    "13.1.*",
    "13.2.*",
    "13.3.*",
    "13.4.*",
    "13.5.*",
    "13.6.*",
    "13.7.*",
];
/// How long the fuzzing server may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Ports that are tried for it: one that was free a moment ago may be taken.
const PORTS: usize = 5;

/// Starts the suite out of the folder that it is installed in.
const START: &str = "
import site, sys
site.addsitedir(sys.argv.pop(1))
from autobahntestsuite.wstest import run
run()
";

/// The report as lines: case, behaviour, behaviour in closing.
const SUMMARY: &str = "
import json, sys
cases = json.load(open(sys.argv[1]))['ropewalk']
for case in sorted(cases, key=lambda case: [int(part) for part in case.split('.')]):
    print('%s %s %s' % (case, cases[case]['behavior'], cases[case]['behaviorClose']))
";

/// Both sides one after the other, or the one that is named.
pub(crate) fn run(root: &Path, arguments: &[String]) -> bool {
    let named = |side| arguments.iter().any(|argument| argument == side);
    let (server, client) = (named("server") || !named("client"), named("client") || !named("server"));
    let cases =
        arguments.iter().map(String::as_str).find(|argument| !matches!(*argument, "server" | "client"));
    let Some(suite) = Suite::install(root) else { return false };
    terminal::heading("cargo build --release --example websocket_echo --example websocket_client");
    let mut build = cargo(root, &["build", "--release", "--quiet", "--package", "ropewalk"]);
    build.args(["--example", "websocket_echo", "--example", "websocket_client"]);
    succeeds(build)
        && (!server || suite.judge("server", cases, Suite::server))
            & (!client || suite.judge("client", cases, Suite::client))
}

type Test = fn(&Suite, &Path, &str) -> Option<()>;

struct Suite {
    root: PathBuf,
    python: PathBuf,
    /// Where it is installed.
    packages: PathBuf,
    /// Where examples are built.
    examples: PathBuf,
}

/// A process that ends with this program.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It fails when it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Suite {
    fn install(root: &Path) -> Option<Suite> {
        let Some(python) = python() else {
            eprintln!(
                "the suite wants Python 2.7: `pyenv install 2.7.18`, or say where it is by AUTOBAHN_PYTHON"
            );
            return None;
        };
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let packages = root.join("target/autobahn27");
        let suite =
            Suite { root: root.to_path_buf(), python, packages, examples: target.join("release/examples") };
        if !suite.packages.join("autobahntestsuite").exists() {
            terminal::heading("pip install autobahntestsuite");
            let mut pip = Command::new(&suite.python);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
            pip.arg(&suite.packages).arg(SUITE);
            if !succeeds(pip) {
                eprintln!("{SUITE} could not be installed");
                return None;
            }
        }
        Some(suite)
    }

    /// Lets one side be tested, in several groups at a time, and compares what comes of it.
    fn judge(&self, side: &str, cases: Option<&str>, test: Test) -> bool {
        terminal::heading(&format!("autobahn: the {side}"));
        let folder = self.root.join("target/autobahn").join(side);
        // An old report must not pass for a new one.
        let _ = std::fs::remove_dir_all(&folder);
        let groups: Vec<&str> = cases.map_or_else(|| GROUPS.to_vec(), |cases| vec![cases]);
        let (waiting, came) = (Mutex::new(groups.iter().enumerate()), Mutex::new(Vec::new()));
        let work = || {
            while let Some((index, group)) = next(&waiting) {
                let outcome = self.group(&folder.join(index.to_string()), group, test);
                println!(
                    "{group}: {}",
                    if outcome.is_some() { "came to its end" } else { "did not come to its end" }
                );
                came.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
            }
        };
        std::thread::scope(|scope| {
            (0..jobs()).for_each(|_| drop(scope.spawn(work)));
        });
        let came: Option<String> =
            came.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect();
        let Some(came) = came.map(|came| ordered(&came)) else { return false };
        let failed: Vec<&str> = came.lines().filter(|line| !passes(line)).collect();
        println!(
            "{} cases, {} failed; the reports are in {}",
            came.lines().count(),
            failed.len(),
            folder.display()
        );
        failed.iter().for_each(|line| println!("  {line}"));
        failed.is_empty() && (cases.is_some() || self.compare(side, &came))
    }

    /// One group of cases, and its lines.
    fn group(&self, folder: &Path, cases: &str, test: Test) -> Option<String> {
        std::fs::create_dir_all(folder).ok()?;
        let cases: Vec<String> = cases.split(' ').map(|case| format!("{case:?}")).collect();
        test(self, folder, &cases.join(", "))?;
        self.summary(folder)
    }

    /// Writes what came, and says whether it is what was known.
    fn compare(&self, side: &str, came: &str) -> bool {
        let path = self.root.join(format!("crates/wire/autobahn/{side}.txt"));
        let known = std::fs::read_to_string(&path).unwrap_or_default();
        if known == came {
            return true;
        }
        if let Err(error) = std::fs::write(&path, came) {
            eprintln!("{}: {error}", path.display());
        }
        println!("{} was different: look at `git diff`", path.display());
        false
    }

    /// The suite's client against the example that is a server.
    fn server(&self, folder: &Path, cases: &str) -> Option<()> {
        let mut echo = Command::new(self.examples.join("websocket_echo"));
        echo.env("ECHO_LISTEN", "tcp:0:interface=127.0.0.1").stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut echo = Running(echo.spawn().ok()?);
        let mut lines = BufReader::new(echo.0.stdout.take()?).lines();
        let line = lines.find_map(|line| line.ok()?.strip_prefix("listening on tcp:").map(str::to_owned))?;
        let port: u16 = line.split(':').next()?.parse().ok()?;
        let spec = format!(
            r#"{{"outdir": {folder:?}, "servers": [{{"agent": "ropewalk", "url": "ws://127.0.0.1:{port}"}}],
                "cases": [{cases}], "exclude-cases": [], "exclude-agent-cases": {{}}}}"#
        );
        let mut wstest = self.wstest("fuzzingclient", folder, &spec)?;
        wstest.stdout(Stdio::null());
        succeeds(wstest).then_some(())
    }

    /// The example that is a client against the suite's server.
    fn client(&self, folder: &Path, cases: &str) -> Option<()> {
        let (_server, port) = (0..PORTS).find_map(|_| self.fuzzing_server(folder, cases))?;
        let mut client = Command::new(self.examples.join("websocket_client"));
        client.arg(format!("ws://127.0.0.1:{port}")).stdout(Stdio::null());
        succeeds(client).then_some(())
    }

    /// The suite's server, when it answers, and where; none if it cannot have its port.
    fn fuzzing_server(&self, folder: &Path, cases: &str) -> Option<(Running, u16)> {
        let port = free_port()?;
        let spec = format!(
            r#"{{"outdir": {folder:?}, "url": "ws://127.0.0.1:{port}", "cases": [{cases}],
                "exclude-cases": [], "exclude-agent-cases": {{}}}}"#
        );
        let mut wstest = self.wstest("fuzzingserver", folder, &spec)?;
        let mut server = Running(wstest.stdout(Stdio::null()).spawn().ok()?);
        let until = Instant::now() + PATIENCE;
        while !is_the_suite(port) {
            if Instant::now() > until || server.0.try_wait().ok()?.is_some() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Some((server, port))
    }

    fn wstest(&self, mode: &str, folder: &Path, spec: &str) -> Option<Command> {
        let path = folder.join("spec.json");
        std::fs::write(&path, spec).ok()?;
        let mut command = Command::new(&self.python);
        command
            .args(["-c", START])
            .arg(&self.packages)
            .args(["-m", mode, "--webport", "0", "-s"])
            .arg(path)
            .current_dir(folder);
        Some(command)
    }

    fn summary(&self, folder: &Path) -> Option<String> {
        let output =
            Command::new(&self.python).args(["-c", SUMMARY]).arg(folder.join("index.json")).output().ok()?;
        String::from_utf8(output.stdout).ok().filter(|text| output.status.success() && !text.is_empty())
    }
}

/// A port that is free now: the suite cannot choose one by itself and tell. It is below those that the system gives to connections, of
/// which one may be taken before the suite has it.
fn free_port() -> Option<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 15_000;
    const COUNT: u16 = 15_000;
    // Runs beside each other begin at different places.
    let begin = std::process::id() % u32::from(COUNT);
    let mut ports = std::iter::repeat_with(|| {
        let place = begin + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        FIRST + u16::try_from(place % u32::from(COUNT)).unwrap_or_default()
    })
    .take(usize::from(COUNT));
    ports.find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok())
}

/// Whether the suite answers there. To be connected is not enough: that may be somebody else, or, before anybody listens, oneself.
fn is_the_suite(port: u16) -> bool {
    let asked = || -> std::io::Result<String> {
        let mut peer = TcpStream::connect(("127.0.0.1", port))?;
        peer.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(peer, "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n")?;
        let mut answer = String::new();
        peer.take(64 * 1024).read_to_string(&mut answer)?;
        Ok(answer)
    };
    asked().is_ok_and(|answer| answer.contains("Autobahn"))
}

/// Both behaviours of a line are among those that may be.
fn passes(line: &str) -> bool {
    let behaviours: Vec<&str> = line.split(' ').skip(1).collect();
    behaviours.len() == 2 && behaviours.iter().all(|behaviour| PASSED.contains(behaviour))
}

/// How many groups are tested at a time: as many as there are processors, or as `AUTOBAHN_JOBS` says.
fn jobs() -> usize {
    let said = std::env::var("AUTOBAHN_JOBS").ok().and_then(|jobs| jobs.parse().ok());
    said.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

fn next<T>(waiting: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).next()
}

/// Lines in the order of their cases.
fn ordered(lines: &str) -> String {
    let numbers = |line: &str| -> Vec<u32> {
        let case = line.split(' ').next().unwrap_or_default();
        case.split('.').filter_map(|number| number.parse().ok()).collect()
    };
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_by_key(|line| numbers(line));
    lines.into_iter().map(|line| format!("{line}\n")).collect()
}

/// The first Python 2.7 that runs.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("AUTOBAHN_PYTHON").map(PathBuf::from);
    let home = std::env::var_os("PYENV_ROOT").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME").map(PathBuf::from)?;
        Some(home.join(".pyenv"))
    });
    let versions = home.and_then(|home| std::fs::read_dir(home.join("versions")).ok());
    let versions = versions.into_iter().flatten().flatten().filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with("2.7")
    });
    let versions = versions.map(|entry| entry.path().join("bin/python"));
    let known = named.into_iter().chain(versions).chain(["python2.7".into()]);
    known.into_iter().find(|python| {
        let mut version = Command::new(python);
        version.args(["-c", "import sys; print(sys.version_info[:2] == (2, 7))"]).stderr(Stdio::null());
        version.output().is_ok_and(|output| output.stdout.starts_with(b"True"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_passes_by_both_of_its_behaviours() {
        assert!(
            passes("1.1.1 OK OK")
                && passes("7.13.1 INFORMATIONAL INFORMATIONAL")
                && passes("6.4.1 NON-STRICT OK")
        );
        for failed in ["1.1.1 FAILED OK", "1.1.1 OK FAILED", "12.1.1 UNIMPLEMENTED OK", "1.1.1 OK", ""] {
            assert!(!passes(failed), "{failed}");
        }
    }

    #[test]
    fn cases_are_ordered_by_their_numbers() {
        assert_eq!(ordered("2.1 OK OK\n1.10 OK OK\n1.9 OK OK\n"), "1.9 OK OK\n1.10 OK OK\n2.1 OK OK\n");
    }

    #[test]
    fn what_is_checked_in_has_passed_and_is_of_every_group() {
        for side in ["server", "client"] {
            let path = crate::root().join(format!("crates/wire/autobahn/{side}.txt"));
            let known = std::fs::read_to_string(path).unwrap();
            assert_eq!(known.lines().find(|line| !passes(line)), None, "{side}");
            assert_eq!(ordered(&known), known, "{side}");
            for group in GROUPS.iter().flat_map(|group| group.split(' ')) {
                let begin = group.trim_end_matches('*');
                assert!(known.lines().any(|line| line.starts_with(begin)), "{side} has nothing of {group}");
            }
        }
    }
}
