//! From a request to its answer: calling the handler, polling what it gave, sending it, and what comes after. The connection
//! calls it when a head is complete and when it is woken; reading bodies is in `flight`, deadlines are in `deadline`.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ropewalk_net::{Lost, Transport};
use ropewalk_reactor::Failure;
use ropewalk_wire::http1::Refusal;

use super::flight::Flight;
use super::{HttpConnection, Phase};
use crate::answer::Answer;
use crate::exchange::{Exchange, Rest, Stage};
use crate::limits::count;
use crate::request::Request;
use crate::response::Response;

impl HttpConnection {
    /// Calls the handler, and polls what it gives a first time.
    pub(super) fn call_handler(&mut self, transport: &Transport, exchange: &Rc<Exchange>) {
        let request = Request::new(Rc::clone(exchange));
        let handler = &*self.site.handler;
        let answer = catch_unwind(AssertUnwindSafe(|| handler.handle(request)));
        match answer {
            Ok(Answer::Now(response)) => self.answer(transport, exchange, response),
            Ok(Answer::Later(mut future)) => {
                let polled = poll_handler(&mut future, &mut Context::from_waker(Waker::noop()));
                match polled {
                    Ok(Poll::Ready(response)) => self.answer(transport, exchange, response),
                    Ok(Poll::Pending) => {
                        self.flight().future = Some(future);
                        if self.phase == Phase::Wait {
                            // Nothing comes that could wake it: it gets a real waker, and a second look.
                            self.poll_future(transport, exchange);
                        }
                    }
                    Err(failure) => self.panicked(transport, exchange, &failure),
                }
            }
            Ok(Answer::Taken) => {}
            Err(payload) => self.panicked(transport, exchange, &Failure::from_panic(payload)),
        }
    }

    /// What belongs to the request in flight, made when there first is something.
    pub(super) fn flight(&mut self) -> &mut Flight {
        self.flight.get_or_insert_with(Box::default)
    }

    pub(super) fn poll_future(&mut self, transport: &Transport, exchange: &Rc<Exchange>) {
        let Some(flight) = &mut self.flight else { return };
        let Some(mut future) = flight.future.take() else { return };
        let waker = flight.waker.get_or_insert_with(|| transport.waker()).clone();
        match poll_handler(&mut future, &mut Context::from_waker(&waker)) {
            Ok(Poll::Ready(response)) => self.answer(transport, exchange, response),
            Ok(Poll::Pending) => self.flight().future = Some(future),
            Err(failure) => self.panicked(transport, exchange, &failure),
        }
    }

    pub(super) fn panicked(&mut self, transport: &Transport, exchange: &Rc<Exchange>, failure: &Failure) {
        count(&self.site.counters.panics);
        tracing::error!(path = exchange.head.path(), "a handler: {failure}");
        self.fail(transport, exchange, 500, "the server could not answer; the reason is in its log");
    }

    /// Answers with an error if nothing is sent yet; else breaks off.
    pub(super) fn fail(&mut self, transport: &Transport, exchange: &Rc<Exchange>, status: u16, why: &str) {
        if let Some(flight) = &mut self.flight {
            flight.future = None;
            flight.stream = None;
        }
        match exchange.stage.get() {
            Stage::Waiting => self.answer(transport, exchange, Response::error(status, why)),
            Stage::Streaming => transport.abort(Lost::Aborted),
            Stage::Finished | Stage::Lost => {}
        }
    }

    pub(super) fn answer(&mut self, transport: &Transport, exchange: &Rc<Exchange>, response: Response) {
        match exchange.stage.get() {
            Stage::Waiting => {}
            // The client is gone.
            Stage::Lost => return,
            Stage::Streaming | Stage::Finished => {
                return tracing::error!(path = exchange.head.path(), "a second answer was thrown away");
            }
        }
        match exchange.respond(response) {
            Rest::Nothing => {}
            Rest::Stream(stream) => {
                let flight = self.flight();
                flight.stream = Some(stream);
                self.pump(transport, exchange);
            }
            Rest::Takeover(protocol) => {
                exchange.handed_over();
                self.phase = Phase::HandedOver;
                self.flight = None;
                self.exchange = None;
                transport.set_deadline(None);
                transport.switch(protocol);
            }
        }
    }

    /// Moves a streamed body on while the client keeps up.
    pub(super) fn pump(&mut self, transport: &Transport, exchange: &Rc<Exchange>) {
        /// Pieces in one go, so that one fast stream does not hold the loop.
        const PIECES_PER_CALL: u32 = 16;
        let Some(flight) = &mut self.flight else { return };
        let Some(mut stream) = flight.stream.take() else { return };
        let waker = flight.waker.get_or_insert_with(|| transport.waker()).clone();
        let mut context = Context::from_waker(&waker);
        for _ in 0..PIECES_PER_CALL {
            if transport.is_closing() {
                return;
            }
            if transport.poll_writable(&mut context).is_pending() {
                self.flight().stream = Some(stream);
                return;
            }
            match catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll_piece(&mut context))) {
                Ok(Poll::Ready(Some(Ok(piece)))) => exchange.write(&piece),
                Ok(Poll::Ready(None)) => return exchange.finish(&[]),
                Ok(Poll::Pending) => {
                    self.flight().stream = Some(stream);
                    return;
                }
                Ok(Poll::Ready(Some(Err(failure)))) => return self.panicked(transport, exchange, &failure),
                Err(payload) => return self.panicked(transport, exchange, &Failure::from_panic(payload)),
            }
        }
        self.flight().stream = Some(stream);
        transport.wake();
    }

    /// After anything that may have completed the answer: on to the next request, or the end. It is given the exchange, so
    /// that one which is over can go back to the spares.
    pub(super) fn proceed(&mut self, transport: &Transport, exchange: Rc<Exchange>) {
        if matches!(self.phase, Phase::Closing | Phase::HandedOver) {
            return;
        }
        let forgotten = !exchange.is_over() && !transport.is_closing() && self.is_forgotten(&exchange);
        if forgotten && exchange.warned.get() {
            // The client has ended its side, whoever meant to answer was told, and let go.
            exchange.lost(&Lost::Ended);
            self.exchange = None;
            return self.close(transport, false);
        }
        if forgotten {
            count(&self.site.counters.unanswered);
            tracing::error!(path = exchange.head.path(), "a handler let go of its request without an answer");
            self.fail(transport, &exchange, 500, "the server could not answer; the reason is in its log");
        }
        match exchange.stage.get() {
            Stage::Waiting | Stage::Streaming => self.exchange = Some(exchange),
            Stage::Finished => self.answered(transport, exchange),
            Stage::Lost => self.phase = Phase::Closing,
        }
    }

    /// Nobody is left who could answer, or end the answer.
    fn is_forgotten(&self, exchange: &Exchange) -> bool {
        if exchange.responders.get() > 0 {
            return false;
        }
        let flight = self.flight.as_ref();
        match exchange.stage.get() {
            Stage::Streaming => flight.is_none_or(|flight| flight.stream.is_none()),
            _ => flight.is_none_or(|flight| flight.future.is_none()) && exchange.given.borrow().is_none(),
        }
    }

    fn answered(&mut self, transport: &Transport, exchange: Rc<Exchange>) {
        self.let_go(transport, &exchange);
        let unread = self.phase == Phase::Body;
        if exchange.closes() {
            // A client that did not ask for the end may be sending its next request, or the rest of this one.
            let lingering = unread || self.holding || exchange.head.keep_alive();
            self.exchange = Some(exchange);
            self.close(transport, lingering);
        } else if unread {
            // The rest of the body is thrown away, to find where the next request begins.
            if let Some(flight) = &mut self.flight {
                flight.discarding = true;
            }
            let mut inbound = exchange.inbound.borrow_mut();
            inbound.release(transport.reactor().now());
            if std::mem::take(&mut inbound.paused) {
                transport.resume_reading();
            }
            drop(inbound);
            self.exchange = Some(exchange);
        } else {
            // This one may be the only one: then it is ready for the next request.
            drop(self.exchange.replace(exchange));
            self.next(transport);
        }
    }

    /// The request and its answer are over: the connection owns nothing again.
    pub(super) fn next(&mut self, transport: &Transport) {
        self.flight = None;
        if let Some(exchange) = self.exchange.take() {
            self.site.give_back(exchange);
        }
        self.phase = Phase::Idle;
        self.armed = None;
        if std::mem::take(&mut self.holding) {
            transport.resume_reading();
        }
    }

    /// Nothing more is read; what is written still goes out, for which the transport has its own patience.
    pub(super) fn close(&mut self, transport: &Transport, lingering: bool) {
        self.phase = Phase::Closing;
        self.flight = None;
        transport.set_deadline(None);
        if lingering {
            transport.lose_connection_lingering();
        } else {
            transport.lose_connection();
        }
    }

    /// Lets go of the handler. What changes something is not left half done because its client went away, or because it was
    /// answered already: such a handler goes on as a task.
    pub(super) fn let_go(&mut self, transport: &Transport, exchange: &Exchange) {
        let future = self.flight.as_mut().and_then(|flight| flight.future.take());
        if let Some(future) = future
            && !matches!(exchange.head.method(), "GET" | "HEAD" | "OPTIONS" | "TRACE")
        {
            transport.reactor().spawn_named(transport.name(), future);
        }
    }

    /// Answers what is not HTTP, or beyond a size, and closes: where the next request would begin is not known any more.
    pub(super) fn refuse(&mut self, transport: &Transport, refusal: Refusal) {
        count(&self.site.counters.refused);
        let response = Response::error(refusal.status(), refusal.reason()).close();
        self.give_up(transport, response, &Lost::Aborted);
    }

    /// Ends a request in the handler's place: with this answer if none has begun, or by breaking off the one that has.
    pub(super) fn give_up(&mut self, transport: &Transport, response: Response, lost: &Lost) {
        if let Some(exchange) = self.exchange.clone() {
            exchange.close.set(true);
            match exchange.stage.get() {
                Stage::Waiting => exchange.overrule(response, lost),
                Stage::Streaming => transport.abort(lost.clone()),
                Stage::Finished | Stage::Lost => {}
            }
            self.let_go(transport, &exchange);
        }
        self.close(transport, true);
    }
}

fn poll_handler(
    future: &mut std::pin::Pin<Box<dyn Future<Output = Response>>>,
    context: &mut Context<'_>,
) -> Result<Poll<Response>, Failure> {
    catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))).map_err(Failure::from_panic)
}
