//! A request in flight: its body as it arrives, its handler's future, its answer's stream. Boxed, made when there first is
//! something to keep, freed at keep-alive. The connection drives it; the part of the connection that reads bodies is here.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Waker;

use ropewalk_net::Transport;
use ropewalk_reactor::Time;
use ropewalk_wire::http1::{BodyDecoder, BodyEvent, Framing, Refusal};

use super::sending::Sending;
use super::{HttpConnection, Phase};
use crate::answer::Answer;
use crate::exchange::{Exchange, Stage};
use crate::inbound::BodyError;
use crate::incident::discard;
use crate::response::ByteStream;

/// A handler at work.
pub(super) type Work = Pin<Box<dyn Future<Output = Answer>>>;

#[derive(Default)]
pub(super) struct Flight {
    pub(super) decoder: BodyDecoder,
    pub(super) future: Option<Work>,
    pub(super) stream: Option<Pin<Box<dyn ByteStream>>>,
    pub(super) sending: Option<Sending>,
    pub(super) waker: Option<Waker>,
    /// The answer is out: what comes of the body is thrown away.
    pub(super) discarding: bool,
    discarded: u64,
    pub(super) received: u64,
    pub(super) body_began: Time,
}

impl Flight {
    pub(super) fn with_body(framing: Framing, now: Time) -> Flight {
        let mut flight = Flight::default();
        flight.decoder = BodyDecoder::new(framing);
        flight.body_began = now;
        flight
    }

    /// Drops what is the handler's, at work or half sent.
    pub(super) fn abandon(&mut self) {
        if let Some(future) = self.future.take() {
            discard(future);
        }
        if let Some(stream) = self.stream.take() {
            discard(stream);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl HttpConnection {
    /// Takes the body apart; answers what is left when it has ended.
    pub(super) fn feed_body<'a>(&mut self, transport: &Transport, data: &'a [u8]) -> &'a [u8] {
        let Some(exchange) = self.exchange.clone() else { return &[] };
        let mut limits = self.site.limits.body_sizes;
        if let Some(bytes_max) = exchange.inbound.borrow().bytes_max {
            limits.body_bytes_max = bytes_max;
        }
        let mut rest = data;
        loop {
            let flight = self.flight();
            let decoded = flight.decoder.decode(rest, &limits);
            match decoded {
                Ok((consumed, BodyEvent::Data(piece))) => {
                    flight.received += piece.len() as u64;
                    rest = &rest[consumed..];
                    if !self.take_piece(transport, &exchange, piece) {
                        return &[];
                    }
                    if exchange.inbound.borrow().paused {
                        transport.unread(rest);
                        transport.pause_reading();
                        return &[];
                    }
                }
                Ok((_, BodyEvent::NeedMore)) => return &[],
                Ok((consumed, BodyEvent::End)) => {
                    let trailers = flight.decoder.take_trailers();
                    rest = &rest[consumed..];
                    self.body_ended(transport, &exchange, trailers);
                    return rest;
                }
                Err(refusal) => {
                    self.refuse_body(transport, &exchange, refusal);
                    return &[];
                }
            }
        }
    }

    /// Keeps a piece for the handler, or throws it away; false when there was too much to throw away.
    fn take_piece(&mut self, transport: &Transport, exchange: &Exchange, piece: &[u8]) -> bool {
        let drain_bytes_max = self.site.limits.drain_bytes_max;
        let flight = self.flight();
        if flight.discarding {
            flight.discarded += piece.len() as u64;
            if flight.discarded > drain_bytes_max {
                self.close(transport, true);
                return false;
            }
            return true;
        }
        // At the end of a body of known length there is nothing to hold back, and nothing that would come after a pause.
        let ended = flight.decoder.is_ended();
        let now = transport.reactor().now();
        let mut inbound = exchange.inbound.borrow_mut();
        if std::mem::take(&mut inbound.continue_owed) {
            inbound.release(now);
        }
        inbound.buffered += piece.len();
        inbound.pieces.push_back(piece.to_vec());
        inbound.paused = !ended && inbound.buffered >= self.site.limits.body_buffer_bytes;
        if inbound.paused {
            inbound.hold(now);
        }
        if let Some(waker) = inbound.waker.take() {
            waker.wake();
        }
        true
    }

    fn body_ended(
        &mut self,
        transport: &Transport,
        exchange: &Rc<Exchange>,
        trailers: Vec<(String, Vec<u8>)>,
    ) {
        let mut inbound = exchange.inbound.borrow_mut();
        inbound.open = false;
        inbound.continue_owed = false;
        inbound.trailers = trailers;
        let waker = inbound.waker.take();
        drop(inbound);
        if let Some(waker) = waker {
            waker.wake();
        }
        self.phase = Phase::Wait;
        if exchange.stage.get() == Stage::Finished {
            self.next(transport);
        }
    }

    /// A body that is wrong: the handler sees it, and answers; without a handler that reads, this does.
    fn refuse_body(&mut self, transport: &Transport, exchange: &Rc<Exchange>, refusal: Refusal) {
        let error = match refusal {
            Refusal::BodyTooLarge => BodyError::TooLarge,
            other => BodyError::Malformed(other.reason()),
        };
        exchange.body_error(error);
        self.refuse(transport, refusal);
    }
}
