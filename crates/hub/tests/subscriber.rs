//! The subscriber's and the publisher's requirements of WebSub (S1 to S16, P1 to P6), and the checks of websub.rocks for both.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use common::*;
use ropewalk_hub::{
    Algorithm, Delivery, Following, HubOptions, Ledger, MemoryLedger, NoHub, Publisher, Secret, State,
    Subscriber, SubscriberOptions, into_channel, parse_links,
};
use ropewalk_net::{Port, listen};
use ropewalk_reactor::{Failure, Outcome, deferred};
use ropewalk_web::push::Feed;
use ropewalk_web::{Handler, Request, Response, Router, Site};

const ME: &str = "http://me.test/websub/";

struct Me {
    subscriber: Subscriber,
    ledger: MemoryLedger,
    got: Rc<RefCell<Vec<Delivery>>>,
    fails: Rc<Cell<bool>>,
    port: Port,
}

impl Me {
    fn new(world: &World) -> Me {
        Me::with(world, MemoryLedger::new(world.simulation.reactor()), SubscriberOptions::default())
    }

    fn with(world: &World, ledger: MemoryLedger, options: SubscriberOptions) -> Me {
        Me::over(world, ledger.clone(), Rc::new(ledger), options)
    }

    /// Over a ledger that stands before the one in memory.
    fn over(world: &World, ledger: MemoryLedger, shown: Rc<dyn Ledger>, options: SubscriberOptions) -> Me {
        let reactor = world.simulation.reactor().clone();
        let (got, fails): (Rc<RefCell<Vec<Delivery>>>, Rc<Cell<bool>>) = Default::default();
        let (taken, failing, handle) = (Rc::clone(&got), Rc::clone(&fails), reactor.clone());
        let options = SubscriberOptions { url: ME.to_owned(), ..options };
        let subscriber = Subscriber::new(&world.agent, shown, options, move |delivery| {
            if failing.get() {
                return deferred::fail(&handle, Failure::new("not now"));
            }
            taken.borrow_mut().push(delivery);
            deferred::succeed(&handle, ())
        });
        world.simulation.network().set_host("me.test", &["11.2.0.1".parse().unwrap()]);
        let site = Site::new(Router::new().route("*", "/websub/{id}", subscriber.handler()));
        let port = listen(&reactor, &"tcp:80:interface=11.2.0.1".parse().unwrap(), site).unwrap();
        Me { subscriber, ledger, got, fails, port }
    }

    fn follow(&self, world: &World, page: &str) -> Outcome<Following> {
        let (subscriber, page) = (self.subscriber.clone(), page.to_owned());
        let followed = world.wait(async move { Ok(subscriber.follow(&page).await) });
        world.settle();
        followed
    }

    /// The end of its process, and of the connections that hubs keep to it.
    fn end(&self, world: &World) {
        self.subscriber.close();
        self.port.stop_listening();
        world.simulation.advance(100 * SECOND);
    }

    fn texts(&self) -> Vec<String> {
        self.got.borrow().iter().map(|got| String::from_utf8_lossy(&got.body).into_owned()).collect()
    }

    fn one(&self) -> Following {
        let list = self.subscriber.list();
        assert_eq!(list.len(), 1, "{list:?}");
        list[0].clone()
    }
}

/// A publisher whose pages name the hub in their `Link` field.
fn named(world: &World) {
    let contents = Rc::clone(&world.contents);
    world.publisher.answer(move |seen| {
        let path = seen.target.split('?').next().unwrap().to_owned();
        let contents = contents.borrow();
        let Some((media, text)) = contents.get(&path) else { return Response::empty(404) };
        let link = format!("<{HUB}>; rel=hub, <http://pub.test{path}>; rel=self");
        Response::new(text.clone()).content_type(media.clone()).header("Link", link)
    });
}

fn post(world: &World, url: String, signature: Option<String>, body: &str) -> u16 {
    let mut request = world.agent.post(&url).header("Content-Type", "text/plain").body(body.to_owned());
    if let Some(signature) = signature {
        request = request.header("X-Hub-Signature", &signature);
    }
    world.wait(async move { Ok(request.send().await?.status()) })
}

#[test]
fn s01_s02_s03_s12_the_whole_way_round() {
    let world = World::new(3);
    world.publish("/news", "text/plain", "one");
    named(&world);
    let me = Me::new(&world);
    let followed = me.follow(&world, TOPIC).unwrap();
    assert_eq!((followed.topic.as_str(), followed.hub.as_str()), (TOPIC, HUB));
    assert_eq!(me.one().state, State::Active);
    world.ping();
    assert_eq!(me.texts(), ["one"]);
    let got = me.got.borrow()[0].clone();
    assert_eq!((got.topic.as_str(), got.media.as_deref(), got.polled), (TOPIC, Some("text/plain"), false));
    assert_eq!(world.hub.borrow().statistics().delivered, 1);
}

#[test]
fn s01_links_within_pages_count_where_fields_name_no_hub() {
    // websub.rocks subscriber tests 101 to 104.
    let links =
        |link: &str| format!("<{link} rel=\"hub\" href=\"{HUB}\"/><{link} rel=\"self\" href=\"{TOPIC}\"/>");
    for (media, body) in [
        ("text/html", format!("<head>{}</head>", links("link"))),
        ("text/xml", format!("<feed>{}</feed>", links("link"))),
        ("text/xml", format!("<rss><channel>{}</channel></rss>", links("atom:link"))),
    ] {
        let world = World::new(3);
        world.publish("/page", media, &body);
        let me = Me::new(&world);
        assert_eq!(me.follow(&world, "http://pub.test/page").unwrap().topic, TOPIC);
        assert_eq!(me.one().state, State::Active);
    }
    let world = World::new(3);
    world.publish(
        "/news",
        "text/html",
        "<head><link rel=hub href='http://wrong.test/?error=wrongtag'></head>",
    );
    named(&world);
    assert_eq!(Me::new(&world).follow(&world, TOPIC).unwrap().hub, HUB);
    world.publisher.answer(|_| Response::text("no hub"));
    let failure = Me::new(&World::new(3)).subscriber.list();
    assert!(failure.is_empty());
}

#[test]
fn a_page_without_a_hub_cannot_be_followed() {
    let world = World::new(3);
    world.publish("/news", "text/plain", "one");
    let me = Me::new(&world);
    let failure = me.follow(&world, TOPIC).unwrap_err();
    assert!(failure.is::<NoHub>(), "{failure}");
    assert!(me.subscriber.list().is_empty());
}

#[test]
fn s03_the_topic_is_what_the_page_calls_itself() {
    // websub.rocks 200 to 202.
    let world = World::new(3);
    world.publisher.answer(|seen| match seen.target.as_str() {
        "/moved" => Response::redirect(301, "/found"),
        "/away" => Response::redirect(302, "/found"),
        _ => Response::text("x")
            .header("Link", format!("<{HUB}>; rel=hub, <http://pub.test/?self=other>; rel=self")),
    });
    for page in ["moved", "away", "found"] {
        let me = Me::new(&world);
        let followed = me.follow(&world, &format!("http://pub.test/{page}")).unwrap();
        assert_eq!(followed.topic, "http://pub.test/?self=other");
        assert_eq!(me.one().state, State::Active);
        me.end(&world);
    }
}

#[test]
fn s04_s05_s06_s15_what_a_wish_says() {
    let world = World::new(3);
    let hub = host(&world.simulation, "other.test", "11.3.0.1", |_| Response::empty(202));
    world.publisher.answer(|_| Response::text("x").header("Link", "<http://other.test/>; rel=hub"));
    let me = Me::new(&world);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let followed = me.follow(&world, TOPIC).unwrap();
        assert_eq!(followed.hub, "http://other.test/", "https was tried first, and is not there");
        let wish = hub.seen().last().unwrap().clone();
        assert_eq!(wish.field("Content-Type"), Some("application/x-www-form-urlencoded"));
        let form = ropewalk_web::Arguments::read(&wish.body);
        assert_eq!((form.first("hub.mode"), form.first("hub.topic")), (Some("subscribe"), Some(TOPIC)));
        assert_eq!(form.first("hub.lease_seconds"), Some("864000"));
        let (callback, secret) = (form.first("hub.callback").unwrap(), form.first("hub.secret").unwrap());
        assert!(callback.starts_with(ME) && callback.len() >= ME.len() + 32);
        assert!((32..200).contains(&secret.len()));
        assert!(seen.insert(callback.to_owned()) && seen.insert(secret.to_owned()));
        assert!(!format!("{followed:?}").contains(secret), "a secret is not printed");
    }
}

#[test]
fn s07_a_hub_that_redirects_gets_the_form_where_it_sends_us() {
    // websub.rocks 203 and 204.
    for status in [307, 308] {
        let world = World::new(3);
        let old = host(&world.simulation, "old.test", "11.3.0.1", move |_| Response::redirect(status, HUB));
        world.publisher.answer(|_| {
            Response::text("x").header("Link", format!("<http://old.test/>; rel=hub, <{TOPIC}>; rel=self"))
        });
        let me = Me::new(&world);
        me.follow(&world, TOPIC).unwrap();
        assert_eq!((me.one().state, old.seen().len()), (State::Active, 1));
    }
}

#[test]
fn s08_a_denial_ends_a_subscription() {
    let world = World::new(3);
    world.publish("/news", "text/plain", "one");
    named(&world);
    let me = Me::new(&world);
    let followed = me.follow(&world, TOPIC).unwrap();
    let hub = world.hub.borrow().clone();
    let callback = format!("{ME}{}", followed.id);
    let pair = ropewalk_hub::store::Pair::new(TOPIC, callback.as_str());
    world.wait(async move { hub.deny(pair, "closed").await });
    world.settle();
    assert_eq!(me.one().state, State::Denied("closed".to_owned()));
    assert_eq!(post(&world, callback, None, "x"), 410);
}

#[test]
fn s09_s10_only_what_was_asked_for_is_confirmed() {
    // websub.rocks 205.
    let world = World::new(3);
    world.publish("/news", "text/plain", "one");
    named(&world);
    let me = Me::new(&world);
    let id = me.follow(&world, TOPIC).unwrap().id;
    let ask = |id: &str, mode: &str, topic: &str| {
        let request = world.agent.get(&format!("{ME}{id}"));
        let request = request.query("hub.mode", mode).query("hub.topic", topic).query("hub.challenge", "c");
        world.wait(async move { Ok(request.send().await?.status()) })
    };
    assert_eq!(ask(&id, "subscribe", TOPIC), 200, "a hub may reconfirm");
    assert_eq!(ask(&id, "subscribe", "http://pub.test/other"), 404);
    assert_eq!(ask("guess", "subscribe", TOPIC), 404);
    assert_eq!(ask(&id, "unsubscribe", TOPIC), 404, "nobody wanted to leave");
    assert_eq!(ask(&id, "dance", TOPIC), 404);
    let subscriber = me.subscriber.clone();
    world.wait(async move { subscriber.leave(TOPIC).await });
    world.settle();
    assert_eq!((me.subscriber.list().len(), world.subscriptions().total), (0, 0));
}

#[test]
fn s11_leases_are_renewed_with_new_callbacks_and_nothing_is_lost_or_doubled() {
    let world = World::with(3, HubOptions { lease_max: 7_200 * SECOND, ..HubOptions::default() });
    world.publish("/news", "text/plain", "one");
    named(&world);
    let me = Me::new(&world);
    let first = me.follow(&world, TOPIC).unwrap().id;
    for number in 0..200 {
        world.publish("/news", "text/plain", &format!("number {number}"));
        world.ping();
        world.simulation.advance(600 * SECOND);
    }
    let expected: Vec<String> = (0..200).map(|number| format!("number {number}")).collect();
    assert_eq!(me.texts(), expected);
    assert!(me.subscriber.list().iter().all(|row| row.id != first), "S6: another callback each time");
    assert!(me.subscriber.list().len() <= 2 && world.subscriptions().total <= 2, "the old ones have ended");
}

#[test]
fn s12_the_hub_is_told_when_the_program_is_done_and_comes_again_when_it_failed() {
    let world = World::new(3);
    world.publish("/news", "text/plain", "one");
    named(&world);
    let me = Me::new(&world);
    me.follow(&world, TOPIC).unwrap();
    me.fails.set(true);
    world.ping();
    assert!(me.texts().is_empty());
    me.fails.set(false);
    world.simulation.advance(60 * SECOND);
    assert_eq!(me.texts(), ["one"]);
}

#[test]
fn s13_a_delivery_belongs_to_the_topic_of_its_callback() {
    let world = World::new(3);
    world.publish("/news", "text/plain", "one");
    named(&world);
    let me = Me::new(&world);
    let row = me.follow(&world, TOPIC).unwrap();
    assert_eq!(post(&world, format!("{ME}{}x", row.id), None, "x"), 410, "nobody follows that");
    world.ping();
    assert_eq!(me.got.borrow()[0].topic, TOPIC);
}

#[test]
fn s14_what_is_not_signed_is_not_taken() {
    // websub.rocks 301 and 302.
    let world = World::new(3);
    world.publish("/news", "text/plain", "one");
    named(&world);
    let me = Me::new(&world);
    let callback = format!("{ME}{}", me.follow(&world, TOPIC).unwrap().id);
    let forged = Secret::new("guess").unwrap().sign(Algorithm::Sha256, b"forged");
    for signature in [None, Some(forged), Some("sha256=0000".to_owned()), Some("md5=00".to_owned())] {
        assert_eq!(post(&world, callback.clone(), signature, "forged"), 403);
    }
    assert!(me.texts().is_empty());
}

#[test]
fn s16_what_stands_in_headers_moves_nothing() {
    // Headers are not signed: neither the topic nor the hub of a subscription change by them.
    let world = World::new(3);
    world.publish("/news", "text/plain", "one");
    named(&world);
    let me = Me::new(&world);
    let before = me.follow(&world, TOPIC).unwrap();
    world.hub.borrow().set_url("http://evil.test/hub");
    world.ping();
    let after = me.one();
    assert_eq!((after.hub, after.topic, me.texts().len()), (before.hub, before.topic, 1));
}

#[test]
fn what_is_followed_outlives_a_restart() {
    let world = World::new(3);
    world.publish("/news", "text/plain", "one");
    named(&world);
    let me = Me::new(&world);
    me.follow(&world, TOPIC).unwrap();
    let ledger = me.ledger.clone();
    me.end(&world);
    let me = Me::with(&world, ledger, SubscriberOptions::default());
    world.ping();
    assert_eq!(me.texts(), ["one"]);
}

#[test]
fn a_hub_that_has_gone_silent_is_found_out_and_asked_anew() {
    let world = World::new(3);
    world.publish("/news", "text/plain", "one");
    named(&world);
    let me = Me::new(&world);
    me.follow(&world, TOPIC).unwrap();
    world.ping();
    world.simulation.advance(7 * 3600 * SECOND);
    // The publisher forgets to ping, or the hub to push.
    for number in 0..3 {
        world.publish("/news", "text/plain", &format!("silent {number}"));
        world.simulation.advance(7 * 3600 * SECOND);
    }
    assert_eq!(me.texts(), ["one", "silent 0", "silent 1", "silent 2"]);
    let polled: Vec<bool> = me.got.borrow().iter().map(|got| got.polled).collect();
    assert_eq!(polled, [false, true, true, true]);
    assert!(world.hub.borrow().statistics().verified >= 2, "it was asked anew");
}

#[test]
fn deliveries_can_be_piped_to_a_channel() {
    let world = World::new(3);
    let feed = Feed::in_memory(world.simulation.reactor(), Default::default());
    let take = into_channel(&feed);
    let delivery = Delivery {
        topic: TOPIC.to_owned(),
        page: TOPIC.to_owned(),
        media: None,
        body: b"news".to_vec(),
        polled: false,
    };
    world.wait(take(delivery));
    assert_eq!(feed.channel().statistics().events, 1);
}

fn publisher(world: &World, hubs: &[&str]) -> Publisher {
    Publisher::new(&world.agent, hubs.iter().copied())
}

#[test]
fn p01_p02_p04_pages_name_hubs_and_themselves() {
    let world = World::new(3);
    let publisher = publisher(&world, &["http://h1.test/", "http://h2.test/"]);
    let router = Router::new()
        .get("/page", |_| "page")
        .get("/own", |_: Request| Response::text("x").header("Link", "<http://mine.test/>; rel=hub"))
        .with(publisher.advertise("http://blog.test/"));
    world.simulation.network().set_host("blog.test", &["11.4.0.1".parse().unwrap()]);
    let _port =
        listen(world.simulation.reactor(), &"tcp:80:interface=11.4.0.1".parse().unwrap(), Site::new(router))
            .unwrap();
    let link = |path: &str| {
        let request = world.agent.get(&format!("http://blog.test{path}"));
        world.wait(async move { Ok(request.send().await?.header("Link").map(str::to_owned)) })
    };
    let links = parse_links(&link("/page?a=1").unwrap());
    let hubs: Vec<&str> =
        links.iter().filter(|link| link.is("hub")).map(|link| link.target.as_str()).collect();
    let selves: Vec<&str> =
        links.iter().filter(|link| link.is("self")).map(|link| link.target.as_str()).collect();
    assert_eq!(
        (hubs, selves),
        (vec!["http://h1.test/", "http://h2.test/"], vec!["http://blog.test/page?a=1"])
    );
    assert_eq!(link("/own").unwrap(), "<http://mine.test/>; rel=hub");
    assert_eq!(link("/missing"), None);
}

#[test]
fn p03_links_within_pages_are_found_again() {
    let world = World::new(3);
    let publisher = publisher(&world, &["http://h.test/?a=1&b=2"]);
    let page = "http://blog.test/\"<x>".parse().unwrap_or_else(|_| "http://blog.test/".parse().unwrap());
    for body in [
        format!("<head>{}</head>", publisher.html_links("http://blog.test/?x=1&y")),
        format!("<feed>{}</feed>", publisher.feed_links("http://blog.test/?x=1&y", "")),
        format!("<rss><channel>{}</channel></rss>", publisher.feed_links("http://blog.test/?x=1&y", "atom:")),
    ] {
        let found = ropewalk_hub::discover(&page, &ropewalk_hub::embedded(body.as_bytes()));
        assert_eq!(found.hubs, ["http://h.test/?a=1&b=2"], "{body}");
        assert_eq!(found.topic.as_deref(), Some("http://blog.test/?x=1&y"));
    }
}

#[test]
fn p05_every_hub_is_told_also_one_that_is_down_for_a_moment() {
    let world = World::new(3);
    let tries = Rc::new(Cell::new(0));
    let counted = Rc::clone(&tries);
    let flaky = host(&world.simulation, "h2.test", "11.3.0.2", move |_| {
        counted.set(counted.get() + 1);
        Response::empty(if counted.get() < 3 { 503 } else { 204 })
    });
    host(&world.simulation, "h3.test", "11.3.0.3", |_| Response::empty(403));
    let subscriber = world.subscriber(1);
    world.publish("/news", "text/plain", "one");
    world.subscribe(&[]);
    let publisher = publisher(&world, &[HUB, "http://h2.test/", "http://h3.test/", "http://nobody.test/"]);
    let pinged = world.wait(publisher.changed(TOPIC));
    let went: Vec<bool> = pinged.iter().map(|ping| ping.outcome.is_ok()).collect();
    assert_eq!((went, flaky.seen().len()), (vec![true, true, false, false], 3));
    world.settle();
    assert_eq!(subscriber.deliveries()[0].text(), "one");
}

#[test]
fn p06_subscribers_move_with_a_topic_at_renewal() {
    let world = World::with(3, HubOptions { lease_max: 3_600 * SECOND, ..HubOptions::default() });
    world.publish("/news", "text/plain", "one");
    world.publish("/new", "text/plain", "two");
    named(&world);
    let me = Me::new(&world);
    me.follow(&world, TOPIC).unwrap();
    let contents = Rc::clone(&world.contents);
    world.publisher.answer(move |seen| match seen.target.as_str() {
        "/news" => Response::redirect(301, "/new"),
        _ => {
            let text = contents.borrow()["/new"].1.clone();
            Response::text(text).header("Link", format!("<{HUB}>; rel=hub, <http://pub.test/new>; rel=self"))
        }
    });
    world.simulation.advance(3_600 * SECOND);
    assert!(me.subscriber.list().iter().any(|row| row.topic == "http://pub.test/new"));
    world.post(&[("hub.mode", "publish"), ("hub.url", "http://pub.test/new")]);
    world.settle();
    assert_eq!(me.texts(), ["two"]);
}

/// A ledger that takes its time to be read, or never is.
struct Slow(MemoryLedger, ropewalk_reactor::Reactor, bool);

impl Ledger for Slow {
    fn load(&self) -> ropewalk_reactor::Deferred<Vec<Following>> {
        let (reactor, ledger, fails) = (self.1.clone(), self.0.clone(), self.2);
        self.1.ensure_deferred(async move {
            reactor.sleep(5 * SECOND).await;
            if fails { Err(Failure::new("the disk is gone")) } else { ledger.load().await }
        })
    }

    fn save(&self, following: Following) -> ropewalk_reactor::Deferred<()> {
        self.0.save(following)
    }

    fn forget(&self, id: &str) -> ropewalk_reactor::Deferred<()> {
        self.0.forget(id)
    }
}

#[test]
fn a_callback_is_not_called_gone_before_the_ledger_was_read() {
    // 1. A subscriber ends; 2. the next one over its ledger begins, which takes a while to read; 3. the hub delivers meanwhile. It was
    // told 410, and ended the subscription.
    for fails in [false, true] {
        let world = World::new(3);
        world.publish("/news", "text/plain", "one");
        named(&world);
        let me = Me::new(&world);
        me.follow(&world, TOPIC).unwrap();
        let ledger = me.ledger.clone();
        me.end(&world);
        let slow = Rc::new(Slow(ledger.clone(), world.simulation.reactor().clone(), fails));
        let me = Me::over(&world, ledger, slow, SubscriberOptions::default());
        world.ping();
        assert!(me.texts().is_empty());
        let loaded = me.subscriber.clone();
        assert_eq!(world.wait(async move { Ok(loaded.loaded().await.is_err()) }), fails);
        world.settle();
        assert_eq!(me.texts().len(), usize::from(!fails));
        assert_eq!(world.subscriptions().total, 1, "the hub still has it");
    }
}

#[test]
fn a_list_of_pages_is_kept_whatever_happens() {
    let world = World::new(3);
    for page in ["/news", "/old", "/late"] {
        world.publish(page, "text/plain", page);
    }
    named(&world);
    let me = Me::new(&world);
    me.follow(&world, "http://pub.test/old").unwrap();
    world.contents.borrow_mut().remove("/late");
    me.subscriber.keep([TOPIC, "http://pub.test/late"]);
    world.simulation.advance(100 * SECOND);
    let topics = || -> Vec<String> {
        let mut rows = me.subscriber.list();
        rows.sort_by(|a, b| a.topic.cmp(&b.topic));
        assert!(rows.iter().all(|row| row.state == State::Active), "{rows:?}");
        rows.into_iter().map(|row| row.topic).collect()
    };
    assert_eq!(topics(), [TOPIC], "what is not on the list is left, and what is not there is asked for");
    assert_eq!(world.subscriptions().total, 1);
    world.publish("/late", "text/plain", "there at last");
    world.simulation.advance(3_600 * SECOND);
    assert_eq!(topics(), ["http://pub.test/late", TOPIC]);
    // What is followed is not asked for again.
    let verified = world.hub.borrow().statistics().verified;
    me.subscriber.keep([TOPIC, "http://pub.test/late"]);
    world.simulation.advance(3_600 * SECOND);
    assert_eq!(world.hub.borrow().statistics().verified, verified);
    // A ledger that was lost is filled again.
    let leaving = me.subscriber.clone();
    world.wait(async move { leaving.leave("http://pub.test/late").await });
    world.simulation.advance(100 * SECOND);
    assert_eq!(topics(), ["http://pub.test/late", TOPIC]);
    let leaving = me.subscriber.clone();
    world.wait(async move { leaving.leave_within(10 * SECOND).await });
    world.settle();
    assert_eq!((me.subscriber.list().len(), world.subscriptions().total), (0, 0));
    world.simulation.advance(3_600 * SECOND);
    assert_eq!(me.subscriber.list().len(), 0, "who leaves does not come back by itself");
}

#[test]
fn who_leaves_a_hub_that_is_away_does_not_wait_for_ever() {
    let world = World::new(3);
    world.publish("/news", "text/plain", "one");
    named(&world);
    let me = Me::new(&world);
    me.follow(&world, TOPIC).unwrap();
    world.hub.borrow().drain();
    let leaving = me.subscriber.clone();
    let outcome = world.wait(async move { Ok(leaving.leave_within(10 * SECOND).await) });
    assert!(outcome.unwrap_err().is::<ropewalk_reactor::failure::TimedOut>());
}
