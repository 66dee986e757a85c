//! A TCP proxy that holds a few hundred KiB at most, however fast one side sends and however slowly the other one reads.
//!
//! Run `cargo run --example echo` in one terminal and `cargo run --example proxy` in another, then `nc 127.0.0.1 7009`: what
//! comes back went through both. With the echo stopped, `nc` ends at once and the proxy says why.
//!
//! Each side is the producer of the other: when a transport has more than enough to send, it pauses the reading at the
//! opposite side, and the peer there is held back by TCP itself. The end of one direction is passed on, too, so that a
//! client which ends its question still gets the answer.

use std::process::ExitCode;
use std::rc::Rc;

use ropewalk::net::{ClientEndpoint, Producer, connect};
use ropewalk::reactor::failure::Cancelled;
use ropewalk::{Deferred, Factory, Lost, Protocol, Transport};

/// Reads of this side make the data for the other one.
struct Reads(Transport);

impl Producer for Reads {
    fn pause_producing(&self) {
        self.0.pause_reading();
    }

    fn resume_producing(&self) {
        self.0.resume_reading();
    }
}

/// One of two connections that stand; it holds the other one.
struct Side(Transport);

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
            move |server| join(&joining, &server),
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

fn join(client: &Transport, server: &Transport) {
    client.register_producer(Rc::new(Reads(server.clone())));
    server.register_producer(Rc::new(Reads(client.clone())));
    client.switch(Box::new(Side(server.clone())));
    client.resume_reading();
}

/// Connects each client to the target.
pub fn proxy(target: ClientEndpoint) -> impl Factory {
    move || Dialing { target: target.clone(), attempt: None }
}

fn main() -> ExitCode {
    ropewalk::main("proxy", |app| {
        let target = "tcp:127.0.0.1:7007".parse()?;
        app.serve_factory("proxy", "tcp:7009:interface=127.0.0.1".parse()?, |_| Ok(Rc::new(proxy(target))));
        Ok(())
    })
}
