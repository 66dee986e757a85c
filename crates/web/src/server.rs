//! The server's side of one connection: it feeds the codec, calls the handler, sends the answer, and knows which phase it is
//! in and until when. One exchange at a time, so pipelined requests are answered in order; their bytes wait unread.
//!
//! ```text
//!  First ─► Head ─► Body ─► Wait ─► Idle ─► Head …        Closing from everywhere
//!             └──────────────┘ (no body)               HandedOver from Wait
//! ```
//! Idle, it is forty bytes and owns nothing: what belongs to a request in flight is boxed and freed with it.

mod answering;
mod deadline;
mod flight;
mod freezing;
mod sending;

use std::rc::Rc;
use std::task::Context;

use ropewalk_net::{Frozen, Lost, Protocol, Transport};
use ropewalk_wire::http1::{Fed, Framing};

use crate::carrier::Carrier;
use crate::exchange::{Exchange, Stage};
use crate::inbound::BodyError;
use crate::incident::discard;
use crate::site::SiteCore;

use flight::Flight;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No byte of the first request yet.
    First,
    /// Between two requests.
    Idle,
    /// In the middle of a head.
    Head,
    /// The head is complete, the body is not.
    Body,
    /// The request is complete, the answer is not.
    Wait,
    /// Nothing more is read.
    Closing,
    /// Another protocol has the connection from the end of this callback on.
    HandedOver,
}

/// HTTP/1.0 and 1.1 on one connection.
pub(crate) struct HttpConnection {
    site: Rc<SiteCore>,
    exchange: Option<Rc<Exchange>>,
    flight: Option<Box<Flight>>,
    served: u32,
    phase: Phase,
    /// The phase whose deadline is set. An idle one's may be that of an earlier pause: see `deadline`.
    armed: Option<Phase>,
    /// When it last became idle: milliseconds, of which the lower half is enough.
    idle_ms: u32,
    /// Pipelined bytes were handed back until the answer is out.
    holding: bool,
    /// Nothing is read before the client has taken more of the answers it has.
    congested: bool,
    /// The program is about to stop.
    stopping: bool,
    /// Times to be woken before a stream without an end is ended: whoever feeds it was told, and may do so itself.
    ending: u8,
}

impl HttpConnection {
    pub(crate) fn new(site: &Rc<SiteCore>) -> HttpConnection {
        HttpConnection {
            site: Rc::clone(site),
            exchange: None,
            flight: None,
            served: 0,
            phase: Phase::First,
            armed: None,
            idle_ms: 0,
            holding: false,
            congested: false,
            stopping: false,
            ending: 0,
        }
    }

    /// Feeds what has arrived; answers what is left of it when this phase has had enough.
    fn feed<'a>(&mut self, transport: &Transport, data: &'a [u8]) -> &'a [u8] {
        match self.phase {
            Phase::Idle if transport.is_full() => {
                // Requests are short and answers are long: whoever does not read the ones gets no more of the others.
                transport.unread(data);
                self.congested = true;
                self.decongest(transport);
                &[]
            }
            Phase::First | Phase::Idle | Phase::Head => self.feed_head(transport, data),
            Phase::Body => self.feed_body(transport, data),
            Phase::Wait => {
                transport.unread(data);
                transport.pause_reading();
                self.holding = true;
                &[]
            }
            Phase::Closing => &[],
            Phase::HandedOver => {
                transport.unread(data);
                &[]
            }
        }
    }

    #[inline]
    fn feed_head<'a>(&mut self, transport: &Transport, data: &'a [u8]) -> &'a [u8] {
        let mut exchange = self.exchange.take().unwrap_or_else(|| self.site.take_exchange());
        let unshared =
            Rc::get_mut(&mut exchange).expect("nobody sees an exchange before its head is complete");
        match unshared.head.feed(data, &self.site.limits.head_sizes) {
            Ok(Fed::Complete { consumed }) => {
                unshared.belongs_to(self.carrier(transport), &self.site);
                self.begin(transport, exchange, &data[consumed..])
            }
            Ok(Fed::NeedMore) => {
                if !unshared.head.is_empty() {
                    self.phase = Phase::Head;
                }
                // Empty lines before a request count for nothing, but half of one has to be remembered.
                self.exchange = Some(exchange);
                &[]
            }
            Err(refusal) => {
                unshared.belongs_to(self.carrier(transport), &self.site);
                self.exchange = Some(exchange);
                self.refuse(transport, refusal);
                &[]
            }
        }
    }

    /// For the exchange whose head comes.
    fn carrier(&self, transport: &Transport) -> Carrier {
        Carrier::new(transport, self.served.saturating_add(1))
    }

    /// The head is complete: the handler is called, and then given what has come of the body. In this order however the
    /// bytes were cut, so that a handler sees the head only, and may refuse the body or set its limit.
    #[inline]
    fn begin<'a>(&mut self, transport: &Transport, exchange: Rc<Exchange>, rest: &'a [u8]) -> &'a [u8] {
        self.served = self.served.saturating_add(1);
        let last = self.site.limits.requests_per_connection_max.is_some_and(|max| self.served >= max);
        if last || self.stopping {
            exchange.close.set(true);
        }
        let framing = exchange.head.framing();
        if matches!(framing, Framing::None | Framing::Length(0)) {
            self.phase = Phase::Wait;
        } else {
            self.phase = Phase::Body;
            let now = transport.reactor().now();
            exchange.inbound_used.set(true);
            let mut inbound = exchange.inbound.borrow_mut();
            inbound.open = true;
            if exchange.head.expects_continue() {
                inbound.continue_owed = true;
                inbound.hold(now);
            }
            drop(inbound);
            self.flight = Some(Box::new(Flight::with_body(framing, now)));
        }
        self.call_handler(transport, &exchange);
        self.proceed(transport, exchange);
        if self.phase != Phase::Body {
            return rest;
        }
        let rest = self.feed_body(transport, rest);
        self.go_on(transport);
        rest
    }

    /// Reads on when there is room for more answers; else asks to be woken when there is.
    fn decongest(&mut self, transport: &Transport) {
        if !self.congested {
            return;
        }
        if transport.poll_writable(&mut Context::from_waker(&transport.waker())).is_ready() {
            self.congested = false;
            transport.resume_reading();
        } else {
            transport.pause_reading();
        }
    }

    /// Goes on with the answer, as far as it goes.
    fn go_on(&mut self, transport: &Transport) {
        let Some(exchange) = self.exchange.clone().filter(|exchange| exchange.carrier.is_some()) else {
            // A wake-up of the request before; the head of this one is not complete yet.
            return;
        };
        let given = exchange.given.take();
        if let Some(response) = given {
            self.answer(transport, &exchange, *response);
        }
        if !exchange.is_over() {
            // Also in the middle of an answer: the future may hold the responder that gives it.
            self.poll_future(transport, &exchange);
        }
        if exchange.stage.get() == Stage::Streaming {
            self.pump(transport, &exchange);
            self.poll_file(transport, &exchange);
        }
        self.proceed(transport, exchange);
    }

    /// The program is about to stop: whoever waits without an end is told, and streams without one are ended soon.
    fn end_soon(&mut self, transport: &Transport) {
        /// Deferreds and tasks that hear of it get their turns before.
        const TURNS: u8 = 3;
        let Some(exchange) = &self.exchange else { return };
        exchange.close.set(true);
        let endless = exchange.stage.get() == Stage::Streaming && exchange.endless.get();
        if endless {
            self.ending = TURNS;
            transport.wake();
        }
        if endless || exchange.patient.get() {
            exchange.tell_lost(&Lost::Stopped);
        }
    }

    /// Ends a stream that goes on after its turns to end by itself.
    fn count_down(&mut self, transport: &Transport) {
        match self.ending {
            0 => return,
            1 => {
                if let Some(exchange) =
                    self.exchange.clone().filter(|exchange| exchange.stage.get() == Stage::Streaming)
                {
                    discard(self.flight.as_mut().and_then(|flight| flight.stream.take()));
                    exchange.finish(&[]);
                    self.proceed(transport, exchange);
                }
            }
            _ => transport.wake(),
        }
        self.ending -= 1;
    }
}

impl Protocol for HttpConnection {
    fn connection_made(&mut self, transport: &Transport) {
        self.arm(transport);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        let mut rest = data;
        while !rest.is_empty() {
            rest = self.feed(transport, rest);
        }
        self.arm(transport);
    }

    fn read_ended(&mut self, transport: &Transport) {
        match self.phase {
            Phase::HandedOver => {}
            Phase::First | Phase::Idle | Phase::Head | Phase::Closing => self.close(transport, false),
            Phase::Body | Phase::Wait => {
                // An answer that is still to come goes out first; whoever asked is told that the client may be gone.
                let Some(exchange) = self.exchange.clone() else { return self.close(transport, false) };
                exchange.close.set(true);
                if self.phase == Phase::Body {
                    exchange.body_error(BodyError::Lost);
                    self.phase = Phase::Wait;
                }
                exchange.tell_lost(&Lost::Ended);
                self.leave(&exchange);
                self.proceed(transport, exchange);
            }
        }
        self.arm(transport);
    }

    fn woken(&mut self, transport: &Transport) {
        self.go_on(transport);
        self.count_down(transport);
        self.decongest(transport);
        self.arm(transport);
    }

    fn stopping(&mut self, transport: &Transport) {
        self.stopping = true;
        match self.phase {
            Phase::First | Phase::Idle => self.close(transport, false),
            Phase::Body | Phase::Wait => self.end_soon(transport),
            // A head that has begun to come is a request in flight.
            Phase::Head | Phase::Closing | Phase::HandedOver => {}
        }
    }

    fn timed_out(&mut self, transport: &Transport) {
        self.expired(transport);
    }

    fn connection_lost(&mut self, transport: &Transport, lost: &Lost) {
        let Some(exchange) = self.exchange.take().filter(|exchange| exchange.carrier.is_some()) else {
            return;
        };
        self.file_lost(transport, &exchange, lost);
        exchange.lost(lost);
        if !matches!(lost, Lost::Stopped | Lost::HandedOver) {
            self.let_go(transport, &exchange);
        }
        self.flight = None;
    }

    fn freezable(&self) -> bool {
        self.may_travel()
    }

    fn is_hearing(&self) -> bool {
        self.phase == Phase::Body
    }

    fn freeze(&mut self, transport: &Transport) -> Option<Frozen> {
        self.put_down(transport)
    }

    fn thawed(&mut self, transport: &Transport) {
        self.go_on_here(transport);
    }
}

#[cfg(test)]
mod tests;
