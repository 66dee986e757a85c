//! `ropewalk web --hub`, `ropewalk hub` and `ropewalk subscribe` as processes: from a change of a file on disk to who has subscribed.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::time::Instant;

use rustix::process::{Pid, Signal, test_kill_process};
use serde_json::Value;
use support::*;

const LOCAL: [&str; 6] =
    ["--allow-topics", "127.0.0.0/8", "--allow-callbacks", "127.0.0.0/8", "--token", "let me in"];

/// A site that publishes, and its hub.
struct Scene {
    folder: Folder,
    hub: Program,
    web: Program,
}

impl Scene {
    fn new(web: &[&str]) -> Scene {
        let folder = Folder::new();
        std::fs::create_dir(folder.path().join("site")).unwrap();
        folder.write("site/feed.atom", "<feed>first</feed>");
        let hub = ["hub", "--listen", "tcp:0", "--store", &folder.name("hub")];
        let hub = Program::start(&[&hub[..], &LOCAL].concat(), 1);
        let url = format!("http://127.0.0.1:{}/hub", hub.port("hub"));
        let site = folder.name("site");
        let all = [&["web", &site, "--listen", "tcp:0", "--hub", &url], web].concat();
        let web = Program::start(&all, 1);
        Scene { folder, hub, web }
    }

    fn page(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.web.port("web"))
    }

    fn publish(&self, text: &str) {
        self.folder.write("site/feed.atom", format!("<feed>{text}</feed>"));
    }

    /// A subscriber of the feed, when the hub knows it.
    fn subscribe(&self, words: &[&str]) -> Program {
        let (page, store) = (self.page("feed.atom"), self.folder.name("subscriber"));
        let own = ["subscribe", &page, "--listen", "tcp:0", "--store", &store];
        let program = Program::start(&[&own[..], words].concat(), 1);
        // Four commits of two programs, on a disk that others may keep busy: more patience than usual.
        let until = Instant::now() + 3 * PATIENCE;
        while self.subscriptions().is_empty() {
            assert!(Instant::now() < until, "the hub has no subscription");
        }
        program
    }

    fn state(&self, method: &str, target: &str, form: &str) -> Value {
        let fields = format!(
            "Host: x\r\nConnection: close\r\nAuthorization: Bearer let me in\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}",
            form.len()
        );
        let request = format!("{method} {target} HTTP/1.1\r\n{fields}\r\n\r\n{form}");
        let reply = exchange(self.hub.port("hub"), &request);
        serde_json::from_str(reply.text()).unwrap_or_else(|_| panic!("{}", reply.text()))
    }

    fn subscriptions(&self) -> Vec<Value> {
        self.state("GET", "/state/subscriptions", "")["subscriptions"].as_array().unwrap().clone()
    }

    /// Lets the hub deliver again at once, when it has failed to.
    fn retry(&self) {
        eventually("a delivery has failed", || self.subscriptions()[0].to_string().contains("500"));
        let one = &self.subscriptions()[0];
        let field = |name: &str| one[name].as_str().unwrap().to_owned();
        let form = format!("topic={}&callback={}", field("topic"), field("callback"));
        assert_eq!(self.state("POST", "/state/retry", &form)["retried"], 1);
    }
}

fn delivery(subscriber: &mut Program) -> Value {
    loop {
        let line = subscriber.line().expect("it goes on");
        // Before the first one it says where it listens.
        if line.starts_with('{') {
            return serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        }
    }
}

#[test]
fn a_change_on_disk_is_a_line_of_the_subscriber() {
    let scene = Scene::new(&["--workers", "2"]);
    let hub = format!("<http://127.0.0.1:{}/hub>; rel=\"hub\"", scene.hub.port("hub"));
    for _ in 0..8 {
        // On whichever worker.
        let reply = get(scene.web.port("web"), "/feed.atom");
        assert_eq!(
            reply.field("link"),
            Some(&*format!("{hub}, <{}>; rel=\"self\"", scene.page("feed.atom"))),
            "{}",
            reply.head
        );
    }
    let mut subscriber = scene.subscribe(&[]);
    scene.publish("second");
    let got = delivery(&mut subscriber);
    assert_eq!(got["body"], "<feed>second</feed>");
    assert_eq!(got["topic"], Value::from(scene.page("feed.atom")));
    assert_eq!((&got["type"], &got["polled"]), (&"application/atom+xml".into(), &false.into()));
    scene.publish("third");
    assert_eq!(delivery(&mut subscriber)["body"], "<feed>third</feed>");
    // The workers are two, and who pings is one.
    assert_eq!(scene.state("GET", "/state", "")["counts"]["pings"], 2);
    assert_eq!((subscriber.stop().code, scene.web.stop().code), (Some(0), Some(0)));
}

#[test]
fn folders_that_come_later_are_watched_too() {
    let scene = Scene::new(&[]);
    let pinged = |count: u64| {
        eventually("the hub was told", || scene.state("GET", "/state", "")["counts"]["pings"] == count);
    };
    let folder = scene.folder.path().join("site/2026/november");
    std::fs::create_dir_all(&folder).unwrap();
    scene.folder.write("site/2026/november/one.html", "one");
    pinged(1);
    // The slow look comes once a minute: this one the system has told.
    scene.folder.write("site/2026/november/two.html", "two");
    pinged(2);
    std::fs::rename(&folder, scene.folder.path().join("site/2026/december")).unwrap();
    pinged(6);
    scene.folder.write("site/2026/december/three.html", "three");
    pinged(7);
    std::fs::remove_file(scene.folder.path().join("site/feed.atom")).unwrap();
    pinged(8);
}

#[test]
fn a_public_url_is_what_pages_and_pings_say() {
    let scene = Scene::new(&["--url", "https://blog.example/news/"]);
    let link = get(scene.web.port("web"), "/feed.atom");
    assert!(link.field("link").unwrap().ends_with("<https://blog.example/news/feed.atom>; rel=\"self\""));
    scene.publish("second");
    eventually("the hub was told", || scene.state("GET", "/state", "")["counts"]["pings"] == 1);
}

#[test]
fn a_command_takes_deliveries_or_lets_the_hub_come_again() {
    let scene = Scene::new(&[]);
    let (refuse, got) = (scene.folder.write("refuse", ""), scene.folder.name("got"));
    let command = format!(
        "test ! -e {refuse} && {{ echo $WEBSUB_TOPIC $CONTENT_TYPE; cat; }} > {got}.new && mv {got}.new {got}"
    );
    let subscriber = scene.subscribe(&["--exec", &command]);
    scene.publish("second");
    eventually("it was refused", || scene.subscriptions()[0].to_string().contains("500"));
    assert!(!scene.folder.names().contains(&"got".to_owned()));
    std::fs::remove_file(&refuse).unwrap();
    scene.retry();
    let whole = format!("{} application/atom+xml\n<feed>second</feed>", scene.page("feed.atom"));
    eventually("it is there", || std::fs::read_to_string(&got).is_ok_and(|text| text == whole));
    assert_eq!(subscriber.stop().code, Some(0));
}

#[test]
fn a_command_that_hangs_is_ended_with_all_that_it_has_started() {
    let scene = Scene::new(&[]);
    let process = scene.folder.name("process");
    let command = format!("sleep 1000 & echo $! > {process}.new; mv {process}.new {process}; wait");
    let subscriber = scene.subscribe(&["--exec", &command, "--limit", "1s"]);
    scene.publish("second");
    eventually("it was given up", || scene.subscriptions()[0].to_string().contains("500"));
    let process: i32 = std::fs::read_to_string(&process).unwrap().trim().parse().unwrap();
    let process = Pid::from_raw(process).unwrap();
    eventually("its child has gone", || test_kill_process(process).is_err() || is_zombie(process));
    assert_eq!(subscriber.stop().code, Some(0));
}

/// Whoever adopted it may be slow to bury it.
fn is_zombie(process: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    status.map_or(true, |status| status.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('Z')))
}

#[test]
fn a_channel_of_push_shows_deliveries_live() {
    let scene = Scene::new(&[]);
    let push = Program::start(&["push", "--listen", "tcp:0"], 1);
    let channel = format!("http://127.0.0.1:{}/channels/news", push.port("push"));
    let mut viewer = BufReader::new(connect(push.port("push")));
    let fields = "Host: localhost\r\nAccept: application/x-ndjson";
    write!(viewer.get_mut(), "GET /channels/news?since=0 HTTP/1.1\r\n{fields}\r\n\r\n").unwrap();
    let _subscriber = scene.subscribe(&["--push", &channel]);
    scene.publish("second");
    let mut line = String::new();
    while !line.contains("\"data\"") {
        line.clear();
        assert!(viewer.read_line(&mut line).unwrap() > 0, "the stream goes on");
    }
    assert!(line.contains("\"data\":\"<feed>second</feed>\""), "{line}");
}

#[test]
fn subscriptions_outlive_a_kill_and_end_only_when_asked() {
    let scene = Scene::new(&[]);
    let first = scene.subscribe(&[]);
    let port = first.port("callbacks");
    let callback = scene.subscriptions()[0]["callback"].clone();
    first.signal(Signal::KILL);
    drop(first);
    // It is where it was, and knows what it had.
    let (page, store, listen) =
        (scene.page("feed.atom"), scene.folder.name("subscriber"), format!("tcp:{port}"));
    let words = ["subscribe", &page, "--listen", &listen, "--store", &store];
    let mut second = Program::start(&words, 1);
    scene.publish("second");
    assert_eq!(delivery(&mut second)["body"], "<feed>second</feed>");
    assert_eq!(second.stop().code, Some(0));
    let left = scene.subscriptions();
    assert_eq!((left.len(), &left[0]["callback"]), (1, &callback), "a stop is not the end of it");
    let third = Program::start(&[&words[..], &["--unsubscribe"]].concat(), 1);
    assert_eq!(third.stop().code, Some(0));
    // It has asked back before the program ended.
    eventually("the subscription has ended", || scene.subscriptions().is_empty());
}

#[test]
fn all_of_it_can_stand_in_one_configuration() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("site")).unwrap();
    let file = folder.write(
        "ropewalk.toml",
        "[services.site]\nkind = \"web\"\npath = \"site\"\nlisten = \"tcp:0\"\nhub = [\"http://127.0.0.1:8081/hub\"]\n\
         url = \"http://127.0.0.1:8080/\"\n[services.hub]\nkind = \"hub\"\nlisten = \"tcp:0\"\n\
         [services.reader]\nkind = \"subscribe\"\ntopics = [\"http://127.0.0.1:8080/\"]\nlisten = \"tcp:0\"\n\
         callback-base = \"http://127.0.0.1:8082/\"\nexec = \"cat\"\nat-once = 2\n",
    );
    let checked = run(&["check", &file]);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    assert!(checked.stdout.contains("services: 3"), "{}", checked.stdout);
    let program = Program::start(&["run", &file], 3);
    assert!(program.port("site/web") > 0 && program.port("reader/callbacks") > 0);
    assert_eq!(program.stop().code, Some(0));
}

#[test]
fn wrong_usage_is_one_line() {
    let folder = Folder::new();
    let site = folder.path().to_str().unwrap();
    let topic = "http://127.0.0.1:1/";
    let table: [(&[&str], &[&str]); 7] = [
        (&["web", site, "--hub", "hub.example"], &["--hub", "http"]),
        (&["web", site, "--url", "http://x/"], &["--hub"]),
        (&["subscribe"], &["<TOPIC>"]),
        (&["subscribe", topic, "--exec", "cat", "--push", "http://x/"], &["--exec", "--push"]),
        (&["subscribe", topic, "--at-once", "0"], &["from 1 on"]),
        (&["subscribe", topic, "--push-token", "x"], &["--push"]),
        (&["subscribe", topic, "--lease", "soon"], &["90s"]),
    ];
    for (arguments, said) in table {
        let line = refused(arguments);
        for part in said {
            assert!(line.contains(part), "{arguments:?} does not say {part:?}: {line}");
        }
    }
    let socket = format!("unix:{}", folder.name("socket"));
    let wants: [(&[&str], &str); 2] = [
        (&["web", site, "--listen", &socket, "--hub", "http://x/"], "--url"),
        (&["subscribe", topic, "--listen", &socket, "--store", site], "--callback-base"),
    ];
    for (arguments, option) in wants {
        let ended = run(arguments);
        assert!(ended.code != Some(0) && ended.stderr.contains(option), "{}", ended.stderr);
    }
}
