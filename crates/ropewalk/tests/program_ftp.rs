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

/// What `ropewalk` says when it is asked; it has to end like this.
fn asked(words: &[&str], well: bool) -> String {
    let output = ropewalk(words).output().unwrap();
    let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.success(), well, "{words:?}: {out}{error}");
    out + &error
}

#[test]
fn a_transfer_is_seen_in_the_status_and_ended_from_outside() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("files")).unwrap();
    let large = fs::File::create(folder.path().join("files/large.bin")).unwrap();
    large.set_len(1 << 30).unwrap();
    let run = folder.name("run");
    let program = Program::start(&["--rundir", &run, "ftp", &folder.name("files"), "--listen", "tcp:0"], 1);
    let status = || -> serde_json::Value {
        serde_json::from_str(&asked(&["--rundir", &run, "status", "--json"], true)).unwrap()
    };
    assert_eq!(status()["services"][0]["activities"], serde_json::json!([]));
    // 1. Somebody fetches a large file, and does not read.
    let mut control = Control::open(program.port("ftp"));
    control.login("anonymous", "me@");
    let reply = control.say("EPSV");
    let port: u16 = reply.split('|').nth(3).unwrap().parse().unwrap();
    let data = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert!(control.say("RETR large.bin").starts_with('1'));
    // 2. It is seen, and moves until the network is full.
    eventually("the transfer has begun", || {
        status()["services"][0]["activities"][0]["bytes"].as_u64().is_some_and(|bytes| bytes > 0)
    });
    let activities = &status()["services"][0]["activities"];
    let (transfer, session) = (&activities[0], &activities[1]);
    assert_eq!((transfer["id"].as_str(), transfer["kind"].as_str()), (Some("ftp:t1"), Some("download")));
    assert_eq!(
        (transfer["user"].as_str(), transfer["path"].as_str()),
        (Some("anonymous"), Some("/large.bin"))
    );
    assert_eq!((session["id"].as_str(), session["user"].as_str()), (Some("ftp:s1"), Some("anonymous")));
    assert_eq!(session["secure"], false);
    let text = asked(&["--rundir", &run, "status"], true);
    assert!(text.contains("\n    ftp:t1  anonymous gets /large.bin: "), "{text}");
    assert!(text.contains("\n    ftp:s1  anonymous from 127.0.0.1:"), "{text}");
    // 3. It is ended: the client is told, and its session goes on.
    assert_eq!(asked(&["--rundir", &run, "end", "ftp:t1"], true), "ftp:t1 is ended\n");
    assert_eq!(control.line(), "426 Transfer broken off by the operator\r\n");
    drop(data);
    assert!(control.say("NOOP").starts_with("200"));
    // 4. So is the session.
    asked(&["end", "ftp:s1", "--rundir", &run], true);
    assert_eq!(control.line(), "421 Session ended by the operator\r\n");
    assert_eq!(control.line(), "", "and that was the last word");
    // 5. What is not there is said in a line.
    for (wrong, what) in
        [("ftp:t1", "any more"), ("ftp:x", "any more"), ("web:t1", "no service"), ("t1", "a name such as")]
    {
        let said = asked(&["--rundir", &run, "end", wrong], false);
        assert!(said.contains(what) && said.lines().count() == 1, "{said}");
    }
    assert_eq!(program.stop().code, Some(0));
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
