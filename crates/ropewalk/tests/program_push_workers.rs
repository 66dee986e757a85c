//! `ropewalk push --workers 4`: one history for all loops. Connections are spread by the system, so each test has many.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;

use rustix::process::Signal;
use serde_json::Value;
use support::*;

/// Connections of which each of four workers has some: that one has none happens once in 10⁵ times.
const MANY: usize = 48;

fn push(arguments: &[&str]) -> Program {
    Program::start(
        &[&["push", "--listen", "tcp:0", "--workers", "4", "--access-log", "none"], arguments].concat(),
        1,
    )
}

fn ask(port: u16, method: &str, target: &str, fields: &str, body: &str) -> Reply {
    let length = body.len();
    exchange(
        port,
        &format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
        ),
    )
}

fn json(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}\n{}", reply.head, reply.text());
    serde_json::from_str(reply.text()).unwrap()
}

fn id_of(value: &Value) -> u64 {
    value["id"].as_str().unwrap_or_else(|| panic!("{value}")).parse().unwrap()
}

/// Publishes on a connection of its own, and answers the id.
fn publish(port: u16, name: &str, text: &str) -> u64 {
    let reply = ask(port, "POST", &format!("/channels/{name}"), "", text);
    assert_eq!(reply.status, 201, "{}", reply.head);
    id_of(&serde_json::from_str(reply.text()).unwrap())
}

/// Sends a request, and reads the head of its answer.
fn open(port: u16, target: &str, fields: &str) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(connect(port));
    write!(stream.get_mut(), "GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\n{fields}\r\n").unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 200 ") || line.starts_with("HTTP/1.1 101 "), "{line}");
    while line != "\r\n" {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the head ended early");
    }
    stream
}

type Heard = Vec<(u64, String)>;

/// The forms of reading, each until `end`.
#[derive(Clone, Copy, Debug)]
enum Form {
    Sse,
    Lines,
    Poll,
    Socket,
}

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

impl Form {
    const ALL: [Form; 4] = [Form::Sse, Form::Lines, Form::Poll, Form::Socket];

    fn read(self, port: u16, target: &str, since: u64) -> Heard {
        let from = format!("{target}&since={since}");
        match self {
            Form::Sse => {
                let mut stream = open(port, &from, "Accept: text/event-stream\r\n");
                let mut id = 0;
                collect(|| {
                    loop {
                        let line = line_of(&mut stream);
                        assert!(!line.starts_with("event:"), "neither a gap nor bytes: {line}");
                        if let Some(told) = line.strip_prefix("id: ") {
                            id = told.parse().unwrap();
                        }
                        if let Some(data) = line.strip_prefix("data: ") {
                            return vec![(id, data.to_owned())];
                        }
                    }
                })
            }
            Form::Lines => {
                let mut stream = open(port, &from, "Accept: application/x-ndjson\r\n");
                collect(|| events(&line_of(&mut stream)))
            }
            Form::Poll => {
                let mut place = since;
                collect(|| {
                    let reply = ask(port, "GET", &format!("{target}&since={place}"), "", "");
                    if reply.status == 204 {
                        return Vec::new();
                    }
                    let answer = json(&reply);
                    assert!(answer.get("gap").is_none(), "{answer}");
                    place = answer["next"].as_str().unwrap().parse().unwrap();
                    answer["events"].as_array().unwrap().iter().map(event).collect()
                })
            }
            Form::Socket => {
                let mut stream = open(port, &from, UPGRADE);
                collect(|| match frame(&mut stream) {
                    Some(text) => events(&text),
                    None => Vec::new(),
                })
            }
        }
    }
}

fn collect(mut next: impl FnMut() -> Heard) -> Heard {
    let mut heard = Heard::new();
    while heard.last().is_none_or(|(_, text)| text != "end") {
        heard.extend(next());
    }
    heard
}

fn line_of(stream: &mut impl BufRead) -> String {
    let mut line = String::new();
    assert!(stream.read_line(&mut line).unwrap() > 0, "the stream goes on");
    line.trim_end_matches(['\r', '\n']).to_owned()
}

fn event(value: &Value) -> (u64, String) {
    (id_of(value), value["data"].as_str().unwrap_or_else(|| panic!("{value}")).to_owned())
}

/// What a line, or a message, tells: an event, or what is none.
fn events(text: &str) -> Heard {
    if text.is_empty() {
        return Heard::new();
    }
    let value: Value = serde_json::from_str(text).unwrap();
    assert!(value.get("gap").is_none() && value.get("error").is_none(), "{value}");
    if value.get("data").is_some() { vec![event(&value)] } else { Heard::new() }
}

/// The next frame of a server (RFC 6455 section 5.2), if it is text.
fn frame(stream: &mut impl Read) -> Option<String> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            usize::from(u16::from_be_bytes(length))
        }
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).unwrap();
    (head[0] == 0x81).then(|| String::from_utf8(payload).unwrap())
}

/// Sends a short text as a client does, masked by zeros.
fn send(stream: &mut impl Write, text: &str) {
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 126).unwrap();
    let mut bytes = vec![0x81, 0x80 | length, 0, 0, 0, 0];
    bytes.extend(text.as_bytes());
    stream.write_all(&bytes).unwrap();
}

/// Publishes over a WebSocket, each when the one before was answered.
fn publish_by_socket(port: u16, name: &str, texts: &[String]) -> Heard {
    let mut stream = open(port, "/channels", UPGRADE);
    let mut answered = Heard::new();
    for text in texts {
        send(stream.get_mut(), &format!("{{\"publish\":\"{name}\",\"data\":\"{text}\"}}"));
        let answer = std::iter::repeat_with(|| frame(&mut stream)).flatten().next().unwrap();
        answered.push((id_of(&serde_json::from_str(&answer).unwrap()), text.clone()));
    }
    answered
}

/// Publishers beside each other: half of them over WebSocket, half of them with a connection for each event.
fn publishers(port: u16, name: &'static str, count: usize, each: usize) -> Heard {
    let threads: Vec<JoinHandle<Heard>> = (0..count)
        .map(|number| {
            let texts: Vec<String> = (0..each).map(|event| format!("{number}.{event}")).collect();
            std::thread::spawn(move || match number % 2 {
                0 => publish_by_socket(port, name, &texts),
                _ => texts.into_iter().map(|text| (publish(port, name, &text), text)).collect(),
            })
        })
        .collect();
    let mut answered: Heard = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    answered.sort_unstable();
    answered
}

/// What each loop has to look after.
fn sources(rundir: &str) -> Vec<u64> {
    let output = ropewalk(&["status", "--json", "--rundir", rundir]).output().unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    status["loops"].as_array().unwrap().iter().map(|found| found["sources"].as_u64().unwrap()).collect()
}

#[test]
fn every_reader_gets_every_event_once_and_in_one_order() {
    let folder = Folder::new();
    let rundir = folder.name("run");
    let program = push(&["--rundir", &rundir]);
    let port = program.port("push");
    let since = publish(port, "news", "before");
    let before = sources(&rundir);
    assert_eq!(before.len(), 4, "{before:?}");
    let readers: Vec<_> = (0..MANY)
        .map(|number| {
            let form = Form::ALL[number % 4];
            // Each name twice.
            let target = format!("/channels/news?name=r{}", number / 2);
            (form, std::thread::spawn(move || form.read(port, &target, since)))
        })
        .collect();
    // Whoever is asked knows all of them; the question is a connection of its own, to any worker.
    eventually("all are there", || {
        json(&ask(port, "GET", "/channels/news/presence", "", ""))["count"] == MANY
    });
    for _ in 0..MANY / 2 {
        let presence = json(&ask(port, "GET", "/channels/news/presence", "", ""));
        assert_eq!(presence["count"], MANY);
        let names = presence["names"].as_object().unwrap();
        assert!(names.len() == MANY / 2 && names.values().all(|times| *times == 2), "{presence}");
        let list = json(&ask(port, "GET", "/channels", "", ""));
        assert_eq!(
            (&list["viewers"], &list["channels"][0]["viewers"]),
            (&MANY.into(), &MANY.into()),
            "{list}"
        );
        assert_eq!(json(&ask(port, "GET", "/channels/news", "", ""))["viewers"], MANY);
    }
    let now = sources(&rundir);
    assert!(
        now.iter().zip(&before).all(|(now, before)| now > before),
        "each has readers: {before:?} {now:?}"
    );
    let mut expected = publishers(port, "news", 8, 25);
    expected.push((publish(port, "news", "end"), "end".to_owned()));
    for (form, reader) in readers {
        assert!(reader.join().unwrap() == expected, "{form:?} has something else");
    }
    // The state is one on all workers, too.
    for _ in 0..MANY / 2 {
        let found = json(&ask(port, "GET", "/channels/news", "", ""));
        assert_eq!((&found["events"], &found["durable"]), (&202.into(), &false.into()), "{found}");
        assert_eq!(found["last"], expected.last().unwrap().0.to_string());
    }
    let ended = program.stop();
    assert_eq!((ended.code, ended.stderr.contains("#error]")), (Some(0), false), "{}", ended.stderr);
}

#[test]
fn a_reader_comes_back_to_any_worker_at_any_id() {
    let program = push(&[]);
    let port = program.port("push");
    let mut ids = vec![publish(port, "news", "0")];
    for round in 1..MANY {
        // 1. An id that was answered just now is known wherever its reader comes: no gap, and nothing twice.
        let last = *ids.last().unwrap();
        let target = format!("/channels/news?since={last}");
        let mut lines = open(port, &target, "Accept: application/x-ndjson\r\n");
        let id = publish(port, "news", &round.to_string());
        assert_eq!(events(&line_of(&mut lines)), [(id, round.to_string())]);
        ids.push(id);
        // 2. What was answered just now is seen by who asks for everything, or for the last.
        for (target, count) in [("since=0", ids.len()), ("last=1", 1)] {
            let answer = json(&ask(port, "GET", &format!("/channels/news?{target}"), "", ""));
            let found = answer["events"].as_array().unwrap();
            assert!(found.len() == count && id_of(found.last().unwrap()) == id, "{target}: {answer}");
        }
        // 3. Any place will do.
        let at = round * 7 % ids.len().max(2) / 2;
        let answer = json(&ask(port, "GET", &format!("/channels/news?since={}", ids[at]), "", ""));
        let found: Vec<u64> = answer["events"].as_array().unwrap().iter().map(id_of).collect();
        assert_eq!(found, ids[at + 1..], "{answer}");
    }
}

#[test]
fn a_client_that_acknowledges_has_its_place_on_all_workers() {
    let program = push(&[]);
    let port = program.port("push");
    for _ in 0..MANY / 4 {
        assert_eq!(ask(port, "POST", "/channels/none/ack?client=ann&id=1", "", "").status, 404);
        assert_eq!(ask(port, "GET", "/channels/none", "", "").status, 404);
        assert_eq!(ask(port, "GET", "/channels/none/presence", "", "").status, 404);
    }
    assert_eq!(json(&ask(port, "GET", "/channels", "", ""))["channels"].as_array().unwrap().len(), 0);
    publish(port, "jobs", "first");
    let poll = || json(&ask(port, "GET", "/channels/jobs?ack=ann&since=0", "", ""));
    for round in 0..MANY {
        // Twice the same, until it is acknowledged.
        let (one, two) = (poll(), poll());
        assert_eq!(one, two);
        assert_eq!(one["events"].as_array().unwrap().len(), 1, "round {round}: {one}");
        let id = id_of(&one["events"][0]);
        let acknowledged = ask(port, "POST", &format!("/channels/jobs/ack?client=ann&id={id}"), "", "");
        assert_eq!(id_of(&json(&acknowledged)), id);
        publish(port, "jobs", &round.to_string());
    }
}

#[test]
fn what_any_worker_answered_survives_a_kill() {
    let folder = Folder::new();
    let store = folder.name("store");
    let mut answered: BTreeMap<u64, String> = BTreeMap::new();
    for round in 0..6 {
        let program = push(&["--store", &store, "--retain-events", "100000"]);
        let port = program.port("push");
        check(port, &answered);
        // Publishers that are cut off: what each was answered until then is to be there.
        let (told, count) = std::sync::mpsc::channel();
        let threads: Vec<_> = (0..6)
            .map(|number| {
                let told = told.clone();
                std::thread::spawn(move || until_cut_off(port, &format!("{round}.{number}"), &told))
            })
            .collect();
        for _ in 0..(60 + round * 17) {
            count.recv_timeout(PATIENCE).unwrap();
        }
        program.signal(Signal::KILL);
        for thread in threads {
            for (id, text) in thread.join().unwrap() {
                assert!(answered.insert(id, text).is_none(), "{id} was given twice");
            }
        }
        program.ended();
    }
    let program = push(&["--store", &store, "--retain-events", "100000"]);
    check(program.port("push"), &answered);
    assert_eq!(program.stop().code, Some(0));
}

/// Publishes on one connection until it breaks; what was answered.
fn until_cut_off(port: u16, name: &str, told: &std::sync::mpsc::Sender<()>) -> Heard {
    let mut answered = Heard::new();
    let mut stream = BufReader::new(connect(port));
    for number in 0.. {
        let text = format!("{name}.{number}");
        let request = format!(
            "POST /channels/news HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        if stream.get_mut().write_all(request.as_bytes()).is_err() {
            break;
        }
        let Some(body) = answer_of(&mut stream) else { break };
        answered.push((id_of(&serde_json::from_str(&body).unwrap()), text));
        // The test may have enough.
        let _ = told.send(());
    }
    answered
}

/// The body of an answer of 201; none if the connection broke before it was whole.
fn answer_of(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut length = 0;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(said) = line.strip_prefix("Content-Length: ") {
            length = said.trim_end().parse().unwrap();
        }
        assert!(!line.starts_with("HTTP/1.1 ") || line.starts_with("HTTP/1.1 201 "), "{line}");
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(String::from_utf8(body).unwrap())
}

/// All workers have everything that was answered, in the order of the ids; what was not answered may be there, too.
fn check(port: u16, answered: &BTreeMap<u64, String>) {
    for _ in 0..12 {
        if answered.is_empty() {
            return;
        }
        let mut stream = open(port, "/channels/news?since=0", "Accept: application/x-ndjson\r\n");
        let last = *answered.last_key_value().unwrap().0;
        let mut found = BTreeMap::new();
        while found.last_key_value().is_none_or(|(id, _)| *id < last) {
            for (id, text) in events(&line_of(&mut stream)) {
                assert!(found.last_key_value().is_none_or(|(before, _)| *before < id), "ids rise");
                found.insert(id, text);
            }
        }
        for (id, text) in answered {
            assert_eq!(found.get(id), Some(text), "{id} was answered");
        }
    }
}

/// A token of `{"exp":4102444800,"publish":["a"],"subscribe":["a"]}`, signed with HS256 by the secret of the test below.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjQxMDI0NDQ4MDAsInB1Ymxpc2giOlsiYSJdLCJzdWJzY3JpYmUiOlsiYSJdfQ.1Hk0HKrFH78K3tz-MyvksHsQTiXLkYkKcwsMX6nGoeY";

#[test]
fn every_worker_wants_the_token() {
    let folder = Folder::new();
    let key = folder.write("key", "a secret of thirty-two bytes here\n");
    let program = push(&["--jwt-key", &key, "--origin", "https://app.example.org"]);
    let port = program.port("push");
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for _ in 0..MANY / 4 {
        assert_eq!(ask(port, "POST", "/channels/a", "", "x").status, 401);
        assert_eq!(ask(port, "POST", "/channels/a", &bearer, "x").status, 201);
        assert_eq!(ask(port, "POST", "/channels/b", &bearer, "x").status, 403);
        assert_eq!(ask(port, "GET", "/channels/a?since=0", &bearer, "").status, 200);
        assert_eq!(
            ask(port, "POST", "/channels/a", &format!("{bearer}Origin: http://evil.org\r\n"), "x").status,
            403
        );
        assert_eq!(ask(port, "GET", "/", "", "").status, 200);
    }
}

/// Streams of all workers end at once when the program stops, and polls are answered.
#[test]
fn a_stop_ends_the_streams_of_all_workers() {
    let program = push(&["--grace", "600"]);
    let port = program.port("push");
    let mut lines: Vec<_> =
        (0..MANY).map(|_| open(port, "/channels/news", "Accept: application/x-ndjson\r\n")).collect();
    let mut polls: Vec<_> = (0..MANY / 2)
        .map(|_| {
            let mut poll = BufReader::new(connect(port));
            poll.get_mut()
                .write_all(b"GET /channels/news?last=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .unwrap();
            poll
        })
        .collect();
    let all = MANY + MANY / 2;
    eventually("all are there", || {
        json(&ask(port, "GET", "/channels/news/presence", "", ""))["count"] == all
    });
    program.signal(Signal::TERM);
    for stream in &mut lines {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
    }
    for poll in &mut polls {
        assert_eq!(read_reply(poll).status, 204);
    }
    drop((lines, polls));
    assert_eq!(program.ended().code, Some(0));
}

/// A program in the background, which ends with the test.
struct Daemon(Folder);

impl Daemon {
    fn does(&self, words: &[&str]) -> String {
        let output = ropewalk(words).current_dir(self.0.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let mut stop = ropewalk(&["stop", "--timeout", "10", "--rundir", "run"]);
        let _ = stop.current_dir(self.0.path()).output();
    }
}

/// 1. Publishers and readers on all workers.
/// 2. The program is replaced, three times: streams end, and their readers come back to any worker of the next process.
/// 3. Whatever was answered, by whichever process, was read once and in order.
#[test]
fn an_upgrade_loses_nothing_that_any_worker_answered() {
    let daemon = Daemon(Folder::new());
    daemon.0.write(
        "ropewalk.toml",
        "workers = 4\nrundir = \"run\"\ngrace = 2\naccess-log = \"none\"\n\n[services.channels]\nkind = \"push\"\n\
         listen = \"tcp:0\"\nstore = \"store\"\nretain-events = 100000\n",
    );
    daemon.does(&["start"]);
    let status: Value = serde_json::from_str(&daemon.does(&["status", "--json"])).unwrap();
    let endpoint = status["services"][0]["listening"][0].as_str().unwrap().to_owned();
    let port: u16 = endpoint.split(':').nth(1).unwrap().parse().unwrap();
    let since = publish(port, "news", "before");
    let readers: Vec<_> = (0..12).map(|_| std::thread::spawn(move || read_on(port, since))).collect();
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let publishers: Vec<JoinHandle<Heard>> = (0..4)
        .map(|number| {
            let over = std::sync::Arc::clone(&over);
            std::thread::spawn(move || {
                let mut answered = Heard::new();
                for event in 0.. {
                    if over.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    let text = format!("{number}.{event}");
                    let reply = ask(port, "POST", "/channels/news", "", &text);
                    match reply.status {
                        201 => answered.push((id_of(&serde_json::from_str(reply.text()).unwrap()), text)),
                        // The store is with neither process: it was not kept, and nobody was told that it was.
                        status => assert_eq!(status, 503, "{}", reply.head),
                    }
                }
                answered
            })
        })
        .collect();
    for _ in 0..3 {
        daemon.does(&["upgrade"]);
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut expected: Heard = publishers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    expected.sort_unstable();
    assert!(expected.len() > 3);
    expected.push((publish(port, "news", "end"), "end".to_owned()));
    for reader in readers {
        let heard = reader.join().unwrap();
        assert!(heard == expected, "{} of {}", heard.len(), expected.len());
    }
}

/// Reads lines until `end`, and comes back whenever the stream is over.
fn read_on(port: u16, since: u64) -> Heard {
    let (mut place, mut heard) = (since, Heard::new());
    loop {
        let target = format!("/channels/news?since={place}");
        let mut lines = open(port, &target, "Accept: application/x-ndjson\r\n");
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 {
            for (id, text) in events(line.trim_end()) {
                place = id;
                heard.push((id, text));
            }
            line.clear();
            if heard.last().is_some_and(|(_, text)| text == "end") {
                return heard;
            }
        }
    }
}

#[test]
fn what_several_workers_cannot_do_is_said() {
    let folder = Folder::new();
    let socket = format!("unix:{}", folder.name("sock"));
    let line = refused(&["push", "--workers", "4", "--listen", &socket]);
    assert!(line.contains("several workers need a TCP endpoint"), "{line}");
    assert_eq!(folder.names(), [""; 0]);
    let line = refused(&["hub", "--workers", "2"]);
    assert!(line.contains("--workers is for ropewalk web and push"), "{line}");
    let program = push(&[]);
    let taken = format!("tcp:{}", program.port("push"));
    let line = refused(&["push", "--workers", "2", "--listen", &taken]);
    assert!(line.contains("the address is taken"), "{line}");
}
