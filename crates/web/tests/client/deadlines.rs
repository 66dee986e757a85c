//! Every phase has its deadline, to the moment in virtual time; what is on this side's account does not count.

use std::time::Duration;

use ropewalk_net::ConnectError;
use ropewalk_reactor::{Outcome, Reach};
use ropewalk_web::Body;
use ropewalk_web::client::{Deadlines, Phase};

use crate::common::*;

/// Asserts that a request with these deadlines fails in this phase after so long.
fn expires(ground: &Ground, deadlines: Deadlines, in_phase: Phase, after: Duration) {
    let began = ground.reactor().now();
    let request = ground.agent.get("http://a.example/").deadlines(deadlines);
    let outcome = ground.wait(async move { request.send().await?.bytes().await });
    assert_eq!(phase(outcome), in_phase);
    let took = ground.reactor().now().since(began);
    assert!(took >= after && took < after + 50 * MS, "{in_phase:?}: {took:?}");
    ground.is_clean();
}

fn only(change: impl FnOnce(&mut Deadlines)) -> Deadlines {
    let mut deadlines = Deadlines { send: None, first_byte: None, head: None, ..Deadlines::endless() };
    change(&mut deadlines);
    deadlines
}

#[test]
fn the_first_byte() {
    let silent = Ground::scripted(|_, _| Reply::Nothing);
    expires(&silent, only(|deadlines| deadlines.first_byte = Some(7 * SECOND)), Phase::FirstByte, 7 * SECOND);
    let usual = Ground::scripted(|_, _| Reply::Nothing);
    expires(&usual, Deadlines::default(), Phase::FirstByte, 60 * SECOND);
    // What comes in between says that it works, and not that it answers.
    let hints = Ground::scripted(|_, _| "HTTP/1.1 103 Early Hints\r\n\r\n");
    expires(&hints, Deadlines::default(), Phase::Head, 30 * SECOND);
}

#[test]
fn the_head() {
    let ground = Ground::scripted(|_, _| "HTTP/1.1 200 OK\r\n");
    let slow = ground.links.clone();
    let reactor = ground.reactor().clone();
    reactor.spawn({
        let reactor = reactor.clone();
        async move {
            // A field now and then does not help.
            for _ in 0..20 {
                reactor.sleep(SECOND).await;
                slow.borrow().iter().for_each(|link| link.write("X: y\r\n"));
            }
        }
    });
    let request =
        ground.agent.get("http://a.example/").deadlines(only(|deadlines| deadlines.head = Some(9 * SECOND)));
    let began = ground.reactor().now();
    assert_eq!(phase(ground.wait(request.send())), Phase::Head);
    let took = ground.reactor().now().since(began);
    assert!(took >= 9 * SECOND && took < 9 * SECOND + 50 * MS, "{took:?}");
    ground.advance(30 * SECOND);
    ground.is_clean();
}

#[test]
fn the_body() {
    let ground = Ground::scripted(|_, _| "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx");
    expires(&ground, only(|deadlines| deadlines.idle = Some(5 * SECOND)), Phase::Idle, 5 * SECOND);
    let ground = Ground::scripted(|_, _| "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx");
    expires(&ground, Deadlines::default(), Phase::Idle, 60 * SECOND);
}

#[test]
fn the_rate() {
    let ground = Ground::scripted(|_, _| "HTTP/1.1 200 OK\r\n\r\n");
    let (links, reactor) = (ground.links.clone(), ground.reactor().clone());
    ground.reactor().spawn(async move {
        // Twenty bytes a second for 30 s, and then one.
        for second in 0..3600 {
            reactor.sleep(SECOND).await;
            let links = links.borrow();
            let Some(link) = links.first().filter(|link| !link.is_lost()) else { break };
            link.write(vec![b'x'; if second < 30 { 20 } else { 1 }]);
        }
    });
    let deadlines = only(|deadlines| {
        (deadlines.bytes_per_second_min, deadlines.rate_grace) = (16, 10 * SECOND);
    });
    let request = ground.agent.get("http://a.example/").deadlines(deadlines);
    let began = ground.reactor().now();
    let outcome = ground.wait(async move { request.send().await?.bytes().await });
    assert_eq!(phase(outcome), Phase::Rate);
    // 600 bytes are worth 37.5 s; those that came meanwhile are worth a little more.
    let took = ground.reactor().now().since(began);
    assert!(took > 37 * SECOND && took < 39 * SECOND, "{took:?}");
    ground.advance(2 * SECOND);
    ground.is_clean();
}

#[test]
fn the_request() {
    let ground = Ground::scripted(|_, _| Reply::Nothing);
    let request = ground.agent.post("http://a.example/").body(vec![b'x'; 3_000_000]);
    let request = request.deadlines(only(|deadlines| deadlines.send = Some(4 * SECOND)));
    let slot = ground.begin(async move { request.send().await });
    ground.simulation.run_until(SECOND, || !ground.links.borrow().is_empty());
    ground.link(0).transport.borrow().as_ref().unwrap().pause_reading();
    let began = ground.reactor().now();
    assert!(ground.simulation.run_until(60 * SECOND, || slot.borrow().is_some()));
    assert_eq!(phase(slot.take().unwrap()), Phase::Send);
    let took = ground.reactor().now().since(began);
    assert!(took >= 4 * SECOND - 50 * MS && took < 8 * SECOND + 50 * MS, "{took:?}");
    ground.link(0).transport.borrow().as_ref().unwrap().resume_reading();
    ground.is_clean();
}

#[test]
fn connecting() {
    let ground = Ground::scripted(|_, _| OK);
    ground.simulation.network().set_host("far.example", &["192.0.2.1".parse().unwrap()]);
    ground.simulation.network().set_reach("192.0.2.1".parse().unwrap(), Reach::Silent);
    let request = ground.agent.get("http://far.example/");
    let request = request.deadlines(Deadlines { connect: 3 * SECOND, ..Deadlines::default() });
    let began = ground.reactor().now();
    let failure = ground.wait(request.send()).map(drop).unwrap_err();
    let error = failure.check::<ConnectError>().unwrap();
    assert_eq!((error.kind(), error.attempts().len()), (std::io::ErrorKind::TimedOut, 1));
    let took = ground.reactor().now().since(began);
    assert!(took >= 3 * SECOND && took < 3 * SECOND + 50 * MS, "{took:?}");
    assert!(ground.get("http://nowhere.example/").is_err());
    assert_eq!(ground.agent.statistics().open, 0);
    ground.is_clean();
}

#[test]
fn the_line() {
    let ground = Ground::scripted(|_, _| Reply::Nothing);
    let pool = ropewalk_web::client::PoolLimits { per_host_max: 1, ..Default::default() };
    let agent = ground.agent.clone().with_pool(pool);
    let first = ground.begin(agent.get("http://a.example/").send());
    let deadlines = Deadlines { queue: Some(2 * SECOND), ..Deadlines::default() };
    let second = ground.wait(agent.get("http://a.example/").deadlines(deadlines).send());
    assert_eq!(phase(second), Phase::Queue);
    assert!(first.borrow().is_none());
    assert_eq!(agent.statistics().waiting, 0);
    ground.advance(60 * SECOND);
    assert!(first.take().unwrap().is_err());
    drop(agent);
    ground.is_clean();
}

#[test]
fn everything_together_wherever_it_is() {
    let total = || only(|deadlines| deadlines.total = Some(6 * SECOND));
    for (stage, answer) in [
        ("silent", ""),
        ("head", "HTTP/1.1 200 OK\r\n"),
        ("body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"),
        ("redirect", "HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let ground = Ground::scripted(move |number, _| match (stage, number) {
            ("redirect", 1..) => String::new(),
            _ => answer.to_owned(),
        });
        expires(&ground, total(), Phase::Total, 6 * SECOND);
    }
    let ground = Ground::scripted(|_, _| OK);
    ground.simulation.network().set_host("a.example", &["192.0.2.1".parse().unwrap()]);
    ground.simulation.network().set_reach("192.0.2.1".parse().unwrap(), Reach::Silent);
    expires(&ground, total(), Phase::Total, 6 * SECOND);
}

#[test]
fn a_reader_may_take_its_time() {
    let ground = Ground::scripted(|_, _| ok(&"x".repeat(1_000_000)));
    let strict = Deadlines { idle: Some(SECOND), bytes_per_second_min: 1_000_000, ..Deadlines::default() };
    let strict = Deadlines { rate_grace: SECOND, ..strict };
    let mut response = ground.wait(ground.agent.get("http://a.example/").deadlines(strict).send()).unwrap();
    let reactor = ground.reactor().clone();
    let whole = ground.wait(async move {
        let mut whole = 0;
        // Time without reading costs nothing: neither the idle limit nor the rate.
        for part in 1..4 {
            reactor.sleep(50 * SECOND).await;
            while whole < part * 250_000 {
                whole += response.piece().await?.unwrap().len();
            }
        }
        Outcome::Ok(whole + response.bytes().await?.len())
    });
    assert_eq!(whole.unwrap(), 1_000_000);
    ground.is_clean();
}

/// The last piece of a body may be the one that makes it too much to hold: behind it nothing comes that would tell of the end.
#[test]
fn an_answer_that_is_there_before_anybody_reads_comes_to_its_end() {
    for size in [65_000, 65_536, 66_000, 100_000, 130_000, 200_000] {
        let ground = Ground::scripted(move |_, _| ok(&"x".repeat(size)));
        let (agent, reactor) = (ground.agent.clone(), ground.reactor().clone());
        ground
            .wait(async move {
                for _ in 0..2 {
                    let answer = agent.get("http://a.example/").send().await?;
                    reactor.sleep(SECOND).await;
                    assert_eq!(answer.bytes().await?.len(), size);
                }
                assert_eq!(agent.statistics().made, 1, "the connection is kept, and read from");
                Outcome::Ok(())
            })
            .unwrap();
        ground.is_clean();
    }
}

#[test]
fn a_100_is_waited_for_and_not_for_ever() {
    // 1. It never comes: the body goes out after a second.
    let silent = Ground::scripted(|number, _| if number == 0 { Reply::Nothing } else { unreachable!() });
    let request = silent.agent.post("http://a.example/").body("body").expect_continue().send();
    let slot = silent.begin(request);
    silent.advance(900 * MS);
    assert!(silent.link(0).text().ends_with("Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
    silent.advance(200 * MS);
    assert!(silent.link(0).text().ends_with("\r\n\r\nbody"));
    silent.link(0).write(OK);
    silent.advance(10 * MS);
    assert!(slot.take().unwrap().is_ok());
    silent.is_clean();
    // 2. It comes.
    let polite = Ground::scripted(|_, _| "HTTP/1.1 100 Continue\r\n\r\n");
    let slot = polite.begin(polite.agent.post("http://a.example/").body("body").expect_continue().send());
    polite.advance(20 * MS);
    assert!(polite.link(0).text().ends_with("\r\n\r\nbody"));
    polite.link(0).write(OK);
    polite.advance(10 * MS);
    assert!(slot.take().unwrap().is_ok());
    assert_eq!(polite.agent.statistics().idle, 1);
    polite.is_clean();
    // 3. It is refused: the body stays here, and so does the connection.
    let strict = Ground::scripted(|_, _| "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n");
    let request = strict.agent.post("http://a.example/").body("body").expect_continue().send();
    assert_eq!(strict.wait(request).unwrap().status(), 417);
    strict.advance(2 * SECOND);
    assert!(!strict.link(0).text().contains("body"));
    assert_eq!(strict.agent.statistics().open, 0);
    strict.is_clean();
}

#[test]
fn an_endless_answer_may_be_silent() {
    let ground = Ground::scripted(|_, _| "HTTP/1.1 200 OK\r\n\r\n");
    let request = ground.agent.get("http://a.example/").deadlines(Deadlines::endless());
    let mut response = ground.wait(request.send()).unwrap();
    ground.advance(3600 * SECOND);
    ground.link(0).write("event");
    let piece = ground.wait(async move { response.piece().await.map(|piece| (piece, response)) }).unwrap();
    assert_eq!(piece.0.unwrap(), b"event");
    drop(piece.1);
    ground.is_clean();
}

#[test]
fn a_stream_of_the_program_may_take_its_time() {
    struct Sleepy(ropewalk_reactor::Sleep, bool);
    impl futures_core::Stream for Sleepy {
        type Item = Outcome<Vec<u8>>;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            std::task::ready!(Future::poll(std::pin::Pin::new(&mut self.0), context));
            let over = std::mem::replace(&mut self.1, true);
            std::task::Poll::Ready((!over).then(|| Ok(b"late".to_vec())))
        }
    }
    let ground = Ground::scripted(|_, _| Reply::Nothing);
    let body = Body::stream(Sleepy(ground.reactor().sleep(1000 * SECOND), false));
    let slot = ground.begin(ground.agent.post("http://a.example/").body(body).send());
    ground.advance(1001 * SECOND);
    assert!(ground.link(0).text().ends_with("4\r\nlate\r\n0\r\n\r\n"));
    ground.link(0).write(OK);
    ground.advance(SECOND);
    assert!(slot.take().unwrap().is_ok());
    ground.is_clean();
}
