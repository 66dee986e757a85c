//! The way out of a connection: a request's head, and its body as far as there is room for it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ropewalk_net::{Lost, Transport};
use ropewalk_reactor::Outcome;
use ropewalk_wire::http1::{BadBody, BodyEncoder};

use super::Connection;
use crate::client::error::ClientError;
use crate::client::exchange::{Exchange, Fate, Outgoing};
use crate::response::ByteStream;

/// With fewer bytes waiting to be sent than this, a request counts as sent: the system takes as much in one go.
const SENT_BYTES: usize = 16 * 1024;

impl Connection {
    /// Sends a request's head, and as much of its body as there is room for.
    pub(in crate::client) fn begin(self: &Rc<Self>, exchange: &Rc<Exchange>, head: &[u8]) {
        let transport = match self.transport() {
            Some(transport) if self.is_usable() || self.opening.get() && !transport.is_closing() => transport,
            _ => return exchange.fail(ClientError::Unanswered(Lost::Closed), Fate::Unsent),
        };
        let now = self.reactor.now();
        let sent = transport.traffic().1;
        exchange.sent_before.set(sent + transport.buffered() as u64);
        *exchange.connection.borrow_mut() = Rc::downgrade(self);
        exchange.mark(|marks| (marks.front, marks.progress, marks.progress_bytes) = (now, now, sent));
        self.queue.borrow_mut().push_back(Rc::clone(exchange));
        transport.write(head);
        self.send(&transport, exchange);
        self.arm();
    }

    pub(super) fn waker(&self, transport: &Transport) -> &Waker {
        self.waker.get_or_init(|| transport.waker())
    }

    /// Goes on sending. It is called again when there is room, or when the body's stream has more.
    pub(super) fn send(self: &Rc<Self>, transport: &Transport, exchange: &Rc<Exchange>) {
        if exchange.continues_at.get().is_some() {
            return;
        }
        let waker = self.waker(transport).clone();
        let mut context = Context::from_waker(&waker);
        let outgoing = exchange.outgoing.take();
        match outgoing {
            Outgoing::Done => {}
            Outgoing::Static(bytes) => transport.write(bytes),
            Outgoing::Shared(bytes) => transport.write_shared(&bytes),
            Outgoing::File(file) => transport.send_file(*file),
            Outgoing::Stream(stream, encoder) => {
                exchange.begun.set(true);
                match pump(transport, stream, encoder, &mut context) {
                    Ok(rest) => drop(exchange.outgoing.replace(rest)),
                    Err(failure) => return self.fail(ClientError::Body(Box::new(failure)), Fate::Sealed),
                }
            }
        }
        self.note_sent(transport, exchange, &mut context);
    }

    /// Takes note of whether the request is sent.
    pub(super) fn note_sent(&self, transport: &Transport, exchange: &Exchange, context: &mut Context<'_>) {
        let now = self.reactor.now();
        let sent = transport.traffic().1;
        exchange.mark(|marks| {
            if sent > marks.progress_bytes {
                (marks.progress, marks.progress_bytes) = (now, sent);
            }
        });
        if !exchange.outgoing.borrow().is_done() || exchange.marks.get().sent.is_some() {
            return;
        }
        if transport.buffered() < SENT_BYTES || transport.poll_drained(context).is_ready() {
            exchange.mark(|marks| marks.sent = Some(now));
        }
    }
}

/// Sends what a stream gives, as long as there is room; answers what is left of it.
fn pump(
    transport: &Transport,
    mut stream: Pin<Box<dyn ByteStream>>,
    mut encoder: BodyEncoder,
    context: &mut Context<'_>,
) -> Outcome<Outgoing> {
    loop {
        if transport.is_closing() {
            return Ok(Outgoing::Done);
        }
        if transport.poll_writable(context).is_pending() {
            return Ok(Outgoing::Stream(stream, encoder));
        }
        match stream.as_mut().poll_piece(context) {
            Poll::Pending => return Ok(Outgoing::Stream(stream, encoder)),
            Poll::Ready(Some(piece)) => {
                let piece = piece?;
                written(transport, |out| encoder.data(out, &piece))?;
            }
            Poll::Ready(None) => {
                written(transport, |out| encoder.finish(out, &[]))?;
                return Ok(Outgoing::Done);
            }
        }
    }
}

/// Writes with an encoder that may refuse.
fn written(
    transport: &Transport,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BadBody>,
) -> Result<(), BadBody> {
    let mut outcome = Ok(());
    transport.write_with(|out| outcome = encode(out));
    outcome
}
