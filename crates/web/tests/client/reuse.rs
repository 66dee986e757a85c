//! Who gets which connection: reuse, limits, the line of those who wait, kept connections that have died, pipelining. What is
//! sent again is what is safe to send again, and nothing else.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ropewalk_net::Lost;
use ropewalk_reactor::Outcome;
use ropewalk_web::Body;
use ropewalk_web::client::{Agent, ClientError, PoolLimits};

use crate::common::*;

fn pool(ground: &Ground, change: impl FnOnce(&mut PoolLimits)) -> Agent {
    let mut limits = PoolLimits::default();
    change(&mut limits);
    ground.agent.clone().with_pool(limits)
}

/// Sends a request and answers its text.
async fn text(agent: Agent, url: String) -> Outcome<String> {
    agent.get(&url).send().await?.text().await
}

#[test]
fn one_connection_serves_one_request_after_the_other() {
    for seed in 0..100 {
        let ground = Ground::seeded(seed, |number, _| ok(&number.to_string()));
        for number in 0..20 {
            assert_eq!(ground.get("http://a.example/").unwrap(), (200, number.to_string()), "seed {seed}");
        }
        let statistics = ground.agent.statistics();
        assert_eq!((ground.made(), statistics.made, statistics.reused, statistics.idle), (1, 1, 19, 1));
        ground.get("http://b.example/").unwrap();
        assert_eq!((ground.made(), ground.agent.statistics().idle), (2, 2), "another host has its own");
        ground.is_clean();
        assert!(matches!(ground.fails("http://a.example/"), ClientError::Closed));
    }
}

#[test]
fn a_host_has_so_many_connections_and_all_have_so_many() {
    for seed in 0..50 {
        let ground = Ground::seeded(seed, |_, _| ok("x"));
        ground.simulation.network().set_conditions(|conditions| conditions.latency = (MS, 20 * MS));
        let agent = pool(&ground, |limits| (limits.per_host_max, limits.total_max) = (3, 4));
        let done: Vec<_> = (0..40)
            .map(|number| {
                let host = if number % 4 == 3 { "b" } else { "a" };
                ground.begin(text(agent.clone(), format!("http://{host}.example/{number}")))
            })
            .collect();
        let (most, waited) = (Cell::new(0), Cell::new(0));
        let finished = ground.simulation.run_until(60 * SECOND, || {
            let statistics = agent.statistics();
            most.set(most.get().max(statistics.open));
            waited.set(waited.get().max(statistics.waiting));
            done.iter().all(|slot| slot.borrow().is_some())
        });
        assert!(finished, "seed {seed}");
        assert!(done.iter().all(|slot| slot.take().unwrap().is_ok()), "seed {seed}");
        assert!(most.get() <= 4 && waited.get() > 30, "seed {seed}: {most:?} {waited:?}");
        assert!(ground.port.statistics().connections <= 4);
        assert_eq!(agent.statistics().waiting, 0);
        drop(agent);
        ground.is_clean();
    }
}

#[test]
fn who_waits_first_is_served_first() {
    let ground = Ground::scripted(|_, _| ok("x"));
    let agent = pool(&ground, |limits| limits.per_host_max = 1);
    let order = Rc::new(RefCell::new(Vec::new()));
    for number in 0..10 {
        let (agent, order) = (agent.clone(), Rc::clone(&order));
        ground.begin(async move {
            text(agent, format!("http://a.example/{number}")).await?;
            order.borrow_mut().push(number);
            Outcome::Ok(())
        });
    }
    ground.advance(SECOND);
    assert_eq!(*order.borrow(), (0..10).collect::<Vec<_>>());
    assert_eq!(ground.made(), 1);
    drop(agent);
    ground.is_clean();
}

#[test]
fn a_full_host_holds_up_no_other_and_a_kept_one_makes_room() {
    let ground =
        Ground::scripted(
            |_, head: &str| {
                if head.starts_with("GET /slow") { Reply::Nothing } else { Reply::from(OK) }
            },
        );
    let agent = pool(&ground, |limits| (limits.per_host_max, limits.total_max) = (1, 2));
    let slow = agent.get("http://a.example/slow").send();
    let behind = ground.begin(text(agent.clone(), "http://a.example/".into()));
    assert_eq!(ground.wait(text(agent.clone(), "http://b.example/".into())).unwrap(), "ok");
    assert_eq!((agent.statistics().idle, agent.statistics().waiting), (1, 1));
    // The kept connection to b gives way to a third host.
    ground.simulation.network().set_host("c.example", &["127.0.0.1".parse().unwrap()]);
    assert_eq!(ground.wait(text(agent.clone(), "http://c.example/".into())).unwrap(), "ok");
    assert!(behind.borrow().is_none());
    slow.cancel();
    ground.advance(SECOND);
    assert_eq!(behind.take().unwrap().unwrap(), "ok");
    drop((agent, slow.add_errback(|_| unreachable_response())));
    ground.is_clean();
}

fn unreachable_response() -> Outcome<ropewalk_web::client::Response> {
    Err("it was cancelled".into())
}

#[test]
fn the_line_has_an_end() {
    let ground = Ground::scripted(|_, _| Reply::Nothing);
    let agent = pool(&ground, |limits| (limits.per_host_max, limits.waiting_max) = (1, 2));
    let slots: Vec<_> =
        (0..4).map(|_| ground.begin(text(agent.clone(), "http://a.example/".into()))).collect();
    ground.advance(10 * MS);
    let failed: Vec<bool> = slots.iter().map(|slot| slot.borrow().is_some()).collect();
    assert_eq!(failed, [false, false, false, true]);
    let error = client_error(slots[3].take().unwrap().unwrap_err());
    assert!(matches!(error, ClientError::QueueFull), "{error}");
    agent.close();
    ground.advance(MS);
    assert!(slots[1].take().unwrap().is_err(), "who waits is told");
    ground.advance(100 * SECOND);
    assert!(slots[0].take().unwrap().is_err());
    drop(agent);
    ground.is_clean();
}

#[test]
fn an_idle_connection_is_kept_as_long_as_both_sides_say() {
    for (fields, kept) in [
        ("", 60_000),
        ("Keep-Alive: timeout=5\r\n", 4000),
        ("Keep-Alive: timeout=500\r\n", 60_000),
        ("Keep-Alive: timeout=1\r\n", 0),
        ("Keep-Alive: timeout=5, max=0\r\n", 0),
        ("Connection: close\r\n", 0),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n");
        let ground = Ground::scripted(move |_, _| answer.clone());
        ground.get("http://a.example/").unwrap();
        if kept > 0 {
            ground.advance((kept - 20) * MS);
            assert!(!ground.link(0).is_lost(), "{fields}");
        }
        ground.advance(40 * MS);
        assert!(ground.link(0).ended.get(), "{fields}");
        assert_eq!(ground.agent.statistics().open, 0);
        ground.get("http://a.example/").unwrap();
        assert_eq!(ground.made(), 2, "{fields}");
        ground.is_clean();
    }
    let old = Ground::scripted(|_, _| "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n");
    old.get("http://a.example/").unwrap();
    assert_eq!(old.agent.statistics().open, 0, "HTTP/1.0 closes");
    let old =
        Ground::scripted(|_, _| "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n");
    old.get("http://a.example/").unwrap();
    assert_eq!(old.agent.statistics().idle, 1, "unless it says otherwise");
    old.is_clean();
}

#[test]
fn bytes_that_nobody_asked_for_cost_the_connection() {
    // 1. Behind the answer, in the same breath.
    let ground = Ground::scripted(|number, _| format!("{}{}", ok(&number.to_string()), ok("evil")));
    for number in 0..3 {
        assert_eq!(ground.get("http://a.example/").unwrap().1, number.to_string());
    }
    assert_eq!(ground.made(), 3);
    ground.is_clean();
    // 2. Later, while it is kept.
    let ground = Ground::scripted(|number, _| ok(&number.to_string()));
    ground.get("http://a.example/").unwrap();
    ground.link(0).write(ok("evil"));
    ground.advance(10 * MS);
    assert!(ground.link(0).is_lost());
    assert_eq!(ground.get("http://a.example/").unwrap().1, "1");
    ground.is_clean();
    // 3. At the very moment in which the next request is sent, in every order that a network makes of it.
    for seed in 0..200 {
        let ground = Ground::seeded(seed, |number, _| ok(&number.to_string()));
        ground.get("http://a.example/").unwrap();
        ground.link(0).write("HTTP/1.1 408 Late\r\nContent-Length: 4\r\nConnection: close\r\n\r\nevil");
        ground.advance(seed as u32 * 10 * MS / 1000);
        let outcome = ground.get("http://a.example/");
        // It may come in when the request is under way: then nobody can tell. Never is it half of both.
        match outcome {
            Ok((200, body)) => assert_eq!(body, (ground.requests() - 1).to_string(), "seed {seed}"),
            Ok((408, body)) => assert_eq!((body.as_str(), ground.made()), ("evil", 1), "seed {seed}"),
            other => panic!("seed {seed}: {other:?}"),
        }
        ground.is_clean();
    }
}

#[test]
fn an_answer_to_a_request_that_has_not_left_is_not_believed() {
    let ground = Ground::scripted(|number, _| if number == 0 { ok("first") } else { ok("good") });
    ground.simulation.network().set_conditions(|conditions| conditions.window_bytes = 4000);
    let agent = pool(&ground, |limits| limits.per_host_max = 1);
    ground.wait(text(agent.clone(), "http://a.example/".into())).unwrap();
    // 1. The server reads no more, so that of four requests only the first ones leave.
    ground.link(0).transport.borrow().as_ref().unwrap().pause_reading();
    let slots: Vec<_> = (0..4)
        .map(|number| {
            let request =
                agent.get(&format!("http://a.example/{number}")).header("X-Long", &"x".repeat(3000));
            ground.begin(async move { request.pipelined().send().await?.text().await })
        })
        .collect();
    ground.advance(100 * MS);
    // 2. And yet it answers all of them.
    ground.link(0).write(ok("evil").repeat(4));
    ground.advance(SECOND);
    let texts: Vec<String> = slots.iter().map(|slot| slot.take().unwrap().unwrap()).collect();
    assert_eq!(texts, ["evil", "evil", "good", "good"], "it is answered for what it may have seen");
    // What is sent again has a connection that is its own, as one that was lost may be lost by its own fault.
    assert_eq!((ground.made(), agent.statistics().resent), (3, 2));
    drop(agent);
    ground.is_clean();
}

#[test]
fn a_kept_connection_that_died_costs_nothing_where_that_is_safe() {
    for seed in 0..100 {
        // The server closes each connection after its first request without saying so; the next meets the end anywhere.
        let ground = Ground::seeded(
            seed,
            |number, _| {
                if number % 2 == 0 { Reply::from(ok("x")) } else { Reply::Reset }
            },
        );
        ground.get("http://a.example/").unwrap();
        assert_eq!(ground.get("http://a.example/").unwrap().1, "x", "seed {seed}");
        let statistics = ground.agent.statistics();
        assert_eq!((ground.requests(), ground.made(), statistics.resent), (3, 2, 1), "seed {seed}");
        ground.is_clean();
    }
}

#[test]
fn what_may_have_been_done_is_not_done_twice() {
    let script = |number: usize, _: &str| if number == 0 { Reply::from(OK) } else { Reply::Reset };
    for (method, body, resent) in [
        ("GET", "", 1),
        ("PUT", "x", 1),
        ("DELETE", "", 1),
        ("POST", "x", 0),
        ("PATCH", "x", 0),
        ("POST", "", 0),
        ("MAKE", "", 0),
    ] {
        let ground = Ground::scripted(script);
        ground.get("http://a.example/").unwrap();
        let request = ground.agent.request(method, "http://a.example/").body(body);
        let error = client_error(ground.wait(request.send()).unwrap_err());
        assert!(matches!(error, ClientError::Unanswered(_)), "{method}: {error}");
        // The second time the connection is a fresh one: what kills that is the request.
        assert_eq!(
            (ground.requests(), ground.agent.statistics().resent),
            (2 + resent, resent as u64),
            "{method}"
        );
        ground.is_clean();
    }
    // A first request is never sent again, and neither is one whose answer has begun.
    let ground = Ground::scripted(|_, _| Reply::Reset);
    assert!(matches!(ground.fails("http://a.example/"), ClientError::Unanswered(_)));
    assert_eq!(ground.requests(), 1);
    ground.is_clean();
    let ground =
        Ground::scripted(
            |number, _| {
                if number == 0 { Reply::from(OK) } else { Reply::Last(b"HTTP/1.1 2".to_vec()) }
            },
        );
    ground.get("http://a.example/").unwrap();
    assert!(matches!(ground.fails("http://a.example/"), ClientError::Truncated(Lost::Ended)));
    assert_eq!(ground.requests(), 2);
    ground.is_clean();
}

#[test]
fn a_post_with_a_key_of_its_own_may_be_sent_again() {
    let ground = Ground::scripted(|number, _| if number == 1 { Reply::Reset } else { Reply::from(OK) });
    ground.get("http://a.example/").unwrap();
    let request =
        ground.agent.post("http://a.example/").header("Idempotency-Key", "7").body("x").idempotent();
    assert_eq!(ground.wait(request.send()).unwrap().status(), 200);
    assert_eq!(ground.requests(), 3);
    ground.is_clean();
}

#[test]
fn a_stream_that_was_begun_is_not_sent_again() {
    let ground = Ground::scripted(|number, _| if number == 0 { Reply::from(OK) } else { Reply::Reset });
    ground.get("http://a.example/").unwrap();
    let body = Body::stream(Once(Some(b"piece".to_vec())));
    let error = ground.wait(ground.agent.put("http://a.example/").body(body).send()).unwrap_err();
    assert!(matches!(client_error(error), ClientError::Unanswered(_)));
    assert_eq!((ground.made(), ground.agent.statistics().resent), (1, 0));
    ground.is_clean();
}

#[test]
fn what_was_promised_a_connection_that_closes_is_sent_whole_on_another() {
    let mut resent = 0;
    for seed in 0..100 {
        // 1. The first answer says nothing of closing, and the server closes behind it.
        let ground = Ground::seeded(
            seed,
            |number, _| {
                if number == 0 { Reply::Last(OK.into()) } else { Reply::from(OK) }
            },
        );
        ground.simulation.network().set_conditions(|conditions| conditions.latency = (MS, MS + MS / 1000));
        let agent = pool(&ground, |limits| limits.per_host_max = 1);
        let first = ground.begin(text(agent.clone(), "http://a.example/".into()));
        ground.advance(MS / 10);
        // 2. A POST waits in line for that connection. It was promised to it when it closed: nothing of it had left.
        let post =
            agent.post("http://a.example/").body(Body::stream(Once(Some(b"whole body".to_vec())))).send();
        let second = ground.begin(post);
        ground.advance(SECOND);
        assert!(first.take().unwrap().is_ok(), "seed {seed}");
        match second.take().unwrap() {
            Ok(_) => {
                let whole = "\r\n\r\na\r\nwhole body\r\n0\r\n\r\n";
                assert!(ground.link(1).text().ends_with(whole), "seed {seed}: {}", ground.link(1).text());
            }
            // It may have left before the end was seen; then it is not known what became of it.
            Err(failure) => {
                assert!(matches!(client_error(failure), ClientError::Unanswered(_)), "seed {seed}")
            }
        }
        resent += agent.statistics().resent;
        drop(agent);
        ground.is_clean();
    }
    assert!(resent > 0, "it happens");
}

struct Once(Option<Vec<u8>>);

impl futures_core::Stream for Once {
    type Item = Outcome<Vec<u8>>;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.take().map(Ok))
    }
}

#[test]
fn a_small_body_that_nobody_reads_is_thrown_away_and_a_large_one_costs_the_connection() {
    let chunks = |count: usize| format!("{:x}\r\n{}\r\n", 1000, "x".repeat(1000)).repeat(count);
    for (answer, kept) in [
        (ok(&"x".repeat(60_000)), true),
        (ok(&"x".repeat(200_000)), false),
        (format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunks(60)), true),
        (format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunks(300)), false),
        (format!("HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n{}", "x".repeat(50_000)), false),
        ("HTTP/1.1 200 OK\r\n\r\nto the end".to_owned(), false),
    ] {
        for seed in 0..20 {
            let first = answer.clone();
            let ground =
                Ground::seeded(seed, move |number, _| if number == 0 { first.clone() } else { ok("x") });
            ground.simulation.network().set_conditions(|conditions| conditions.segment_bytes_max = 3000);
            let response = ground.wait(ground.agent.get("http://a.example/").send()).unwrap();
            drop(response);
            ground.advance(3 * SECOND);
            assert_eq!(ground.agent.statistics().idle, usize::from(kept), "seed {seed}: {}", &answer[..60]);
            assert_eq!(ground.get("http://a.example/").unwrap().1, "x");
            assert_eq!(ground.made(), if kept { 1 } else { 2 });
            ground.is_clean();
        }
    }
}

#[test]
fn a_slow_reader_holds_the_server_back() {
    let ground = Ground::scripted(|_, _| Reply::Send(ok(&"x".repeat(5_000_000)).into_bytes()));
    let mut response = ground.wait(ground.agent.get("http://a.example/").send()).unwrap();
    ground.advance(30 * SECOND);
    let sent = ground.link(0).transport.borrow().as_ref().unwrap().traffic().1;
    assert!(sent < 400_000, "{sent} bytes are on their way");
    let whole = ground.wait(async move {
        let mut whole = 0;
        while let Some(piece) = response.piece().await? {
            whole += piece.len();
        }
        Outcome::Ok(whole)
    });
    assert_eq!(whole.unwrap(), 5_000_000);
    assert_eq!(ground.agent.statistics().idle, 1);
    ground.is_clean();
}

#[test]
fn a_slow_server_holds_the_body_back() {
    let ground = Ground::scripted(|_, _| Reply::Nothing);
    let made = Rc::new(Cell::new(0usize));
    let counted = Rc::clone(&made);
    let body = Body::stream(Endless(counted));
    let request = ground.agent.post("http://a.example/").body(body).send();
    ground.advance(MS * 50);
    ground.link(0).transport.borrow().as_ref().unwrap().pause_reading();
    ground.advance(SECOND);
    let before = made.get();
    ground.advance(10 * SECOND);
    assert_eq!(made.get(), before, "nothing is made that nobody takes");
    request.cancel();
    request.add_errback(|_| unreachable_response()).add_errback(|_| unreachable_response()).detach();
    ground.link(0).transport.borrow().as_ref().unwrap().resume_reading();
    ground.is_clean();
}

struct Endless(Rc<Cell<usize>>);

impl futures_core::Stream for Endless {
    type Item = Outcome<Vec<u8>>;
    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.set(self.0.get() + 1);
        std::task::Poll::Ready(Some(Ok(vec![b'x'; 10_000])))
    }
}

#[test]
fn requests_are_pipelined_where_that_was_asked_for() {
    for seed in 0..50 {
        let ground = Ground::seeded(seed, |_, head: &str| ok(head.split(' ').nth(1).unwrap()));
        let agent = pool(&ground, |limits| (limits.per_host_max, limits.pipeline_max) = (1, 4));
        ground.wait(text(agent.clone(), "http://a.example/first".into())).unwrap();
        let slots: Vec<_> = (0..12)
            .map(|number| {
                let agent = agent.clone();
                ground.begin(async move {
                    let request = agent.get(&format!("http://a.example/{number}"));
                    let request = if number == 7 { request } else { request.pipelined() };
                    request.send().await?.text().await
                })
            })
            .collect();
        ground.advance(MS / 100);
        let sent = ground.requests();
        ground.advance(SECOND);
        for (number, slot) in slots.iter().enumerate() {
            assert_eq!(slot.take().unwrap().unwrap(), format!("/{number}"), "seed {seed}");
        }
        assert_eq!((ground.made(), sent), (1, 1), "seed {seed}");
        drop(agent);
        ground.is_clean();
    }
}

#[test]
fn pipelined_requests_leave_together_and_those_that_are_lost_are_sent_again() {
    for seed in 0..50 {
        // The second answer of the first connection is its last.
        let ground = Ground::seeded(seed, |number, head: &str| {
            let body = ok(head.split(' ').nth(1).unwrap());
            if number == 1 { Reply::Last(body.into_bytes()) } else { Reply::from(body) }
        });
        let agent = pool(&ground, |limits| limits.per_host_max = 1);
        ground.wait(text(agent.clone(), "http://a.example/first".into())).unwrap();
        let slots: Vec<_> = (0..6)
            .map(|number| {
                let agent = agent.clone();
                ground.begin(async move {
                    agent.get(&format!("http://a.example/{number}")).pipelined().send().await?.text().await
                })
            })
            .collect();
        ground.advance(SECOND);
        for (number, slot) in slots.iter().enumerate() {
            assert_eq!(slot.take().unwrap().unwrap(), format!("/{number}"), "seed {seed}");
        }
        let first = ground.link(0).text();
        // What came behind its end the server did not read.
        assert!(first.matches("GET ").count() > 4, "seed {seed}: they had left together: {first}");
        assert_eq!(agent.statistics().resent, 5, "seed {seed}");
        drop(agent);
        ground.is_clean();
    }
}
