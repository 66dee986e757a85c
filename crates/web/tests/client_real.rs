//! The client on the real loop, against the server of this crate in a loop of its own thread: what the simulation cannot show.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::Duration;

use ropewalk_net::{Address, ClientEndpoint, ConnectOptions, Factory, Transport, connect_with, listen};
use ropewalk_reactor::{Deferred, Reactor, Scope, react};
use ropewalk_web::client::{Agent, ClientError, Connector, Deadlines, Phase, PoolLimits};
use ropewalk_web::{Request, Response, Router, Site};

const PATIENCE: Duration = Duration::from_secs(20);

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index ^ (index >> 8) ^ (index >> 16)) as u8).collect()
}

/// Serves in a thread of its own while `run` runs.
fn with_server(endpoint: &str, run: impl FnOnce(Address)) {
    let (tell, told) = mpsc::channel();
    let endpoint = endpoint.to_owned();
    let thread = std::thread::spawn(move || {
        let router = Router::new()
            .get("/large", |_| Response::new(pattern(20_000_000)))
            .get("/number/{n}", |request: Request| request.param("n").unwrap_or_default())
            .post("/echo", |request: Request| async move { request.bytes().await.map(Response::new) });
        let reactor = Reactor::new().unwrap();
        let port = listen(&reactor, &endpoint.parse().unwrap(), Site::new(router)).unwrap();
        tell.send((port.address().clone(), reactor.remote())).unwrap();
        reactor.run().unwrap();
    });
    let (address, remote) = told.recv_timeout(PATIENCE).unwrap();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(address)));
    remote.call_from_thread(|reactor| reactor.stop()).unwrap();
    thread.join().unwrap();
    if let Err(payload) = outcome {
        std::panic::resume_unwind(payload);
    }
}

fn inet(address: &Address) -> SocketAddr {
    match address {
        Address::Inet(address) => *address,
        other => unreachable!("{other}"),
    }
}

#[test]
fn hundreds_of_requests_share_a_few_connections() {
    with_server("tcp:0:interface=127.0.0.1", |address| {
        let address = inet(&address);
        react(move |reactor| async move {
            let agent =
                Agent::new(&reactor).with_pool(PoolLimits { per_host_max: 4, ..PoolLimits::default() });
            let scope = Scope::new(&reactor);
            for number in 0..300 {
                let request = agent.get(&format!("http://{address}/number/{number}")).timeout(PATIENCE);
                let request = if number % 3 == 0 { request.pipelined() } else { request };
                scope.run(async move {
                    assert_eq!(request.send().await?.text().await?, number.to_string());
                    Ok(())
                });
            }
            scope.join().await?;
            let statistics = agent.statistics();
            assert_eq!((statistics.made, statistics.answered, statistics.resent), (4, 300, 0));
            Ok(())
        })
        .unwrap();
    });
}

#[test]
fn large_bodies_come_whole_both_ways() {
    with_server("tcp:0:interface=127.0.0.1", |address| {
        let address = inet(&address);
        react(move |reactor| async move {
            let agent = Agent::new(&reactor);
            let large = agent.get(&format!("http://{address}/large")).send().await?;
            let body = large.with_bytes_max(50_000_000).bytes().await?;
            assert!(body == pattern(20_000_000));
            let echo = agent.post(&format!("http://{address}/echo")).body(pattern(7_000_000)).send().await?;
            assert!(echo.bytes().await? == pattern(7_000_000));
            let file = std::fs::File::open("/proc/self/exe")?;
            let part = ropewalk_net::FileSender::new(file)?.with_part(1, 300_000);
            let echo = agent.post(&format!("http://{address}/echo")).body(part).send().await?;
            assert!(echo.bytes().await? == std::fs::read("/proc/self/exe")?[1..300_001]);
            assert_eq!(agent.statistics().made, 1);
            Ok(())
        })
        .unwrap();
    });
}

#[test]
fn a_connector_leads_over_a_unix_socket() {
    struct Local(String);
    impl Connector for Local {
        fn connect(
            &self,
            reactor: &Reactor,
            _: &str,
            _: u16,
            _: Duration,
            protocol: std::rc::Rc<dyn Factory>,
        ) -> Deferred<Transport> {
            let endpoint: ClientEndpoint = self.0.parse().unwrap();
            connect_with(reactor, &endpoint, protocol, ConnectOptions::default())
        }
    }
    let path = std::env::temp_dir().join(format!("ropewalk-client-{}.sock", std::process::id()));
    let endpoint = format!("unix:{}", path.display());
    with_server(&endpoint, |_| {
        let endpoint = endpoint.clone();
        react(move |reactor| async move {
            let agent = Agent::new(&reactor).with_connector(Local(endpoint));
            let answer = agent.get("http://whoever/number/7").timeout(PATIENCE).send().await?;
            assert_eq!(answer.text().await?, "7");
            Ok(())
        })
        .unwrap();
    });
}

#[test]
fn a_server_that_is_silent_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab").unwrap();
        // Until the client has gone.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
    react(move |reactor| async move {
        let deadlines = Deadlines { idle: Some(Duration::from_millis(50)), ..Deadlines::default() };
        let request = Agent::new(&reactor).get(&format!("http://{address}/")).deadlines(deadlines);
        let mut response = request.send().await?;
        assert_eq!(response.piece().await?.as_deref(), Some(&b"ab"[..]));
        let failure = response.piece().await.unwrap_err();
        assert!(
            matches!(failure.check(), Some(ClientError::TimedOut { phase: Phase::Idle, .. })),
            "{failure}"
        );
        Ok(())
    })
    .unwrap();
    thread.join().unwrap();
}
