//! `ropewalk tail`: real files and pipes in, every viewer out.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use support::*;

/// A raw viewer that is among the viewers when this returns: it has seen the last line of the history.
fn raw_viewer(port: u16, last: &str) -> BufReader<TcpStream> {
    let mut viewer = BufReader::new(connect(port));
    assert_eq!(next(&mut viewer), last);
    viewer
}

fn next(viewer: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    viewer.read_line(&mut line).unwrap();
    assert_eq!(line.pop(), Some('\n'), "the stream goes on");
    line
}

#[test]
fn every_viewer_sees_every_line() {
    let folder = Folder::new();
    let log = folder.write("app.log", "before\n");
    let program = Program::tail(&[&log, "--history", "1"]);
    let mut raw = raw_viewer(program.port("raw"), "before");
    let mut events = Events::open(program.port("web"), "/events?history=0", None);
    folder.append("app.log", "one\ntwo\nhal");
    folder.append("app.log", "f\n");
    for expected in ["one", "two", "half"] {
        assert_eq!(next(&mut raw), expected);
        assert_eq!(events.next().data, expected);
    }
    let all = get(program.port("web"), "/poll?since=0");
    assert!(all.text().contains("\"data\":\"half\""), "{}", all.text());
    let page = get(program.port("web"), "/");
    assert!(page.field("content-security-policy").unwrap().contains("default-src 'none'"));
    assert!(get(program.port("web"), "/status").text().contains("\"files\":[\"app.log\"]"));
}

#[test]
fn a_file_is_followed_through_rotation_and_truncation() {
    let folder = Folder::new();
    let log = folder.write("app.log", "before\n");
    let program = Program::tail(&[&log, "--history", "1"]);
    let mut raw = raw_viewer(program.port("raw"), "before");
    // 1. Renamed, written to a little longer, and created anew.
    std::fs::rename(&log, folder.name("app.log.1")).unwrap();
    folder.append("app.log.1", "to the old one\n");
    assert_eq!(next(&mut raw), "to the old one");
    folder.append("app.log", "to the new one\n");
    assert_eq!(next(&mut raw), "to the new one");
    // 2. Truncated, as copytruncate does.
    folder.write("app.log", "");
    folder.append("app.log", "after\n");
    assert_eq!(next(&mut raw), "after");
    // 3. Written anew and already longer than our place.
    folder.write("app.log", "anew, and longer than what was there before\n");
    assert_eq!(next(&mut raw), "anew, and longer than what was there before");
    // 4. Gone, and back.
    std::fs::remove_file(&log).unwrap();
    folder.append("app.log", "back\n");
    assert_eq!(next(&mut raw), "back");
    assert!(!program.stop().stderr.contains("#error]"));
}

#[test]
fn several_files_with_labels() {
    let folder = Folder::new();
    let (one, two) = (folder.write("one", "first\n"), folder.write("two", ""));
    let program = Program::tail(&[&one, &two, "--label", "--history", "1"]);
    let mut raw = raw_viewer(program.port("raw"), "one: first");
    folder.append("two", "x\n");
    assert_eq!(next(&mut raw), "two: x");
    folder.append("one", "y\n");
    assert_eq!(next(&mut raw), "one: y");
}

#[test]
fn what_is_in_a_line_stays_data() {
    let (program, mut input) = Program::tail_input(&[]);
    let mut events = Events::open(program.port("web"), "/events", None);
    input.write_all(b"<b>bold</b>\r\na\rid: 5\rdata: x\n\xff\xfe\0z\n\n").unwrap();
    assert_eq!(events.data(4), ["<b>bold</b>", "a\nid: 5\ndata: x", "\u{fffd}\u{fffd}\0z", ""]);
    // A line without end is cut, and half a line waits for its end.
    input.write_all(&[b'y'; 100_000]).unwrap();
    assert_eq!(events.next().data.len(), 64 * 1024);
    input.write_all(b"!\nlast").unwrap();
    assert_eq!(events.next().data.len(), 100_000 - 64 * 1024 + 1);
    // Its writer has gone: the last half is a line, and the history is still served.
    drop(input);
    assert_eq!(events.next().data, "last");
    assert_eq!(Events::open(program.port("web"), "/events?history=1", None).next().data, "last");
}

/// More lines at once than the history holds.
#[test]
fn a_burst_of_short_lines_reaches_who_reads() {
    const LINES: usize = 60_000;
    let burst: String = (0..LINES).map(|number| format!("{number}\n")).collect();
    let folder = Folder::new();
    let log = folder.write("app.log", "before\n");
    let followed = Program::tail(&[&log, "--history", "1"]);
    let mut raw = raw_viewer(followed.port("raw"), "before");
    let mut events = Events::open(followed.port("web"), "/events?history=0", None);
    folder.append("app.log", &burst);
    let (piped, mut input) = Program::tail_input(&["--history", "1"]);
    input.write_all(b"before\n").unwrap();
    let mut from_input = raw_viewer(piped.port("raw"), "before");
    let writer = std::thread::spawn(move || input.write_all(burst.as_bytes()).unwrap());
    for number in 0..LINES {
        let number = number.to_string();
        assert_eq!((next(&mut raw), next(&mut from_input)), (number.clone(), number.clone()));
        assert_eq!(events.next().data, number);
    }
    writer.join().unwrap();
}

#[test]
fn a_writer_that_never_pauses_does_not_keep_the_others_waiting() {
    let (program, mut input) = Program::tail_input(&[]);
    let writer = std::thread::spawn(move || while input.write_all(&[b'\n'; 64 * 1024]).is_ok() {});
    for _ in 0..5 {
        assert!(get(program.port("web"), "/status").text().contains("standard input"));
    }
    program.stop();
    writer.join().unwrap();
}

#[test]
fn whoever_comes_back_misses_nothing_and_after_a_restart_knows_of_the_gap() {
    let folder = Folder::new();
    let log = folder.write("app.log", "0\n");
    let program = Program::tail(&[&log]);
    let port = program.port("web");
    let mut id = Events::open(port, "/events?history=1", None).next().id;
    let mut number = 1;
    for count in [1, 7, 0, 40] {
        let lines: String = (number..number + count).map(|number| format!("{number}\n")).collect();
        folder.append("app.log", lines);
        let mut events = Events::open(port, "/events", Some(&id));
        for _ in 0..count {
            let event = events.next();
            assert_eq!((event.data, event.event), (number.to_string(), String::new()));
            (id, number) = (event.id, number + 1);
        }
    }
    assert_eq!(program.stop().code, Some(0));
    let program = Program::tail(&[&log]);
    let mut events = Events::open(program.port("web"), "/events", Some(&id));
    let gap = events.next();
    assert_eq!(gap.event, "gap");
    assert!(gap.data.contains(&id) && !gap.data.contains("missed"), "{}", gap.data);
    assert_eq!(events.next().data, "0", "what the file has is history again");
}

#[test]
fn the_token_is_wanted_and_not_logged() {
    let folder = Folder::new();
    let log = folder.write("app.log", "secret line\n");
    let program = Program::tail(&[&log, "--token", "geh&eim", "--history", "1"]);
    let (web, raw) = (program.port("web"), program.port("raw"));
    for target in ["/", "/events", "/poll?since=0", "/status", "/?token=no"] {
        let reply = get(web, target);
        assert_eq!((reply.status, reply.field("www-authenticate")), (401, Some("Bearer")), "{target}");
    }
    assert_eq!(get(web, "/?token=geh%26eim").status, 200);
    assert_eq!(Events::open(web, "/events?token=geh%26eim", None).next().data, "secret line");
    let bearer =
        "GET /poll?since=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer geh&eim\r\nConnection: close\r\n\r\n";
    assert!(exchange(web, bearer).text().contains("secret line"));
    for (said, expected) in [("geh&eim\n", "secret line"), ("no\n", "the first line must be the token")] {
        let mut viewer = BufReader::new(connect(raw));
        viewer.get_mut().write_all(said.as_bytes()).unwrap();
        assert_eq!(next(&mut viewer), expected);
    }
    let ended = program.stop();
    assert!(ended.stdout.contains("GET /events?token=*** HTTP/1.1"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("eim"), "{}", ended.stdout);
}

#[test]
fn a_log_beyond_loopback_is_served_with_a_token() {
    let folder = Folder::new();
    let log = folder.write("app.log", "");
    let anywhere = "tcp:0:interface=0.0.0.0";
    let program = Program::start(&["tail", &log, "--raw", anywhere, "--web", anywhere, "--token", "t"], 2);
    assert_eq!(get(program.port("web"), "/status").status, 401);
    assert_eq!(get(program.port("web"), "/status?token=t").status, 200);
}

#[test]
fn viewers_that_stall_cost_no_memory_and_delay_nobody() {
    const MIB: u64 = 1024 * 1024;
    let folder = Folder::new();
    let log = folder.write("app.log", "first\n");
    let program = Program::tail(&[&log, "--history", "1"]);
    let mut stalled = raw_viewer(program.port("raw"), "first");
    let mut stalled_events = Events::open(program.port("web"), "/events?history=0", None);
    let mut quick = raw_viewer(program.port("raw"), "first");
    let before = program.resident_bytes();
    // Far more than the history keeps (10 MiB of such lines) and than the system's buffers take.
    let block = format!("{}\n", "x".repeat(1023)).repeat(1024);
    let mut got = vec![0; block.len()];
    for _ in 0..64 {
        folder.append("app.log", &block);
        quick.read_exact(&mut got).unwrap();
    }
    assert_eq!(got, block.as_bytes(), "the quick one has every line");
    let grown = program.resident_bytes().saturating_sub(before);
    assert!(grown < 32 * MIB, "{} MiB more", grown / MIB);
    // Who reads again is told, and goes on with what is kept.
    let lost = loop {
        let line = next(&mut stalled);
        if line.starts_with("---") {
            break line;
        }
    };
    assert!(lost.ends_with("lines were lost here: this reader was too slow ---"), "{lost}");
    let gap = loop {
        let event = stalled_events.next();
        if event.event == "gap" {
            break event.data;
        }
    };
    assert!(gap.contains("\"missed\":"), "{gap}");
}

#[test]
fn hundreds_of_viewers_see_one_line() {
    let folder = Folder::new();
    let log = folder.write("app.log", "first\n");
    let program = Program::tail(&[&log, "--history", "1"]);
    let mut raw: Vec<_> = (0..200).map(|_| raw_viewer(program.port("raw"), "first")).collect();
    let mut events: Vec<_> =
        (0..200).map(|_| Events::open(program.port("web"), "/events?history=0", None)).collect();
    folder.append("app.log", "to everybody\n");
    assert!(raw.iter_mut().all(|viewer| next(viewer) == "to everybody"));
    assert!(events.iter_mut().all(|viewer| viewer.next().data == "to everybody"));
    drop((raw, events));
    // A raw viewer that has closed looks like one that only has nothing to say; the next line finds out.
    folder.append("app.log", "to nobody\n");
    eventually("they are gone", || get(program.port("web"), "/status").text().contains("\"viewers\":0}"));
}
