//! A TCP proxy that holds a few hundred KiB at most, however fast one side sends and however slowly the other one reads.
//!
//! Run `cargo run --example echo` in one terminal and `cargo run --example proxy` in another, then `nc 127.0.0.1 7009`: what
//! comes back went through both. With the echo stopped, `nc` ends at once. All it takes is `-- [--rate BYTES] [LISTEN [TARGET]]`.
//!
//! Each side is the producer of the other: when a transport has more than enough to send, it pauses the reading at the
//! opposite side, whose peer is held back by TCP itself. The end of one direction is passed on, too.

use std::process::ExitCode;
use std::rc::Rc;

use ropewalk::net::policy::{Rates, Throttle, apply};
use ropewalk::net::{ClientEndpoint, Producer, connect};
use ropewalk::reactor::failure::Cancelled;
use ropewalk::{Deferred, Factory, Lost, Protocol, Settings, StartError, Transport};

/// One of two connections that stand; it holds the other one, and reads for it.
struct Side(Transport);

impl Producer for Side {
    fn pause_producing(&self) {
        self.0.pause_reading();
    }

    fn resume_producing(&self) {
        self.0.resume_reading();
    }
}

impl Protocol for Side {
    fn data_received(&mut self, _transport: &Transport, data: &[u8]) {
        self.0.write(data);
    }

    fn read_ended(&mut self, _transport: &Transport) {
        self.0.lose_write_connection();
    }

    fn connection_lost(&mut self, _transport: &Transport, lost: &Lost) {
        match lost {
            Lost::Ended | Lost::Closed => self.0.lose_connection(),
            _ => self.0.abort_connection(),
        }
    }
}

/// A client's connection until the one to the target stands.
struct Dialing {
    target: ClientEndpoint,
    attempt: Option<Deferred<()>>,
}

impl Protocol for Dialing {
    fn connection_made(&mut self, client: &Transport) {
        // What the client sends waits in the system until there is somebody to send it to.
        client.pause_reading();
        let (other, joining, refused) = (client.clone(), client.clone(), client.clone());
        let attempt = connect(client.reactor(), &self.target, move || Side(other.clone()));
        self.attempt = Some(attempt.add_callbacks(
            move |server| {
                joining.register_producer(Rc::new(Side(server.clone())));
                server.register_producer(Rc::new(Side(joining.clone())));
                joining.switch(Box::new(Side(server)));
                joining.resume_reading();
            },
            move |failure| {
                if !failure.is::<Cancelled>() {
                    tracing::warn!("the target: {failure}");
                    refused.abort_connection();
                }
            },
        ));
    }

    fn data_received(&mut self, client: &Transport, data: &[u8]) {
        client.unread(data);
    }

    fn connection_lost(&mut self, _client: &Transport, _lost: &Lost) {
        self.attempt.iter().for_each(Deferred::cancel);
    }
}

/// Connects each client to the target.
pub fn proxy(target: ClientEndpoint) -> impl Factory {
    move || Dialing { target: target.clone(), attempt: None }
}

pub(crate) fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    let rate = words.next_if_eq("--rate").and_then(|_| words.next());
    let listen = words.next().unwrap_or_else(|| "tcp:7009".to_owned());
    let target = words.next().unwrap_or_else(|| "tcp:127.0.0.1:7007".to_owned());
    ropewalk::launch("proxy", Settings::default(), |app| {
        let rate = rate.map(|rate| rate.parse::<u64>()).transpose();
        let rate = rate.map_err(|_| StartError::new("--rate wants bytes in a second, such as 100000"))?;
        let throttle = Throttle::new(app.reactor()).each(Rates { read: rate, write: rate });
        app.listen("proxy", &listen, apply(throttle, proxy(target.parse()?)))
    })
}
