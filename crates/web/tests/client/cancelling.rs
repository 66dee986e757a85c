//! A request that is given up leaves nothing behind, at whatever stage it is; and neither does a response, a pool or an agent that is
//! dropped.

use std::time::Duration;

use ropewalk_reactor::Reach;
use ropewalk_reactor::failure::Cancelled;
use ropewalk_web::client::{Agent, PoolLimits};

use crate::common::*;

/// Cancels a request after every moment there is, and asserts that nothing is left and that the agent is still good.
fn at_every_moment(answer: &'static str, upload: usize) {
    for step in 0..60 {
        for seed in 0..4 {
            let ground = Ground::seeded(seed, move |_, _| answer);
            let request = ground.agent.post("http://a.example/").body(vec![b'x'; upload]).send();
            ground.advance(step * Duration::from_micros(200));
            request.cancel();
            // It may have come already; then it is let go of.
            let cancelled = ground.wait(request).map_or_else(|failure| failure.is::<Cancelled>(), |_| true);
            assert!(cancelled, "step {step}, seed {seed}");
            ground.advance(3 * SECOND);
            assert_eq!(
                ground.agent.statistics().open,
                ground.agent.statistics().idle,
                "step {step}, seed {seed}"
            );
            ground.is_clean();
        }
    }
}

#[test]
fn before_the_head() {
    at_every_moment("", 0);
    at_every_moment("HTTP/1.1 200", 100);
}

#[test]
fn in_the_middle_of_the_request() {
    at_every_moment("", 2_000_000);
}

#[test]
fn around_the_answer() {
    at_every_moment(OK, 10);
    at_every_moment("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nxx", 10);
}

#[test]
fn in_the_middle_of_a_redirect() {
    at_every_moment("HTTP/1.1 307 Again\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 10);
}

#[test]
fn while_connecting_and_while_waiting() {
    let ground = Ground::scripted(|_, _| Reply::Nothing);
    ground.simulation.network().set_host("far.example", &["192.0.2.1".parse().unwrap()]);
    ground.simulation.network().set_reach("192.0.2.1".parse().unwrap(), Reach::Silent);
    let agent = ground.agent.clone().with_pool(PoolLimits { per_host_max: 1, ..PoolLimits::default() });
    let connecting = agent.get("http://far.example/").send();
    let waiting = agent.get("http://far.example/").send();
    let resolving = agent.get("http://nowhere.example/").send();
    ground.advance(MS / 100);
    assert_eq!((agent.statistics().open, agent.statistics().waiting), (2, 1));
    resolving.cancel();
    waiting.cancel();
    ground.advance(MS);
    assert_eq!((agent.statistics().open, agent.statistics().waiting), (1, 0));
    connecting.cancel();
    ground.advance(MS);
    assert_eq!(agent.statistics().open, 0);
    for request in [connecting, waiting, resolving] {
        assert!(ground.wait(request).unwrap_err().is::<Cancelled>());
    }
    drop(agent);
    ground.is_clean();
}

#[test]
fn a_future_that_is_dropped_is_a_request_that_is_cancelled() {
    let ground = Ground::scripted(|_, _| Reply::Nothing);
    let request = ground.agent.get("http://a.example/").send();
    let late = ground.wait(ground.reactor().with_timeout(5 * SECOND, request)).map(drop);
    assert!(late.is_err());
    ground.advance(100 * MS);
    assert!(ground.link(0).is_lost());
    ground.is_clean();
}

#[test]
fn reading_that_is_cancelled_lets_go_of_the_body() {
    let ground = Ground::scripted(|_, _| "HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\nxx");
    let response = ground.wait(ground.agent.get("http://a.example/").send()).unwrap();
    let text = response.text();
    ground.advance(SECOND);
    text.cancel();
    assert!(ground.wait(text).unwrap_err().is::<Cancelled>());
    ground.advance(SECOND);
    assert!(ground.link(0).is_lost());
    ground.is_clean();
}

#[test]
fn an_agent_that_is_dropped_closes_what_it_keeps_and_a_response_outlives_it() {
    let ground = Ground::scripted(|_, _| ok(&"x".repeat(300_000)));
    let agent = Agent::new(ground.reactor());
    let response = ground.wait(agent.get("http://a.example/").send()).unwrap();
    drop(agent);
    ground.advance(SECOND);
    assert_eq!(ground.wait(response.bytes()).unwrap().len(), 300_000);
    ground.advance(SECOND);
    assert!(ground.link(0).is_lost());
    let agent = Agent::new(ground.reactor());
    ground
        .wait({
            let request = agent.get("http://a.example/");
            async move { request.send().await?.bytes().await }
        })
        .unwrap();
    assert_eq!(agent.statistics().idle, 1);
    drop(agent);
    ground.advance(SECOND);
    assert!(ground.link(1).ended.get(), "closed in an orderly way");
    ground.is_clean();
}

#[test]
fn a_reactor_that_stops_lets_requests_end_and_kept_connections_go() {
    let ground = Ground::scripted(
        |_, head: &str| if head.contains("/late") { Reply::Nothing } else { Reply::from(OK) },
    );
    ground.get("http://a.example/").unwrap();
    let late = ground.begin({
        let request = ground.agent.get("http://b.example/late");
        async move { request.send().await?.text().await }
    });
    ground.advance(20 * MS);
    ground.reactor().announce_stop();
    ground.advance(20 * MS);
    assert!(ground.link(0).is_lost());
    if let Some(transport) = &*ground.link(1).transport.borrow() {
        transport.write(OK.as_bytes());
    }
    ground.advance(SECOND);
    // The server in this simulation was told to stop as well; what counts is that there is an end.
    assert!(late.borrow().is_some());
    ground.simulation.stop();
}
