//! UNIX sockets with a name outside the file system: who has the name, what is left behind, and what the other side calls it.
//! What their connections do is in `conformance`.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::io::{ErrorKind, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use common::{Kind, Probe, real};
use ropewalk_net::{Address, ServerEndpoint, connect, listen};

/// A name that no other test and no other run of it has.
fn name(of: &str) -> String {
    format!("ropewalk-test-{}-{of}", std::process::id())
}

#[test]
fn a_name_is_taken_while_somebody_listens_and_free_after() {
    real(Kind::Abstract, &|ground| async move {
        let endpoint: ServerEndpoint = format!("unix:@{}", name("taken")).parse().unwrap();
        let port = listen(&ground.reactor, &endpoint, Probe::new).unwrap();
        assert_eq!(*port.address(), Address::Abstract(name("taken").into_bytes()));
        assert_eq!(port.endpoint(), endpoint);
        assert_eq!(port.address().to_string(), endpoint.to_string());
        let taken = listen(&ground.reactor, &endpoint, Probe::new).map(drop).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        port.stop_listening();
        // There is no file that could be left: the name is free at once.
        listen(&ground.reactor, &endpoint, Probe::new).unwrap().stop_listening();
        let gone = connect(&ground.reactor, &endpoint.to_string().parse().unwrap(), Probe::new).await;
        assert!(gone.map(drop).unwrap_err().to_string().contains("unix:@ropewalk-test"));
    });
}

#[test]
fn the_names_are_those_that_the_system_knows() {
    real(Kind::Abstract, &|ground| async move {
        // 1. std's client finds our listener by its name, and we see a client with a name of its own.
        let server = Probe::new().on_made(|transport| {
            transport.write(transport.peer().to_string().as_bytes());
            transport.lose_connection();
        });
        let server = std::cell::RefCell::new(Some(server));
        let endpoint: ServerEndpoint = format!("unix:@{}", name("listener")).parse().unwrap();
        let port = listen(&ground.reactor, &endpoint, move || server.take().expect("one client")).unwrap();
        let mine = SocketAddr::from_abstract_name(name("client\n")).unwrap();
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        let bound = format!("\0{}", std::str::from_utf8(mine.as_abstract_name().unwrap()).unwrap());
        socket.bind(&socket2::SockAddr::unix(bound).unwrap()).unwrap();
        let theirs = socket2::SockAddr::unix(format!("\0{}", name("listener"))).unwrap();
        socket.connect(&theirs).unwrap();
        let mut client = UnixStream::from(socket);
        let answer = ground.reactor.defer_to_thread(move || {
            let mut answer = String::new();
            client.read_to_string(&mut answer).map(|_| answer)
        });
        // A name is any bytes: what would spoil a line of a log is escaped.
        assert_eq!(answer.await.unwrap().unwrap(), format!("unix:@{}\\n", name("client")));
        port.stop_listening();

        // 2. Our client finds std's listener.
        let address = SocketAddr::from_abstract_name(name("std")).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let endpoint = format!("unix:path=@{}", name("std")).parse().unwrap();
        let transport = connect(&ground.reactor, &endpoint, Probe::new).await.unwrap();
        assert_eq!(transport.peer(), Address::Abstract(name("std").into_bytes()));
        assert!(listener.accept().is_ok());
        transport.abort_connection();
    });
}

#[test]
fn a_path_that_begins_with_an_at_sign_is_written_with_its_folder() {
    let endpoint: ServerEndpoint = "unix:./@file".parse().unwrap();
    assert!(matches!(endpoint, ServerEndpoint::Unix { ref path, .. } if path.to_str() == Some("./@file")));
    let long = format!("unix:@{}", "x".repeat(108));
    assert!(long.parse::<ServerEndpoint>().unwrap_err().to_string().contains("107 bytes"));
    real(Kind::Abstract, &|ground| async move {
        let longest: ServerEndpoint = format!("unix:@{:x<107}", name("long")).parse().unwrap();
        let port = listen(&ground.reactor, &longest, Probe::new).unwrap();
        assert_eq!(port.endpoint(), longest);
        port.stop_listening();
    });
}
