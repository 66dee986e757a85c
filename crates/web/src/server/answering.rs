//! From a request to its answer: calling the handler, polling what it gave, sending it, and what comes after. The connection
//! calls it when a head is complete and when it is woken; reading bodies is in `flight`, deadlines are in `deadline`.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ropewalk_net::{Lost, Transport};
use ropewalk_reactor::Failure;
use ropewalk_wire::http1::Refusal;

use super::flight::{Flight, Work};
use super::{HttpConnection, Phase};
use crate::answer::Answer;
use crate::exchange::{Dropped, Exchange, Rest, Stage};
use crate::incident::{discard, report_drop};
use crate::leaving::IfClientLeaves;
use crate::limits::count;
use crate::request::Request;
use crate::response::{Body, Response};

impl HttpConnection {
    /// Calls the handler, and takes what it gives.
    #[inline(always)]
    pub(super) fn call_handler(&mut self, transport: &Transport, exchange: &Rc<Exchange>) {
        let request = Request::new(Rc::clone(exchange));
        let handler = &*self.site.handler;
        // A plain answer is sent from where the handler has put it: to move it costs more than to write it.
        let unsent = catch_unwind(AssertUnwindSafe(|| match handler.handle(request) {
            Answer::Now(response) if exchange.respond_plainly(&response) => None,
            answer => Some(answer),
        }));
        match unsent {
            Ok(None) => {}
            Ok(Some(answer)) => self.take(transport, exchange, answer),
            Err(payload) => self.fail(exchange, Failure::from_panic(payload)),
        }
    }

    /// What a handler has returned, or its future: sends it, or polls it a first time.
    #[inline(never)]
    fn take(&mut self, transport: &Transport, exchange: &Rc<Exchange>, mut answer: Answer) {
        loop {
            let future = match answer {
                Answer::Now(response) => return self.answer(transport, exchange, response),
                Answer::Taken => return,
                Answer::Later(future) => future,
            };
            match poll(future, &mut Context::from_waker(Waker::noop())) {
                Polled::Ready(Answer::Now(response)) => return self.answer(transport, exchange, response),
                Polled::Ready(next) => answer = next,
                Polled::Pending(future) => return self.wait_for(transport, exchange, future),
                Polled::Failed(failure) => return self.fail(exchange, failure),
            }
        }
    }

    /// Keeps a handler's future that is not ready.
    fn wait_for(&mut self, transport: &Transport, exchange: &Rc<Exchange>, future: Work) {
        self.flight().future = Some(future);
        if self.phase == Phase::Wait {
            // Nothing comes that could wake it: it gets a real waker, and a second look.
            self.poll_future(transport, exchange);
        }
    }

    /// What belongs to the request in flight, made when there first is something.
    pub(super) fn flight(&mut self) -> &mut Flight {
        self.flight.get_or_insert_with(Box::default)
    }

    pub(super) fn poll_future(&mut self, transport: &Transport, exchange: &Rc<Exchange>) {
        let Some(flight) = &mut self.flight else { return };
        let Some(future) = flight.future.take() else { return };
        let waker = flight.waker.get_or_insert_with(|| transport.waker()).clone();
        match poll(future, &mut Context::from_waker(&waker)) {
            Polled::Ready(answer) => {
                self.take(transport, exchange, answer);
                let goes_on = self.flight.as_ref().is_some_and(|flight| flight.future.is_some());
                if goes_on && self.phase == Phase::Body {
                    // Another future has come of it, which nothing but more of the body would poll again; and it may wait for something
                    // else while the body waits for it.
                    transport.wake();
                }
            }
            Polled::Pending(future) => self.flight().future = Some(future),
            Polled::Failed(failure) => self.fail(exchange, failure),
        }
    }

    /// Where every failure of a handler comes that this connection notices: nothing more is asked of it, and the exchange, to
    /// which a responder's failures go as well, answers or breaks off. What comes after is [`HttpConnection::proceed`]'s.
    #[cold]
    pub(super) fn fail(&mut self, exchange: &Exchange, failure: Failure) {
        if let Some(flight) = &mut self.flight {
            flight.abandon();
        }
        exchange.fail(failure);
    }

    pub(super) fn answer(&mut self, transport: &Transport, exchange: &Rc<Exchange>, response: Response) {
        if exchange.stage.get() != Stage::Waiting {
            return self.answer_again(exchange, response);
        }
        if exchange.respond_plainly(&response) {
            return;
        }
        match exchange.respond(response) {
            Rest::Nothing => {}
            Rest::Stream(stream) => {
                let flight = self.flight();
                flight.stream = Some(stream);
                self.pump(transport, exchange);
            }
            Rest::File(file) => self.send_file(transport, exchange, file),
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

    /// An answer where there is one already, or nobody to take it.
    #[cold]
    fn answer_again(&mut self, exchange: &Exchange, mut response: Response) {
        if let Body::Failure(failure) = std::mem::take(&mut response.body) {
            // A handler that has begun and then failed.
            self.fail(exchange, *failure);
        } else if exchange.stage.get() != Stage::Lost && !exchange.failed.get() {
            let (method, path) = (exchange.head.method(), exchange.head.path());
            let handler = exchange.site().handler.place(method, path).map(tracing::field::display);
            tracing::error!(method, path, handler, "a second answer was thrown away");
        }
        discard(response);
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
                return discard(stream);
            }
            if transport.poll_writable(&mut context).is_pending() {
                self.flight().stream = Some(stream);
                return;
            }
            let piece = catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll_piece(&mut context)));
            match piece.map_err(Failure::from_panic) {
                Ok(Poll::Ready(Some(Ok(piece)))) => exchange.write(&piece),
                Ok(Poll::Ready(None)) => {
                    exchange.finish(&[]);
                    return discard(stream);
                }
                Ok(Poll::Pending) => {
                    self.flight().stream = Some(stream);
                    return;
                }
                Ok(Poll::Ready(Some(Err(failure)))) | Err(failure) => {
                    self.fail(exchange, failure);
                    return discard(stream);
                }
            }
        }
        self.flight().stream = Some(stream);
        transport.wake();
    }

    /// After anything that may have completed the answer: on to the next request, or the end. It is given the exchange, so
    /// that one which is over can go back to the spares.
    #[inline(always)]
    pub(super) fn proceed(&mut self, transport: &Transport, exchange: Rc<Exchange>) {
        match exchange.stage.get() {
            _ if matches!(self.phase, Phase::Closing | Phase::HandedOver) => {}
            Stage::Finished => self.answered(transport, exchange),
            Stage::Lost => self.phase = Phase::Closing,
            Stage::Waiting | Stage::Streaming => self.keep(transport, exchange),
        }
    }

    /// The answer is still to come, or the rest of it: if there is anybody to give it.
    #[inline(never)]
    fn keep(&mut self, transport: &Transport, exchange: Rc<Exchange>) {
        if transport.is_closing() || !self.is_forgotten(&exchange) {
            self.exchange = Some(exchange);
            return;
        }
        if exchange.warned.get() {
            // The client has ended its side, whoever meant to answer was told, and let go.
            if exchange.stage.get() == Stage::Streaming {
                // An answer without its end; an orderly close could pass for one.
                transport.abort(Lost::Aborted);
            }
            exchange.lost(&Lost::Ended);
            self.exchange = None;
            return self.close(transport, false);
        }
        count(&self.site.counters.unanswered);
        self.fail(&exchange, forgotten_by(&exchange));
        if exchange.is_over() {
            self.proceed(transport, exchange);
        } else {
            self.exchange = Some(exchange);
        }
    }

    /// Nobody is left who could answer, or end the answer.
    fn is_forgotten(&self, exchange: &Exchange) -> bool {
        if exchange.responders.get() > 0 {
            return false;
        }
        let flight = self.flight.as_ref();
        match exchange.stage.get() {
            Stage::Streaming => {
                flight.is_none_or(|flight| flight.stream.is_none() && flight.sending.is_none())
            }
            _ => flight.is_none_or(|flight| flight.future.is_none()) && exchange.given.borrow().is_none(),
        }
    }

    #[inline(never)]
    fn answered(&mut self, transport: &Transport, exchange: Rc<Exchange>) {
        self.let_go(transport, &exchange);
        if self.phase == Phase::Body || exchange.closes() {
            return self.answered_early(transport, exchange);
        }
        // This one may be the only one: then it is ready for the next request.
        drop(self.exchange.replace(exchange));
        self.next(transport);
    }

    /// There is more to read of this request, or no next one.
    #[inline(never)]
    fn answered_early(&mut self, transport: &Transport, exchange: Rc<Exchange>) {
        let unread = self.phase == Phase::Body;
        if exchange.closes() {
            // A client that did not ask for the end may be sending its next request, or the rest of this one.
            let lingering = unread || self.holding || exchange.head.keep_alive();
            self.exchange = Some(exchange);
            self.close(transport, lingering);
        } else {
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
        }
    }

    /// The request and its answer are over: the connection owns nothing again.
    #[inline(always)]
    pub(super) fn next(&mut self, transport: &Transport) {
        self.flight = None;
        if let Some(exchange) = self.exchange.take() {
            self.site.give_back(exchange);
        }
        self.phase = Phase::Idle;
        self.is_idle_from_now(transport);
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

    /// Lets go of the handler, because its client went away, or because it was answered already.
    #[inline]
    pub(super) fn let_go(&mut self, transport: &Transport, exchange: &Rc<Exchange>) {
        if let Some(future) = self.flight.as_mut().and_then(|flight| flight.future.take()) {
            let_go_of(future, transport, exchange);
        }
    }

    /// The client has ended its side: a handler that chose so is cancelled, and nothing is left that could answer.
    pub(super) fn leave(&mut self, exchange: &Exchange) {
        if exchange.leaving.get() != Some(IfClientLeaves::Cancel) {
            return;
        }
        if let Some(future) = self.flight.as_mut().and_then(|flight| flight.future.take()) {
            exchange.warned.set(true);
            discard(future);
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

/// What changes something is not left half done: unless the handler chose otherwise, it goes on as a task.
fn let_go_of(future: Work, transport: &Transport, exchange: &Rc<Exchange>) {
    let completes = match exchange.leaving.get() {
        Some(choice) => choice == IfClientLeaves::Complete,
        None => !matches!(exchange.head.method(), "GET" | "HEAD" | "OPTIONS" | "TRACE"),
    };
    if completes {
        let exchange = Rc::clone(exchange);
        transport.reactor().spawn_named(transport.name(), complete(future, exchange));
    } else {
        discard(future);
    }
}

/// What came of polling a handler's future.
enum Polled {
    Ready(Answer),
    Pending(Work),
    Failed(Failure),
}

/// The panic boundary of a handler's future. One that has come to its end is dropped here.
fn poll(future: Work, context: &mut Context<'_>) -> Polled {
    let (mut future, mut answer) = (Some(future), None);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        if let Some(Poll::Ready(ready)) = future.as_mut().map(|work| work.as_mut().poll(context)) {
            answer = Some(ready);
            future = None;
        }
    }));
    match (outcome, answer, future) {
        (Ok(()), Some(answer), _) => Polled::Ready(answer),
        (Ok(()), None, Some(future)) => Polled::Pending(future),
        (Err(payload), Some(answer), _) => {
            // It had answered, and panicked when it was dropped.
            report_drop(payload);
            Polled::Ready(answer)
        }
        (Err(payload), None, future) => {
            discard(future);
            Polled::Failed(Failure::from_panic(payload))
        }
        (Ok(()), None, None) => unreachable!("only an answer takes the future's place"),
    }
}

/// Runs a handler to its end for which nobody waits any more. Its answer is thrown away; what goes wrong is still logged as this
/// request's.
async fn complete(future: Work, exchange: Rc<Exchange>) {
    let mut future = Some(future);
    let answer = poll_fn(|context| {
        loop {
            let Some(work) = future.take() else { return Poll::Ready(Ok(Answer::Taken)) };
            match poll(work, context) {
                Polled::Ready(Answer::Later(next)) => future = Some(next),
                Polled::Ready(answer) => return Poll::Ready(Ok(answer)),
                Polled::Pending(work) => {
                    future = Some(work);
                    return Poll::Pending;
                }
                Polled::Failed(failure) => return Poll::Ready(Err(failure)),
            }
        }
    });
    match answer.await {
        Ok(Answer::Now(mut response)) => {
            if let Body::Failure(failure) = std::mem::take(&mut response.body) {
                exchange.fail(*failure);
            }
            discard(response);
        }
        Ok(_) => {}
        Err(failure) => exchange.fail(failure),
    }
}

/// Why nobody is left who could answer.
#[cold]
fn forgotten_by(exchange: &Exchange) -> Failure {
    let words = match exchange.if_rare(|rare| rare.dropped) {
        Some(Dropped { taken_at, panicking: true }) => format!(
            "a callback panicked and took with it the responder that was taken at {taken_at}; the panic stands in the log \
             before this"
        ),
        Some(Dropped { taken_at, panicking: false }) => {
            format!("the responder that was taken at {taken_at} was dropped without an answer")
        }
        None => "a handler returned neither an answer nor took a responder that gives it".to_owned(),
    };
    Failure::new(words)
}
