//! What a program prints in the background is in its log, whatever becomes of the process and of the file; and who holds its loop is named.
//!
//! This binary is its own child: told so by an environment variable, it is the program instead of the tests. So it has no test harness.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints, that is what it is for")]

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};

use ropewalk::Reactor;
use ropewalk::app::{Activity, App, StartError};
use ropewalk::web::{Router, Site};
use rustix::process::{Pid, Signal, kill_process};
use support::*;

/// Says that this program is the one under test now: what starts itself hands it down.
const AS_PROGRAM: &str = "ROPEWALK_TEST_PRINTING";

/// Prints what it is asked for, at three places; and holds its loop, until that was seen.
fn build(app: &mut App) -> Result<(), StartError> {
    println!("printed before the start");
    let place = app.serve_home("talker", "tcp:0:interface=127.0.0.1".parse()?, |reactor| {
        let handle = reactor.clone();
        Ok(Site::new(
            Router::new()
                .get("/print", |_| {
                    println!("printed {}", std::process::id());
                    eprintln!("a complaint");
                    "done"
                })
                .get("/panic", |_| -> &str { panic!("nobody has thought of this") })
                .get("/child", |_| {
                    let done = Command::new("sh").args(["-c", "echo of a child"]).status();
                    done.map_or("not found", |_| "done")
                })
                .get("/hold", move |_| hold(&handle)),
        ))
    });
    let home = std::thread::current().id();
    app.serve_site("spread", "tcp:0:interface=127.0.0.1".parse()?, move || {
        Ok(Site::new(Router::new().get("/", move |_| hold_elsewhere(home))))
    });
    place.shows(|| vec![Activity::new("it has something to say").with("words", 5)]);
    Ok(())
}

/// Holds the loop until the watchdog has named it.
fn hold(reactor: &Reactor) -> &'static str {
    while reactor.slow_callbacks().is_empty() {
        std::thread::yield_now();
    }
    "done"
}

/// Holds another loop than the home worker's, until it is released.
fn hold_elsewhere(home: std::thread::ThreadId) -> &'static str {
    if std::thread::current().id() == home {
        return "home";
    }
    std::fs::write("held", "").unwrap();
    while !Path::new("release").exists() {
        std::thread::yield_now();
    }
    "released"
}

/// The program in the background, ended with the test.
struct Talker {
    folder: Folder,
}

impl Talker {
    fn output(&self, words: &[&str]) -> Output {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(AS_PROGRAM, "1").args(words).args(["--rundir", "run"]);
        command.current_dir(self.folder.path()).stdin(Stdio::null()).output().unwrap()
    }

    fn does(&self, words: &[&str]) -> String {
        let output = self.output(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts it in the background; where it listens.
    fn start(words: &[&str]) -> (Talker, u16) {
        let talker = Talker { folder: Folder::new() };
        let said = talker.does(&[&["start"], words].concat());
        let port = said.strip_prefix("listening on tcp:").and_then(|rest| rest.split(':').next());
        (talker, port.expect(&said).parse().unwrap())
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// Waits for a line that ends so.
    fn logs(&self, file: &str, end: &str) -> String {
        eventually(end, || self.file(file).lines().any(|line| line.ends_with(end)));
        self.file(file).lines().find(|line| line.ends_with(end)).unwrap().to_owned()
    }

    fn pid(&self) -> Option<Pid> {
        self.file("run/talker.pid").trim().parse().ok().and_then(Pid::from_raw)
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.output(&["stop", "--timeout", "10"]);
        if let Some(pid) = self.pid() {
            // It did not stop: it is ours, for its number stands in our folder.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn what_a_daemon_prints_is_in_its_log() {
    let (talker, port) = Talker::start(&["--log", "own.log"]);
    get(port, "/print");
    let pid = talker.pid().unwrap().as_raw_nonzero();
    let line = talker.logs("own.log", &format!("printed {pid}"));
    assert!(line.contains("stdout"), "{line}");
    let line = talker.logs("own.log", "a complaint");
    assert!(line.contains("stderr"), "{line}");
    // A callback that panics: what the standard library prints of it, and what the loop says.
    get(port, "/panic");
    talker.logs("own.log", "nobody has thought of this");
    get(port, "/child");
    talker.logs("own.log", "of a child");
    // The access log is no event, and what came before the start was printed as ever.
    let raw = talker.file("run/talker.log");
    assert!(raw.contains("printed before the start\n"), "{raw}");
    assert!(raw.contains("\"GET /print HTTP/1.1\" 200") && !raw.contains("a complaint"), "{raw}");
    assert!(!talker.file("own.log").contains("GET /print"), "{}", talker.file("own.log"));
}

fn it_goes_on_through_rotations_and_upgrades() {
    let (talker, port) = Talker::start(&["--log", "own.log"]);
    let mut pids = vec![talker.pid().unwrap()];
    for _ in 0..2 {
        let printed = format!("printed {}", pids.last().unwrap().as_raw_nonzero());
        get(port, "/print");
        talker.logs("own.log", &printed);
        talker.does(&["rotate"]);
        eventually("it is put aside", || !talker.file("own.log").contains(&printed));
        get(port, "/print");
        talker.logs("own.log", &printed);
        talker.does(&["upgrade"]);
        let pid = talker.pid().unwrap();
        assert!(!pids.contains(&pid));
        pids.push(pid);
        get(port, "/print");
        talker.logs("own.log", &format!("printed {}", pid.as_raw_nonzero()));
    }
    let aside = talker.folder.names().iter().filter(|name| name.starts_with("own.log")).count();
    assert_eq!(aside, 3, "two were put aside: {:?}", talker.folder.names());
    // Its outputs are those that the first process was given, not what another one has made of them.
    let raw = talker.file("run/talker.log");
    assert_eq!(raw.matches("printed before the start\n").count(), 3, "{raw}");
    talker.does(&["stop"]);
    let raw = talker.file("run/talker.log");
    assert_eq!(raw.matches("\"GET /print HTTP/1.1\" 200").count(), 6, "{raw}");
}

fn without_a_log_file_all_of_it_stands_in_one_file() {
    let (talker, port) = Talker::start(&[]);
    get(port, "/print");
    let line = talker.logs("run/talker.log", "a complaint");
    assert!(line.contains("[stderr#error]"), "{line}");
    // And once only: the log does not read itself.
    get(port, "/print");
    eventually("the second", || talker.file("run/talker.log").matches("a complaint").count() >= 2);
    talker.does(&["stop"]);
    assert_eq!(talker.file("run/talker.log").matches("a complaint").count(), 2);
}

fn who_holds_the_loop_is_named_in_the_status() {
    let (talker, port) = Talker::start(&[]);
    let before: serde_json::Value = serde_json::from_str(&talker.does(&["status", "--json"])).unwrap();
    assert_eq!(before["loops"][0]["slow_callbacks"], serde_json::json!([]));
    let service = &before["services"][0];
    assert_eq!(service["activities"], serde_json::json!([{ "line": "it has something to say", "words": 5 }]));
    assert_eq!(get(port, "/hold").text(), "done");
    let after: serde_json::Value = serde_json::from_str(&talker.does(&["status", "--json"])).unwrap();
    let slow = &after["loops"][0]["slow_callbacks"][0];
    assert_eq!((slow["name"].as_str(), slow["times"].as_u64()), (Some("talker"), Some(1)), "{slow}");
    assert!(slow["longest_ms"].as_f64().unwrap() > 0.0 && slow["seconds_ago"].as_f64().unwrap() >= 0.0);
    let text = talker.does(&["status"]);
    assert!(text.contains("\n    it has something to say\n"), "{text}");
    assert!(text.contains(" ms, 1 times, last ") && text.contains(" ago: talker\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

fn who_holds_a_loop_that_does_not_answer_is_named() {
    let (talker, _) = Talker::start(&["--workers", "2"]);
    let status =
        || -> serde_json::Value { serde_json::from_str(&talker.does(&["status", "--json"])).unwrap() };
    let services = status()["services"].as_array().unwrap().clone();
    let spread = services.iter().find(|service| service["name"] == "spread").unwrap();
    let port: u16 = spread["listening"][0].as_str().unwrap().split(':').nth(1).unwrap().parse().unwrap();
    // The system chooses the loop: those who come to the home worker are answered.
    let held = || talker.folder.path().join("held").exists();
    let mut asking = Vec::new();
    eventually("the other loop is held", || {
        if !held() && asking.len() < 100 {
            let mut client = connect(port);
            client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
            asking.push(client);
        }
        held()
    });
    let seen = status()["loops"][1].clone();
    let text = talker.does(&["status"]);
    talker.folder.write("release", "");
    assert_eq!((seen["held_up"].as_bool(), seen["held_by"].as_str()), (Some(true), Some("spread")), "{seen}");
    assert_eq!(seen["slow_callbacks"][0]["name"], "spread", "{seen}");
    assert!(text.contains("\n  loop 1: does not answer, held up by spread\n    held for "), "{text}");
    eventually("it answers again", || status()["loops"][1]["turns"].is_u64());
}

fn main() -> ExitCode {
    if std::env::var_os(AS_PROGRAM).is_some() {
        return ropewalk::main("talker", build);
    }
    let tests: [(&str, fn()); 5] = [
        ("what_a_daemon_prints_is_in_its_log", what_a_daemon_prints_is_in_its_log),
        ("it_goes_on_through_rotations_and_upgrades", it_goes_on_through_rotations_and_upgrades),
        ("without_a_log_file_all_of_it_stands_in_one_file", without_a_log_file_all_of_it_stands_in_one_file),
        ("who_holds_the_loop_is_named_in_the_status", who_holds_the_loop_is_named_in_the_status),
        ("who_holds_a_loop_that_does_not_answer_is_named", who_holds_a_loop_that_does_not_answer_is_named),
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
