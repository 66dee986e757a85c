//! Whatever comes over a WebSocket goes back: the smallest server, and the one that Autobahn's test suite is run against
//! (`cargo xtask autobahn`).
//!
//! Run it with `cargo run --example websocket_echo`, and talk to it with `npx wscat -c ws://127.0.0.1:9001`, or from any page of a
//! browser's console:
//! ```text
//! const socket = new WebSocket('ws://127.0.0.1:9001'); socket.onmessage = event => console.log(event.data);
//! socket.send('hello')
//! ```
//! The second works from a page of its own only unless the environment says `ECHO_TO_ANYBODY=1`: a foreign page is refused with 403.

use std::process::ExitCode;
use std::rc::Rc;

use ropewalk::web::websocket::{
    self, DeflateOptions, Limits, Message, Options, Origins, WebSocket, WebSocketHandler,
};
use ropewalk::web::{Handler, Request, Router};

/// The test suite sends up to 16 MiB, and four of them in pieces of 64 bytes.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
const FRAGMENTS_MAX: u32 = 70_000;

struct Echo;

impl WebSocketHandler for Echo {
    fn message(&mut self, socket: &WebSocket, message: Message) {
        // A client that does not read what comes back is not read from: nothing piles up here.
        socket.send(&message);
    }
}

/// The site: every path echoes.
pub fn echo(origins: Origins) -> impl Handler {
    // Messages may refer to those before, for smaller ones. That costs each connection the memory to remember them.
    let deflate = DeflateOptions { own_takeover: true, peer_takeover: true, ..DeflateOptions::default() };
    let options = Rc::new(Options {
        limits: Limits { fragments_max: FRAGMENTS_MAX, ..Limits::of(MESSAGE_BYTES_MAX) },
        deflate: Some(deflate),
        origins,
        ..Options::default()
    });
    Router::new()
        .get("/{*any}", {
            let options = Rc::clone(&options);
            move |request: Request| websocket::upgrade(&request, Rc::clone(&options), Echo)
        })
        .get("/", move |request: Request| websocket::upgrade(&request, Rc::clone(&options), Echo))
}

fn main() -> ExitCode {
    let anybody = std::env::var_os("ECHO_TO_ANYBODY").is_some_and(|value| value == "1");
    ropewalk::main("websocket_echo", move |app| {
        let origins = if anybody { Origins::Any } else { Origins::SameHost };
        let endpoint =
            std::env::var("ECHO_LISTEN").unwrap_or_else(|_| "tcp:9001:interface=127.0.0.1".to_owned());
        app.serve(&endpoint, move || echo(origins.clone()))
    })
}
