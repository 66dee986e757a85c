//! Other protocols behind a head: upgrades and streams that take the connection over.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use common::{Ground, MS, everyhow, ok};
use ropewalk_net::{Lost, Protocol, Transport};
use ropewalk_web::{Request, Response, Router, Site};

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

/// Greets, and shouts back.
struct Shouter {
    made: bool,
}

impl Protocol for Shouter {
    fn connection_made(&mut self, transport: &Transport) {
        self.made = true;
        transport.write(b"WELCOME ");
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        assert!(self.made, "the connection first");
        transport.write(&data.to_ascii_uppercase());
    }

    fn connection_lost(&mut self, _transport: &Transport, lost: &Lost) {
        assert!(matches!(lost, Lost::Ended | Lost::Closed | Lost::Broken(_)), "{lost}");
    }
}

fn upgrading() -> Site {
    let shout = |_: Request| Response::upgrade("shout", Shouter { made: false });
    let later = |request: Request| async move {
        request.wait_long();
        let (firing, deferred) = ropewalk_reactor::Deferred::new(request.reactor());
        request.reactor().call_later(2 * MS, move || {
            // It fails when the client is gone.
            let _ = firing.callback(());
        });
        deferred.await.unwrap();
        Response::upgrade("shout", Shouter { made: false })
    };
    let router = Router::new()
        .any("/shout", shout)
        .get("/later", later)
        .get("/stream", |_| Response::takeover(Shouter { made: false }))
        .get("/", |_| "hello");
    Site::new(router).server(None)
}

#[test]
fn an_upgrade_hands_over_the_connection_and_the_unread_bytes() {
    let switched =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\nConnection: upgrade\r\n\r\nWELCOME ";
    for path in ["/shout", "/later"] {
        let asks = format!("GET {path} HTTP/1.1\r\nHost: h\r\nUpgrade: shout\r\nConnection: upgrade\r\n\r\n");
        let said = everyhow(upgrading, asks.clone() + "first words");
        assert_eq!((said.text, said.closed), (format!("{switched}FIRST WORDS"), false), "{path}");
        let said = everyhow(upgrading, get("/") + &asks + "more");
        assert_eq!(said.text, ok("hello") + switched + "MORE");
    }
    let told: Rc<RefCell<Vec<bool>>> = Rc::default();
    let inner = Rc::clone(&told);
    let ground = Ground::of(Router::new().get("/", move |request: Request| {
        let inner = Rc::clone(&inner);
        drop(request.notify_finish().add_both(move |outcome| inner.borrow_mut().push(outcome.is_ok())));
        Response::upgrade("shout", Shouter { made: false })
    }));
    drop(ground.send("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: shout\r\nConnection: upgrade\r\n\r\n"));
    ground.is_clean();
    assert_eq!(told.take(), [true], "the answer was the 101");
}

#[test]
fn an_upgrade_that_nobody_asked_for_or_behind_a_body_is_refused() {
    let said = everyhow(upgrading, get("/shout"));
    assert!(said.text.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{said:?}");
    assert!(said.text.contains("\r\nUpgrade: shout\r\n") && said.closed, "{said:?}");
    let fields = "Host: h\r\nUpgrade: shout\r\nConnection: upgrade\r\nContent-Length: 4\r\n";
    let said = everyhow(upgrading, format!("POST /shout HTTP/1.1\r\n{fields}\r\nbody"));
    assert!(said.text.starts_with("HTTP/1.1 400 Bad Request\r\n") && said.closed, "{said:?}");
    // HTTP/1.0 cannot be upgraded.
    let said = everyhow(upgrading, "GET /shout HTTP/1.0\r\nUpgrade: shout\r\nConnection: upgrade\r\n\r\n");
    assert!(said.text.starts_with("HTTP/1.1 426 "), "{said:?}");
}

#[test]
fn another_protocol_may_stream_behind_a_head() {
    let said = everyhow(upgrading, get("/stream"));
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    assert_eq!((said.text, said.closed), (format!("{head}WELCOME "), false));
    let said = everyhow(upgrading, get("/stream").replace("GET", "HEAD"));
    assert_eq!((said.text, said.closed), (head.to_owned(), true));
}
