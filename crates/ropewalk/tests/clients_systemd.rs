//! `systemd-socket-activate`, which does to a program what systemd does: it listens, waits for the first connection, and hands the
//! sockets over.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use support::*;

/// Killed when the test is over, if it is still there.
struct Activator(Child);

impl Drop for Activator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(mut stream: UnixStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_site_is_started_by_its_first_visitor() {
    let Some(program) = ropewalk_testkit::require("systemd-socket-activate") else { return };
    let folder = Folder::new();
    folder.write("index.html", "activated");
    let socket = folder.path().join("web.socket");
    let name = format!("ropewalk-activated-{}", std::process::id());
    // 1. Two sockets: one with a file, and one without.
    let mut child = Command::new(program)
        .arg(format!("--listen={}", socket.display()))
        .arg(format!("--listen=@{name}"))
        .args(["--fdname=other:web", env!("CARGO_BIN_EXE_ropewalk"), "web"])
        .arg(folder.path())
        .args(["--listen", "systemd:name=web"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (output, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let mut activator = Activator(child);
    let mut said = BufReader::new(errors).lines().map(Result::unwrap);
    while !said.next().expect("it listens").contains(&name) {}
    // 2. A visitor comes, and the program is started for it.
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let visitor = UnixStream::connect_addr(&address).unwrap();
    let first = std::thread::spawn(move || ask(visitor));
    let mut lines = BufReader::new(output).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), format!("listening on unix:@{name} (web)"));
    assert!(first.join().unwrap().ends_with("activated"));
    assert!(ask(UnixStream::connect_addr(&address).unwrap()).ends_with("activated"));
    // 3. It stops (the program has replaced the activator, which does not fork), and the file it was handed is not its own.
    let pid = Pid::from_raw(i32::try_from(activator.0.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(lines.all(|line| !line.is_empty()));
    assert!(activator.0.wait().unwrap().success());
    assert!(socket.exists());
}
