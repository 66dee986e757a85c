//! `ropewalk ftp` and `ropewalk passwd`: what they print, what they refuse, what they write.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use support::*;

/// A control connection in the test's hand.
struct Control(BufReader<TcpStream>);

impl Control {
    fn open(port: u16) -> Control {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut control = Control(BufReader::new(stream));
        assert_eq!(control.line(), "220 Ropewalk FTP ready\r\n");
        control
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    fn say(&mut self, line: &str) -> String {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        self.line()
    }

    fn login(&mut self, user: &str, password: &str) -> String {
        assert!(self.say(&format!("USER {user}")).starts_with("331"));
        self.say(&format!("PASS {password}"))
    }
}

/// Runs `ropewalk passwd` with this on its standard input; its exit code and what it complained.
fn passwd(arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let mut command = ropewalk(&[&["passwd"], arguments].concat());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // It may have refused already, and then it reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn anybody_reads_and_the_end_is_orderly() {
    let folder = Folder::new();
    folder.write("hello.txt", "hello");
    let log = folder.name("xferlog");
    let program = Program::start(
        &["ftp", &folder.name(""), "--listen", "tcp:0", "--xferlog", &log, "--passive-ports", "20000-60000"],
        1,
    );
    assert!(program.endpoint("ftp").ends_with(":interface=127.0.0.1"));
    let mut control = Control::open(program.port("ftp"));
    assert_eq!(control.login("anonymous", "me@"), "230 Logged in\r\n");
    control.say("TYPE I");
    assert_eq!(control.say("SIZE hello.txt"), "213 5\r\n");
    assert!(control.say("DELE hello.txt").starts_with("550"));
    assert!(control.say("AUTH TLS").starts_with("502"));
    assert!(control.say("PASV").starts_with("227 Entering Passive Mode (127,0,0,1,"));
    let ended = program.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(control.line(), "421 The server stops\r\n");
    assert!(
        ended.stdout.contains("\"PASS ****\" 230 0\n") && ended.stdout.contains("\"DELE hello.txt\" 550 0\n")
    );
    assert_eq!(fs::read_to_string(log).unwrap(), "", "nothing was transferred");
}

#[test]
fn users_of_a_file_with_their_homes() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path().join("root/ada")).unwrap();
    folder.write("root/ada/mine.txt", "mine");
    let users = folder.name("users");
    assert_eq!(
        passwd(&[&users, "ada", "--home", "ada", "--permissions", "rwdlm", "--stdin"], "one\n").0,
        Some(0)
    );
    assert_eq!(fs::metadata(&users).unwrap().permissions().mode() & 0o777, 0o600);
    let program = Program::start(&["ftp", &folder.name("root"), "--listen", "tcp:0", "--users", &users], 1);
    let mut control = Control::open(program.port("ftp"));
    assert!(control.login("anonymous", "x").starts_with("530"));
    assert!(control.login("ada", "one").starts_with("230"));
    assert_eq!(control.say("CWD ../.."), "250 That is the folder now\r\n");
    assert!(control.say("MDTM mine.txt").starts_with("213 "));
    assert!(control.say("DELE mine.txt").starts_with("250"));
    // Another password holds at once, and the rest stays.
    assert_eq!(passwd(&[&users, "ada", "--stdin"], "two").0, Some(0));
    let text = fs::read_to_string(&users).unwrap();
    assert!(text.ends_with(":rwdlm::ada\n") && text.lines().count() == 1, "{text}");
    assert!(control.login("ada", "one").starts_with("530"));
    assert!(control.login("ada", "two").starts_with("230"));
    assert_eq!(passwd(&[&users, "ada", "--delete"], "").0, Some(0));
    assert!(control.login("ada", "two").starts_with("530"));
    assert_eq!(
        passwd(&[&users, "ada", "--delete"], ""),
        (Some(2), format!("ropewalk: {users}: there is no user ada\n"))
    );
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let folder = Folder::new();
    let root = folder.name("");
    let bad = folder.write("bad", "ada:nonsense\n");
    let ftp = |more: &[&str]| refused(&[&["ftp", &root, "--listen", "tcp:0"], more].concat());
    assert!(refused(&["ftp", "/no/such/folder"]).contains("/no/such/folder: "));
    assert!(ftp(&["--require-tls"]).contains("--cert FILE and --key FILE"));
    assert!(ftp(&["--users", &bad]).contains("line 1"));
    assert!(ftp(&["--users", "/no/such/file"]).contains("/no/such/file: "));
    assert!(ftp(&["--cert", &bad, "--key", &bad]).contains("bad"));
    for wrong in ["5", "9-8", "80-90", "a-b"] {
        assert!(ftp(&["--passive-ports", wrong]).contains("50000-50099"), "{wrong}");
    }
    ftp(&["--masquerade", "::1"]);
    ftp(&["--cert", &bad]);
    ftp(&["--anonymous"]);
    ftp(&["--xferlog", "/no/such/folder/log"]);
    let users = folder.name("users");
    for (arguments, input) in [
        (&[&users[..], "a:b", "--stdin"][..], "x"),
        (&[&users, "ada", "--stdin"], ""),
        (&[&users, "ada", "--stdin", "--permissions", "x"], "x"),
        (&[&bad, "ada", "--stdin"], "x"),
        (&["/no/such/folder/users", "ada", "--stdin"], "x"),
    ] {
        let (code, said) = passwd(arguments, input);
        assert_eq!((code, said.lines().count()), (Some(2), 1), "{arguments:?}: {said}");
    }
    assert!(!fs::exists(users).unwrap());
}
