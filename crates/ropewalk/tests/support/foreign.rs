//! Foreign programs as peers: given their whole input at once, or talked with.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use super::PATIENCE;

/// Gives `input` to a program and answers what it printed; it must end well.
pub fn pipe(program: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A thread: a program that prints what it is given may wait for somebody to read.
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{} {arguments:?}: {}",
        program.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    // One that did not want all of it has ended well, too.
    let _ = writing.join().unwrap();
    output.stdout
}

/// A program that is talked with: what ends is the test, not the program.
pub struct Talker {
    child: Child,
    stdin: ChildStdin,
    stdout: Receiver<Vec<u8>>,
}

impl Talker {
    pub fn start(program: &Path, arguments: &[&str]) -> Talker {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (tell, told) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                // The test has what it wanted.
                let _ = tell.send(buffer[..count].to_vec());
            }
        });
        Talker { child, stdin, stdout: told }
    }

    /// Says something, and waits for as many bytes as are expected.
    pub fn ask(&mut self, question: &[u8], answer: &[u8]) {
        self.stdin.write_all(question).unwrap();
        let mut heard = Vec::new();
        while heard.len() < answer.len() {
            heard.extend(self.stdout.recv_timeout(PATIENCE).expect("an answer comes"));
        }
        assert_eq!(heard.escape_ascii().to_string(), answer.escape_ascii().to_string());
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a Python script with an argument; what it asserts must hold. Without Python the test is skipped.
pub fn python(script: &str, argument: &str) {
    let Some(program) = ropewalk_testkit::require("python3") else { return };
    pipe(&program, &["-", argument], script.as_bytes());
}
