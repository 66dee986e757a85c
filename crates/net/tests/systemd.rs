//! Sockets handed over as systemd does it, by a launcher of our own: this binary again as a child of a shell that has put
//! descriptors 3 and 4 and the variables in place. (`LISTEN_PID` is the shell's own number, which it keeps through `exec`.)
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]
#![allow(clippy::print_stderr, reason = "a child reports on its standard error")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use ropewalk_net::{Lost, Protocol, ServerEndpoint, ServerOptions, Transport, listen_with};
use ropewalk_reactor::{Reactor, Share};

/// Tells the child at what to listen, one endpoint after the other; a `first+` or `joined+` before it is how it is shared.
const LISTEN: &str = "ROPEWALK_TEST_LISTEN";

/// Puts two descriptors and the variables in place.
fn launch(first: OwnedFd, second: OwnedFd, variables: &str, endpoints: &str) -> Child {
    let script = format!(r#"exec 3<&0 4<&1 0</dev/null 1>&2; {variables}; exec "$@""#);
    Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_that_is_launched", "--nocapture"])
        .env(LISTEN, endpoints)
        .stdin(first)
        .stdout(second)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

const BOTH: &str = "export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web:admin";

/// What a child that serves nothing says.
fn reports(first: impl Into<OwnedFd>, variables: &str, endpoints: &str) -> Vec<String> {
    let child = launch(first.into(), spare().into(), variables, endpoints);
    lines(&child.wait_with_output().unwrap().stderr)
}

fn lines(output: &[u8]) -> Vec<String> {
    let output = String::from_utf8_lossy(output).into_owned();
    let reports = output.lines().filter_map(|line| Some(line.split_once("REPORT ")?.1.to_owned()));
    let reports: Vec<_> = reports.collect();
    assert!(!reports.is_empty(), "{output}");
    reports
}

fn spare() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Sends back what it is sent; after its first connection the child ends.
struct Last;
impl Protocol for Last {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
    fn connection_lost(&mut self, transport: &Transport, _: &Lost) {
        transport.reactor().stop();
    }
}

#[test]
fn the_child_that_is_launched() {
    let Ok(endpoints) = std::env::var(LISTEN) else { return };
    let reactor = Reactor::new().unwrap();
    let mut ports = Vec::new();
    for text in endpoints.split(' ') {
        let (share, endpoint) = match text.split_once('+') {
            Some(("first", endpoint)) => (Share::First, endpoint),
            Some((_, endpoint)) => (Share::Joined, endpoint),
            None => (Share::Alone, text),
        };
        let endpoint: ServerEndpoint = endpoint.parse().unwrap();
        assert!(!endpoint.is_local());
        let options = ServerOptions { share, ..ServerOptions::default() };
        match listen_with(&reactor, &endpoint, Rc::new(|| Last), options) {
            Ok(port) => {
                eprintln!("REPORT {}", port.endpoint());
                ports.push(port);
            }
            Err(error) => eprintln!("REPORT {error}"),
        }
    }
    let inherited =
        Command::new("sh").args(["-c", "readlink /proc/$$/fd/3 /proc/$$/fd/4; env"]).output().unwrap();
    let inherited = String::from_utf8(inherited.stdout).unwrap();
    assert!(ports.len() < 2 || !inherited.contains("socket:"), "they stay out of children: {inherited}");
    assert!(!inherited.contains("LISTEN_FDS=") || ports.is_empty(), "{inherited}");
    if !ports.is_empty() {
        reactor.run().unwrap();
    }
}

#[test]
fn sockets_are_found_by_name_and_by_index() {
    // 1. A TCP socket that is called web, and a UNIX one that is called admin.
    let path = std::env::temp_dir().join(format!("ropewalk-systemd-{}", std::process::id()));
    let (web, admin) = (spare(), UnixListener::bind(&path).unwrap());
    let address = web.local_addr().unwrap();
    let kept = admin.try_clone().unwrap();
    // 2. The first client is there before the program is.
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    client.write_all(b"hello").unwrap();
    let child = launch(web.into(), admin.into(), BOTH, "systemd:index=1 systemd:name=web systemd:name=web");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
    drop(client);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let said = lines(&output.stderr);
    assert_eq!(said[0], format!("unix:{}", path.display()));
    assert_eq!(said[1], format!("tcp:{}:interface=127.0.0.1", address.port()));
    assert_eq!(said[2], "systemd:name=web: it is in use already; there are 0 (web), 1 (admin)");
    // 3. The program is gone; the file and the socket are systemd's, and the next client waits there.
    assert!(path.exists());
    let waiting = UnixStream::connect(&path).unwrap();
    kept.set_nonblocking(false).unwrap();
    assert!(kept.accept().is_ok());
    drop(waiting);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn workers_share_one_socket() {
    let web = spare();
    let address = web.local_addr().unwrap();
    let endpoints = "first+systemd:name=web joined+systemd:name=web joined+systemd:name=web systemd:name=web";
    let child = launch(web.into(), spare().into(), BOTH, endpoints);
    drop(TcpStream::connect(address).unwrap());
    let said = lines(&child.wait_with_output().unwrap().stderr);
    let shown = format!("tcp:{}:interface=127.0.0.1", address.port());
    assert_eq!(said[..3], [shown.clone(), shown.clone(), shown]);
    assert!(said[3].contains("in use already"), "{}", said[3]);
}

#[test]
fn what_is_not_there_is_answered_with_what_is() {
    let said = reports(spare(), BOTH, "systemd:name=ftp systemd:index=2");
    assert_eq!(said[0], "systemd:name=ftp: there is no such socket; there are 0 (web), 1 (admin)");
    assert_eq!(said[1], "systemd:index=2: there is no such socket; there are 0 (web), 1 (admin)");
    let none = reports(spare(), "export LISTEN_PID=$$ LISTEN_FDS=0", "systemd:index=0");
    assert_eq!(none[0], "systemd:index=0: there is no such socket; there are none");
    let unset = reports(spare(), "unset LISTEN_FDS", "systemd:index=0");
    assert_eq!(unset[0], "systemd: no socket was handed to this process: LISTEN_FDS is not set");
}

#[test]
fn sockets_of_somebody_else_are_left_alone() {
    let said = reports(spare(), "export LISTEN_PID=1 LISTEN_FDS=2", "systemd:index=0");
    assert!(
        said[0].starts_with("systemd: the sockets are for process 1 (LISTEN_PID), and this is "),
        "{}",
        said[0]
    );
    let said = reports(spare(), "unset LISTEN_PID; export LISTEN_FDS=2", "systemd:index=0");
    assert!(said[0].contains("LISTEN_PID is not set"), "{}", said[0]);
    let said = reports(spare(), "export LISTEN_PID=$$ LISTEN_FDS=many", "systemd:index=0");
    assert!(said[0].contains("LISTEN_FDS is \"many\""), "{}", said[0]);
}

#[test]
fn what_is_no_listening_stream_socket_is_refused() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let said = reports(udp, BOTH, "systemd:index=0 systemd:name=web");
    assert_eq!(said[0], "systemd:index=0: fd 3 is not a valid TCP or UNIX stream socket");
    // It was not taken, so the name finds it again.
    assert_eq!(said[1], "systemd:name=web: fd 3 is not a valid TCP or UNIX stream socket");
    let connected = UnixStream::pair().unwrap().0;
    let said = reports(connected, BOTH, "systemd:index=0");
    assert!(said[0].contains("is a UNIX stream socket that does not listen; a listening TCP"), "{}", said[0]);
    let file = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(reports(file, BOTH, "systemd:index=0")[0], "systemd:index=0: fd 3 is not a socket");
    // Announced, but closed on the way: something of our own may have its number by now, but no socket.
    let closed = format!("{BOTH}; exec 3<&-");
    assert_eq!(reports(spare(), &closed, "systemd:index=0")[0], "systemd:index=0: fd 3 is not a socket");
}
