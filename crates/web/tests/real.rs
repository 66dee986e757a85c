//! The real loop on a real port, driven by plain sockets of a thread: what the simulation cannot show. Nothing sleeps.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use ropewalk_net::{Address, Port, listen};
use ropewalk_reactor::{Reactor, Remote};
use ropewalk_web::{Request, Response, Router, Site};

const PATIENCE: Duration = Duration::from_secs(20);

fn site() -> Site {
    let shared: Rc<[u8]> = vec![b's'; 3_000_000].into();
    let router = Router::new()
        .get("/", |_| "hello")
        .get("/large", move |_| Response::new(Rc::clone(&shared)))
        .get("/later", |request: Request| {
            let responder = request.responder();
            request.reactor().call_soon(move || {
                responder.write("later");
                responder.finish();
            });
        })
        .get("/thread", |request: Request| async move {
            request.reactor().defer_to_thread(|| "from a thread").await
        })
        .get("/thread-panic", |request: Request| {
            request.reactor().defer_to_thread(|| -> String { panic!("as asked") })
        })
        .get("/thread-error", |request: Request| {
            request.reactor().defer_to_thread(|| std::fs::read_to_string("/there/is/no/such/file"))
        })
        .post("/", |request: Request| async move {
            request.bytes().await.map(|bytes| format!("{} bytes", bytes.len()))
        });
    Site::new(router).server(None)
}

/// What the loop holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    sources: usize,
    timers: usize,
    connections: usize,
}

/// Asks the loop from the client's thread.
#[derive(Clone)]
struct Inside {
    remote: Remote,
    ask: mpsc::Sender<mpsc::Sender<Held>>,
}

/// Serves on the real loop while `client` runs in a thread of its own.
fn serve(client: impl FnOnce(SocketAddr, &dyn Fn() -> Held) + Send + 'static) {
    let reactor = Reactor::new().unwrap();
    let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse().unwrap(), site()).unwrap();
    let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
    let (ask, asked) = mpsc::channel::<mpsc::Sender<Held>>();
    let inside = Inside { remote: reactor.remote(), ask };
    let ticker = answers(&reactor, port, asked);
    let thread = std::thread::spawn(move || {
        let held = {
            let inside = inside.clone();
            move || {
                let (tell, told) = mpsc::channel();
                inside.ask.send(tell).unwrap();
                told.recv_timeout(PATIENCE).unwrap()
            }
        };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client(address, &held)));
        let _ = inside.remote.call_from_thread(|reactor| reactor.stop());
        outcome
    });
    reactor.run().unwrap();
    drop(ticker);
    if let Err(payload) = thread.join().unwrap() {
        std::panic::resume_unwind(payload);
    }
}

/// Answers the client's questions about the loop, between turns.
fn answers(
    reactor: &Reactor,
    port: Port,
    asked: mpsc::Receiver<mpsc::Sender<Held>>,
) -> ropewalk_reactor::LoopingCall {
    let inner = reactor.downgrade();
    let call = ropewalk_reactor::LoopingCall::new(reactor, move |_| {
        let Some(reactor) = inner.upgrade() else { return };
        for tell in asked.try_iter() {
            let statistics = reactor.statistics();
            let held = Held {
                descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count(),
                sources: statistics.sources,
                timers: statistics.timers,
                connections: port.statistics().connections,
            };
            // It fails when the client has given up.
            let _ = tell.send(held);
        }
    });
    call.start(Duration::from_millis(1), true);
    call
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads until the server has closed.
fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn bodies(text: &str) -> Vec<&str> {
    text.split("HTTP/1.1 ").skip(1).map(|answer| answer.split_once("\r\n\r\n").unwrap().1).collect()
}

#[test]
fn plain_sockets_are_answered() {
    serve(|address, _| {
        let mut stream = connect(address);
        let get = |path: &str, fields: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let script = get("/", "")
            + &get("/later", "")
            + &get("/thread", "")
            + "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            + &get("/large", "Connection: close\r\n");
        for byte in script.as_bytes().chunks(7) {
            stream.write_all(byte).unwrap();
        }
        let text = rest(stream);
        let bodies = bodies(&text);
        assert_eq!(bodies[..2], ["hello", "5\r\nlater\r\n0\r\n\r\n"]);
        assert_eq!(bodies[2..4], ["from a thread", "3 bytes"]);
        assert_eq!(bodies[4].len(), 3_000_000);
    });
}

#[test]
fn what_fails_in_a_thread_of_the_pool_is_a_500_at_once() {
    serve(|address, held| {
        // The pool itself is a source, from its first job on.
        let mut stream = connect(address);
        stream.write_all(b"GET /thread HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
        assert!(rest(stream).ends_with("from a thread"));
        let before = settled(held);
        for _ in 0..50 {
            let mut stream = connect(address);
            let get = |path: &str, fields: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
            let script = get("/thread-panic", "")
                + &get("/thread-error", "")
                + &get("/thread", "")
                + &get("/", "Connection: close\r\n");
            stream.write_all(script.as_bytes()).unwrap();
            let text = rest(stream);
            let bodies = bodies(&text);
            for body in &bodies[..2] {
                assert!(
                    body.starts_with("500 Internal Server Error: ") && body.contains(", incident "),
                    "{body}"
                );
                assert!(!body.contains("as asked") && !body.contains("os error"), "{body}");
            }
            assert_eq!(bodies[2..], ["from a thread", "hello"]);
        }
        let after = settled(held);
        assert!(after.sources <= before.sources && after.timers <= before.timers, "{before:?} {after:?}");
    });
}

#[test]
fn data_and_the_end_of_the_stream_in_one_event_are_both_seen() {
    serve(|address, _| {
        for path in ["/", "/later", "/thread", "/large"] {
            let mut stream = connect(address);
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            // The answer may set out before or after the end is seen; it is whole, and the connection ends, either way.
            let text = rest(stream);
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{path}");
            assert!(!bodies(&text)[0].is_empty(), "{path}");
        }
    });
}

#[test]
fn a_refused_upload_gets_its_answer_and_no_reset() {
    serve(|address, _| {
        let mut stream = connect(address);
        stream.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 900000000\r\n\r\n").unwrap();
        for _ in 0..10 {
            stream.write_all(&[b'x'; 50_000]).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(rest(stream).starts_with("HTTP/1.1 413 "));
    });
}

/// One test, for it counts the descriptors of the whole process.
#[test]
fn a_hundred_thousand_requests_leave_nothing_behind() {
    const CONNECTIONS: usize = 20_000;
    const AT_ONCE: usize = 50;
    serve(|address, held| {
        let (get, last) = ("GET / HTTP/1.1\r\nHost: h\r\n", "Connection: close\r\n\r\n");
        let request = |left: usize| if left == 1 { get.to_owned() + last } else { get.to_owned() + "\r\n" };
        let before = settled(held);
        for round in 0..CONNECTIONS / AT_ONCE {
            let mut streams: Vec<_> = (0..AT_ONCE).map(|_| connect(address)).collect();
            // Half of them pipeline, and some of those leave without reading. Who says that it is the last request lets the server
            // close first: else the client's ports would be used up.
            for (index, stream) in streams.iter_mut().enumerate() {
                let at_once = if index % 2 == 0 { (1..=5).rev().map(request).collect() } else { request(5) };
                stream.write_all(at_once.as_bytes()).unwrap();
            }
            for (index, mut stream) in streams.into_iter().enumerate().filter(|(index, _)| index % 10 != 8) {
                if index % 2 == 1 {
                    for left in (1..5).rev() {
                        one_answer(&mut stream);
                        stream.write_all(request(left).as_bytes()).unwrap();
                    }
                    one_answer(&mut stream);
                }
                let answers = if index % 2 == 1 { 0 } else { 5 };
                assert_eq!(bodies(&rest(stream)).len(), answers, "round {round}");
            }
        }
        let after = settled(held);
        assert_eq!(after.connections, 0);
        assert!(after.sources <= before.sources && after.timers <= before.timers, "{before:?} {after:?}");
        assert!(after.descriptors <= before.descriptors + 16, "{before:?} {after:?}: other tests have a few");
    });
}

/// Reads one answer, which says hello.
fn one_answer(stream: &mut TcpStream) {
    let mut buffer = [0; 1024];
    let mut count = 0;
    while !buffer[..count].ends_with(b"hello") {
        let read = stream.read(&mut buffer[count..]).unwrap();
        assert!(read > 0, "closed too early: {}", String::from_utf8_lossy(&buffer[..count]));
        count += read;
    }
}

/// What is held once every connection is gone.
fn settled(held: &dyn Fn() -> Held) -> Held {
    for _ in 0..10_000 {
        let now = held();
        if now.connections == 0 {
            return now;
        }
    }
    panic!("connections stay: {:?}", held());
}
