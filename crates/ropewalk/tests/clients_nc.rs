//! ncat as a raw viewer, also one whose own input has ended.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

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
