//! The examples over WebSocket: the chat, the echo, and the client that is sent through a list of cases.

use std::cell::RefCell;
use std::rc::Rc;

use crate::support::{Ground, MS, SECOND, address};
use crate::{websocket_chat, websocket_client, websocket_echo};
use ropewalk::net::tls::{
    Identity, Pem, Roots, TlsClient, TlsClientOptions, TlsServer, TlsServerOptions, TlsSide,
};
use ropewalk::web::client::{Agent, Connector};
use ropewalk::web::websocket::{self, Conversation, HandshakeError, Options, Origins};
use ropewalk::web::{Request, Router, Site};
use ropewalk::{Deferred, Outcome, Transport};

/// Runs something with an agent in the ground's simulation, to its end.
fn run<F>(ground: &Ground, work: impl FnOnce(Agent, String) -> F)
where
    F: Future<Output = Outcome<()>> + 'static,
{
    let base = format!("ws://{}", address(&ground.port));
    let task = ground.simulation.reactor().spawn(work(Agent::new(ground.simulation.reactor()), base));
    assert!(ground.simulation.run_until(100 * SECOND, || task.is_finished()), "it ends");
    let outcome: Rc<RefCell<Option<_>>> = Rc::default();
    let told = Rc::clone(&outcome);
    ground
        .simulation
        .reactor()
        .spawn(async move { *told.borrow_mut() = Some(task.await.and_then(|came| came)) });
    ground.advance(MS);
    outcome.take().expect("it has ended").unwrap();
}

async fn heard(member: &mut Conversation) -> String {
    let message = member.receive().await.expect("the room stands");
    message.as_text().expect("it is text").to_owned()
}

#[test]
fn the_room_tells_all_what_one_says() {
    let ground = Ground::new(1, Site::new(websocket_chat::chat()));
    let page = ground.ask(&ground.connect(), b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(page.contains("new WebSocket("), "{page}");
    run(&ground, |agent, base| async move {
        let join = || websocket::dial(&agent, &format!("{base}/room"), Options::default());
        let (mut ann, mut bob) = (join().await?, join().await?);
        assert_eq!(heard(&mut ann).await, "* welcome; your name?");
        ann.send_text(" Ann ");
        assert_eq!(heard(&mut ann).await, "* Ann has joined");
        assert_eq!(heard(&mut bob).await, "* welcome; your name?");
        bob.send_text("Bob");
        assert_eq!(heard(&mut ann).await, "* Bob has joined");
        assert_eq!(heard(&mut bob).await, "* Bob has joined");
        bob.send_text("tea?");
        assert_eq!((heard(&mut ann).await, heard(&mut bob).await), ("Bob: tea?".into(), "Bob: tea?".into()));
        bob.close(1000, "");
        assert_eq!(heard(&mut ann).await, "* Bob has left");
        ann.send_binary(b"?");
        assert!(ann.receive().await.is_none() && ann.closed().is_some_and(|closed| closed.code == 1003));
        Ok(())
    });
}

#[test]
fn a_member_that_does_not_read_misses_lines_and_is_told() {
    let ground = Ground::new(1, Site::new(websocket_chat::chat()));
    let slow = ground.connect();
    let asks = "GET /room HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    slow.write(asks.as_bytes());
    ground.advance(SECOND);
    assert!(slow.take().ends_with(b"* welcome; your name?"));
    // "Sloth", with a mask of zeros.
    slow.write(b"\x81\x85\0\0\0\0Sloth");
    ground.advance(SECOND);
    slow.set_window(Some(1000));
    run(&ground, |agent, base| async move {
        let mut ann = websocket::dial(&agent, &format!("{base}/room"), Options::default()).await?;
        heard(&mut ann).await;
        ann.send_text("Ann");
        heard(&mut ann).await;
        for _ in 0..300 {
            ann.send_text(&"blah ".repeat(100));
            heard(&mut ann).await;
        }
        Ok(())
    });
    slow.set_window(Some(1_000_000));
    let mut got = Vec::new();
    for _ in 0..100 {
        got.extend(slow.take());
        ground.advance(10 * MS);
    }
    let got = String::from_utf8_lossy(&got);
    assert!(got.contains("* you were too slow for ") && got.matches("Ann: blah").count() < 300);
}

#[test]
fn the_client_goes_through_all_cases_of_a_server_and_reports() {
    let (asked, seen): (Rc<RefCell<Vec<String>>>, _) = (Rc::default(), Rc::<RefCell<Vec<String>>>::default());
    let note = |asked: &Rc<RefCell<Vec<String>>>, request: &Request| {
        asked.borrow_mut().push(request.target().to_owned());
    };
    let (counts, cases, reports) = (Rc::clone(&asked), Rc::clone(&asked), Rc::clone(&asked));
    let router = Router::new()
        .get("/getCaseCount", move |request: Request| {
            note(&counts, &request);
            websocket::upgrade_with(&request, Options::default(), |socket| async move {
                socket.send_text("2");
                Ok(())
            })
        })
        .get("/runCase", move |request: Request| {
            note(&cases, &request);
            websocket::upgrade_with(&request, Options::default(), |mut socket| async move {
                socket.send_text("echo this");
                assert_eq!(heard(&mut socket).await, "echo this");
                Ok(())
            })
        })
        .get("/updateReports", move |request: Request| {
            note(&reports, &request);
            websocket::upgrade_with(&request, Options::default(), |_| async { Ok(()) })
        });
    let ground = Ground::new(1, Site::new(router));
    let said = Rc::clone(&seen);
    run(&ground, |agent, base| async move {
        websocket_client::all(&agent, &base, move |line| said.borrow_mut().push(line)).await
    });
    assert_eq!(seen.take(), ["2 cases", "done"]);
    let agent = "agent=ropewalk";
    let expected = ["/getCaseCount".to_owned(), format!("/runCase?case=1&{agent}")];
    let expected =
        [&expected[..], &[format!("/runCase?case=2&{agent}"), format!("/updateReports?{agent}")]].concat();
    assert_eq!(asked.take(), expected);
}

#[test]
fn the_echo_answers_its_own_pages_and_others_only_if_that_is_said() {
    for (origins, welcome) in [(Origins::SameHost, false), (Origins::Any, true)] {
        let ground = Ground::new(1, Site::new(websocket_echo::echo(origins)));
        run(&ground, move |agent, base| async move {
            let mut echo = websocket::dial(&agent, &format!("{base}/any/where"), Options::default()).await?;
            echo.send_text("hello");
            assert_eq!(heard(&mut echo).await, "hello");
            let headers = vec![("Origin".to_owned(), "https://evil.example".to_owned())];
            let foreign = websocket::dial(&agent, &base, Options { headers, ..Options::default() }).await;
            match foreign {
                Ok(_) => assert!(welcome),
                Err(failure) => {
                    let status = failure.check::<HandshakeError>().map(|error| error.status);
                    assert!(!welcome && status == Some(403), "{failure}");
                }
            }
            Ok(())
        });
    }
}

/// TLS for an agent, that trusts one certificate.
struct Trusting(TlsClient);

impl Connector for Trusting {
    fn has_tls(&self) -> bool {
        true
    }

    fn secure(&self, transport: &Transport, host: &str) -> Deferred<()> {
        let began = transport.start_tls(TlsSide::Client(&self.0, host), b"");
        let transport = transport.clone();
        let reactor = transport.reactor().clone();
        reactor.clone().ensure_deferred(async move {
            began?;
            while transport.tls().is_none() {
                reactor.sleep(MS).await;
            }
            Ok(())
        })
    }
}

#[test]
fn over_tls_it_is_the_same() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = TlsServer::new(TlsServerOptions::new(Identity::text(cert.clone(), key))).unwrap();
    let ground = Ground::new(1, tls.wrap(Site::new(websocket_echo::echo(Origins::SameHost))));
    let roots = Roots::Pem(Pem::text(cert));
    let client = TlsClient::new(TlsClientOptions { roots, ..TlsClientOptions::default() }).unwrap();
    run(&ground, |agent, base| async move {
        let url = base.replace("ws://127.0.0.1", "wss://localhost");
        let agent = agent.with_connector(Trusting(client));
        let mut socket = websocket::dial(&agent, &url, Options::default()).await?;
        assert!(socket.transport().tls().is_some());
        for length in [0, 200, 100_000, 1_000_000] {
            let text = "safe and sound ".repeat(length / 15 + 1)[..length].to_owned();
            socket.send_text(&text);
            assert!(heard(&mut socket).await == text, "{length} bytes");
        }
        socket.close(1000, "");
        assert!(socket.receive().await.is_none() && socket.closed().is_some_and(|closed| closed.clean));
        Ok(())
    });
}
