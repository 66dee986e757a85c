//! Clients that leave while a handler is at work: what was chosen for it happens, in every phase, and nothing is left behind.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use common::{Ground, Held, MS, Probe, SECOND, errors, last, ok, quietly};
use ropewalk_reactor::failure::Cancelled;
use ropewalk_reactor::{Deferred, Outcome, Peer};
use ropewalk_web::{
    Answer, Handler, IfClientLeaves, Limits, Request, Responder, Response, Router, Site, SiteStatistics,
    handler,
};

fn ask(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

/// What became of handlers, in words.
#[derive(Clone, Default)]
struct Fates(Rc<RefCell<Vec<&'static str>>>);

impl Fates {
    fn say(&self, what: &'static str) {
        self.0.borrow_mut().push(what);
    }

    fn take(&self) -> Vec<&'static str> {
        self.0.take()
    }
}

/// Says how a handler ends, and counts it meanwhile.
struct Watch(Fates, &'static str, #[allow(dead_code, reason = "it counts")] Held);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.say(self.1);
    }
}

fn moment(request: &Request) -> Deferred<()> {
    let (firing, deferred) = Deferred::new(request.reactor());
    request.reactor().call_later(50 * MS, move || {
        // It fails when nobody waits any more.
        let _ = firing.callback(());
    });
    deferred
}

/// Takes a moment, in a future.
async fn work(request: Request, mut watch: Watch) -> Outcome<String> {
    moment(&request).await?;
    watch.1 = "done";
    Ok("done".to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Reset,
    Close,
    HalfClose,
}

fn leave(ground: &Ground, peer: Peer, how: How) -> Option<Peer> {
    let mut stays = None;
    match how {
        How::Reset => peer.reset(),
        How::Close => drop(peer),
        How::HalfClose => {
            peer.shutdown_write();
            stays = Some(peer);
        }
    }
    ground.advance(5 * MS);
    stays
}

/// A site whose handlers choose, or leave it to the method.
fn choosing(choice: Option<IfClientLeaves>) -> (Ground, Fates, Probe) {
    let (fates, probe) = (Fates::default(), Probe::default());
    let (told, held) = (fates.clone(), probe.clone());
    let choose = move |request: &Request| {
        if let Some(choice) = choice {
            request.if_client_leaves(choice);
        }
        Watch(told.clone(), "dropped", held.hold())
    };
    let choose = Rc::new(choose);
    let (bodies, responders) = (Rc::clone(&choose), Rc::clone(&choose));
    let router = Router::new()
        .get("/", |_| "hello")
        .any("/waiting", move |request: Request| {
            let watch = choose(&request);
            work(request, watch)
        })
        .any("/reading", move |mut request: Request| {
            let watch = bodies(&request);
            async move {
                // Whoever completes does so without the rest of the body.
                while let Ok(Some(_)) = request.piece().await {}
                work(request, watch).await
            }
        })
        .any("/writing", move |request: Request| {
            let watch = responders(&request);
            async move {
                let responder = request.responder();
                responder.write("begun");
                let outcome = work(request, watch).await;
                responder.write("ended");
                responder.finish();
                outcome.map(drop)
            }
        });
    (Ground::of(router), fates, probe)
}

#[test]
fn what_was_chosen_happens_in_every_phase() {
    use How::*;
    use IfClientLeaves::*;
    for (method, choice) in [
        ("GET", None),
        ("POST", None),
        ("GET", Some(Complete)),
        ("POST", Some(Cancel)),
        ("GET", Some(Cancel)),
    ] {
        for phase in ["/waiting", "/reading", "/writing"] {
            for how in [Reset, Close, HalfClose] {
                let (ground, fates, probe) = choosing(choice);
                let mut bytes = ask(method, phase);
                if phase == "/reading" {
                    bytes = bytes.replace("\r\n\r\n", "\r\nContent-Length: 9\r\n\r\nhalf");
                }
                let peer = ground.send(bytes);
                ground.advance(MS);
                assert_eq!(probe.held(), 1);
                let stays = leave(&ground, peer, how);
                let at_once = fates.take();
                ground.advance(100 * MS);
                let later = fates.take();
                let told = format!("{method} {choice:?} {phase} {how:?}: {at_once:?} {later:?}");
                match choice {
                    Some(Cancel) => {
                        assert_eq!((&at_once[..], &later[..]), (&["dropped"][..], &[][..]), "{told}")
                    }
                    Some(Complete) => assert_eq!((at_once.len(), &later[..]), (0, &["done"][..]), "{told}"),
                    // Closing with an answer unread is a reset.
                    None if method == "GET" && (how == Reset || (how == Close && phase == "/writing")) => {
                        assert_eq!(at_once, ["dropped"], "{told}");
                    }
                    // That a client has left is seen by writing to it; until then it may only have nothing more to say.
                    None => assert_eq!((at_once.len(), &later[..]), (0, &["done"][..]), "{told}"),
                }
                assert_eq!(probe.held(), 0, "{told}");
                if let Some(peer) = stays {
                    let text = ground.take(&peer);
                    assert!(peer.is_ended(), "{told}");
                    match (choice, phase) {
                        (Some(Cancel), "/writing") => assert!(peer.is_reset(), "{told}"),
                        (Some(Cancel), _) => assert_eq!(text, "", "{told}"),
                        (_, "/writing") => {
                            assert!(text.ends_with("begun\r\n5\r\nended\r\n0\r\n\r\n"), "{told} {text}")
                        }
                        _ => assert_eq!(text, last("done"), "{told}"),
                    }
                }
                ground.is_clean();
                assert_eq!(ground.statistics().failures, 0, "{told}");
            }
        }
    }
}

#[test]
fn a_returned_deferred_is_cancelled_inward() {
    let (fates, said) = (Fates::default(), Rc::new(RefCell::new(String::new())));
    let (told, heard) = (fates.clone(), Rc::clone(&said));
    let ground = Ground::of(Router::new().post("/", move |request: Request| {
        request.if_client_leaves(IfClientLeaves::Cancel);
        let (told, heard, reactor) = (told.clone(), Rc::clone(&heard), request.reactor().clone());
        let (first, outer) = Deferred::new(request.reactor());
        first.callback(()).unwrap();
        // The chain has gone on to an inner deferred, which is what has to be told.
        outer
            .add_callback(move |()| {
                let (firing, inner) =
                    Deferred::with_canceller(&reactor, move |_| told.say("the search is off"));
                std::mem::forget(firing);
                inner
            })
            .add_errback(move |failure| -> Outcome<String> {
                *heard.borrow_mut() = failure.to_string();
                assert!(failure.is::<Cancelled>());
                Err(failure)
            })
    }));
    let peer = ground.send(ask("POST", "/"));
    ground.advance(10 * MS);
    let errors = errors(|| {
        drop(peer);
        ground.advance(10 * MS);
    });
    assert_eq!((fates.take(), said.borrow().as_str()), (vec!["the search is off"], "cancelled"));
    assert_eq!(errors, [""; 0], "a client that left is no mistake of the program");
    ground.is_clean();
}

#[test]
fn a_deferred_completes_and_its_failure_is_in_the_log() {
    let ground = Ground::of(Router::new().get("/", |request: Request| {
        request.if_client_leaves(IfClientLeaves::Complete);
        moment(&request).add_callback(|()| -> Outcome<String> { Err("as asked".into()) })
    }));
    let peer = ground.send(ask("GET", "/"));
    let errors = errors(|| {
        peer.reset();
        ground.advance(100 * MS);
    });
    let [line] = &errors[..] else { panic!("one line: {errors:?}") };
    assert!(line.contains(" method=GET path=/ "), "{line}");
    assert!(
        line.contains("a handler failed after its client had left: as asked\n    made at crates/web/tests/"),
        "{line}"
    );
    ground.is_clean();
}

#[test]
fn a_panic_while_dropping_a_cancelled_future_harms_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("as asked");
        }
    }
    quietly();
    let router = Router::new()
        .get("/", |_| "hello")
        .get("/chosen", |request: Request| async move {
            request.if_client_leaves(IfClientLeaves::Cancel);
            let _bomb = Bomb;
            std::future::pending::<String>().await
        })
        .get("/lost", |_| async {
            let _bomb = Bomb;
            std::future::pending::<String>().await
        })
        .get("/answered", |request: Request| async move {
            let _bomb = Bomb;
            request.responder().respond(Response::text("answered"));
            std::future::pending::<()>().await;
        });
    let ground = Ground::of(router);
    let other = ground.send(ask("GET", "/"));
    assert_eq!(ground.take(&other), ok("hello"));
    let errors = errors(|| {
        drop(ground.send(ask("GET", "/chosen")));
        ground.advance(5 * MS);
        ground.send(ask("GET", "/lost")).reset();
        ground.advance(5 * MS);
        let peer = ground.send(ask("GET", "/answered") + &ask("GET", "/"));
        assert_eq!(ground.take(&peer), ok("answered") + &ok("hello"));
        let late = ground.send(ask("GET", "/lost"));
        ground.advance(61 * SECOND);
        assert!(ground.take(&late).starts_with("HTTP/1.1 503 "));
    });
    let dropped = errors
        .iter()
        .filter(|line| line.starts_with("dropping what a handler left behind: panicked: as asked"));
    assert_eq!((dropped.count(), errors.len()), (4, 5), "and the deadline: {errors:#?}");
    other.write(ask("GET", "/").as_bytes());
    assert_eq!(ground.take(&other), ok("hello"));
    drop(other);
    ground.advance(SECOND);
    ground.is_clean();
}

#[test]
fn a_route_and_a_whole_router_may_choose() {
    let (fates, probe) = (Fates::default(), Probe::default());
    let working = || {
        let (fates, probe) = (fates.clone(), probe.clone());
        handler(move |request| work(request, Watch(fates.clone(), "dropped", probe.hold())))
    };
    let inner = Router::new().route("GET", "/in", working()).route(
        "GET",
        "/not",
        working().if_client_leaves(IfClientLeaves::Cancel),
    );
    let router = Router::new()
        .route("GET", "/one", working().if_client_leaves(IfClientLeaves::Complete))
        .fallback(inner.if_client_leaves(IfClientLeaves::Complete));
    assert!(router.place("GET", "/in").is_some_and(|place| place.file().ends_with("leaving.rs")));
    let ground = Ground::of(router);
    for (path, fate) in [("/one", "done"), ("/in", "done"), ("/not", "dropped")] {
        let peer = ground.send(ask("GET", path));
        peer.reset();
        ground.advance(100 * MS);
        assert_eq!(fates.take(), [fate], "{path}");
    }
    assert_eq!(probe.held(), 0);
    ground.is_clean();
}

#[test]
fn the_handlers_deadline_is_as_good_as_a_client_that_left() {
    for (method, choice, fate) in [
        ("GET", None, "dropped"),
        ("POST", None, "done"),
        ("GET", Some(IfClientLeaves::Complete), "done"),
        ("POST", Some(IfClientLeaves::Cancel), "dropped"),
    ] {
        let fates = Fates::default();
        let told = fates.clone();
        let probe = Probe::default();
        let held = probe.clone();
        let router = Router::new().any("/", move |request: Request| {
            if let Some(choice) = choice {
                request.if_client_leaves(choice);
            }
            work(request, Watch(told.clone(), "dropped", held.hold()))
        });
        let limits = Limits { handler: Some(20 * MS), ..Limits::default() };
        let ground = Ground::calm(Site::new(router).server(None).limits(limits));
        let peer = ground.send(ask(method, "/"));
        ground.advance(100 * MS);
        assert!(ground.take(&peer).starts_with("HTTP/1.1 503 "), "{method} {choice:?}");
        assert_eq!((fates.take(), probe.held()), (vec![fate], 0), "{method} {choice:?}");
        drop(peer);
        ground.is_clean();
    }
}

#[test]
fn whoever_is_told_decides_for_himself() {
    // 1. The responder waits in a timer. 2. The client leaves, in whatever way. 3. Told of it, the handler stops its timer, and
    // with that lets go of its responder. 4. Nothing is left, and nothing was failed.
    for how in [How::Reset, How::Close, How::HalfClose] {
        for begun in [false, true] {
            let fates = Fates::default();
            let told = fates.clone();
            let ground = Ground::of(Router::new().get("/", move |request: Request| {
                let (responder, told) = (request.responder(), told.clone());
                if begun {
                    responder.write("begun");
                }
                let work = request.reactor().call_later(SECOND, move || responder.finish());
                let left = request.notify_finish().add_errback(move |_| {
                    work.cancel().unwrap();
                    told.say("told");
                });
                drop(left);
            }));
            let peer = ground.send(ask("GET", "/"));
            let _stays = leave(&ground, peer, how);
            assert_eq!(fates.take(), ["told"], "{how:?} {begun}");
            let SiteStatistics { failures, unanswered, .. } = ground.statistics();
            assert_eq!((failures, unanswered), (0, 0), "{how:?} {begun}");
            ground.is_clean();
        }
    }
}

#[test]
fn a_future_may_hold_the_responder_and_return_nothing() {
    let router = Router::new()
        .get("/", |_| "hello")
        .get("/slowly", |request: Request| async move {
            let responder = request.responder();
            for piece in ["one", "two"] {
                moment(&request).await.unwrap();
                responder.write(piece);
            }
            responder.finish();
        })
        .get("/elsewhere", |request: Request| async move {
            let responder = request.responder();
            moment(&request).await.unwrap();
            request.reactor().call_later(50 * MS, move || responder.respond(Response::text("from a timer")));
        })
        .get("/deferred", |request: Request| {
            let responder = request.responder();
            moment(&request).add_callback(move |()| responder.respond(Response::text("from a chain")))
        })
        .get("/an-answer", |request: Request| async move {
            let later = moment(&request);
            Answer::Later(Box::pin(async move {
                later.await.unwrap();
                Answer::Now(Response::text("in two steps"))
            }))
        });
    let ground = Ground::of(router);
    let chunks =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n".to_owned();
    for (path, expected) in [
        ("/slowly", chunks),
        ("/elsewhere", ok("from a timer")),
        ("/deferred", ok("from a chain")),
        ("/an-answer", ok("in two steps")),
    ] {
        let peer = ground.send(ask("GET", path) + &ask("GET", "/"));
        ground.advance(200 * MS);
        assert_eq!(ground.take(&peer), expected + &ok("hello"), "{path}");
    }
    assert_eq!(ground.statistics().failures, 0);
    ground.is_clean();
}

#[test]
fn a_body_that_does_not_come_is_the_clients_own_failure() {
    // 1. Half of a body comes, and the client's end. 2. The handler's `?` makes a failure of it. 3. That was a 500 and an error in
    // the log for every client that left in the middle of an upload.
    let ground = Ground::of(Router::new().post("/", |request: Request| async move {
        let bytes = request.bytes().await?;
        Outcome::Ok(format!("{} bytes", bytes.len()))
    }));
    let errors = errors(|| {
        let peer = ground.send(ask("POST", "/").replace("\r\n\r\n", "\r\nContent-Length: 9\r\n\r\nhalf"));
        peer.shutdown_write();
        ground.advance(MS);
        assert!(ground.take(&peer).starts_with("HTTP/1.1 400 Bad Request\r\n"));
        let peer = ground.send(ask("POST", "/").replace("\r\n\r\n", "\r\nContent-Length: 9\r\n\r\nhalf"));
        peer.reset();
        ground.advance(MS);
    });
    assert_eq!(errors, [""; 0]);
    ground.is_clean();
}

#[test]
fn a_late_answer_meets_nobody() {
    let kept: Rc<RefCell<Option<Responder>>> = Rc::default();
    let keeps = Rc::clone(&kept);
    let wrote = Rc::new(Cell::new(false));
    let ground = Ground::of(Router::new().get("/", |_| "hello").get("/kept", move |request: Request| {
        *keeps.borrow_mut() = Some(request.responder());
        async move { drop(moment(&request).await) }
    }));
    let peer = ground.send(ask("GET", "/kept"));
    ground.advance(100 * MS);
    peer.reset();
    ground.advance(MS);
    let errors = errors(|| {
        let responder = kept.take().unwrap();
        responder.fail("as asked");
        responder.write("late");
        wrote.set(true);
    });
    assert!(
        wrote.get() && errors.len() == 1 && errors[0].contains("after its client had left"),
        "{errors:?}"
    );
    assert_eq!(ground.ask(ask("GET", "/")), ok("hello"));
    ground.is_clean();
}
