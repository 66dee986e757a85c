//! socat against plain protocols: TCP, UDP, UNIX sockets without a file; and ends that are passed on.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

#[allow(dead_code, unreachable_pub, reason = "an example is a program, here it is a module")]
#[path = "../examples/echo.rs"]
mod echo;

use ropewalk::{LineReceiver, listen};
use support::protocols::{Shout, Tally};
use support::*;

/// Long after the end of its input socat gives up; nobody here lets it wait.
const PATIENT: &str = "-t20";

fn question() -> Vec<u8> {
    (0..1_000_000_u32).map(|at| (at ^ (at >> 8)) as u8).collect()
}

#[test]
fn an_echo_comes_back_and_ends_with_the_question() {
    let Some(program) = ropewalk_testkit::require("socat") else { return };
    let server = Server::start(|reactor| listen_tcp(reactor, || echo::Echo));
    let answer = pipe(&program, &[PATIENT, "-", &format!("TCP:127.0.0.1:{}", server.place)], &question());
    assert!(answer == question(), "{} bytes came back", answer.len());
}

#[test]
fn an_answer_comes_after_the_end_of_the_question() {
    let Some(program) = ropewalk_testkit::require("socat") else { return };
    let server = Server::start(|reactor| listen_tcp(reactor, Tally::default));
    let answer = pipe(&program, &[PATIENT, "-", &format!("TCP:127.0.0.1:{}", server.place)], &[0; 300_000]);
    assert!(answer.starts_with(b"300000 "), "{}", answer.escape_ascii());
}

#[test]
fn lines_are_answered_one_by_one() {
    let Some(program) = ropewalk_testkit::require("socat") else { return };
    let server = Server::start(|reactor| listen_tcp(reactor, || LineReceiver::new(Shout)));
    // socat makes the Internet's line endings of its own.
    let mut talker = Talker::start(&program, &["-", &format!("TCP:127.0.0.1:{},crnl", server.place)]);
    talker.ask(b"hemp\n", b"HEMP\n");
    talker.ask(b"jute\nsisal\n", b"JUTE\nSISAL\n");
}

#[test]
fn datagrams_come_back() {
    let Some(program) = ropewalk_testkit::require("socat") else { return };
    let server = Server::start(listen_udp);
    let mut talker = Talker::start(&program, &["-", &format!("UDP:127.0.0.1:{}", server.place)]);
    talker.ask(b"one", b"one");
    talker.ask(&[b'x'; 4000], &[b'x'; 4000]);
}

#[test]
fn a_socket_without_a_file() {
    let Some(program) = ropewalk_testkit::require("socat") else { return };
    let name = format!("ropewalk-clients-socat-{}", std::process::id());
    let endpoint = format!("unix:@{name}").parse().unwrap();
    let _server = Server::start(move |reactor| drop(listen(reactor, &endpoint, || echo::Echo).unwrap()));
    let answer = pipe(&program, &[PATIENT, "-", &format!("ABSTRACT-CONNECT:{name}")], &question());
    assert!(answer == question(), "{} bytes came back", answer.len());
}
