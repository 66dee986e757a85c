//! Attacks on a hub, one sentence each.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use common::*;
use ropewalk_hub::store::{Change, List, Listing, Loaded, MemoryStore, Page, Store, Task, Topic, Work};
use ropewalk_hub::{Guard, Hub, HubOptions};
use ropewalk_net::listen;
use ropewalk_reactor::{Deferred, Failure, Reactor, deferred};
use ropewalk_web::{Response, Site};

/// A disk that is full now and then.
struct Full {
    reactor: Reactor,
    store: MemoryStore,
    full: Rc<Cell<bool>>,
}

impl Store for Full {
    fn commit(&self, changes: Vec<Change>) -> Deferred<Vec<Work>> {
        if self.full.get() {
            return deferred::fail(&self.reactor, Failure::new("the disk is full"));
        }
        self.store.commit(changes)
    }

    fn claim(&self) -> Deferred<Vec<Work>> {
        self.store.claim()
    }

    fn load(&self, task: Task) -> Deferred<Loaded> {
        self.store.load(task)
    }

    fn topic(&self, url: Arc<str>) -> Deferred<Option<Topic>> {
        self.store.topic(url)
    }

    fn list(&self, listing: Listing) -> Deferred<Page> {
        self.store.list(listing)
    }
}

#[test]
fn a_full_disk_promises_nothing_and_loses_nothing() {
    let world = World::new(1);
    world.publish("/news", "text/plain", "one");
    let subscriber = world.subscriber(1);
    let (reactor, full) = (world.simulation.reactor().clone(), Rc::new(Cell::new(false)));
    let store = Full { reactor: reactor.clone(), store: MemoryStore::new(&reactor), full: Rc::clone(&full) };
    let hub = Hub::new(&reactor, Rc::new(store), HubOptions { url: HUB.to_owned(), ..HubOptions::default() });
    world.simulation.network().set_host("other.test", &["11.6.0.1".parse().unwrap()]);
    let endpoint = "tcp:80:interface=11.6.0.1".parse().unwrap();
    let _port = listen(&reactor, &endpoint, Site::new(hub.endpoint())).unwrap();
    let post = |form: &[(&str, &str)]| {
        let request = world.agent.post("http://other.test/").form(form);
        let status = world.wait(async move { Ok(request.send().await?.status()) });
        world.settle();
        status
    };
    full.set(true);
    assert_eq!(post(&wish(TOPIC, CALLBACK)), 503);
    assert_eq!(subscriber.seen().len(), 0);
    full.set(false);
    assert_eq!(post(&wish(TOPIC, CALLBACK)), 202);
    // The delivery is taken, and cannot be written down: it comes once more.
    let fills = Rc::clone(&full);
    subscriber.answer(move |seen| {
        fills.set(seen.method == "POST");
        willing(seen)
    });
    assert_eq!(post(&[("hub.mode", "publish"), ("hub.url", TOPIC)]), 204);
    assert_eq!(subscriber.deliveries().len(), 1);
    subscriber.answer(willing);
    full.set(false);
    world.simulation.advance(DAY);
    assert_eq!(subscriber.deliveries().len(), 2);
    hub.close();
}

fn wish<'a>(topic: &'a str, callback: &'a str) -> [(&'a str, &'a str); 3] {
    [("hub.mode", "subscribe"), ("hub.topic", topic), ("hub.callback", callback)]
}

#[test]
fn a_callback_that_is_a_private_address_is_refused_at_once() {
    let world = World::new(1);
    for host in [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "[::1]",
        "[fd00::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
    ] {
        let (status, text) = world.post(&wish(TOPIC, &format!("http://{host}/cb")));
        assert_eq!((status, text.contains("hub.callback")), (403, true), "{host}: {text}");
        let (status, text) = world.post(&wish(&format!("http://{host}/topic"), CALLBACK));
        assert_eq!((status, text.contains("hub.topic")), (403, true), "{host}: {text}");
    }
}

#[test]
fn a_name_that_resolves_to_a_private_address_is_never_contacted() {
    let world = World::new(1);
    let inside = host(&world.simulation, "inside.test", "10.0.0.7", willing);
    assert_eq!(world.post(&wish(TOPIC, "http://inside.test/cb")).0, 202, "the answer tells nothing");
    world.settle();
    assert_eq!((inside.seen().len(), world.list(List::Intents).total), (0, 0), "and it is not tried again");
}

#[test]
fn a_name_with_a_public_and_a_private_address_is_not_contacted_at_either() {
    let world = World::new(1);
    let inside = host(&world.simulation, "inside.test", "10.0.0.7", willing);
    let outside = host(&world.simulation, "outside.test", "11.5.0.1", willing);
    let both = ["11.5.0.1", "10.0.0.7"].map(|address| address.parse().unwrap());
    world.simulation.network().set_host("both.test", &both);
    world.subscribe(&[("hub.callback", "http://both.test/cb")]);
    assert_eq!((inside.seen().len(), outside.seen().len()), (0, 0));
}

#[test]
fn a_name_that_changes_its_mind_between_verification_and_delivery_gains_nothing() {
    let world = World::new(1);
    world.publish("/news", "text/plain", "one");
    let outside = world.subscriber(1);
    // It ends its connection after each answer, so that a delivery resolves the name anew.
    outside.answer(|seen| willing(seen).close());
    world.subscribe(&[]);
    let inside = host(&world.simulation, "s1.test", "127.0.0.1", willing);
    // Names are remembered for a while.
    world.simulation.advance(3_600 * SECOND);
    world.ping();
    world.simulation.advance(3 * DAY);
    assert_eq!((inside.seen().len(), outside.deliveries().len()), (0, 0));
    assert_eq!(world.list(List::Letters).total, 1, "given up at once");
}

#[test]
fn a_topic_that_redirects_into_the_private_network_is_not_fetched() {
    let world = World::new(1);
    let subscriber = world.subscriber(1);
    let inside = host(&world.simulation, "inside.test", "10.0.0.7", |_| Response::text("secret"));
    world.subscribe(&[]);
    for location in
        ["http://inside.test/", "http://10.0.0.7/", "http://[::ffff:10.0.0.7]/", "http://0x0a000007/"]
    {
        let location = location.to_owned();
        world.publisher.answer(move |_| Response::redirect(302, location.clone()));
        world.ping();
    }
    world.simulation.advance(DAY);
    assert_eq!((inside.seen().len(), subscriber.deliveries().len()), (0, 0));
}

#[test]
fn allow_lists_for_topics_and_callbacks_are_apart() {
    let options =
        HubOptions { topic_guard: Guard::allowing("10.0.0.0/8".parse().unwrap()), ..HubOptions::default() };
    let world = World::with(1, options);
    let inside = host(&world.simulation, "inside.test", "10.0.0.7", |_| Response::text("wiki"));
    let subscriber = world.subscriber(1);
    world.subscribe(&[("hub.topic", "http://inside.test/wiki")]);
    world.post(&[("hub.mode", "publish"), ("hub.url", "http://inside.test/wiki")]);
    world.settle();
    assert_eq!(subscriber.deliveries()[0].text(), "wiki");
    let before = inside.seen().len();
    world.subscribe(&[("hub.callback", "http://inside.test/cb")]);
    assert_eq!(inside.seen().len(), before);
}

#[test]
fn a_source_that_asks_too_often_is_told_to_wait() {
    let world = World::new(1);
    world.subscriber(1);
    for number in 0..60 {
        assert_eq!(world.post(&wish(TOPIC, &format!("http://s1.test/{number}"))).0, 202);
    }
    let request = world.agent.post("http://hub.test/hub").form(&wish(TOPIC, CALLBACK));
    let (status, wait, text) = world.wait(async move {
        let response = request.send().await?;
        Ok((response.status(), response.header("Retry-After").map(str::to_owned), response.text().await?))
    });
    let wait = wait.and_then(|wait| wait.parse::<u64>().ok());
    assert!(status == 429 && wait.is_some_and(|wait| (1..=2).contains(&wait)), "{text}");
    assert!(text.contains("60 a minute"), "{text}");
    world.simulation.advance(2 * SECOND);
    assert_eq!(world.post(&wish(TOPIC, CALLBACK)).0, 202);
    assert_eq!(world.post(&[("hub.mode", "publish"), ("hub.url", TOPIC)]).0, 204, "pings are no wishes");
}

#[test]
fn one_callback_host_has_room_for_so_many_and_renewals() {
    let world = World::with(1, HubOptions { per_callback_host_max: 3, ..HubOptions::default() });
    world.subscriber(1);
    let callback = |number| format!("http://s1.test/{number}");
    for number in 0..3 {
        assert_eq!(world.post(&wish(TOPIC, &callback(number))).0, 202);
    }
    world.settle();
    assert_eq!(world.post(&wish(TOPIC, &callback(3))).0, 403);
    assert_eq!(world.post(&wish(TOPIC, &callback(2))).0, 202);
    world.subscriber(2);
    assert_eq!(world.post(&wish(TOPIC, "http://s2.test/")).0, 202);
}

#[test]
fn a_topic_that_is_too_large_or_never_ends_is_given_up() {
    let options = HubOptions { content_bytes_max: 1_000, fetch_attempts: 2, ..HubOptions::default() };
    let world = World::with(1, options);
    let subscriber = world.subscriber(1);
    world.subscribe(&[]);
    world.publisher.answer(|_| Response::new(vec![b'x'; 1_001]));
    world.ping();
    world.simulation.advance(DAY);
    assert_eq!(subscriber.deliveries().len(), 0);
    world.publisher.slow.set(100_000);
    world.ping();
    world.simulation.advance(3_600 * SECOND);
    assert_eq!(world.hub.borrow().statistics().running, 0);
}

#[test]
fn a_flood_of_pings_is_a_fetch_a_second() {
    let world = World::new(1);
    world.publish("/news", "text/plain", "one");
    world.subscriber(1);
    world.subscribe(&[]);
    let before = world.simulation.network().now();
    for _ in 0..500 {
        assert_eq!(world.post(&[("hub.mode", "publish"), ("hub.url", TOPIC)]).0, 204);
    }
    let took = world.simulation.network().now().since(before).as_secs() as usize;
    world.simulation.advance(60 * SECOND);
    let fetches = world.publisher.seen().len();
    assert!((1..=took + 3).contains(&fetches), "{fetches} in {took} s");
}

#[test]
fn contents_are_taken_from_who_has_the_token_and_from_nobody_else() {
    let world = World::new(1);
    let subscriber = world.subscriber(1);
    world.subscribe(&[]);
    let fat = [("hub.mode", "publish"), ("hub.topic", TOPIC), ("hub.content", "forged")];
    assert_eq!(world.post(&fat).0, 401);
    let signed = ropewalk_hub::Secret::new("guess").unwrap().sign(ropewalk_hub::Algorithm::Sha256, b"forged");
    let mut guessed = fat.to_vec();
    guessed.push(("hub.signature", &signed));
    assert_eq!(world.post(&guessed).0, 401);
    let url = format!("http://hub.test/hub?hub.mode=publish&hub.topic={TOPIC}");
    let raw = |token: &str| {
        let request = world.agent.post(&url).bearer_auth(token).header("Content-Type", "text/plain");
        request.body("true").send().add_callback(|response| response.status())
    };
    let status = |deferred: Deferred<u16>| world.wait(deferred);
    assert_eq!((status(raw("wrong")), status(raw("token"))), (401, 204));
    world.settle();
    let delivered = subscriber.deliveries();
    assert_eq!(
        (delivered.len(), delivered[0].text(), delivered[0].field("Content-Type")),
        (1, "true", Some("text/plain"))
    );
    let signed = ropewalk_hub::Secret::new("token").unwrap().sign(ropewalk_hub::Algorithm::Sha1, b"signed");
    let form = [
        ("hub.mode", "publish"),
        ("hub.topic", TOPIC),
        ("hub.content", "signed"),
        ("hub.signature", &signed),
    ];
    assert_eq!(world.post(&form).0, 204);
    world.settle();
    assert_eq!(subscriber.deliveries()[1].text(), "signed");
    assert_eq!(world.publisher.seen().len(), 0, "nothing was fetched");
}

#[test]
fn the_state_is_shown_to_who_has_the_token_and_never_a_secret() {
    let world = World::new(1);
    world.publish("/news", "text/plain", "one");
    let subscriber = world.subscriber(1);
    world.subscribe(&[("hub.secret", "hush-hush")]);
    subscriber.answer(|_| Response::empty(500));
    world.ping();
    let get = |path: &str, token: &str, accept: &str| {
        let request =
            world.agent.get(&format!("http://hub.test{path}")).header("Accept", accept).bearer_auth(token);
        world.wait(async move {
            let response = request.send().await?;
            let status = response.status();
            Ok((status, response.text().await?))
        })
    };
    for path in ["/state", "/state/topics", "/state/subscriptions", "/state/letters", "/state/wishes"] {
        assert_eq!(get(path, "wrong", "*/*").0, 401);
        for accept in ["*/*", "text/html"] {
            let (status, text) = get(path, "token", accept);
            assert_eq!((status, text.contains("hush-hush")), (200, false), "{path}");
        }
    }
    let (_, text) = get("/state", "token", "*/*");
    assert!(text.contains("\"failing_hosts\":[{\"failures\":1,\"host\":\"s1.test\""), "{text}");
    let (_, text) = get("/state/subscriptions", "token", "*/*");
    assert!(text.contains("\"signed\":\"sha256\"") && text.contains("the subscriber answers 500"), "{text}");
    assert!(get("/state", "token", "text/html").1.contains("s1.test/cb"));
    assert!(get("/", "", "text/html").1.contains("http://hub.test/hub"));
}

#[test]
fn another_site_cannot_make_a_browser_change_the_state() {
    let world = World::new(1);
    world.subscriber(1);
    world.subscribe(&[]);
    let deny = |origin: &str, site: &str| {
        let request = world.agent.post("http://hub.test/state/deny").basic_auth("x", "token");
        let request = request.header("Origin", origin).header("Sec-Fetch-Site", site);
        let request = request.form(&[("topic", TOPIC), ("callback", CALLBACK)]);
        world.wait(async move { Ok(request.send().await?.status()) })
    };
    assert_eq!(deny("http://evil.test", "cross-site"), 403);
    assert_eq!(deny("http://hub.test", "cross-site"), 403);
    assert_eq!(deny("null", "same-origin"), 403);
    assert_eq!(world.subscriptions().total, 1);
    assert_eq!(deny("http://hub.test", "same-origin"), 200);
    world.settle();
    assert_eq!(world.subscriptions().total, 0);
}

#[test]
fn a_slow_and_a_dead_host_delay_nobody_else() {
    let world = World::with(1, HubOptions { total_max: 8, ..HubOptions::default() });
    world.publish("/news", "text/plain", "one");
    let slow: Vec<Host> = (0..20).map(|number| world.subscriber(100 + number)).collect();
    for number in 0..20 {
        world.subscribe(&[("hub.callback", &format!("http://s{}.test/cb", 100 + number))]);
    }
    let swift = world.subscriber(1);
    world.subscribe(&[]);
    slow.iter().for_each(|host| host.slow.set(10_000));
    world.ping();
    world.simulation.advance(600 * SECOND);
    // Those that hang are known by now: the next news finds its way past them.
    world.publish("/news", "text/plain", "two");
    let before = world.simulation.network().now().since(ropewalk_reactor::Time::START);
    world.ping();
    let last = swift.deliveries().last().unwrap().clone();
    assert_eq!(last.text(), "two");
    assert!(last.at - before < SECOND, "{:?}", last.at - before);
}

#[test]
fn connections_are_kept_on_both_sides() {
    let world = World::new(1);
    let subscriber = world.subscriber(1);
    world.subscribe(&[]);
    for number in 0..20 {
        world.publish("/news", "text/plain", &format!("number {number}"));
        world.ping();
    }
    assert_eq!((subscriber.deliveries().len(), world.publisher.seen().len()), (20, 20));
    let request = world.agent.get("http://hub.test/state").bearer_auth("token");
    let state: serde_json::Value = world.wait(async move { request.send().await?.json().await });
    for side in ["topics", "callbacks"] {
        assert_eq!(state["connections"][side]["made"], 1, "{side}: {}", state["connections"]);
    }
}
