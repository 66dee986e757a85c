//! The web examples: files and a handler, a report from a thread, and a slow handler whose client leaves.

use std::path::Path;

use crate::slow_handler::{DRAW, router};
use crate::support::{Ground, MS, SOON, Said};
use crate::{hello, progress, static_site};
use ropewalk::reactor::Peer;
use ropewalk::web::{Site, SiteHandle};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/public");

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: example.org\r\n\r\n").into_bytes()
}

#[test]
fn static_site_serves_files_and_its_handler() {
    let ground = Ground::new(1, static_site::site(Path::new(FOLDER)).unwrap());
    let client = ground.connect();
    let ask = |path| {
        client.write(&get(path));
        // Files may be read on a thread.
        ground.advance(10 * SOON);
        String::from_utf8(client.take()).unwrap()
    };
    let page = ask("/");
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("Content-Type: text/html"), "{page}");
    assert!(page.ends_with(include_str!("../../examples/public/index.html")), "{page}");
    assert!(ask("/style.css").contains("Content-Type: text/css"));
    assert!(ask("/hello/rope%20walk").ends_with("\r\n\r\nHello, rope walk!\n"));
    assert!(ask("/nothing").starts_with("HTTP/1.1 404 "));
    assert!(ask("/../Cargo.toml").starts_with("HTTP/1.1 4"));
}

#[test]
fn static_site_without_its_folder_does_not_start() {
    assert!(static_site::site(Path::new("/there/is/no/such/folder")).is_err());
}

#[test]
fn hello_reports() {
    assert_eq!(hello::build_report(), "there are 2262 primes below 20000\n");
}

fn teashop(seed: u64) -> (Ground, SiteHandle, Said) {
    let said = Said::default();
    let site = Site::new(router(said.sink()));
    let handle = site.handle();
    (Ground::new(seed, site), handle, said)
}

/// Asks for tea, and leaves nothing of it but the deadlines that every connection has.
fn order(ground: &Ground, said: &Said) -> Peer {
    let client = ground.connect();
    assert_eq!(ground.ask(&client, &get("/tea")), "");
    assert_eq!(said.take(), ["the kettle is on"]);
    client
}

#[test]
fn slow_handler_answers_a_client_that_waits() {
    let (ground, _, said) = teashop(1);
    let client = order(&ground, &said);
    ground.advance(DRAW - 100 * MS);
    assert_eq!(client.take(), b"");
    // Meanwhile others are served.
    let other = ground.connect();
    assert!(ground.ask(&other, &get("/")).ends_with("/tea takes five seconds\n"));
    ground.advance(100 * MS);
    let answer = String::from_utf8(client.take()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("Transfer-Encoding: chunked"), "{answer}");
    assert!(answer.contains("tea, ") && answer.contains("worth the wait\n"), "{answer}");
    assert_eq!(said.take(), ["the tea is served"]);
    // The connection is kept, for another.
    assert!(ground.ask(&client, &get("/")).starts_with("HTTP/1.1 200 "));
}

#[test]
fn slow_handler_is_cancelled_when_the_client_breaks_off() {
    let (ground, site, said) = teashop(2);
    let client = order(&ground, &said);
    client.reset();
    ground.advance(SOON);
    let lines = said.take();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("nobody waits any more (broken: "), "{lines:?}");
    assert_eq!((ground.sources(), ground.timers()), (1, 0), "neither the connection nor the timer is left");
    ground.advance(2 * DRAW);
    assert!(said.take().is_empty());
    assert_eq!(site.statistics().unanswered, 0);
}

#[test]
fn slow_handler_is_cancelled_when_the_client_closes() {
    let (ground, _, said) = teashop(3);
    drop(order(&ground, &said));
    ground.advance(SOON);
    assert_eq!(said.take(), ["nobody waits any more (ended by the peer): the kettle is off"]);
    ground.advance(SOON);
    assert_eq!((ground.sources(), ground.timers()), (1, 0), "neither the connection nor the timer is left");
}

#[test]
fn slow_handler_leaves_nothing_behind_whenever_the_client_leaves() {
    for seed in 0..100 {
        let (ground, _, said) = teashop(seed);
        let client = order(&ground, &said);
        let patience = DRAW * u32::try_from(seed).unwrap() / 50;
        ground.advance(patience);
        if seed % 2 == 0 {
            client.reset()
        } else {
            drop(client)
        }
        ground.advance(3 * DRAW);
        let lines = said.take();
        assert_eq!(lines.len(), 1, "seed {seed}: {lines:?}");
        assert_eq!(lines[0] == "the tea is served", patience >= DRAW - SOON, "seed {seed}: {lines:?}");
        assert_eq!((ground.sources(), ground.timers()), (1, 0), "seed {seed}");
    }
}

#[test]
fn progress_moves_every_bar_and_answers_with_the_report() {
    let simulation = ropewalk::Simulation::new(1);
    let ground = Ground::on(simulation, |reactor| progress::site(reactor, 1000));
    let (first, second) = (ground.connect(), ground.connect());
    for viewer in [&first, &second] {
        viewer.write(&get("/progress"));
    }
    ground.advance(SOON);
    let asking = ground.connect();
    asking.write(b"POST /report HTTP/1.1\r\nHost: example.org\r\nContent-Length: 0\r\n\r\n");
    ground.advance(1000 * MS);
    assert!(asking.text().ends_with("\r\n\r\nthere are 168 primes below 1000\n"), "{}", asking.text());
    for viewer in [&first, &second] {
        let seen = viewer.text();
        let steps: Vec<u32> = seen
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|step| step.parse().unwrap())
            .collect();
        assert_eq!(steps, (1..=100).collect::<Vec<_>>());
    }
}
