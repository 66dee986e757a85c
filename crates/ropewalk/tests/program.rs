//! The life of the program: how it starts, what it refuses, and how it ends.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::io::{BufReader, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::*;

#[test]
fn help_and_version_end_well() {
    for arguments in
        [&["--help"][..], &["-h"], &["web", "--help"], &["tail", "--help"], &["help"], &["help", "tail"]]
    {
        let ended = run(arguments);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(ended.stdout.contains("Usage: ropewalk"), "{}", ended.stdout);
    }
    for arguments in [&["--version"], &["-V"]] {
        assert_eq!(run(arguments).stdout, concat!("ropewalk ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}

#[test]
fn wrong_usage_is_one_line_that_says_what_and_what_to_do() {
    let folder = Folder::new();
    let (log, missing) = (folder.write("log", "a line\n"), folder.name("missing"));
    let table: [(&[&str], &[&str]); 29] = [
        (&["--nope"], &["--nope", "--help"]),
        (&["serve"], &["serve", "--help"]),
        (&["--no\nsuch"], &["--no such", "--help"]),
        (&["web", "one", "two"], &["two", "--help"]),
        (&["web", "--listen"], &["--listen", "--help"]),
        (&["web", "--listen", "8080"], &["write tcp:8080"]),
        (&["web", "--listen", "tcp:eighty"], &["eighty", "0 to 65535"]),
        (&["web", "--listen", "tcp:65536"], &["65536", "0 to 65535"]),
        (&["web", "--listen", "tcp:0:interface=nowhere.invalid"], &["nowhere.invalid"]),
        (&["web", "--listen", "tcp:0:interface=192.0.2.1"], &["192.0.2.1", "choose one of its own"]),
        (&["web", "--listen", "ssl:443"], &["ssl:443", "write ssl:443:privateKey=key.pem"]),
        (&["web", "--listen", "unix:/no/such/folder/sock"], &["/no/such/folder/sock", "create it first"]),
        (&["web", "--listen", ""], &["tcp:8080"]),
        (&["--listen", "tcp:0", "web"], &["--listen", "behind the command"]),
        (&["web", "--workers", "0"], &["--workers", "1 to 256"]),
        (&["web", "--grace", "-1"], &["--grace", "such as 5"]),
        (&["web", "--trust-proxies", "10.0.0.0/99"], &["10.0.0.0/99", "10.0.0.0/8"]),
        (&["web", "--listen", "tcp:0", "--access-log", "/no/such/log"], &["/no/such/log", "another file"]),
        (&["web", &missing], &[&missing, "create it"]),
        (&["tail"], &["<FILE>", "--help"]),
        (&["tail", &missing], &[&missing, "create it first"]),
        (&["tail", "no\nsuch"], &["no such", "create it first"]),
        (&["tail", "/"], &["directory", "name a file in it"]),
        (&["tail", "/dev/zero"], &["/dev/zero", "standard input"]),
        (&["tail", &log, "--history", "many"], &["--history", "such as 100"]),
        (&["tail", &log, "--web", "tcp:0:interface=0.0.0.0"], &["--token", "127.0.0.1"]),
        (&["tail", &log, "--raw", "tcp:0:interface=0.0.0.0", "--token", ""], &["--token", "127.0.0.1"]),
        (&["tail", &log, "--web", "proxy:tcp:0"], &["--token", "proxy"]),
        (&["web", "--listen", "proxy:trusted=10.0.0.1"], &["--listen", "write proxy:tcp:8080"]),
    ];
    for (arguments, said) in table {
        let line = refused(arguments);
        for part in said {
            assert!(line.contains(part), "{arguments:?} does not say {part:?}: {line}");
        }
    }
}

#[test]
fn a_file_that_may_not_be_read_is_an_error() {
    use std::os::unix::fs::PermissionsExt;
    // Root may read everything.
    if rustix::process::geteuid().is_root() {
        return;
    }
    let folder = Folder::new();
    let log = folder.write("log", "a line\n");
    std::fs::set_permissions(&log, std::fs::Permissions::from_mode(0o000)).unwrap();
    let line = refused(&["tail", &log]);
    assert!(line.contains("no permission to read it"), "{line}");
}

#[test]
fn a_taken_port_is_an_error_for_one_worker_and_for_two() {
    let folder = Folder::new();
    let first = Program::web(&[folder.path()]);
    let taken = format!("tcp:{}", first.port("web"));
    for arguments in [
        &["web", "--listen", &taken][..],
        &["web", "--listen", &taken, "--workers", "2"],
        &["--listen", &taken],
        &["tail", "-", "--raw", "tcp:0", "--web", &taken],
        &["tail", "-", "--raw", &taken, "--web", "tcp:0"],
    ] {
        let line = refused(arguments);
        assert!(line.contains(&taken) && line.contains("choose another"), "{line}");
    }
    assert_eq!(get(first.port("web"), "/none").status, 404, "the first one still serves");
}

#[test]
fn what_starts_by_half_leaves_nothing_behind() {
    let folder = Folder::new();
    let first = Program::web(&[folder.path()]);
    let taken = format!("tcp:{}", first.port("web"));
    let socket = format!("unix:{}", folder.name("sock"));
    refused(&["tail", "-", "--raw", &socket, "--web", &taken]);
    assert_eq!(folder.names(), [""; 0]);
    let line = refused(&["web", "--workers", "2", "--listen", &socket]);
    assert!(line.contains("TCP"), "{line}");
    assert_eq!(folder.names(), [""; 0]);
    refused(&["tail", "-", "--raw", &socket, "--web", &socket]);
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_unix_socket_is_served_and_removed() {
    let folder = Folder::new();
    folder.write("index.html", "over a socket file");
    let endpoint = format!("unix:{}:mode=600", folder.name("sock"));
    let arguments = ["web", folder.path().to_str().unwrap(), "--listen", &endpoint];
    let ask = |path: &str| {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        read_reply(&mut BufReader::new(stream))
    };
    // 1. The file is there while the program runs, with its mode, and is not taken from it.
    let program = Program::start(&arguments, 1);
    let socket = folder.name("sock");
    assert_eq!(ask(&socket).text(), "over a socket file");
    let metadata = Path::new(&socket).metadata().unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o600);
    assert!(refused(&arguments).contains("taken"));
    // 2. It goes with the program.
    assert_eq!(program.stop().code, Some(0));
    assert!(!Path::new(&socket).exists());
    // 3. One that a killed program left is replaced.
    let killed = Program::start(&arguments, 1);
    killed.signal(Signal::KILL);
    assert_eq!(killed.ended().code, None);
    assert!(Path::new(&socket).exists());
    let program = Program::start(&arguments, 1);
    assert_eq!(ask(&socket).status, 200);
    assert_eq!(program.stop().code, Some(0));
    assert!(!Path::new(&socket).exists());
    // 4. A file that is no socket is not.
    folder.write("sock", "precious");
    refused(&arguments);
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
}

#[test]
fn two_workers_serve_one_port() {
    let folder = Folder::new();
    folder.write("index.html", "from any worker");
    let program = Program::web(&[folder.path().as_os_str(), "--workers".as_ref(), "2".as_ref()]);
    for _ in 0..40 {
        assert_eq!(get(program.port("web"), "/").text(), "from any worker");
    }
    let mut idle = connect(program.port("web"));
    let ended = program.stop();
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.stdout.matches("\"GET / HTTP/1.1\" 200 15 ").count(), 40);
    assert_eq!(idle.read(&mut [0; 9]).unwrap_or(0), 0);
}

#[test]
fn a_stop_ends_what_is_open_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        // With a grace that no test would wait for.
        let (program, _input) = Program::tail_input(&["--grace", "600"]);
        let (web, raw) = (program.port("web"), program.port("raw"));
        let (mut fresh, mut viewer) = (connect(web), connect(raw));
        let mut kept = BufReader::new(connect(web));
        kept.get_mut().write_all(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert_eq!(read_reply(&mut kept).status, 200);
        let events = Events::open(web, "/events", None);
        let mut poll = BufReader::new(connect(web));
        poll.get_mut().write_all(b"GET /poll HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        eventually("raw, events and poll are viewers", || {
            get(web, "/status").text().contains("\"viewers\":3}")
        });
        program.signal(signal);
        for stream in [&mut fresh, &mut viewer, kept.get_mut()] {
            assert_eq!(stream.read(&mut [0; 9]).unwrap(), 0);
        }
        assert_eq!(events.rest(), "");
        let reply = read_reply(&mut poll);
        assert_eq!((reply.status, reply.field("connection")), (204, Some("close")));
        drop((fresh, viewer, kept, poll));
        let ended = program.ended();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(!ended.stderr.contains("#error]"), "{}", ended.stderr);
    }
}

/// A request whose body is not complete yet.
fn begun(program: &Program) -> BufReader<std::net::TcpStream> {
    let mut stream = connect(program.port("web"));
    let head = "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    assert_eq!(read_reply(&mut stream).status, 100, "the handler reads its body");
    stream
}

#[test]
fn a_request_in_flight_is_answered_before_the_end() {
    let program = Program::start(&["--listen", "tcp:0", "--grace", "600"], 1);
    let mut stream = begun(&program);
    let mut idle = connect(program.port("web"));
    program.signal(Signal::TERM);
    assert_eq!(idle.read(&mut [0; 9]).unwrap(), 0, "it stops");
    stream.get_mut().write_all(b"body").unwrap();
    let reply = read_reply(&mut stream);
    assert_eq!((reply.text(), reply.field("connection")), ("body", Some("close")));
    drop(stream);
    assert_eq!(program.ended().code, Some(0));
}

#[test]
fn the_grace_has_an_end() {
    let program = Program::start(&["--listen", "tcp:0", "--grace", "0.2"], 1);
    let mut stream = begun(&program);
    let before = Instant::now();
    program.signal(Signal::TERM);
    assert_eq!(stream.read(&mut [0; 9]).unwrap_or(0), 0);
    assert_eq!(program.ended().code, Some(0));
    assert!(before.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let program = Program::start(&["--listen", "tcp:0", "--grace", "600"], 1);
    let _stream = begun(&program);
    let mut idle = connect(program.port("web"));
    program.signal(Signal::INT);
    assert_eq!(idle.read(&mut [0; 9]).unwrap(), 0, "it stops");
    program.signal(Signal::INT);
    let ended = program.ended();
    assert!(ended.stderr.contains("stopping at once"), "{}", ended.stderr);
}

#[test]
fn a_log_that_cannot_be_written_costs_no_request() {
    let folder = Folder::new();
    folder.write("index.html", "still served");
    let program = Program::web(&[folder.path().as_os_str(), "--access-log".as_ref(), "/dev/full".as_ref()]);
    for _ in 0..3 {
        assert_eq!(get(program.port("web"), "/").text(), "still served");
    }
    let ended = program.stop();
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("log lines are lost: /dev/full"), "{}", ended.stderr);
}

#[test]
fn nobody_needs_to_read_what_it_prints() {
    let folder = Folder::new();
    let socket = folder.name("sock");
    folder.write("index.html", "still served");
    let endpoint = format!("unix:{socket}");
    let mut command = ropewalk(&["web", folder.path().to_str().unwrap(), "--listen", &endpoint]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    // A pipe whose reader is gone: not even the place where it listens can be printed.
    command.stdout(writer);
    let program = Program::spawn(command, 0);
    eventually("it listens", || UnixStream::connect(&socket).is_ok());
    for _ in 0..3 {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert_eq!(read_reply(&mut BufReader::new(stream)).text(), "still served");
    }
    assert_eq!(program.stop().code, Some(0));
}
