//! The protocol of a connection: what the loop tells it, step by step. What follows from an answer is decided in `connection`.

use std::rc::Rc;

use ropewalk_net::{Lost, Protocol, Transport};
use ropewalk_wire::http1::{ResponseDecoder, ResponseEvent};

use super::Connection;
use crate::client::error::ClientError;
use crate::client::exchange::Fate;

/// The protocol of a connection.
pub(in crate::client) struct Speaker {
    pub(super) connection: Rc<Connection>,
    /// Of the answer that is being read.
    pub(super) decoder: Option<ResponseDecoder>,
}

impl Speaker {
    /// One event of the first exchange's answer. Answers what is left of the input, or `None` when reading stops.
    fn step<'a>(&mut self, transport: &Transport, data: &'a [u8]) -> Option<&'a [u8]> {
        let connection = &self.connection;
        let Some(exchange) = connection.front() else {
            // Nobody asked for anything: a server that speaks now would answer the next request with this.
            if !data.is_empty() {
                connection.abort();
            }
            return None;
        };
        let decoder = self.decoder.get_or_insert_with(|| ResponseDecoder::new(&exchange.method));
        if !decoder.is_begun() && !data.is_empty() {
            if transport.traffic().1 <= exchange.sent_before.get() {
                // An answer to a request that has not left cannot be its answer.
                connection.fail(ClientError::Unanswered(Lost::Aborted), Fate::Unanswered);
                return None;
            }
            let now = connection.reactor.now();
            exchange.mark(|marks| marks.begun = Some(now));
        }
        let (consumed, event) = match decoder.decode(data, &connection.limits) {
            Ok(found) => found,
            Err(refusal) => {
                connection.fail(ClientError::Answer(refusal), Fate::Sealed);
                return None;
            }
        };
        let rest = &data[consumed..];
        match event {
            ResponseEvent::Interim(100) => {
                if exchange.continues_at.take().is_some() {
                    connection.send(transport, &exchange);
                }
            }
            ResponseEvent::Interim(_) => {}
            ResponseEvent::Head => {
                let (framing, keep_alive) = (decoder.framing(), decoder.keep_alive());
                connection.head(&exchange, decoder.take_head(), framing, keep_alive);
            }
            ResponseEvent::Data(piece) => {
                // Behind a last piece there is nothing to wait for, however full it makes the exchange: the end is told at once.
                if !connection.data(transport, &exchange, piece) && !rest.is_empty() {
                    transport.unread(rest);
                    return None;
                }
            }
            ResponseEvent::NeedMore => return None,
            ResponseEvent::End => {
                let trailers = decoder.take_trailers();
                self.decoder = None;
                connection.end(trailers, !rest.is_empty());
            }
        }
        Some(rest)
    }

    /// The connection is over, and so is all that waits for it.
    fn over(&mut self, lost: &Lost) {
        self.connection.last.set(true);
        if self.connection.front().is_none() {
            return;
        }
        let begun = self.decoder.as_ref().is_some_and(ResponseDecoder::is_begun);
        let whole = matches!(lost, Lost::Ended)
            && self.decoder.as_mut().is_some_and(|decoder| decoder.finish().is_ok());
        if whole {
            self.decoder = None;
            return self.connection.end(Vec::new(), false);
        }
        let (error, fate) = if begun {
            (ClientError::Truncated(lost.clone()), Fate::Sealed)
        } else {
            (ClientError::Unanswered(lost.clone()), Fate::Unanswered)
        };
        self.connection.fail(error, fate);
    }
}

impl Protocol for Speaker {
    fn connection_made(&mut self, transport: &Transport) {
        *self.connection.transport.borrow_mut() = Some(transport.clone());
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        let mut rest = Some(data);
        while let Some(data) = rest {
            rest = self.step(transport, data);
        }
        if self.connection.is_usable() || self.connection.front().is_some() {
            self.connection.arm();
        }
    }

    fn read_ended(&mut self, transport: &Transport) {
        self.over(&Lost::Ended);
        transport.lose_connection();
    }

    fn woken(&mut self, transport: &Transport) {
        let sending = self.connection.queue.borrow().back().cloned();
        if let Some(exchange) = sending {
            self.connection.send(transport, &exchange);
            self.connection.arm();
        }
    }

    fn timed_out(&mut self, transport: &Transport) {
        self.connection.timed_out(transport);
    }

    fn stopping(&mut self, _transport: &Transport) {
        self.connection.last.set(true);
        if self.connection.front().is_none() {
            self.connection.close();
        }
    }

    fn connection_lost(&mut self, _transport: &Transport, lost: &Lost) {
        self.over(lost);
        let connection = &self.connection;
        drop(connection.transport.take());
        *connection.lost.borrow_mut() = Some(lost.clone());
        let opener = connection.opener.take();
        if let Some(opener) = opener {
            opener.wake();
        }
        if let Some(pool) = connection.pool.upgrade() {
            pool.forget(connection);
        }
        let slot = connection.slot.take();
        drop(slot);
    }
}
