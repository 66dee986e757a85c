//! ncat as a raw viewer, also one whose own input has ended; ncat and OpenBSD's nc against plain protocols.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

#[allow(dead_code, unreachable_pub, reason = "an example is a program, here it is a module")]
#[path = "../examples/echo.rs"]
mod echo;

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use ropewalk::LineReceiver;
use support::protocols::{Shout, Tally};
use support::*;

/// ncat, killed when the test is over.
struct Viewer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Viewer {
    fn new(program: &std::path::Path, port: u16, input: Stdio) -> Viewer {
        let mut command = Command::new(program);
        command.args(["127.0.0.1", &port.to_string()]).stdin(input).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Viewer { child, lines }
    }

    fn next(&mut self) -> Option<String> {
        self.lines.next().map(Result::unwrap)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_raw_viewer_sees_the_lines_and_the_end() {
    let Some(program) = ropewalk_testkit::require("ncat") else { return };
    let folder = Folder::new();
    let log = folder.write("app.log", "before\n");
    let server = Program::tail(&[&log, "--history", "1"]);
    // One that may say something, and one that has nothing to say and has ended its side at once.
    let mut viewers =
        [Stdio::piped(), Stdio::null()].map(|input| Viewer::new(&program, server.port("raw"), input));
    for viewer in &mut viewers {
        assert_eq!(viewer.next().as_deref(), Some("before"));
    }
    folder.append("app.log", "<b>one</b>\ntwo\n");
    for viewer in &mut viewers {
        assert_eq!(viewer.next().as_deref(), Some("<b>one</b>"));
        assert_eq!(viewer.next().as_deref(), Some("two"));
    }
    assert_eq!(server.stop().code, Some(0));
    for viewer in &mut viewers {
        assert_eq!(viewer.next(), None);
    }
}

#[test]
fn the_token_is_the_first_line() {
    let Some(program) = ropewalk_testkit::require("ncat") else { return };
    let folder = Folder::new();
    let log = folder.write("app.log", "before\n");
    let server = Program::tail(&[&log, "--history", "1", "--token", "geheim"]);
    for (said, expected) in [("geheim\n", "before"), ("wrong\n", "the first line must be the token")] {
        let mut viewer = Viewer::new(&program, server.port("raw"), Stdio::piped());
        viewer.child.stdin.as_mut().unwrap().write_all(said.as_bytes()).unwrap();
        assert_eq!(viewer.next().as_deref(), Some(expected));
    }
}

/// Each that is there, with what it must be told to pass the end of its input on: ncat does so unless told otherwise.
fn netcats() -> impl Iterator<Item = (std::path::PathBuf, &'static [&'static str])> {
    let known: [(&str, &[&str]); 2] = [("ncat", &[]), ("nc.openbsd", &["-N"])];
    known.into_iter().filter_map(|(name, options)| Some((ropewalk_testkit::require(name)?, options)))
}

#[test]
fn an_echo_comes_back_and_ends_with_the_question() {
    for (program, options) in netcats() {
        let server = Server::start(|reactor| listen_tcp(reactor, || echo::Echo));
        let question: Vec<u8> = (0..1_000_000_u32).map(|at| (at ^ (at >> 8)) as u8).collect();
        let port = server.place.to_string();
        let answer = pipe(&program, &[options, &["127.0.0.1", &port]].concat(), &question);
        assert!(answer == question, "{}: {} bytes came back", program.display(), answer.len());
    }
}

#[test]
fn an_answer_comes_after_the_end_of_the_question() {
    for (program, options) in netcats() {
        let server = Server::start(|reactor| listen_tcp(reactor, Tally::default));
        let port = server.place.to_string();
        let answer = pipe(&program, &[options, &["127.0.0.1", &port]].concat(), &[b'x'; 300_000]);
        assert!(answer.starts_with(b"300000 "), "{}: {}", program.display(), answer.escape_ascii());
    }
}

#[test]
fn lines_are_answered_one_by_one() {
    for (program, _) in netcats() {
        let server =
            Server::start(|reactor| listen_tcp(reactor, || LineReceiver::new(Shout).with_any_ending()));
        let mut talker = Talker::start(&program, &["127.0.0.1", &server.place.to_string()]);
        talker.ask(b"hemp\n", b"HEMP\r\n");
        talker.ask(b"jute\r\nsisal\r\n", b"JUTE\r\nSISAL\r\n");
    }
}

#[test]
fn datagrams_come_back() {
    for (program, _) in netcats() {
        let server = Server::start(listen_udp);
        let mut talker = Talker::start(&program, &["-u", "127.0.0.1", &server.place.to_string()]);
        talker.ask(b"one\n", b"one\n");
        talker.ask(b"two\n", b"two\n");
    }
}
