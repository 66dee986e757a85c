//! The Fibonacci server as people run it: in the background, stopped and started, upgraded, killed. Its numbers never repeat.
//!
//! This binary is its own child: told so by an environment variable, it runs the example's main instead of the tests. So it has no test
//! harness.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]
#![allow(clippy::print_stdout, reason = "it is its own harness")]

mod support;

#[allow(dead_code, unreachable_pub, reason = "an example is a program, here it is a module")]
#[path = "../examples/fibonacci.rs"]
mod fibonacci;

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, ExitCode, Output, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use support::*;

/// The example, in a run directory of its own. It is ended with the test.
struct Fibonacci {
    folder: Folder,
    program: PathBuf,
    /// Which program it is really.
    part: &'static str,
}

impl Fibonacci {
    fn new() -> Fibonacci {
        Fibonacci::playing("example")
    }

    fn playing(part: &'static str) -> Fibonacci {
        let folder = Folder::new();
        // By a link, so that it can be replaced.
        let program = folder.path().join("fibonacci");
        std::os::unix::fs::symlink(this_program(), &program).unwrap();
        Fibonacci { folder, program, part }
    }

    fn rundir(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn output(&self, words: &[&str]) -> Output {
        example(&self.program)
            .env(AS_EXAMPLE, self.part)
            .args(words)
            .arg("--rundir")
            .arg(self.rundir())
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    /// A verb that ends well, and what it prints.
    fn does(&self, words: &[&str]) -> String {
        let output = self.output(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}{}", self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    /// A verb that does not, and what it complains of.
    fn refuses(&self, words: &[&str]) -> String {
        let output = self.output(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.rundir().join("fibonacci.log")).unwrap_or_default()
    }

    /// Starts it at this port; answers the real one.
    fn start(&self, port: u16) -> u16 {
        let said = self.does(&["start", "--listen", &format!("tcp:{port}")]);
        let line = said.strip_prefix("listening on tcp:").expect(&said);
        line.split(':').next().unwrap().parse().unwrap()
    }

    fn pid(&self) -> Pid {
        let text = std::fs::read_to_string(self.rundir().join("fibonacci.pid")).unwrap();
        Pid::from_raw(text.trim().parse().unwrap()).unwrap()
    }

    fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.does(&["status", "--json"])).unwrap()
    }

    fn kill(&self) {
        kill_process(self.pid(), Signal::KILL).unwrap();
        eventually("it is gone", || {
            String::from_utf8_lossy(&self.output(&["status"]).stderr).contains("is not held")
        });
    }
}

impl Drop for Fibonacci {
    fn drop(&mut self) {
        let mut stop = example(&this_program());
        stop.args(["stop", "--timeout", "5", "--rundir"]).arg(self.rundir());
        let _ = stop.stderr(Stdio::null()).status();
        if let Ok(text) = std::fs::read_to_string(self.rundir().join("fibonacci.pid"))
            && let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw)
        {
            // It did not stop: it is ours, for its number stands in our folder.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Says that this program is the example now: what starts itself hands it down.
const AS_EXAMPLE: &str = "ROPEWALK_TEST_FIBONACCI";

fn main() -> ExitCode {
    match std::env::var(AS_EXAMPLE).as_deref() {
        Ok("store") => return store_main(),
        Ok(_) => return fibonacci::main(),
        Err(_) => {}
    }
    let tests: [(&str, fn()); 8] = [
        ("a_store_that_only_one_can_have_open_goes_along", a_store_that_only_one_can_have_open_goes_along),
        ("it_is_started_asked_and_stopped", it_is_started_asked_and_stopped),
        ("what_keeps_it_from_starting_is_said_by_start", what_keeps_it_from_starting_is_said_by_start),
        ("whoever_kills_it_finds_no_number_twice", whoever_kills_it_finds_no_number_twice),
        (
            "whoever_kills_it_in_an_upgrade_finds_no_number_twice",
            whoever_kills_it_in_an_upgrade_finds_no_number_twice,
        ),
        ("five_upgrades_let_nobody_down", five_upgrades_let_nobody_down),
        (
            "an_upgrade_that_fails_at_any_step_is_as_if_it_had_not_been",
            an_upgrade_that_fails_at_any_step_is_as_if_it_had_not_been,
        ),
        ("a_daemon_lets_go_of_who_started_it", a_daemon_lets_go_of_who_started_it),
    ];
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for (name, test) in tests {
        if wanted.is_empty() || wanted.iter().any(|part| name.contains(part)) {
            println!("test {name} ...");
            test();
            println!("test {name} ... ok");
        }
    }
    ExitCode::SUCCESS
}

/// The example, by the name of a link or its own.
fn example(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env(AS_EXAMPLE, "1").stdin(Stdio::null());
    command
}

fn this_program() -> PathBuf {
    std::env::current_exe().unwrap()
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn new(port: u16) -> Client {
        Client(BufReader::new(connect(port)))
    }

    fn try_next(&mut self) -> Option<String> {
        self.0.get_mut().write_all(b"\n").ok()?;
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(count) if count > 0 && line.ends_with('\n') => Some(line.trim().to_owned()),
            _ => None,
        }
    }

    fn next(&mut self) -> String {
        self.try_next().expect("an answer")
    }
}

/// The numbers as this test has them: as far as 128 bits go.
fn numbers() -> impl Iterator<Item = String> {
    let (mut last, mut this) = (1_u128, 1_u128);
    std::iter::from_fn(move || {
        (last, this) = (this, last.checked_add(this)?);
        Some(this.to_string())
    })
}

fn it_is_started_asked_and_stopped() {
    let fibonacci = Fibonacci::new();
    let mut expected = numbers();
    // 1. Nothing runs.
    assert!(fibonacci.refuses(&["status"]).contains("not running"));
    for verb in ["reload", "save", "upgrade", "drain"] {
        assert!(fibonacci.refuses(&[verb]).contains("not running"), "{verb}");
    }
    assert!(fibonacci.output(&["stop"]).status.success(), "what does not run is stopped");
    // 2. It starts, and says where it is; one at a time.
    let port = fibonacci.start(0);
    let mut client = Client::new(port);
    for _ in 0..5 {
        assert_eq!(client.next(), expected.next().unwrap());
    }
    assert!(fibonacci.refuses(&["start"]).contains("already running as process"));
    let status = fibonacci.status();
    assert_eq!((&status["state"], &status["connections"]), (&"ready".into(), &1.into()));
    assert_eq!(status["services"][0]["name"], "fibonacci");
    assert_eq!(status["pid"], fibonacci.pid().as_raw_nonzero().get());
    assert!(fibonacci.does(&["status"]).contains("is ready: process"));
    use std::os::unix::fs::PermissionsExt;
    let socket = fibonacci.rundir().join("fibonacci.sock").metadata().unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    // 3. It stops cleanly and goes on where it was.
    fibonacci.does(&["stop"]);
    assert!(client.try_next().is_none());
    for ending in ["pid", "sock"] {
        assert!(!fibonacci.rundir().join(format!("fibonacci.{ending}")).exists(), "{ending}");
    }
    assert!(fibonacci.rundir().join("fibonacci.state.clean").exists());
    assert_eq!(fibonacci.start(port), port);
    assert_eq!(Client::new(port).next(), expected.next().unwrap());
    assert!(fibonacci.does(&["save"]).contains("fibonacci.state"));
    // 4. A restart is both, and what was given the first time is not remembered.
    fibonacci.does(&["restart", "--listen", &format!("tcp:{port}")]);
    assert_eq!(Client::new(port).next(), expected.next().unwrap());
    // 5. It is taken out of service: it serves on for a moment, and ends.
    let drained = fibonacci.does(&["drain", "--for", "0.3"]);
    assert!(drained.contains("connections"), "{drained}");
    assert!(fibonacci.refuses(&["status"]).contains("not running"));
    // 6. A state of one's own to begin with.
    let clean = fibonacci.rundir().join("fibonacci.state.clean");
    fibonacci.does(&["start", "--listen", &format!("tcp:{port}"), "--state", clean.to_str().unwrap()]);
    assert_eq!(Client::new(port).next(), expected.next().unwrap());
}

fn what_keeps_it_from_starting_is_said_by_start() {
    let fibonacci = Fibonacci::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let said = fibonacci.refuses(&["start", "--listen", &format!("tcp:{port}")]);
    assert!(said.contains("the address is taken") && said.lines().count() == 1, "{said}");
    assert!(!fibonacci.rundir().join("fibonacci.pid").exists());
    let said = fibonacci.refuses(&["start", "--listen", "web=tcp:0"]);
    assert!(said.contains("no such service listens; the services are: fibonacci"), "{said}");
    // A file that is no state of ours is refused, and stays as it is.
    let state = fibonacci.rundir().join("fibonacci.state");
    for text in ["precious", "ROPEWALK-STATE 2 2 00000000\n{}", "ROPEWALK-STATE 1 90 00000000\n{"] {
        std::fs::write(&state, text).unwrap();
        let said = fibonacci.refuses(&["start", "--listen", "tcp:0"]);
        assert!(said.contains("it is left as it is") && said.contains("fibonacci.state"), "{said}");
        assert_eq!(std::fs::read_to_string(&state).unwrap(), text);
    }
    let output = fibonacci.output(&["strat"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("strat"));
}

/// Numbers may be missing where answers were under way, and none comes twice.
fn whoever_kills_it_finds_no_number_twice() {
    let fibonacci = Fibonacci::new();
    let expected: Vec<String> = numbers().collect();
    let mut at = 0;
    let port = fibonacci.start(0);
    for round in 0..8 {
        let mut client = Client::new(port);
        for _ in 0..3 {
            let answer = client.next();
            let found = expected[at..].iter().position(|number| *number == answer);
            let skipped = found.unwrap_or_else(|| panic!("{answer} is not new in round {round}"));
            assert!(skipped <= 2, "{skipped} are missing, and two were under way");
            at += skipped + 1;
        }
        // Two lines are under way when it is killed.
        client.0.get_mut().write_all(b"\n\n").unwrap();
        fibonacci.kill();
        assert_eq!(fibonacci.start(port), port, "a pid file that was left behind is recognised");
    }
}

/// The old process is killed at any moment of an upgrade. Whichever of the two is left, or none: the numbers go on.
fn whoever_kills_it_in_an_upgrade_finds_no_number_twice() {
    let fibonacci = Fibonacci::new();
    let port = fibonacci.start(0);
    let mut random = ropewalk::reactor::Random::new(11);
    for expected in numbers().take(20) {
        assert_eq!(Client::new(port).next(), expected, "nothing was under way, so nothing is missing");
        let old = fibonacci.pid();
        let mut upgrade = example(&fibonacci.program);
        upgrade
            .args(["upgrade", "--rundir"])
            .arg(fibonacci.rundir())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut upgrade = upgrade.spawn().unwrap();
        // Up to about the time that an upgrade takes.
        for _ in 0..random.below(60_000) {
            std::thread::yield_now();
        }
        // It is gone already if it was fast.
        let _ = kill_process(old, Signal::KILL);
        upgrade.wait().unwrap();
        eventually("one of them goes on, or none", || {
            let status = fibonacci.output(&["status"]);
            status.status.success() || String::from_utf8_lossy(&status.stderr).contains("is not held")
        });
        if !fibonacci.output(&["status"]).status.success() {
            fibonacci.start(port);
        }
    }
}

/// A file that is locked: what a database is to two processes.
#[derive(Clone, Default)]
struct Locked(Rc<RefCell<Option<File>>>);

impl Locked {
    fn open(&self) -> Result<(), String> {
        let file = File::create("locked").map_err(|error| error.to_string())?;
        let lock = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        lock.map_err(|error| format!("the store is locked: {error}"))?;
        *self.0.borrow_mut() = Some(file);
        Ok(())
    }
}

impl ropewalk::app::Store for Locked {
    fn release(&self) -> Pin<Box<dyn Future<Output = Result<(), String>>>> {
        drop(self.0.borrow_mut().take());
        Box::pin(std::future::ready(Ok(())))
    }

    fn reclaim(&self) -> Result<(), String> {
        self.open()
    }
}

/// A program whose one service has a store. Told so by the environment, its next process does not start, when it has the store already.
fn store_main() -> ExitCode {
    ropewalk::main("fibonacci", |app| {
        let locked = Locked::default();
        app.store(locked.clone());
        app.serve_home("fibonacci", "tcp:0:interface=127.0.0.1".parse()?, move |_| {
            locked.open().map_err(ropewalk::StartError::new)?;
            if Path::new("spoiled").exists() {
                return Err(ropewalk::StartError::new("it is spoiled"));
            }
            Ok(ropewalk::web::Site::new(ropewalk::web::Router::new().get("/", |_| "open")))
        });
        Ok(())
    })
}

fn a_store_that_only_one_can_have_open_goes_along() {
    let fibonacci = Fibonacci::playing("store");
    let port = fibonacci.start(0);
    let lock = || {
        let file = File::open(fibonacci.folder.path().join("locked")).unwrap();
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared)
    };
    let mut pids = vec![fibonacci.pid()];
    for _ in 0..2 {
        fibonacci.does(&["upgrade"]);
        assert!(!pids.contains(&fibonacci.pid()) && lock().is_err());
        pids.push(fibonacci.pid());
        assert_eq!(get(port, "/").text(), "open");
    }
    // The next one opens it, and fails after that: the old one has it again.
    fibonacci.folder.write("spoiled", "");
    let said = fibonacci.refuses(&["upgrade"]);
    assert!(said.contains("it is spoiled") && said.contains("serves on"), "{said}");
    assert_eq!(Some(&fibonacci.pid()), pids.last());
    assert!(lock().is_err(), "it is locked");
    assert_eq!(get(port, "/").text(), "open");
    fibonacci.does(&["stop"]);
    assert!(lock().is_ok());
}

/// Clients for the time of a test: some that stay, and one after the other that come anew.
struct Crowd {
    over: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<Vec<String>>>,
}

impl Crowd {
    fn gather(port: u16) -> Crowd {
        let (over, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let stays = |_| {
            let (over, answers) = (Arc::clone(&over), Arc::clone(&answers));
            std::thread::spawn(move || {
                let mut client = Client::new(port);
                let mut seen = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    seen.push(client.try_next().expect("a connection that is held open is answered"));
                    answers.fetch_add(1, Ordering::Relaxed);
                }
                seen
            })
        };
        let mut threads: Vec<_> = (0..3).map(stays).collect();
        let (stop, count) = (Arc::clone(&over), Arc::clone(&answers));
        threads.push(std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                seen.push(Client::new(port).try_next().expect("whoever comes is answered"));
                count.fetch_add(1, Ordering::Relaxed);
            }
            seen
        }));
        Crowd { over, answers, threads }
    }

    /// Waits until so many more were answered.
    fn is_served(&self, more: u64) {
        let until = self.answers.load(Ordering::Relaxed) + more;
        eventually("they are served", || {
            assert!(!self.threads.iter().any(std::thread::JoinHandle::is_finished), "one was let down");
            self.answers.load(Ordering::Relaxed) >= until
        });
    }

    fn leaves(self) -> Vec<String> {
        self.over.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().expect("nobody was let down")).collect()
    }
}

/// Sorted by their size, as decimal numbers.
fn sorted(mut numbers: Vec<String>) -> Vec<String> {
    numbers.sort_by(|one, other| one.len().cmp(&other.len()).then_with(|| one.cmp(other)));
    numbers
}

fn five_upgrades_let_nobody_down() {
    let fibonacci = Fibonacci::new();
    let port = fibonacci.start(0);
    let crowd = Crowd::gather(port);
    let mut quiet = connect(port);
    // More than travel at once.
    let mut idle: Vec<Client> = (0..150).map(|_| Client::new(port)).collect();
    crowd.is_served(10);
    let mut pids = vec![fibonacci.pid()];
    // A line that has come by half goes along.
    quiet.write_all(b"by hal").unwrap();
    for _ in 0..5 {
        let said = fibonacci.does(&["upgrade"]);
        assert!(said.contains("goes on with"), "{said}");
        let pid = fibonacci.pid();
        assert!(!pids.contains(&pid), "it is another process");
        pids.push(pid);
        crowd.is_served(10);
    }
    // By signal, too.
    kill_process(fibonacci.pid(), Signal::USR2).unwrap();
    eventually("another process goes on", || {
        let text = std::fs::read_to_string(fibonacci.rundir().join("fibonacci.pid")).unwrap_or_default();
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| !pids.contains(&pid))
    });
    crowd.is_served(10);
    quiet.write_all(b"f\n").unwrap();
    let mut line = String::new();
    BufReader::new(quiet).read_line(&mut line).unwrap();
    let mut seen = crowd.leaves();
    seen.push(line.trim().to_owned());
    seen.extend(idle.iter_mut().map(Client::next));
    // Every number came, and came once.
    let seen = sorted(seen);
    let mut expected = Vec::new();
    let (mut last, mut this) = ("1".to_owned(), "1".to_owned());
    while expected.len() < seen.len() {
        (last, this) = (this.clone(), add(&last, &this));
        expected.push(this.clone());
    }
    assert_eq!(seen.len(), expected.len());
    assert!(
        seen == expected,
        "the numbers are not those of Fibonacci: {:?}",
        seen.iter().zip(&expected).find(|(a, b)| a != b)
    );
    assert_eq!(fibonacci.status()["state"], "ready");
    fibonacci.does(&["stop"]);
}

fn add(one: &str, other: &str) -> String {
    let digits = |text: &str| text.bytes().rev().map(|digit| digit - b'0').collect::<Vec<u8>>();
    let (one, other) = (digits(one), digits(other));
    let (mut sum, mut carry) = (Vec::new(), 0);
    for place in 0..one.len().max(other.len()) {
        let total = carry + one.get(place).unwrap_or(&0) + other.get(place).unwrap_or(&0);
        sum.push(b'0' + total % 10);
        carry = total / 10;
    }
    sum.extend((carry > 0).then_some(b'1'));
    String::from_utf8(sum.into_iter().rev().collect()).unwrap()
}

/// Not by this process: another test may start a child just then, and a file that it holds open to write cannot be run.
fn write_program(path: &Path, text: &str) {
    let mut shell =
        Command::new("sh").args(["-c", "cat > \"$0\""]).arg(path).stdin(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
}

/// Each new program fails one step later than the one before it, and the old one serves on.
fn an_upgrade_that_fails_at_any_step_is_as_if_it_had_not_been() {
    use std::os::unix::fs::PermissionsExt;
    let fibonacci = Fibonacci::new();
    let port = fibonacci.start(0);
    let crowd = Crowd::gather(port);
    crowd.is_served(10);
    let pid = fibonacci.pid();
    let say = |word: &str| format!("printf '{{\"say\":\"{word}\"}}\\n' >&0\n");
    let (prepared, taken, ready) = (say("prepared"), say("taken"), say("ready"));
    // It reads until this is said to it.
    let at =
        |word: &str| format!("while read -r line; do case \"$line\" in *'\"{word}\"'*) break;; esac; done\n");
    let (listener, connection, go) = (at("listener"), at("connection"), at("go"));
    let steps = [
        ("not a program", String::new(), "cannot be started"),
        ("it ends at once", "#!/bin/sh\nexit 3\n".to_owned(), "not prepared"),
        (
            "it says why",
            "#!/bin/sh\nprintf '{\"say\":\"failed\",\"error\":\"no such folder\"}\\n' >&0\n".to_owned(),
            "no such folder",
        ),
        ("it is silent", "#!/bin/sh\nexec sleep 60\n".to_owned(), "nothing was heard"),
        (
            "it takes no listeners",
            format!("#!/bin/sh\n{prepared}{listener}exit 3\n"),
            "does not take the listeners",
        ),
        (
            "it takes no connections",
            format!("#!/bin/sh\n{prepared}{taken}{connection}exit 3\n"),
            "does not take the connections",
        ),
        ("it does not start", format!("#!/bin/sh\n{prepared}{taken}{taken}{go}exit 3\n"), "does not start"),
        (
            "it hangs in its start",
            format!("#!/bin/sh\n{prepared}{taken}{taken}exec sleep 60\n"),
            "nothing was heard",
        ),
        ("it talks nonsense", format!("#!/bin/sh\n{prepared}{ready}{ready}exec sleep 60\n"), "does not take"),
    ];
    let kept = fibonacci.folder.path().join("kept");
    std::fs::rename(&fibonacci.program, &kept).unwrap();
    let mut asker = example(&kept);
    asker.args(["upgrade", "--patience", "1", "--rundir"]).arg(fibonacci.rundir());
    for (what, script, said) in steps {
        write_program(&fibonacci.program, &script);
        let mode = if what == "not a program" { 0o644 } else { 0o755 };
        std::fs::set_permissions(&fibonacci.program, std::fs::Permissions::from_mode(mode)).unwrap();
        let output = asker.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{what}: {error}");
        assert!(error.contains(said), "{what}: {error}");
        assert!(error.contains("serves on") || what == "not a program", "{what}: {error}");
        assert_eq!(fibonacci.pid(), pid, "{what}");
        crowd.is_served(10);
        std::fs::remove_file(&fibonacci.program).unwrap();
    }
    // And then one that is as it should be.
    std::fs::rename(&kept, &fibonacci.program).unwrap();
    fibonacci.does(&["upgrade"]);
    assert_ne!(fibonacci.pid(), pid);
    crowd.is_served(10);
    let seen = crowd.leaves();
    let mut once = sorted(seen.clone());
    once.dedup();
    assert_eq!(once.len(), seen.len(), "no number came twice");
}

fn a_daemon_lets_go_of_who_started_it() {
    let fibonacci = Fibonacci::new();
    // Its starter's pipes end with the starter: nobody waits for the daemon.
    let mut child = example(&fibonacci.program)
        .args(["start", "--listen", "tcp:0", "--rundir", "run"])
        .current_dir(fibonacci.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let mut said = String::new();
    std::io::Read::read_to_string(&mut out, &mut said).unwrap();
    std::io::Read::read_to_string(&mut err, &mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    let pid = fibonacci.pid();
    let session = rustix::process::getsid(Some(pid)).unwrap();
    assert_eq!(session, pid, "it leads a session of its own");
    let stdin = std::fs::read_link(format!("/proc/{}/fd/0", pid.as_raw_nonzero())).unwrap();
    assert_eq!(stdin, Path::new("/dev/null"));
    // A line of JSON that is none, and a command that is none, are answered.
    let mut control =
        std::os::unix::net::UnixStream::connect(fibonacci.rundir().join("fibonacci.sock")).unwrap();
    control.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    control.write_all(b"nonsense\n{\"command\":\"dance\"}\n").unwrap();
    let mut lines = BufReader::new(control).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains("it is no JSON"));
    assert!(
        lines
            .next()
            .unwrap()
            .contains("there is no command \\\"dance\\\"; there are drain, end, logs, reload")
    );
}
