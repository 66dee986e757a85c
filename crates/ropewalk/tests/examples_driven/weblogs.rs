//! The Weblog and its client: what a line is taken apart into, what viewers get and when, and that everything is let go of.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::support::{Ground, MS, SECOND, SOON, Said, address, serve};
use crate::weblog::Weblog;
use crate::weblog::record::Record;
use crate::weblog_client::{shown, watch};
use ropewalk::reactor::Peer;
use ropewalk::{Factory, Outcome, Protocol, Simulation, Transport};

const GREETING: &str = "# Weblog: host, time, request, status, bytes, referer, agent; new ones every 5 s\n";

/// A log in a file of its own, removed at the end.
struct AccessLog(PathBuf);

impl AccessLog {
    fn new(name: &str) -> AccessLog {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.log", std::process::id()));
        File::create(&path).unwrap();
        AccessLog(path)
    }

    fn add(&self, text: &str) {
        OpenOptions::new().append(true).open(&self.0).unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Adds the lines of these requests, and answers how a viewer gets them.
    fn add_requests(&self, numbers: impl Iterator<Item = u32>) -> String {
        let (mut lines, mut records) = (String::new(), String::new());
        for number in numbers {
            let (time, request) = ("10/Oct/2000:13:55:36 -0700", format!("GET /{number} HTTP/1.1"));
            writeln!(lines, "192.0.2.1 - - [{time}] \"{request}\" 200 {number}").unwrap();
            writeln!(records, "192.0.2.1\t{time}\t{request}\t200\t{number}\t-\t-").unwrap();
        }
        self.add(&lines);
        records
    }

    /// Whether this process holds it open.
    fn is_open(&self) -> bool {
        let held =
            fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        held.into_iter().any(|path| path == self.0)
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

fn text(peer: &Peer) -> String {
    String::from_utf8(peer.take()).unwrap()
}

fn record(fields: [&str; 5], status: u16, bytes: u64) -> Option<Record> {
    let [host, time, request, referer, agent] = fields.map(str::to_owned);
    Some(Record { host, time, request, status, bytes, referer, agent })
}

#[test]
fn a_line_is_taken_apart_into_its_fields() {
    let combined = r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif HTTP/1.0" 200 2326 "http://x/" "Mozilla/4.08 [en]""#;
    let fields =
        ["127.0.0.1", "10/Oct/2000:13:55:36 -0700", "GET /a.gif HTTP/1.0", "http://x/", "Mozilla/4.08 [en]"];
    assert_eq!(Record::parse(combined), record(fields, 200, 2326));
    let common = "::1 - - [01/Jan/2026:00:00:00 +0000] \"-\" 408 -";
    assert_eq!(Record::parse(common), record(["::1", "01/Jan/2026:00:00:00 +0000", "-", "-", "-"], 408, 0));
    // Quotation marks of the client's are escaped; a tab or an escape sequence in a line is not passed on.
    let marks = "h - - [t] \"GET /\\\"a\\\\\" 400 1 \"\\\\\" \"a\tb\u{1b}[2J\"";
    assert_eq!(Record::parse(marks), record(["h", "t", r#"GET /\"a\\"#, r"\\", "a?b?[2J"], 400, 1));
}

#[test]
fn a_line_of_another_form_is_no_record() {
    let lines = [
        "",
        " ",
        "nonsense",
        "h - - [t \"GET / HTTP/1.1\" 200 1",
        "h - - [t] GET / HTTP/1.1 200 1",
        "h - - [t] \"GET / HTTP/1.1 200 1",
        "h - - [t] \"GET / HTTP/1.1\\\" 200 1",
        "h - - [t] \"GET / HTTP/1.1\" OK 1",
        "h - - [t] \"GET / HTTP/1.1\" 70000 1",
        "h - - [t] \"GET / HTTP/1.1\" 200 many",
        "h - - [t] \"GET / HTTP/1.1\" 200",
        "h - - [t] \"",
    ];
    for line in lines {
        assert_eq!(Record::parse(line), None, "{line:?}");
    }
    // Whatever is cut off of a good line, and wherever: no panic.
    let line = "h - f [t] \"GET /\u{e4} HTTP/1.1\" 200 12 \"r\" \"a\u{20ac}\"";
    for (end, _) in line.char_indices() {
        Record::parse(&line[..end]);
        Record::parse(&line[end..]);
    }
}

#[test]
fn weblog_greets_and_sends_new_records_every_five_seconds() {
    let log = AccessLog::new("greets");
    let old = log.add_requests(1..4);
    let ground = Ground::new(1, Weblog::new(&log.0).unwrap());
    let viewer = ground.connect();
    assert_eq!(text(&viewer), format!("{GREETING}{old}"), "what is kept comes at once");

    let new = log.add_requests(4..6);
    log.add("this is no record\n192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] \"GET /6 HT");
    ground.advance(5 * SECOND - 100 * MS);
    assert_eq!(text(&viewer), "");
    ground.advance(100 * MS);
    assert_eq!(text(&viewer), new, "half a line waits");

    log.add("TP/1.1\" 200 6\n");
    let late = ground.connect();
    let six = "192.0.2.1\t10/Oct/2000:13:55:36 -0700\tGET /6 HTTP/1.1\t200\t6\t-\t-\n";
    assert_eq!(text(&late), format!("{GREETING}{old}{new}{six}"), "each viewer has a clock of its own");
    assert_eq!(text(&viewer), "");
    ground.advance(5 * SECOND);
    assert_eq!(text(&viewer), six);
    assert_eq!(text(&late), "");
}

#[test]
fn weblog_keeps_the_last_hundred() {
    let log = AccessLog::new("hundred");
    log.add_requests(0..250);
    let ground = Ground::new(2, Weblog::new(&log.0).unwrap());
    let viewer = ground.connect();
    ground.advance(SECOND);
    let lines = text(&viewer);
    assert_eq!(lines.lines().count(), 101);
    assert!(lines.lines().nth(1).unwrap().contains("GET /150 "), "{lines}");

    // More than that in five seconds: the last of them come, for the newcomer as for the other.
    log.add_requests(250..1000);
    ground.advance(5 * SECOND);
    let lines = text(&viewer);
    assert_eq!(lines.lines().count(), 100);
    assert!(lines.starts_with("192.0.2.1\t10/Oct/2000:13:55:36 -0700\tGET /900 "), "{lines}");
    let newcomer = ground.connect();
    ground.advance(SECOND);
    assert_eq!(text(&newcomer), format!("{GREETING}{lines}"));
}

#[test]
fn weblog_follows_its_log_through_a_rotation() {
    let log = AccessLog::new("rotates");
    let ground = Ground::new(3, Weblog::new(&log.0).unwrap());
    let viewer = ground.connect();
    let old = log.add_requests(0..2);
    let moved = log.0.with_extension("1");
    fs::rename(&log.0, &moved).unwrap();
    File::create(&log.0).unwrap();
    let new = log.add_requests(2..4);
    ground.advance(5 * SECOND);
    assert_eq!(text(&viewer), format!("{GREETING}{old}{new}"));
    fs::remove_file(moved).unwrap();
}

#[test]
fn weblog_passes_over_a_viewer_that_does_not_read() {
    let log = AccessLog::new("slow");
    let ground = Ground::new(4, Weblog::new(&log.0).unwrap());
    ground.set_conditions(|conditions| conditions.window_bytes = 4096);
    let viewer = ground.connect();
    let agent = "a".repeat(2000);
    for _ in 0..11 {
        let line = format!("h - - [t] \"GET / HTTP/1.1\" 200 1 \"-\" \"{agent}\"\n");
        log.add(&line.repeat(100));
        ground.advance(5 * SECOND);
    }
    let mut received = Vec::new();
    while let bytes = viewer.take()
        && !bytes.is_empty()
    {
        received.extend(bytes);
        ground.advance(SOON);
    }
    // One tick's worth, 200 KB, was written while the transport was not yet full; no other was added to it.
    assert!(received.len() < 210_000, "{} bytes were kept for it", received.len());
}

#[test]
fn the_timer_dies_with_its_connection_and_the_log_is_closed_with_the_factory() {
    let log = AccessLog::new("dies");
    log.add_requests(0..2);
    let weblog = Weblog::new(&log.0).unwrap();
    assert!(!log.is_open(), "it was only looked at");
    let ground = Ground::new(5, weblog);
    assert!(log.is_open());
    assert_eq!(ground.timers(), 0);
    let viewers = [ground.connect(), ground.connect(), ground.connect()];
    assert_eq!(ground.timers(), 3);
    let [first, second, third] = viewers;
    drop(first);
    second.reset();
    ground.advance(SOON);
    assert_eq!((ground.timers(), ground.sources()), (1, 2));
    third.shutdown_write();
    ground.advance(SOON);
    assert_eq!((ground.timers(), ground.sources()), (0, 1));

    ground.connect();
    ground.port.stop_listening();
    assert!(!log.is_open());
    ground.advance(60 * SECOND);
    assert_eq!((ground.timers(), ground.sources()), (0, 0));
}

#[test]
fn weblog_without_its_log_does_not_start() {
    let error = Weblog::new(Path::new("/there/is/no/such.log")).map(drop).unwrap_err().to_string();
    assert!(error.starts_with("/there/is/no/such.log: "), "{error}");
    assert!(Weblog::new(Path::new("/")).is_err());
}

/// Runs the client against a server until it ends.
fn client(factory: impl Factory, said: &Said) -> Outcome<()> {
    let simulation = Simulation::new(6);
    let port = serve(&simulation, factory);
    watch_until_end(&simulation, &format!("tcp:{}", address(&port)), said)
}

fn watch_until_end(simulation: &Simulation, server: &str, said: &Said) -> Outcome<()> {
    let end = Rc::new(Cell::new(None));
    let (reactor, sink, told, server) =
        (simulation.reactor().clone(), said.sink(), Rc::clone(&end), server.to_owned());
    simulation.reactor().spawn(async move { told.set(Some(watch(&reactor, &server, sink).await)) });
    simulation.advance(60 * SECOND);
    end.take().unwrap()
}

/// Says something, and ends unless it says it for ever.
#[derive(Clone, Copy)]
struct Says(&'static str, bool);

impl Protocol for Says {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(self.0.as_bytes());
        if self.1 {
            transport.write(&vec![b'x'; 1024 * 1024]);
        }
        transport.lose_connection();
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

#[test]
fn weblog_client_shows_the_records_until_the_server_ends() {
    let said = Said::default();
    let lines = "# hello\nh\tt\tGET / HTTP/1.1\t200\t2326\t-\t-\n";
    client(move || Says(lines, false), &said).unwrap();
    assert_eq!(said.take(), ["# hello", "200      2326  h                GET / HTTP/1.1"]);
    assert_eq!(shown("a\tb\n"), "a\tb");
}

#[test]
fn weblog_client_says_what_is_wrong() {
    let said = Said::default();
    let endless = client(|| Says("# hello\n", true), &said).unwrap_err().to_string();
    assert!(endless.contains("not within 262144 bytes"), "{endless}");
    assert_eq!(said.take(), ["# hello"]);
    let simulation = Simulation::new(7);
    let nobody = watch_until_end(&simulation, "tcp:127.0.0.1:8888", &said).unwrap_err().to_string();
    assert!(nobody.contains("127.0.0.1:8888"), "{nobody}");
    let wrong = watch_until_end(&simulation, "gopher:70", &said).unwrap_err().to_string();
    assert!(wrong.contains("no kind \"gopher\""), "{wrong}");
}

#[test]
fn weblog_and_its_client_understand_each_other() {
    let log = AccessLog::new("both");
    log.add_requests(1..3);
    let ground = Ground::new(8, Weblog::new(&log.0).unwrap());
    let (reactor, said) = (ground.simulation.reactor().clone(), Said::default());
    let (server, sink) = (format!("tcp:{}", address(&ground.port)), said.sink());
    let task = ground.simulation.reactor().spawn(async move { watch(&reactor, &server, sink).await });
    ground.advance(SECOND);
    assert_eq!(
        said.take(),
        [
            GREETING.trim_end(),
            "200         1  192.0.2.1        GET /1 HTTP/1.1",
            "200         2  192.0.2.1        GET /2 HTTP/1.1"
        ]
    );
    log.add_requests(3..4);
    ground.advance(5 * SECOND);
    assert_eq!(said.take(), ["200         3  192.0.2.1        GET /3 HTTP/1.1"]);
    task.abort();
    ground.advance(SOON);
    assert_eq!((ground.timers(), ground.sources()), (0, 1), "a client that is dropped has left");
}
