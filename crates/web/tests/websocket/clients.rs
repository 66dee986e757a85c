//! The client, against the server of this crate and against servers that are wrong.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::{Lost, Protocol, Transport, listen};
use ropewalk_reactor::{Outcome, Simulation};
use ropewalk_web::client::{Agent, ClientError, Plain, Proxy};
use ropewalk_web::websocket::{
    self, Conversation, DeflateOptions, HandshakeError, Message, Options, WebSocket, code,
};
use ropewalk_wire::websocket::accept_key;

use crate::common::{MS, SECOND};
use crate::support::{Field, Recorder, Script, Told};

fn url(field: &Field) -> String {
    format!("ws://{}/socket", field.address())
}

/// Runs something with an agent in the field's simulation, to its end.
fn run<T: 'static, F>(field: &Field, work: impl FnOnce(Agent, String) -> F) -> Outcome<T>
where
    F: Future<Output = Outcome<T>> + 'static,
{
    let agent = Agent::new(field.ground.reactor());
    let outcome: Rc<RefCell<Option<Outcome<T>>>> = Rc::default();
    let (told, work) = (Rc::clone(&outcome), work(agent, url(field)));
    field.ground.reactor().spawn(async move {
        let came = work.await;
        *told.borrow_mut() = Some(came);
    });
    assert!(field.ground.simulation.run_until(200 * SECOND, || outcome.borrow().is_some()), "it ends");
    outcome.take().unwrap()
}

#[test]
fn it_speaks_with_the_server_with_compression_and_without() {
    let kept = DeflateOptions { own_takeover: true, peer_takeover: true, ..DeflateOptions::default() };
    for deflate in [None, Some(DeflateOptions::default()), Some(kept)] {
        let field = Field::echo(Options { deflate, ..Options::default() });
        run(&field, async move |agent: Agent, url: String| {
            let mut socket = websocket::dial(&agent, &url, Options { deflate, ..Options::default() }).await?;
            for length in [0, 1, 125, 126, 200, 65_535, 65_536, 300_000] {
                let message = Message::Text("abcdefg ".repeat(length / 8 + 1)[..length].to_owned());
                socket.send(&message);
                assert_eq!(socket.receive().await, Some(message));
                let message = Message::Binary((0..length).map(|at| (at * at) as u8).collect());
                socket.send(&message);
                assert_eq!(socket.receive().await, Some(message));
            }
            socket.close(4000, "enough");
            assert_eq!(socket.receive().await, None);
            let closed = socket.closed().unwrap();
            assert_eq!((closed.code, closed.reason.as_str(), closed.clean), (4000, "enough", true));
            Ok(())
        })
        .unwrap();
        field.advance(SECOND);
        assert!(field.log().ends_with("closed 4000 \"enough\" clean"), "{}", field.log());
        field.ends_clean();
    }
}

#[test]
fn a_handler_of_a_client_is_told_what_one_of_a_server_is() {
    let field = Field::new(Script::Silent, Options::default());
    let told = Told::default();
    let recorder = Recorder { script: Script::Silent, told: told.clone() };
    let options = Options { subprotocols: vec!["x".to_owned()], ..Options::default() };
    run(&field, move |agent, url| async move {
        let socket = websocket::connect(&agent, &url, options, recorder).await?;
        assert!(socket.is_open() && socket.subprotocol().is_none());
        socket.send_text("hello");
        socket.ping(b"there?");
        agent.reactor().sleep(SECOND).await;
        socket.send_text("close");
        agent.reactor().sleep(SECOND).await;
        assert!(!socket.is_open());
        Ok(())
    })
    .unwrap();
    assert_eq!(told.log(), "open; pong there?; closed 3001 \"enough\" clean");
    assert_eq!(field.log(), "open; message hello; ping there?; message close; closed 3001 \"enough\" clean");
    drop(told);
    field.ends_clean();
}

#[test]
fn a_conversation_that_is_dropped_closes() {
    let field = Field::echo(Options::default());
    run(&field, |agent, url| async move {
        let socket: Conversation = websocket::dial(&agent, &url, Options::default()).await?;
        drop(socket);
        Ok(())
    })
    .unwrap();
    field.advance(SECOND);
    assert_eq!(field.log(), "open; closed 1000 clean");
    field.ends_clean();
}

#[test]
fn a_client_that_is_full_reads_on() {
    // Both send and neither reads what it gets before it has sent: a client that stopped reading would wait for ever.
    let field = Field::echo(Options::default());
    let got = run(&field, |agent, url| async move {
        let mut socket =
            websocket::dial(&agent, &url, Options { deflate: None, ..Options::default() }).await?;
        for _ in 0..40 {
            socket.send_binary(&[7; 50_000]);
        }
        let mut got = 0;
        while got < 40 {
            assert_eq!(socket.receive().await.map(|message| message.len()), Some(50_000));
            got += 1;
        }
        Ok(got)
    });
    assert_eq!(got.unwrap(), 40);
}

#[test]
fn the_agents_cookies_and_fields_and_those_of_the_options_are_sent() {
    let options = Options {
        keep: ["cookie", "x-agent", "x-own", "authorization", "user-agent", "host"]
            .map(str::to_owned)
            .to_vec(),
        subprotocols: vec!["b".to_owned()],
        ..Options::default()
    };
    let field = Field::echo(options);
    run(&field, |agent, url| async move {
        let options = Options {
            headers: vec![("X-Own".to_owned(), "1".to_owned()), ("User-Agent".to_owned(), "me".to_owned())],
            subprotocols: vec!["a".to_owned(), "b".to_owned()],
            ..Options::default()
        };
        let url = url.replace("ws://", "ws://user:pass@");
        let socket = websocket::dial(&agent.with_header("X-Agent", "2"), &url, options).await?;
        assert_eq!(socket.subprotocol().as_deref(), Some("b"));
        Ok(())
    })
    .unwrap();
    let socket: WebSocket = field.sockets().remove(0);
    let header = |name: &str| socket.header(name).unwrap_or_default();
    assert_eq!(
        (header("x-own"), header("x-agent"), header("user-agent")),
        ("1".into(), "2".into(), "me".into())
    );
    assert_eq!(header("authorization"), "Basic dXNlcjpwYXNz");
    assert_eq!(header("host"), field.address().to_string());
}

#[test]
fn what_is_no_url_of_a_websocket() {
    let field = Field::echo(Options::default());
    for wrong in ["http://localhost/", "ws:/x", "ws://localhost/#here", "nonsense", "ws://"] {
        let failed = run(&field, |agent, _| async move {
            websocket::dial(&agent, wrong, Options::default()).await.map(|_| ())
        });
        assert!(failed.unwrap_err().is::<ClientError>(), "{wrong}");
    }
    let failed = run(&field, |agent, _| async move {
        let agent = agent.with_connector(Plain);
        websocket::dial(&agent, "wss://localhost/", Options::default()).await.map(|_| ())
    });
    assert!(matches!(failed.unwrap_err().check::<ClientError>(), Some(ClientError::NeedsTls)));
}

/// Says this when a head has come, with `KEY` for what belongs to the key; and then what comes is recorded.
struct Fixed {
    says: &'static [u8],
    head: Vec<u8>,
    closes: bool,
}

impl Protocol for Fixed {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.head.extend_from_slice(data);
        if !self.head.ends_with(b"\r\n\r\n") {
            return;
        }
        let head = String::from_utf8_lossy(&self.head).into_owned();
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let accept = accept_key(key.unwrap_or_default());
        let at = self.says.windows(3).position(|three| three == b"KEY");
        match at {
            Some(at) => {
                transport.write_sequence([&self.says[..at], accept.as_bytes(), &self.says[at + 3..]]);
            }
            None => transport.write(self.says),
        }
        self.head.clear();
        if self.closes {
            transport.lose_connection();
        }
    }
    fn connection_lost(&mut self, _: &Transport, _: &Lost) {}
}

/// A client against a server that says this.
fn against(says: &'static [u8], closes: bool) -> Outcome<(Option<Message>, Option<u16>)> {
    let simulation = Simulation::new(1);
    let endpoint = "tcp:80:interface=127.0.0.1".parse().unwrap();
    let make = move || Fixed { says, head: Vec::new(), closes };
    let _port = listen(simulation.reactor(), &endpoint, make).unwrap();
    let agent = Agent::new(simulation.reactor());
    let outcome: Rc<RefCell<Option<_>>> = Rc::default();
    let told = Rc::clone(&outcome);
    simulation.reactor().spawn(async move {
        let work = async {
            let mut socket = websocket::dial(&agent, "ws://127.0.0.1/", Options::default()).await?;
            let message = socket.receive().await;
            Ok((message, socket.closed().map(|closed| closed.code)))
        };
        *told.borrow_mut() = Some(work.await);
    });
    assert!(simulation.run_until(100 * SECOND, || outcome.borrow().is_some()), "it ends");
    simulation.advance(20 * SECOND);
    outcome.take().unwrap()
}

macro_rules! switched {
    ($($rest:literal)*) => {
        concat!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n", $($rest)*).as_bytes()
    };
}

#[test]
fn answers_that_do_not_complete_the_handshake() {
    for (says, status) in [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".as_slice(), 404),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 101),
        (switched!("Sec-WebSocket-Protocol: x\r\n\r\n"), 101),
        (switched!("Sec-WebSocket-Extensions: permessage-deflate; unknown\r\n\r\n"), 101),
    ] {
        let failure = against(says, false).unwrap_err();
        let error = failure.check::<HandshakeError>().unwrap_or_else(|| panic!("{failure}"));
        assert_eq!(error.status, status, "{error}");
    }
    let lost = against(b"", true).unwrap_err();
    assert!(matches!(lost.check::<ClientError>(), Some(ClientError::Unanswered(_))), "{lost}");
    let nonsense = against(b"220 welcome\r\n", false).unwrap_err();
    assert!(matches!(nonsense.check::<ClientError>(), Some(ClientError::Answer(_))), "{nonsense}");
    let silent = against(b"HTTP/1.1 1", false).unwrap_err();
    assert!(matches!(silent.check::<ClientError>(), Some(ClientError::TimedOut { .. })), "{silent}");
}

#[test]
fn what_comes_with_the_answer_is_the_first_message_and_what_is_wrong_ends_it() {
    const HINTED: &[u8] = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 x\r\nUpgrade: WebSocket\r\n\
        Connection: upgrade\r\nSec-WebSocket-Accept: KEY\r\n\r\n\x01\x02he\x80\x03llo";
    for (says, closes, message, code) in [
        (HINTED, false, Some("hello"), None),
        (HINTED, true, Some("hello"), Some(code::ABNORMAL)),
        (switched!("\r\n\x09\x00"), false, None, Some(code::PROTOCOL)),
        (switched!("\r\n\x01\x02he"), true, None, Some(code::ABNORMAL)),
    ] {
        let message = message.map(|text: &str| Message::Text(text.to_owned()));
        assert_eq!(against(says, closes).unwrap(), (message, code));
    }
}

#[test]
fn it_goes_through_a_tunnel() {
    // A proxy that answers the CONNECT, and is the server from then on.
    struct Tunnel(bool);
    impl Protocol for Tunnel {
        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            let head = String::from_utf8_lossy(data);
            if !std::mem::replace(&mut self.0, true) {
                assert!(head.starts_with("CONNECT news.example:80 HTTP/1.1\r\n"), "{head}");
                transport.write(b"HTTP/1.1 200 OK\r\n\r\n");
                return;
            }
            assert!(head.starts_with("GET /live HTTP/1.1\r\nHost: news.example\r\n"), "{head}");
            let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
            let accept = accept_key(key);
            transport.write(format!("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n").as_bytes());
            transport.write(b"\x81\x05hello");
        }
    }
    let simulation = Simulation::new(1);
    let _port =
        listen(simulation.reactor(), &"tcp:3128:interface=127.0.0.1".parse().unwrap(), || Tunnel(false))
            .unwrap();
    let agent = Agent::new(simulation.reactor()).with_proxy(Proxy::new("http://127.0.0.1:3128").unwrap());
    let got: Rc<RefCell<Option<Message>>> = Rc::default();
    let told = Rc::clone(&got);
    simulation.reactor().spawn(async move {
        let mut socket = websocket::dial(&agent, "ws://news.example/live", Options::default()).await.unwrap();
        *told.borrow_mut() = socket.receive().await;
    });
    simulation.advance(Duration::from_secs(2));
    assert_eq!(got.take(), Some(Message::Text("hello".to_owned())));
}

#[test]
fn cancelling_leaves_no_connection_behind() {
    let field = Field::echo(Options::default());
    field.ground.simulation.network().set_conditions(|conditions| conditions.latency = (SECOND, SECOND));
    for after in [0, 1500, 2500, 3500] {
        let agent = Agent::new(field.ground.reactor());
        let dialling = websocket::dial(&agent, &url(&field), Options::default());
        field.advance(after * MS);
        drop(dialling);
        field.advance(30 * SECOND);
    }
    field.ends_clean();
}
