//! Keeps a connection up: a word each second to the example `echo`, however often that goes away.
//!
//! Run it with `cargo run --example reconnect`, with an endpoint behind `--` if the server is not at `tcp:127.0.0.1:7007`; then
//! start `cargo run --example echo` in another terminal, stop it, and start it again. It prints, until Ctrl-C ends it:
//! ```text
//! no connection: 127.0.0.1:7007: connection refused
//! connected to 127.0.0.1:7007
//! 0 of 0 bytes are back
//! 5 of 5 bytes are back
//! lost: ended by the peer
//! no connection: ended by the peer
//! connected to 127.0.0.1:7007
//! 0 of 0 bytes are back
//! ```
//! The reasons are in the words of the system. The longer the server is away, the longer are the pauses: from a second to a minute.
#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use ropewalk::net::Connected;
use ropewalk::reactor::LoopingCall;
use ropewalk::{ClientPolicy, ClientService, Lost, Outcome, Protocol, Reactor, Transport};

/// What the protocol and the program both look at: the handle of one connection.
#[derive(Clone, Default)]
pub struct Talk {
    sent: Rc<Cell<usize>>,
    back: Rc<Cell<usize>>,
}

struct Client<S> {
    talk: Talk,
    say: S,
}

impl<S: Fn(String) + 'static> Protocol for Client<S> {
    fn data_received(&mut self, _transport: &Transport, data: &[u8]) {
        self.talk.back.set(self.talk.back.get() + data.len());
    }

    fn connection_lost(&mut self, _transport: &Transport, lost: &Lost) {
        (self.say)(format!("lost: {lost}"));
    }
}

/// Starts the service, and says each second how it is.
pub fn keep_up(
    reactor: &Reactor,
    server: &str,
    say: impl Fn(String) + Clone + 'static,
) -> Outcome<ClientService<Talk>> {
    let told = say.clone();
    let factory = move || {
        let talk = Talk::default();
        (Client { talk: talk.clone(), say: told.clone() }, talk)
    };
    let service = ClientService::new(reactor, server.parse()?, factory, ClientPolicy::default());
    let told = say.clone();
    service.prepare_connection(move |connected: &Connected<Talk>| {
        told(format!("connected to {}", connected.transport.peer()));
    });
    service.start();

    let watched = service.clone();
    let ticker =
        LoopingCall::new(reactor, move |_ticks| match (watched.connected(), watched.last_failure()) {
            (Some(Connected { transport, handle, .. }), _) => {
                say(format!("{} of {} bytes are back", handle.back.get(), handle.sent.get()));
                transport.write(b"word\n");
                handle.sent.set(handle.sent.get() + 5);
            }
            (None, Some(failure)) => say(format!("no connection: {failure}")),
            (None, None) => say("no connection yet".to_owned()),
        });
    ticker.start(Duration::from_secs(1), false);
    Ok(service)
}

fn main() -> Result<(), Box<dyn Error>> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "tcp:127.0.0.1:7007".to_owned());
    let reactor = Reactor::new()?;
    let _service =
        keep_up(&reactor, &server, |line| println!("{line}")).map_err(|failure| failure.to_string())?;
    Ok(reactor.run()?)
}
