//! `ropewalk` as a configuration describes it: what is refused, what a reload changes and what it leaves alone, and how the program is
//! taken out of service and replaced.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::{Pid, Signal, kill_process};
use support::*;

/// `ropewalk` in the background, with a configuration of its own. It ends with the test.
struct Rope {
    folder: Folder,
}

/// A site and a log; what is written into the log comes out raw.
const BOTH: &str = r#"
grace = 2
rundir = "run"
access-log = "access.log"

[services.site]
kind = "web"
path = "public"
listen = "tcp:0"

[services.logs]
kind = "tail"
files = "log"
raw = "tcp:0"
web = "tcp:0"
"#;

impl Rope {
    fn new(configuration: &str) -> Rope {
        let folder = Folder::new();
        std::fs::create_dir(folder.path().join("public")).unwrap();
        folder.write("public/index.html", "hello");
        folder.write("log", "");
        folder.write("ropewalk.toml", configuration);
        Rope { folder }
    }

    fn configure(&self, configuration: &str) {
        self.folder.write("ropewalk.toml", configuration);
    }

    fn output(&self, words: &[&str]) -> Output {
        ropewalk(words).current_dir(self.folder.path()).output().unwrap()
    }

    fn does(&self, words: &[&str]) -> String {
        let output = self.output(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn refuses(&self, words: &[&str], code: i32) -> String {
        let output = self.output(words);
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.does(&["status", "--json"])).unwrap()
    }

    /// Where a service listens.
    fn port(&self, service: &str) -> u16 {
        let status = self.status();
        let services = status["services"].as_array().unwrap();
        let found = services.iter().find(|found| found["name"] == service).expect(service);
        let endpoint = found["listening"][0].as_str().unwrap();
        endpoint.split(':').nth(1).unwrap().parse().unwrap()
    }

    fn pid(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(self.folder.path().join("run/ropewalk.pid")).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }
}

impl Drop for Rope {
    fn drop(&mut self) {
        let mut stop = ropewalk(&["stop", "--timeout", "10", "--rundir", "run"]);
        let _ = stop.current_dir(self.folder.path()).output();
        if let Some(pid) = self.pid() {
            // It did not stop: it is ours, for its number stands in our folder.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[test]
fn a_reload_changes_what_has_changed_and_nothing_else_notices() {
    let rope = Rope::new(BOTH);
    assert_eq!(rope.does(&["check"]), "ropewalk.toml: no mistakes; services: 2\n");
    let said = rope.does(&["start"]);
    assert!(said.contains("(site)") && said.contains("(logs/raw)") && said.contains("(logs/web)"), "{said}");
    let (site, raw) = (rope.port("site"), rope.port("logs/raw"));
    assert_eq!(get(site, "/").text(), "hello");
    // 1. Somebody watches the log, and nothing that follows is to disturb him.
    let mut viewer = BufReader::new(connect(raw));
    let mut sees = |line: &str| {
        let mut log = std::fs::OpenOptions::new().append(true).open(rope.folder.path().join("log")).unwrap();
        eventually("the viewer is there", || rope.status()["connections"].as_u64() >= Some(1));
        log.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut seen = String::new();
        viewer.read_line(&mut seen).unwrap();
        assert_eq!(seen, format!("{line}\n"));
    };
    sees("one");
    assert_eq!(rope.does(&["reload"]), "nothing has changed\n");
    // 2. The site is another one, at the same port: its socket was handed on.
    rope.folder.write("public/about.html", "about");
    rope.configure(&BOTH.replace("path = \"public\"", "path = \"public\"\nextension = \".html\""));
    assert_eq!(get(site, "/about").status, 404);
    assert_eq!(rope.does(&["reload"]), "site is changed\n");
    assert_eq!((rope.port("site"), get(site, "/about").text()), (site, "about"));
    sees("two");
    // 3. A third service comes, and goes.
    let third = "\n[services.more]\nkind = \"web\"\npath = \"public\"\nlisten = \"tcp:0\"\n";
    rope.configure(&format!("{BOTH}{third}"));
    assert_eq!(rope.does(&["reload"]), "site is changed\nmore is new\n");
    let more = rope.port("more");
    assert_eq!(get(more, "/").text(), "hello");
    rope.configure(BOTH);
    assert_eq!(rope.does(&["reload"]), "more is gone\n");
    assert!(std::net::TcpStream::connect(("127.0.0.1", more)).is_err());
    sees("three");
    // 4. What does not hold changes nothing; by HUP the log has it.
    let wrong = BOTH.replace("path = \"public\"", "path = \"nowhere\"");
    rope.configure(&wrong);
    let said = rope.refuses(&["reload"], 1);
    assert!(said.contains("ropewalk.toml:6: services.site: cannot serve nowhere"), "{said}");
    rope.configure(&BOTH.replace("listen =", "lisen ="));
    kill_process(rope.pid().unwrap(), Signal::HUP).unwrap();
    let log = rope.folder.path().join("run/ropewalk.log");
    eventually("it is said", || std::fs::read_to_string(&log).unwrap().contains("write \"listen\""));
    assert_eq!(get(site, "/").text(), "hello");
    sees("four");
    // 5. A port that is taken: the old one stays.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("listen = \"tcp:{}\"", taken.local_addr().unwrap().port());
    rope.configure(&BOTH.replacen("listen = \"tcp:0\"", &taken, 1));
    assert!(rope.refuses(&["reload"], 1).contains("the address is taken"));
    assert_eq!(get(site, "/").text(), "hello");
    sees("five");
    assert!(rope.folder.path().join("access.log").exists(), "paths are meant from where the file is");
    rope.does(&["stop"]);
    let left: Vec<_> = std::fs::read_dir(rope.folder.path().join("run"))
        .unwrap()
        .flatten()
        .map(|file| file.file_name())
        .collect();
    assert_eq!(left, ["ropewalk.log"], "nothing has a state here");
}

#[test]
fn mistakes_are_named_with_their_lines() {
    let rope = Rope::new(
        "[services.site]\nkind = \"wbe\"\n\n[services.log]\nkind = \"tail\"\nhistroy = 3\nfiles = \"log\"\n",
    );
    let said = rope.refuses(&["check"], 2);
    assert_eq!(
        said,
        "ropewalk: ropewalk.toml:2: services.site: there is no kind \"wbe\"; write \"web\"\n\
         ropewalk: ropewalk.toml:6: services.log: there is no key \"histroy\"; write \"history\"\n"
    );
    for words in [&["run"][..], &[], &["start"], &["run", "ropewalk.toml"]] {
        let said = rope.refuses(words, 2);
        assert!(said.contains("ropewalk.toml:2:") && said.contains("1 more mistake"), "{words:?}: {said}");
        assert_eq!(said.lines().count(), 1);
    }
    let said = rope.refuses(&["run", "missing.toml"], 2);
    assert!(said.contains("missing.toml: it cannot be read"), "{said}");
    // What the example says holds, and a word on the command line counts more than the file.
    let example = rope.does(&["example"]);
    rope.configure(&example);
    rope.does(&["check"]);
    let said = rope.refuses(&["check", "--set", "services.site.listen=8080"], 2);
    assert!(
        said.contains("--set services.site.listen: services.site: listen: endpoint \"8080\": write tcp:8080"),
        "{said}"
    );
    rope.configure("[services.site]\nkind = \"web\"\npath = \"nowhere\"\n");
    assert!(rope.refuses(&["check"], 2).contains("nowhere"));
}

#[test]
fn a_folder_with_a_configuration_is_run() {
    let rope = Rope::new(BOTH);
    let mut command = ropewalk::<&str>(&[]);
    command.current_dir(rope.folder.path()).env("ROPEWALK_SERVICES_SITE_PRECOMPRESSED", "true");
    let program = Program::spawn(command, 3);
    assert_eq!(get(program.port("site"), "/").text(), "hello");
    assert!(rope.does(&["status"]).contains("logs/raw"));
    let ended = program.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!rope.folder.path().join("run/ropewalk.pid").exists());
}

#[test]
fn a_program_that_is_taken_out_of_service_still_answers() {
    let rope = Rope::new(BOTH);
    rope.does(&["start"]);
    let site = rope.port("site");
    let mut kept = BufReader::new(connect(site));
    let mut ask = || {
        kept.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        read_reply(&mut kept)
    };
    assert_eq!(ask().field("connection"), None);
    let mut draining = ropewalk(&["drain", "--for", "1.5"]).current_dir(rope.folder.path()).spawn().unwrap();
    eventually("it drains", || rope.output(&["status"]).stdout.windows(8).any(|part| part == b"draining"));
    // 1. Who has a connection is answered, and bidden farewell; who comes is, too.
    let reply = ask();
    assert_eq!((reply.text(), reply.field("connection")), ("hello", Some("close")));
    assert_eq!(get(site, "/").text(), "hello");
    let status = rope.status();
    assert_eq!(status["state"], "draining");
    assert!(status["drain_seconds_left"].as_f64() <= Some(1.5));
    assert!(rope.refuses(&["drain"], 1).contains("coming to its end already"));
    // 2. Then it ends.
    let mut progress = String::new();
    draining.stdout.take().unwrap().read_to_string(&mut progress).unwrap();
    assert!(draining.wait().unwrap().success());
    assert!(progress.contains(" s left"), "{progress}");
    assert!(rope.refuses(&["status"], 1).contains("not running"));
}

/// HTTP does not travel yet: its connections come to their end in the old process, and nobody who comes is refused.
#[test]
fn an_upgrade_refuses_nobody_with_several_loops_either() {
    let rope = Rope::new(&BOTH.replace("grace = 2", "grace = 2\nworkers = 2"));
    rope.does(&["start"]);
    let site = rope.port("site");
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stop = std::sync::Arc::clone(&over);
    let visits = std::thread::spawn(move || {
        let mut count = 0;
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            assert_eq!(get(site, "/").text(), "hello");
            count += 1;
        }
        count
    });
    let mut pids = vec![rope.pid().unwrap()];
    for _ in 0..3 {
        rope.does(&["upgrade"]);
        let pid = rope.pid().unwrap();
        assert!(!pids.contains(&pid));
        pids.push(pid);
        assert_eq!(rope.port("site"), site);
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(visits.join().expect("everybody was answered") > 3);
    // A configuration that does not hold any more does not cost the one that runs.
    rope.configure("[services.site]\nkind = \"wbe\"");
    let said = rope.refuses(&["upgrade", "--rundir", "run"], 1);
    assert!(said.contains("serves on") && said.contains("write \"web\""), "{said}");
    assert_eq!(get(site, "/").text(), "hello");
}

#[test]
fn systemd_is_told() {
    let rope = Rope::new(BOTH);
    let socket = rope.folder.path().join("notify");
    let notify = UnixDatagram::bind(&socket).unwrap();
    notify.set_read_timeout(Some(PATIENCE)).unwrap();
    let hears = |what: &str| {
        let mut heard = [0; 1000];
        loop {
            let count = notify.recv(&mut heard).expect(what);
            let text = String::from_utf8_lossy(&heard[..count]).into_owned();
            if text.contains(what) {
                return text;
            }
        }
    };
    let mut command = ropewalk(&["run"]);
    command.current_dir(rope.folder.path()).env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "40000");
    let program = Program::spawn(command, 3);
    assert!(hears("READY=1").contains(&format!("MAINPID={}", program.id())));
    hears("WATCHDOG=1");
    hears("WATCHDOG=1");
    rope.does(&["reload"]);
    assert!(hears("RELOADING=1").contains("MONOTONIC_USEC="));
    hears("READY=1");
    assert_eq!(program.stop().code, Some(0));
    hears("STOPPING=1");
    let unit = rope.does(&["unit"]);
    assert!(unit.contains("Type=notify") && unit.contains(" run --rundir %S/ropewalk"), "{unit}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(rope.does(&["completions", shell]).contains("upgrade"), "{shell}");
    }
}

/// Stores, of which only one process may have each open, go along.
const STORES: &str = r#"
grace = 2
rundir = "run"
access-log = "access.log"
log = "program.log"

[services.push]
kind = "push"
listen = "tcp:0"
store = "data"

[services.hub]
kind = "hub"
listen = "tcp:0"
store = "data"
token = "secret"

[services.ftp]
kind = "ftp"
root = "public"
listen = "tcp:0"
"#;

fn post(port: u16, channel: &str, text: &str) -> u64 {
    let length = text.len();
    let request = format!(
        "POST /channels/{channel} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    );
    let reply = exchange(port, &request);
    assert_eq!(reply.status, 201, "{}", reply.text());
    let answer: serde_json::Value = serde_json::from_str(reply.text()).unwrap();
    answer["id"].as_str().unwrap().parse().unwrap()
}

#[test]
fn what_is_stored_goes_from_process_to_process() {
    let rope = Rope::new(STORES);
    assert_eq!(rope.does(&["check"]), "ropewalk.toml: no mistakes; services: 3\n");
    assert!(!rope.folder.path().join("data").exists(), "looking opens nothing");
    rope.does(&["start"]);
    let ports = ["push", "hub", "ftp"].map(|service| rope.port(service));
    let [push, hub, ftp] = ports;
    let mut ids = vec![post(push, "news", "before")];
    for round in 0..2 {
        let before = rope.pid();
        let said = rope.does(&["upgrade"]);
        assert!(said.contains("goes on"), "{said}");
        assert_ne!(rope.pid(), before);
        assert_eq!(ports, ["push", "hub", "ftp"].map(|service| rope.port(service)));
        ids.push(post(push, "news", &format!("after {round}")));
    }
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    let request =
        format!("GET /channels/news?since=0 HTTP/1.1\r\nHost: 127.0.0.1:{push}\r\nConnection: close\r\n\r\n");
    let kept: serde_json::Value = serde_json::from_str(exchange(push, &request).text()).unwrap();
    let texts: Vec<&str> =
        kept["events"].as_array().unwrap().iter().map(|event| event["data"].as_str().unwrap()).collect();
    assert_eq!(texts, ["before", "after 0", "after 1"]);
    assert!(get(hub, "/").text().contains("WebSub"));
    let mut greeting = String::new();
    BufReader::new(connect(ftp)).read_line(&mut greeting).unwrap();
    assert!(greeting.starts_with("220 "), "{greeting}");
    // The logs are put aside, and shown.
    let said = rope.does(&["rotate"]);
    assert_eq!(said.lines().count(), 2, "{said}");
    rope.does(&["upgrade"]);
    let shown = rope.does(&["logs", "-n", "1"]);
    assert!(shown.contains("goes on with"), "{shown}");
    rope.does(&["stop"]);
}

#[test]
fn root_is_given_up_once_everything_is_bound() {
    // Only root has something to give up.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let rope = Rope::new(BOTH);
    std::fs::set_permissions(rope.folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    rope.does(&["start", "--user", "65534", "--group", "65533", "--umask", "027"]);
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", rope.pid().unwrap().as_raw_nonzero())).unwrap();
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert_eq!(line("Uid:"), "Uid:\t65534\t65534\t65534\t65534");
    assert_eq!(line("Gid:"), "Gid:\t65533\t65533\t65533\t65533");
    assert_eq!(line("Umask:"), "Umask:\t0027");
    let site = rope.port("site");
    assert_eq!(get(site, "/").text(), "hello");
    assert!(rope.does(&["save"]).contains("ropewalk.state"), "the new user may write there");
    // The next process is theirs from the first moment on. It needs to be let in where the program is.
    let reachable = Path::new(env!("CARGO_BIN_EXE_ropewalk")).ancestors().skip(1).all(|folder| {
        std::os::unix::fs::PermissionsExt::mode(&folder.metadata().unwrap().permissions()) & 0o001 != 0
    });
    if reachable {
        let before = rope.pid();
        rope.does(&["upgrade"]);
        assert_ne!(rope.pid(), before);
        assert_eq!(get(site, "/").text(), "hello");
    }
    rope.does(&["stop"]);
    assert!(rope.refuses(&["status"], 1).contains("not running"));
}

#[test]
fn a_run_directory_that_cannot_be_one_is_refused() {
    let rope = Rope::new(BOTH);
    rope.folder.write("file", "");
    let long = "x".repeat(120);
    for (rundir, code, said) in
        [("file", 1, "it is no folder"), (long.as_str(), 1, "choose a shorter --rundir")]
    {
        let error = rope.refuses(&["start", "--rundir", rundir], code);
        assert!(error.contains(said) && error.lines().count() == 1, "{rundir}: {error}");
    }
    let error = rope.refuses(&["run", "--rundir", "file"], 2);
    assert!(error.contains("it is no folder"), "{error}");
    let error = rope.refuses(&["run", "--handover", "start"], 2);
    assert!(error.contains("not for people"), "{error}");
    let mut both = Command::new("sh");
    both.args(["-c", "echo | \"$0\" run --handover=upgrade", env!("CARGO_BIN_EXE_ropewalk")]);
    let output = both.current_dir(Path::new(rope.folder.path())).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
