//! The ways in which a handler can fail, each at a path of its own. What comes of them is tested in `failing`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use ropewalk_reactor::deferred::{self, Deferred};
use ropewalk_reactor::{Failure, Outcome};
use ropewalk_web::{Body, ByteStream, IfClientLeaves, IntoAnswer, Request, Responder, Response, Router};

use crate::common::MS;

/// Handlers and their paths.
#[derive(Default)]
pub(crate) struct Ways {
    pub(crate) router: Router,
    pub(crate) paths: Vec<&'static str>,
}

impl Ways {
    fn way<F, R, M>(mut self, path: &'static str, function: F) -> Ways
    where
        F: Fn(Request) -> R + 'static,
        R: IntoAnswer<M>,
    {
        self.paths.push(path);
        Ways { router: self.router.get(path, function), ..self }
    }
}

fn boom<T>() -> T {
    panic!("as asked")
}

fn oops<T>() -> Outcome<T> {
    Err(Failure::new("as asked"))
}

/// Something that is there in a moment.
fn moment(request: &Request) -> Deferred<()> {
    let (firing, deferred) = Deferred::new(request.reactor());
    request.reactor().call_later(5 * MS, move || {
        // It fails when nobody waits any more.
        let _ = firing.callback(());
    });
    deferred
}

/// Somebody else who holds the answer, and means to complete it in a moment, whatever happens.
fn late(request: &Request) {
    let responder = request.responder();
    request.reactor().call_later(5 * MS, move || {
        responder.write("late");
        responder.finish();
    });
}

/// Fails before the first byte.
pub(crate) fn before() -> Ways {
    let ways = Ways::default()
        .way("/panic", |_| boom::<&str>())
        .way("/error", |_| oops::<&str>())
        .way("/error-without-a-value", |_| oops::<()>())
        .way("/error-of-the-system", |_| Err::<&str, _>(io::Error::other("as asked")))
        .way("/deferred", |request| deferred::fail::<String>(request.reactor(), "as asked"))
        .way("/deferred-later", |request| moment(&request).add_callback(|()| oops::<String>()))
        .way("/deferred-panic", |request| moment(&request).add_callback(|()| boom::<String>()))
        .way("/future", |_| async { oops::<String>() })
        .way("/future-panic", |_| async { boom::<String>() })
        .way("/future-later", |request| async move {
            moment(&request).await?;
            oops::<String>()
        })
        .way("/future-panic-later", |request| async move {
            moment(&request).await?;
            Outcome::<String>::Ok(boom())
        })
        .way("/thread-panic", |request| request.reactor().defer_to_thread(boom::<String>))
        .way("/thread-error", |request| {
            request.reactor().defer_to_thread(|| Err::<String, _>(io::Error::other("as asked")))
        });
    let ways = before_with_a_responder(ways);
    ways.way("/after-its-deferred-panic", |request| {
        late(&request);
        boom::<()>()
    })
    .way("/after-its-deferred-error", |request| {
        late(&request);
        oops::<()>()
    })
    .way("/after-its-deferred-future", |request| async move {
        late(&request);
        oops::<String>()
    })
}

fn before_with_a_responder(ways: Ways) -> Ways {
    ways.way("/callback", |request| {
        let responder = request.responder();
        request.reactor().call_later(5 * MS, move || {
            responder.set_status(201);
            boom::<()>();
        });
    })
    .way("/callback-of-a-returned-deferred", |request| {
        let responder = request.responder();
        moment(&request).add_callback(move |()| {
            responder.set_status(201);
            boom::<()>();
        })
    })
    .way("/by-hand", |request| request.responder().fail("as asked"))
    .way("/by-hand-later", |request| {
        let responder = request.responder();
        let failing = moment(&request).add_callback(|()| oops::<()>());
        drop(failing.add_errback(move |failure| responder.fail(failure)));
    })
    .way("/by-hand-and-a-value", |request| {
        request.responder().fail("as asked");
        "never seen"
    })
    .way("/dropped", |request| drop(request.responder()))
    .way("/dropped-later", |request| {
        let responder = request.responder();
        request.reactor().call_later(5 * MS, move || drop(responder));
    })
    .way("/nothing", |_| ())
    .way("/nothing-later", |request| async move { drop(moment(&request).await) })
    .way("/dropped-by-a-future", |request| async move {
        let responder = request.responder();
        drop(moment(&request).await);
        drop(responder);
    })
}

/// Fails when the answer has begun: the client has seen `begun`.
pub(crate) fn between() -> Ways {
    Ways::default()
        .way("/panic", |request| {
            let _held = begin(&request);
            late(&request);
            boom::<()>()
        })
        .way("/error", |request| {
            let _held = begin(&request);
            oops::<()>()
        })
        .way("/error-instead-of-a-value", |request| {
            let _held = begin(&request);
            oops::<String>()
        })
        .way("/callback", |request| {
            let responder = begin(&request);
            request.reactor().call_later(5 * MS, move || {
                responder.write("more");
                boom::<()>();
            });
        })
        .way("/future", |request| async move {
            let _held = begin(&request);
            moment(&request).await?;
            oops::<()>()
        })
        .way("/by-hand", |request| begin(&request).fail("as asked"))
        .way("/by-hand-but-finished", |request| {
            let responder = begin(&request);
            responder.clone().fail("as asked");
            responder.write("more");
            responder.finish();
        })
        .way("/dropped", |request| drop(begin(&request)))
        .way("/stream", |_| stream(vec![|| Ok(b"begun".to_vec()), oops], None))
        .way("/stream-panic", |_| stream(vec![|| Ok(b"begun".to_vec()), boom], None))
        .way("/stream-too-long", |_| stream(vec![|| Ok(b"begun".to_vec()), || Ok(b"more".to_vec())], Some(6)))
        .way("/stream-too-short", |_| stream(vec![|| Ok(b"begun".to_vec())], Some(6)))
}

fn begin(request: &Request) -> Responder {
    let responder = request.responder();
    responder.write("begun");
    responder
}

/// A body in pieces, of which somebody has said how long it is.
fn stream(pieces: Vec<fn() -> Outcome<Vec<u8>>>, length: Option<u64>) -> Response {
    Response::new(Body::Stream(Box::pin(Pieces(pieces.into_iter())), length))
}

struct Pieces(std::vec::IntoIter<fn() -> Outcome<Vec<u8>>>);

impl ByteStream for Pieces {
    fn poll_piece(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Outcome<Vec<u8>>>> {
        Poll::Ready(self.0.next().map(|piece| piece()))
    }
}

/// Fails when the answer is complete: `whole`.
pub(crate) fn after() -> Ways {
    Ways::default()
        .way("/panic", |request| {
            answer(&request);
            boom::<()>()
        })
        .way("/error", |request| {
            answer(&request);
            oops::<()>()
        })
        .way("/error-instead-of-a-value", |request| {
            answer(&request);
            oops::<String>()
        })
        .way("/future", |request| async move {
            answer(&request);
            oops::<()>()
        })
        .way("/deferred-that-completes", |request| {
            request.if_client_leaves(IfClientLeaves::Complete);
            answer(&request);
            moment(&request).add_callback(|()| oops::<()>())
        })
        .way("/future-that-completes", |request| async move {
            request.if_client_leaves(IfClientLeaves::Complete);
            answer(&request);
            moment(&request).await?;
            Outcome::<()>::Err(boom())
        })
        .way("/by-hand", |request| {
            answer(&request);
            request.responder().fail("as asked");
        })
        .way("/given-and-error", |request| {
            request.responder().respond(Response::text("whole"));
            oops::<()>()
        })
        .way("/given-and-panic", |request| {
            request.responder().respond(Response::text("whole"));
            boom::<()>()
        })
        .way("/given-and-by-hand", |request| {
            let responder = request.responder();
            responder.respond(Response::text("whole"));
            responder.fail("as asked");
        })
        .way("/callback", |request| {
            let responder = request.responder();
            request.reactor().call_later(5 * MS, move || {
                responder.respond(Response::text("whole"));
                boom::<()>();
            });
        })
}

fn answer(request: &Request) {
    let responder = request.responder();
    responder.set_content_type("text/plain; charset=utf-8");
    responder.finish();
}
