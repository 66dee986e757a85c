//! `ropewalk hub`: a hub as a process, with a publisher and a subscriber at real sockets, killed and started again.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use ropewalk::web::{Request, Response, Router, Site};
use rustix::process::Signal;
use support::*;

const LOCAL: [&str; 6] =
    ["--allow-topics", "127.0.0.0/8", "--allow-callbacks", "127.0.0.0/8", "--token", "let me in"];

/// A publisher and a subscriber in one.
struct Peers {
    server: Server<u16>,
    content: Arc<Mutex<String>>,
    status: Arc<AtomicU16>,
    got: Receiver<String>,
    asked: Receiver<String>,
}

impl Peers {
    fn start() -> Peers {
        let (content, status) = (Arc::new(Mutex::new(String::new())), Arc::new(AtomicU16::new(204)));
        let (tell, got) = channel();
        let (say, asked) = channel();
        let (served, answered) = (Arc::clone(&content), Arc::clone(&status));
        let server = Server::start(move |reactor| {
            let router = Router::new()
                .get("/topic", move |_| Response::text(served.lock().unwrap().clone()))
                .get("/cb", move |request: Request| {
                    say.send(request.argument("hub.mode").unwrap_or_default()).unwrap();
                    Response::text(request.argument("hub.challenge").unwrap_or_default())
                })
                .post("/cb", move |request: Request| {
                    let (tell, status) = (tell.clone(), answered.load(Ordering::SeqCst));
                    async move {
                        let text = request.text().await?;
                        // The test may have seen enough.
                        let _ = tell.send(text);
                        Ok::<_, ropewalk::web::BodyError>(Response::empty(status))
                    }
                });
            listen_tcp(reactor, Site::new(router))
        });
        Peers { server, content, status, got, asked }
    }

    fn topic(&self) -> String {
        format!("http://127.0.0.1:{}/topic", self.server.place)
    }

    fn callback(&self) -> String {
        format!("http://127.0.0.1:{}/cb", self.server.place)
    }

    fn publish(&self, hub: &Program, text: &str) {
        text.clone_into(&mut self.content.lock().unwrap());
        assert_eq!(post(hub, &format!("hub.mode=publish&hub.url={}", self.topic())).status, 204);
    }

    fn wish(&self, hub: &Program, mode: &str) {
        let form = format!("hub.mode={mode}&hub.topic={}&hub.callback={}", self.topic(), self.callback());
        assert_eq!(post(hub, &form).status, 202);
    }

    fn wait_asked(&self, mode: &str) {
        assert_eq!(self.asked.recv_timeout(PATIENCE).unwrap(), mode);
    }

    /// Passes over what came twice.
    fn wait_for(&self, text: &str) {
        while self.got.recv_timeout(PATIENCE).expect("it is delivered") != text {}
    }
}

fn start(store: &str) -> Program {
    let mut arguments = vec!["hub", "--listen", "tcp:0", "--store", store];
    arguments.extend(LOCAL);
    Program::start(&arguments, 1)
}

fn post(hub: &Program, form: &str) -> Reply {
    let length = form.len();
    let fields = "Host: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded";
    exchange(
        hub.port("hub"),
        &format!("POST /hub HTTP/1.1\r\n{fields}\r\nContent-Length: {length}\r\n\r\n{form}"),
    )
}

fn subscriptions(hub: &Program) -> String {
    let fields = "Host: x\r\nConnection: close\r\nAuthorization: Bearer let me in";
    let request = format!("GET /state/subscriptions HTTP/1.1\r\n{fields}\r\n\r\n");
    exchange(hub.port("hub"), &request).text().to_owned()
}

#[test]
fn what_was_answered_outlives_a_kill() {
    let (folder, peers) = (Folder::new(), Peers::start());
    let store = folder.name("store");
    let mut hub = start(&store);
    // A wish that was taken is verified by whoever comes next.
    peers.wish(&hub, "subscribe");
    hub.signal(Signal::KILL);
    drop(hub);
    hub = start(&store);
    eventually("it is subscribed", || subscriptions(&hub).contains("\"total\":1"));
    for round in 0..8 {
        let text = format!("round {round}");
        peers.publish(&hub, &text);
        if round % 2 == 1 {
            // Somewhere between the fetch and the end of the delivery.
            peers.wait_for(&text);
        }
        hub.signal(Signal::KILL);
        drop(hub);
        hub = start(&store);
        if round % 2 == 0 {
            peers.wait_for(&text);
        }
    }
    assert_eq!(hub.stop().code, Some(0));
}

#[test]
fn the_program_from_a_subscription_to_its_end() {
    let (folder, peers) = (Folder::new(), Peers::start());
    let hub = start(&folder.name("store"));
    let port = hub.port("hub");
    let front = get(port, "/");
    assert!(
        front.status == 200 && front.text().contains(&format!("http://127.0.0.1:{port}/hub")),
        "{}",
        front.text()
    );
    assert_eq!(get(port, "/state").status, 401);
    peers.wish(&hub, "subscribe");
    peers.wait_asked("subscribe");
    eventually("it is subscribed", || subscriptions(&hub).contains("\"total\":1"));
    peers.publish(&hub, "news");
    peers.wait_for("news");

    let url = format!("http://127.0.0.1:{port}/hub");
    let ask = |words: &[&str]| {
        let mut all = vec!["hub"];
        all.extend(words);
        all.extend(["--url", &url, "--token", "let me in"]);
        run(&all)
    };
    let listed = ask(&["list"]);
    assert!(
        listed.code == Some(0) && listed.stdout.contains(&peers.callback()),
        "{}{}",
        listed.stdout,
        listed.stderr
    );
    assert!(ask(&["list", "topics"]).stdout.contains(&peers.topic()));
    assert!(ask(&["show"]).stdout.contains("\"delivered\": 1"));
    let (topic, callback) = (peers.topic(), peers.callback());
    assert!(ask(&["show", &topic, &callback]).stdout.contains("\"lease_seconds_left\""));
    assert!(ask(&["retry", &topic, &callback]).stdout.contains("\"retried\": 1"));
    peers.wait_for("news");
    assert!(ask(&["deny", &topic, &callback, "--reason", "closed"]).stdout.contains("\"denied\": 1"));
    peers.wait_asked("denied");
    assert_eq!(ask(&["list"]).stdout, "");
    let refused = run(&["hub", "list", "--url", &url, "--token", "guess"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("token"), "{}", refused.stderr);
    assert_eq!(hub.stop().code, Some(0));
}

#[test]
fn without_lists_nothing_local_is_contacted() {
    let (folder, peers) = (Folder::new(), Peers::start());
    let hub = Program::start(&["hub", "--listen", "tcp:0", "--store", &folder.name("store")], 1);
    let form = format!("hub.mode=subscribe&hub.topic=http://example.org/&hub.callback={}", peers.callback());
    let reply = post(&hub, &form);
    assert!(reply.status == 403 && reply.text().contains("hub.callback"), "{}", reply.text());
    assert!(peers.asked.try_recv().is_err());
    assert_eq!(get(hub.port("hub"), "/state").status, 404, "without a token there is no state to see");
}

#[test]
fn a_subscriber_that_is_gone_ends_its_subscription() {
    let (folder, peers) = (Folder::new(), Peers::start());
    let hub = start(&folder.name("store"));
    peers.wish(&hub, "subscribe");
    eventually("it is subscribed", || subscriptions(&hub).contains("\"total\":1"));
    peers.status.store(410, Ordering::SeqCst);
    peers.publish(&hub, "last");
    peers.wait_for("last");
    eventually("it is not any more", || subscriptions(&hub).contains("\"total\":0"));
}

#[test]
fn wrong_usage_is_one_line() {
    let folder = Folder::new();
    let file = folder.write("file", "");
    let store = folder.name("store");
    let _first = start(&store);
    let table: [(&[&str], &[&str]); 6] = [
        (&["hub", "--allow-topics", "10.0.0.0/99"], &["10.0.0.0/99", "10.0.0.0/8"]),
        (&["hub", "--url", "hub.example"], &["--url", "http"]),
        (&["hub", "--signature", "md5"], &["md5", "sha256"]),
        (&["hub", "--listen", "tcp:0", "--store", &file], &[&file, "--store"]),
        (&["hub", "--listen", "tcp:0", "--store", &store], &["in use"]),
        (&["hub", "retry", "--url", "http://x/", "--token", "t"], &["<TOPIC>"]),
    ];
    for (arguments, said) in table {
        let line = refused(arguments);
        for part in said {
            assert!(line.contains(part), "{arguments:?} does not say {part:?}: {line}");
        }
    }
}
