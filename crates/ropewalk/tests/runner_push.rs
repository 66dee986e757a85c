//! Upgrades with viewers: streams and long polls of channels with and without a store, and of a tail, travel from process to process
//! while somebody publishes and others come anew. Nothing is lost, nothing comes twice, nobody is let down.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};
use support::*;

const SERVICES: &str = r#"
grace = 2
rundir = "run"

[services.kept]
kind = "push"
listen = "tcp:0"
store = "store"

[services.fleeting]
kind = "push"
listen = "tcp:0"

[services.logs]
kind = "tail"
files = "log"
raw = "tcp:0"
web = "tcp:0"
"#;

/// The last event of a test: whoever sees it leaves.
const END: &str = "end";

/// `ropewalk` in the background, by a link that can be set anew. It ends with the test.
struct Rope {
    folder: Folder,
    program: PathBuf,
}

impl Rope {
    fn start() -> Rope {
        let folder = Folder::new();
        folder.write("log", "a line that was there\n");
        folder.write("ropewalk.toml", SERVICES);
        let program = folder.path().join("rope");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ropewalk"), &program).unwrap();
        let rope = Rope { folder, program };
        rope.does(&["start"]);
        rope
    }

    /// Always by the real program: the link may point to a worse one.
    fn output(&self, words: &[&str]) -> Output {
        let program = if words == ["start"] {
            self.program.as_os_str()
        } else {
            env!("CARGO_BIN_EXE_ropewalk").as_ref()
        };
        Command::new(program)
            .args(words)
            .stdin(Stdio::null())
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    fn does(&self, words: &[&str]) -> String {
        let output = self.output(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}{}", self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("run/ropewalk.log")).unwrap_or_default()
    }

    fn port(&self, service: &str) -> u16 {
        let status: serde_json::Value = serde_json::from_str(&self.does(&["status", "--json"])).unwrap();
        let services = status["services"].as_array().unwrap();
        let found = services.iter().find(|found| found["name"] == service).expect(service);
        found["listening"][0].as_str().unwrap().split(':').nth(1).unwrap().parse().unwrap()
    }

    fn pid(&self) -> Pid {
        let text = std::fs::read_to_string(self.folder.path().join("run/ropewalk.pid")).unwrap();
        Pid::from_raw(text.trim().parse().unwrap()).unwrap()
    }
}

impl Drop for Rope {
    fn drop(&mut self) {
        let _ = self.output(&["stop", "--timeout", "10", "--rundir", "run"]);
        if let Ok(text) = std::fs::read_to_string(self.folder.path().join("run/ropewalk.pid"))
            && let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw)
        {
            // It did not stop: it is ours, for its number stands in our folder.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// A connection that is asked again and again.
struct Asking(BufReader<TcpStream>);

impl Asking {
    fn new(port: u16) -> Asking {
        Asking(BufReader::new(connect(port)))
    }

    fn ask(&mut self, method: &str, target: &str, body: &str) -> Reply {
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let reply = read_reply(&mut self.0);
        assert!(!reply.head.contains("Connection: close"), "{}", reply.head);
        reply
    }
}

/// What somebody has seen, in order: ids, and texts.
type Seen = Vec<(u64, String)>;

fn number(value: &serde_json::Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

/// A stream that is held until the end.
fn stream(port: u16, target: &str, accept: &str) -> JoinHandle<Seen> {
    let mut stream = BufReader::new(connect(port));
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "{head}");
    }
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let is_json = accept.contains("json");
    std::thread::spawn(move || {
        let (mut seen, mut id) = (Seen::new(), 0);
        loop {
            let mut line = String::new();
            assert!(
                stream.read_line(&mut line).unwrap() > 0,
                "a stream that is held ended behind {:?}",
                seen.last()
            );
            assert!(!line.contains("gap") && !line.contains("HTTP/1.1"), "{line} behind {:?}", seen.last());
            let line = line.trim_end();
            if is_json && !line.is_empty() {
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                seen.push((number(&event["id"]), event["data"].as_str().unwrap().to_owned()));
            } else if let Some(found) = line.strip_prefix("id: ") {
                id = found.parse().unwrap();
            } else if let Some(data) = line.strip_prefix("data: ") {
                seen.push((id, data.to_owned()));
            }
            if seen.last().is_some_and(|(_, text)| text == END) {
                return seen;
            }
        }
    })
}

/// Long polls one after the other, on one connection.
fn polls(port: u16, target: &'static str) -> JoinHandle<Seen> {
    let mut asking = Asking::new(port);
    let next = |reply: &Reply| match reply.status {
        204 => reply.field("last-event-id").unwrap().parse::<u64>().unwrap(),
        _ => number(&serde_json::from_str::<serde_json::Value>(reply.text()).unwrap()["next"]),
    };
    let mut since = next(&asking.ask("GET", &format!("{target}?last=1"), ""));
    std::thread::spawn(move || {
        let mut seen = Seen::new();
        while seen.last().is_none_or(|(_, text)| text != END) {
            let reply = asking.ask("GET", &format!("{target}?since={since}"), "");
            if reply.status == 204 {
                since = next(&reply);
                continue;
            }
            assert_eq!(reply.status, 200, "{}", reply.head);
            let answer: serde_json::Value = serde_json::from_str(reply.text()).unwrap();
            assert!(answer.get("gap").is_none(), "{answer}");
            for event in answer["events"].as_array().unwrap() {
                seen.push((number(&event["id"]), event["data"].as_str().unwrap().to_owned()));
            }
            since = number(&answer["next"]);
        }
        seen
    })
}

/// Lines of a raw viewer.
fn raw(port: u16) -> JoinHandle<Seen> {
    let mut lines = BufReader::new(connect(port)).lines();
    std::thread::spawn(move || {
        let mut seen = Seen::new();
        while seen.last().is_none_or(|(_, text)| text != END) {
            let line = lines.next().expect("it is held open").unwrap();
            seen.push((seen.len() as u64 + 1, line));
        }
        seen
    })
}

/// Everybody, for the time of a test.
struct Crowd {
    over: Arc<AtomicBool>,
    served: Vec<Arc<AtomicU64>>,
    /// Who publishes, and what the ids and texts were.
    publishers: Vec<JoinHandle<Seen>>,
    /// Who sees what the publisher of this number publishes.
    viewers: Vec<(usize, JoinHandle<Seen>)>,
    others: Vec<JoinHandle<()>>,
    /// Connections that say nothing until the end.
    idle: Vec<(u16, Asking)>,
}

impl Crowd {
    fn gather(rope: &Rope) -> Crowd {
        let over = Arc::<AtomicBool>::default();
        let (mut crowd_viewers, mut publishers, mut served) = (Vec::new(), Vec::new(), Vec::new());
        let (mut others, mut idle) = (Vec::new(), Vec::new());
        for (number, service) in ["kept", "fleeting"].into_iter().enumerate() {
            let port = rope.port(service);
            Asking::new(port).ask("POST", "/channels/news", "first");
            for accept in ["text/event-stream", "application/x-ndjson", "text/event-stream"] {
                crowd_viewers.push((number, stream(port, "/channels/news", accept)));
            }
            crowd_viewers.push((number, polls(port, "/channels/news")));
            let count = Arc::<AtomicU64>::default();
            publishers.push(publisher(port, Arc::clone(&over), Arc::clone(&count)));
            served.push(count);
            let count = Arc::<AtomicU64>::default();
            others.push(newcomers(port, Arc::clone(&over), Arc::clone(&count)));
            served.push(count);
            idle.push((port, Asking::new(port)));
        }
        let (web, lines) = (rope.port("logs/web"), rope.port("logs/raw"));
        crowd_viewers.push((2, stream(web, "/events", "text/event-stream")));
        crowd_viewers.push((2, polls(web, "/poll")));
        crowd_viewers.push((2, raw(lines)));
        // They are there when the log knows them.
        eventually("they watch the log", || get(web, "/status").text().contains("\"viewers\":3"));
        let count = Arc::<AtomicU64>::default();
        publishers.push(writer(rope, web, Arc::clone(&over), Arc::clone(&count)));
        served.push(count);
        Crowd { over, served, publishers, viewers: crowd_viewers, others, idle }
    }

    /// Waits until each has been served so many times more.
    fn is_served(&self, more: u64) {
        let until: Vec<u64> = self.served.iter().map(|count| count.load(Ordering::Relaxed) + more).collect();
        eventually("they are served", || {
            let ended = self.viewers.iter().any(|(_, viewer)| viewer.is_finished())
                || self.others.iter().any(JoinHandle::is_finished)
                || self.publishers.iter().any(JoinHandle::is_finished);
            assert!(!ended, "one was let down");
            self.served.iter().zip(&until).all(|(count, until)| count.load(Ordering::Relaxed) >= *until)
        });
    }

    /// They leave, and have all seen the same.
    fn leaves(self) {
        self.over.store(true, Ordering::Relaxed);
        let published: Vec<Seen> =
            self.publishers.into_iter().map(|publisher| publisher.join().expect("it was served")).collect();
        for (number, viewer) in self.viewers {
            let seen = viewer.join().expect("nobody was let down");
            assert!(seen.is_sorted_by(|one, next| one.0 < next.0), "ids rise");
            let texts = |seen: &Seen| seen.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>();
            assert_eq!(texts(&seen), texts(&published[number]));
            if number < 2 {
                assert_eq!(seen, published[number]);
            }
        }
        for other in self.others {
            other.join().expect("whoever comes is answered");
        }
        for (_, mut idle) in self.idle {
            assert_eq!(idle.ask("GET", "/channels/news", "").status, 200);
        }
    }
}

/// Publishes on one connection, and every third time on a new one.
fn publisher(port: u16, over: Arc<AtomicBool>, count: Arc<AtomicU64>) -> JoinHandle<Seen> {
    let mut asking = Asking::new(port);
    std::thread::spawn(move || {
        let mut published = Seen::new();
        loop {
            let last = over.load(Ordering::Relaxed);
            let text = if last { END.to_owned() } else { format!("event {}", published.len()) };
            let reply = if published.len().is_multiple_of(3) {
                Asking::new(port).ask("POST", "/channels/news", &text)
            } else {
                asking.ask("POST", "/channels/news", &text)
            };
            assert_eq!(reply.status, 201, "{}{}", reply.head, reply.text());
            let answer: serde_json::Value = serde_json::from_str(reply.text()).unwrap();
            published.push((number(&answer["id"]), text));
            count.fetch_add(1, Ordering::Relaxed);
            if last {
                return published;
            }
        }
    })
}

/// Writes lines into the log, one when the one before was seen: a tail keeps a thousand.
fn writer(rope: &Rope, web: u16, over: Arc<AtomicBool>, count: Arc<AtomicU64>) -> JoinHandle<Seen> {
    let mut log = std::fs::OpenOptions::new().append(true).open(rope.folder.path().join("log")).unwrap();
    let mut asking = Asking::new(web);
    std::thread::spawn(move || {
        let mut written = Seen::new();
        let mut since = asking.ask("GET", "/poll?last=1", "");
        loop {
            let answer: serde_json::Value = serde_json::from_str(since.text()).unwrap();
            let last = over.load(Ordering::Relaxed);
            let text = if last { END.to_owned() } else { format!("line {}", written.len()) };
            // The reader must wait for the end of a line.
            let (begin, end) = text.split_at(text.len() / 2);
            log.write_all(begin.as_bytes()).unwrap();
            log.write_all(format!("{end}\n").as_bytes()).unwrap();
            written.push((written.len() as u64 + 1, text));
            if last {
                return written;
            }
            since = asking.ask("GET", &format!("/poll?since={}", answer["next"].as_str().unwrap()), "");
            assert_eq!(since.status, 200);
            count.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// Connections one after the other, each asked once.
fn newcomers(port: u16, over: Arc<AtomicBool>, count: Arc<AtomicU64>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            assert_eq!(Asking::new(port).ask("GET", "/channels/news", "").status, 200);
            count.fetch_add(1, Ordering::Relaxed);
        }
    })
}

#[test]
fn five_upgrades_and_no_viewer_notices() {
    let rope = Rope::start();
    let crowd = Crowd::gather(&rope);
    crowd.is_served(5);
    let mut pids = vec![rope.pid()];
    for _ in 0..5 {
        let said = rope.does(&["upgrade"]);
        // Nine streams and raw viewers, four that poll, publish or are silent at each of two, and two at the log.
        let moved = said.split_once("goes on with ").and_then(|(_, rest)| rest.split(' ').next()).unwrap();
        assert!(moved.parse::<usize>().unwrap() >= 14, "{said}");
        assert!(!pids.contains(&rope.pid()), "it is another process");
        pids.push(rope.pid());
        crowd.is_served(5);
    }
    crowd.leaves();
    assert!(!rope.log().contains("ERROR") && !rope.log().contains("WARN"), "{}", rope.log());
}

/// Not by this process: another test may start a child just then, and a file that it holds open to write cannot be run.
fn write_program(path: &std::path::Path, text: &str) {
    let mut shell =
        Command::new("sh").args(["-c", "cat > \"$0\""]).arg(path).stdin(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Each new program fails one step later than the one before it; the old one serves on, and has everybody still.
#[test]
fn an_upgrade_that_fails_at_any_step_lets_no_viewer_down() {
    let rope = Rope::start();
    let crowd = Crowd::gather(&rope);
    crowd.is_served(5);
    let pid = rope.pid();
    let say = |word: &str| format!("printf '{{\"say\":\"{word}\"}}\\n' >&0\n");
    let (prepared, taken) = (say("prepared"), say("taken"));
    let at =
        |word: &str| format!("while read -r line; do case \"$line\" in *'\"{word}\"'*) break;; esac; done\n");
    let (listener, luggage, connection, go) = (at("listener"), at("luggage"), at("connection"), at("go"));
    let steps = [
        ("exit 3\n".to_owned(), "not prepared"),
        ("exec sleep 60\n".to_owned(), "nothing was heard"),
        (format!("{prepared}{listener}exit 3\n"), "does not take the listeners"),
        (format!("{prepared}{luggage}exit 3\n"), "does not take the listeners"),
        (format!("{prepared}{taken}{connection}exit 3\n"), "does not take the connections"),
        (format!("{prepared}{taken}{taken}{go}exit 3\n"), "does not start"),
        (format!("{prepared}{taken}{taken}exec sleep 60\n"), "nothing was heard"),
    ];
    std::fs::remove_file(&rope.program).unwrap();
    for (script, said) in steps {
        write_program(&rope.program, &format!("#!/bin/sh\n{script}"));
        let output = rope.output(&["upgrade", "--patience", "1"]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{script}: {error}");
        assert!(error.contains(said) && error.contains("serves on"), "{script}: {error}");
        assert_eq!(rope.pid(), pid, "{script}");
        crowd.is_served(5);
        std::fs::remove_file(&rope.program).unwrap();
    }
    // And then one that is as it should be.
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ropewalk"), &rope.program).unwrap();
    rope.does(&["upgrade"]);
    assert_ne!(rope.pid(), pid);
    crowd.is_served(5);
    crowd.leaves();
}

/// A request whose body is on its way is answered where it was begun; one whose body does not come in time is refused there, and
/// what it meant to publish is nowhere.
#[test]
fn what_is_under_way_comes_to_its_end() {
    let rope = Rope::start();
    for service in ["kept", "fleeting"] {
        let port = rope.port(service);
        let begin = |body: &str| {
            let mut slow = connect(port);
            let head = "POST /channels/news HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n";
            slow.write_all(format!("{head}{body}").as_bytes()).unwrap();
            slow
        };
        let known = |count: usize| {
            let is = format!("\"connections\":{count}");
            eventually("it is there", || rope.does(&["status", "--json"]).contains(&is));
        };
        // 1. The rest comes while everything stands still.
        let mut slow = begin("half");
        known(1);
        let rest = std::thread::scope(|scope| {
            let upgraded = scope.spawn(|| rope.does(&["upgrade"]));
            slow.write_all(b"whole").unwrap();
            let reply = read_reply(&mut BufReader::new(&slow));
            upgraded.join().unwrap();
            reply
        });
        assert_eq!(rest.status, 201, "{}", rest.head);
        drop(slow);
        known(0);
        // 2. It does not.
        let mut slow = begin("half");
        known(1);
        rope.does(&["upgrade"]);
        let _ = slow.write_all(b"whole");
        let mut answer = String::new();
        let _ = slow.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503 "), "{answer}");
        let mut asking = Asking::new(port);
        assert_eq!(asking.ask("POST", "/channels/news", "on").status, 201);
        let all = asking.ask("GET", "/channels/news?since=0", "");
        assert_eq!(all.text().matches("\"data\"").count(), 2, "{}", all.text());
    }
}
