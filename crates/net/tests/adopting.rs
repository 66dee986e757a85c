//! Sockets that somebody else has made: they serve as if they had been opened here, what is something else is refused with what
//! it is, and what belongs to their maker is left alone.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::RefCell;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::rc::Rc;
use std::time::Duration;

use common::{Ground, Kind, Probe, Seen, client_of, real};
use ropewalk_net::{
    Address, DatagramOptions, DatagramProtocol, DatagramTransport, Port, ServerOptions, TransportOptions,
    adopt_connection, adopt_datagrams, adopt_listener, connect,
};
use ropewalk_reactor::Simulation;
use ropewalk_reactor::io::{DatagramSocket, Listener, Socket};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

fn on_sockets<F: Future<Output = ()> + 'static>(check: impl Fn(Ground) -> F) {
    real(Kind::Tcp, &check);
}

fn adopt(ground: &Ground, listener: impl Into<OwnedFd>) -> Port {
    let echo = Rc::new(Probe::echo);
    adopt_listener(&ground.reactor, listener.into(), echo, ServerOptions::default()).unwrap()
}

/// Sends a question to a listener of echoes and waits for the answer.
async fn ask(ground: &Ground, port: &Port) -> Rc<Seen> {
    let probe = Probe::new();
    let seen = Rc::clone(&probe.seen);
    let probe = RefCell::new(Some(probe));
    let client = connect(&ground.reactor, &client_of(port), move || probe.take().expect("one attempt"));
    client.await.unwrap().write(b"question");
    ground.until("the answer", || seen.len() == 8).await;
    seen
}

#[test]
fn an_adopted_listener_serves() {
    on_sockets(|ground| async move {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // A client that came before anybody accepted is served as well: its event was before ours.
        let mut early = TcpStream::connect(address).unwrap();
        early.write_all(b"early").unwrap();
        // Urgent data comes in line, as on every connection: it has the options of those that came later.
        socket2::SockRef::from(&early).send_out_of_band(b"!").unwrap();
        let port = adopt(&ground, listener);
        assert_eq!(*port.address(), Address::Inet(address));
        assert_eq!(port.endpoint().to_string(), format!("tcp:{}:interface=127.0.0.1", address.port()));
        let answered = ground.reactor.defer_to_thread(move || {
            let mut answer = [0; 6];
            early.read_exact(&mut answer).map(|()| answer)
        });
        assert_eq!(&answered.await.unwrap().unwrap(), b"early!");
        ask(&ground, &port).await.transport().lose_connection();
        assert_eq!(port.statistics().accepted, 2);
        port.stop_listening();
        assert!(TcpStream::connect(address).is_err(), "it was the only descriptor");
    });
}

#[test]
fn the_file_of_an_adopted_listener_is_its_makers() {
    on_sockets(|ground| async move {
        let path = std::env::temp_dir().join(format!("ropewalk-adopted-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let kept = listener.try_clone().unwrap();
        let port = adopt(&ground, listener);
        assert_eq!(*port.address(), Address::Unix(Some(path.clone())));
        ask(&ground, &port).await.transport().lose_connection();
        port.stop_listening();
        assert!(path.exists());
        // Whoever has it still goes on with it: connections wait there.
        let waiting = UnixStream::connect(&path).unwrap();
        kept.set_nonblocking(false).unwrap();
        assert!(kept.accept().is_ok());
        drop((waiting, kept));
        // And nobody having it, the file is still not ours.
        let listener = UnixListener::bind(path.with_extension("alone")).unwrap();
        adopt(&ground, listener).stop_listening();
        assert!(path.with_extension("alone").exists());
        std::fs::remove_file(path.with_extension("alone")).unwrap();
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn an_adopted_connection_goes_on() {
    on_sockets(|ground| async move {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let address = client.peer_addr().unwrap();
        let (server, _) = listener.accept().unwrap();
        let (mine, theirs) = UnixStream::pair().unwrap();
        let pairs: [(OwnedFd, OwnedFd, Address); 2] = [
            (client.into(), server.into(), Address::Inet(address)),
            (mine.into(), theirs.into(), Address::Unix(None)),
        ];
        for (mine, theirs, peer) in pairs {
            let (probe, echo) = (Probe::new(), Probe::echo());
            let (seen, other) = (Rc::clone(&probe.seen), Rc::clone(&echo.seen));
            let options = TransportOptions::default();
            adopt_connection(&ground.reactor, theirs, echo, options.clone()).unwrap();
            let transport = adopt_connection(&ground.reactor, mine, probe, options).unwrap();
            assert!(seen.made.get(), "at once");
            assert_eq!(transport.peer(), peer);
            assert_eq!(transport.siblings(), 1);
            let data = ground.bytes(500_000);
            transport.write(&data);
            ground.until("the echo", || seen.len() == data.len()).await;
            assert!(*seen.data.borrow() == data);
            transport.lose_connection();
            ground.until("both are lost", || seen.is_lost() && other.is_lost()).await;
            assert_eq!(
                (seen.reason(), other.reason()),
                ("closed by this side".into(), "ended by the peer".into())
            );
        }
    });
}

struct Parrot;
impl DatagramProtocol for Parrot {
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: SocketAddr) {
        // A datagram that is not taken is lost, as on the way.
        let _ = transport.write_to(data, from);
    }
}

#[test]
fn adopted_datagrams_are_heard() {
    on_sockets(|ground| async move {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let transport =
            adopt_datagrams(&ground.reactor, socket.into(), Parrot, DatagramOptions::default()).unwrap();
        assert_eq!(transport.host(), address);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.send_to(b"polly", address).unwrap();
        let answer = ground.reactor.defer_to_thread(move || {
            let mut buffer = [0; 100];
            client.recv(&mut buffer).map(|count| buffer[..count].to_vec())
        });
        assert_eq!(answer.await.unwrap().unwrap(), b"polly");
        transport.stop_listening();
    });
}

/// As it comes over `exec`: blocking, and not close-on-exec.
fn inherited(fd: impl Into<OwnedFd>) -> OwnedFd {
    let fd = fd.into();
    fcntl_setfd(&fd, FdFlags::empty()).unwrap();
    fd
}

fn is_claimed(fd: impl AsFd) -> bool {
    fcntl_getfl(&fd).unwrap().contains(OFlags::NONBLOCK) && fcntl_getfd(&fd).unwrap() == FdFlags::CLOEXEC
}

#[test]
fn what_is_adopted_is_nonblocking_and_stays_out_of_children() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let early = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let Listener::Tcp(tcp) = Listener::adopt(inherited(tcp)).unwrap() else { unreachable!("it is TCP") };
    assert!(is_claimed(&tcp));
    // What it accepts is as if it had been opened here; what waited there before is made so.
    let client = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let tcp = Listener::Tcp(tcp);
    let (waited, _) = tcp.accept().unwrap();
    waited.prepare();
    let Socket::Tcp(waited) = waited else { unreachable!("it is TCP") };
    assert!(socket2::SockRef::from(&waited).out_of_band_inline().unwrap());
    drop((waited, early));
    let (accepted, _) = tcp.accept().unwrap();
    let Socket::Tcp(accepted) = accepted else { unreachable!("it is TCP") };
    assert!(is_claimed(&accepted));
    let options = socket2::SockRef::from(&accepted);
    assert!(
        options.tcp_nodelay().unwrap()
            && options.out_of_band_inline().unwrap()
            && options.keepalive().unwrap()
    );

    let Socket::Tcp(client) = Socket::adopt(inherited(client)).unwrap() else { unreachable!("it is TCP") };
    assert!(is_claimed(&client));
    let options = socket2::SockRef::from(&client);
    assert!(options.tcp_nodelay().unwrap() && options.out_of_band_inline().unwrap());

    let (one, _other) = UnixStream::pair().unwrap();
    let Socket::Unix(one) = Socket::adopt(inherited(one)).unwrap() else { unreachable!("it is UNIX") };
    assert!(is_claimed(&one));
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let DatagramSocket::Udp(udp) = DatagramSocket::adopt(inherited(udp)).unwrap() else {
        unreachable!("it is UDP")
    };
    assert!(is_claimed(&udp));
}

#[test]
fn what_is_something_else_is_refused_with_what_it_is() {
    let simulation = Simulation::new(1);
    let listener = |fd: OwnedFd| Listener::adopt(fd).map(drop);
    let connection = |fd: OwnedFd| Socket::adopt(fd).map(drop);
    let datagrams = |fd: OwnedFd| DatagramSocket::adopt(fd).map(drop);
    let says = |outcome: std::io::Result<()>, what: &str| {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        let text = error.to_string();
        assert!(
            text.starts_with("descriptor ") && text.contains(what) && text.ends_with(" is wanted"),
            "{text}"
        );
    };
    let tcp = || TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = || TcpStream::connect(tcp_address()).unwrap();
    let pair = || UnixStream::pair().unwrap().0;
    says(listener(File::open("/dev/null").unwrap().into()), "is no socket; a listening TCP");
    says(listener(std::io::pipe().unwrap().0.into()), "is no socket");
    says(listener(stream().into()), "is a TCP socket that does not listen; a listening TCP");
    says(listener(pair().into()), "is a UNIX stream socket that does not listen");
    says(listener(UdpSocket::bind("127.0.0.1:0").unwrap().into()), "is a UDP socket");
    says(listener(UnixDatagram::unbound().unwrap().into()), "is a UNIX datagram socket");
    says(connection(tcp().into()), "is a listening TCP socket; a connected TCP");
    says(connection(File::open("/dev/null").unwrap().into()), "is no socket; a connected TCP");
    says(connection(UdpSocket::bind("127.0.0.1:0").unwrap().into()), "is a UDP socket");
    says(datagrams(tcp().into()), "is a listening TCP socket; a UDP socket");
    says(datagrams(UnixDatagram::unbound().unwrap().into()), "is a UNIX datagram socket; a UDP socket");
    let packets = socket2::Socket::pair(socket2::Domain::UNIX, socket2::Type::SEQPACKET, None).unwrap();
    says(connection(packets.0.into()), "is a socket of another type");
    let unconnected = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    assert_eq!(connection(unconnected.into()).unwrap_err().kind(), ErrorKind::NotConnected);
    // What is refused is not touched: whoever shares it finds it blocking.
    let shared = stream();
    says(listener(shared.try_clone().unwrap().into()), "does not listen");
    assert!(!fcntl_getfl(&shared).unwrap().contains(OFlags::NONBLOCK));
    // A simulation has no sockets of the system.
    let adopted =
        adopt_listener(simulation.reactor(), tcp().into(), Rc::new(Probe::echo), ServerOptions::default());
    assert_eq!(adopted.map(drop).unwrap_err().kind(), ErrorKind::Unsupported);
}

/// Somewhere to connect to, for as long as the tests run.
fn tcp_address() -> SocketAddr {
    static LISTENER: std::sync::OnceLock<TcpListener> = std::sync::OnceLock::new();
    LISTENER.get_or_init(|| TcpListener::bind("127.0.0.1:0").unwrap()).local_addr().unwrap()
}
