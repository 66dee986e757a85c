//! A hub among subscribers that are slow, dead, redirecting, lying, flapping, leaving or gone, and that is killed and started again
//! whenever it suits the seed. What it has promised is checked at the end, of every one of them.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use common::*;
use ropewalk_hub::HubOptions;
use ropewalk_reactor::{Random, Reach};
use ropewalk_web::Response;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Live,
    Slow,
    /// Fails now and then, until the end.
    Flapping,
    /// Disappears without a word after it has subscribed.
    Dead,
    Redirecting,
    Lying,
    /// Answers deliveries with 410.
    Gone,
    Leaving,
    /// Takes the shortest lease, and does not renew.
    Lapsing,
}

const KINDS: [Kind; 9] = [
    Kind::Live,
    Kind::Slow,
    Kind::Flapping,
    Kind::Dead,
    Kind::Redirecting,
    Kind::Lying,
    Kind::Gone,
    Kind::Leaving,
    Kind::Lapsing,
];

struct Peer {
    kind: Kind,
    topic: usize,
    host: Host,
    number: u16,
    /// When it has confirmed that it leaves.
    left: Rc<Cell<Option<Duration>>>,
    /// When it has confirmed its subscription.
    joined: Rc<Cell<Option<Duration>>>,
}

struct Story {
    world: World,
    peers: Vec<Peer>,
    random: Random,
    well: Rc<Cell<bool>>,
    newest: [u64; 3],
    restarts: usize,
}

fn topic(number: usize) -> String {
    format!("http://pub.test/topic{number}")
}

impl Story {
    fn new(seed: u64) -> Story {
        let options = HubOptions {
            deliver_attempts: 100_000,
            fetch_attempts: 100_000,
            verify_attempts: 100,
            deliver_for: 30 * DAY,
            verify_timeout: 25 * SECOND,
            backoff: (5 * SECOND, 300 * SECOND),
            wishes_per_minute: 1_000_000,
            total_max: 24,
            ..HubOptions::default()
        };
        let world = World::with(seed, options);
        let mut story = Story {
            world,
            peers: Vec::new(),
            random: Random::new(seed),
            well: Rc::default(),
            newest: [0; 3],
            restarts: 0,
        };
        let count = if seed.is_multiple_of(20) { 200 } else { 5 + story.random.below(25) };
        for number in 0..count {
            story.add(u16::try_from(number).unwrap());
        }
        story
    }

    fn add(&mut self, number: u16) {
        let kind = KINDS[self.random.below(KINDS.len() as u64) as usize];
        let topic = self.random.below(3) as usize;
        let host = self.world.subscriber(number);
        let (left, joined, well) =
            (Rc::<Cell<_>>::default(), Rc::<Cell<_>>::default(), Rc::clone(&self.well));
        let (leaves, joins) = (Rc::clone(&left), Rc::clone(&joined));
        let network = self.world.simulation.network().clone();
        let dice = RefCell::new(Random::new(u64::from(number)));
        host.answer(move |seen| {
            let now = network.now().since(ropewalk_reactor::Time::START);
            if seen.method == "GET" {
                if kind == Kind::Lying {
                    return Response::text("whatever");
                }
                if seen.query.first("hub.mode") == Some("unsubscribe") {
                    leaves.set(Some(now));
                } else {
                    joins.set(Some(now));
                }
                return willing(seen);
            }
            match kind {
                Kind::Redirecting => Response::redirect(307, "http://s0.test/stolen"),
                Kind::Gone => Response::empty(410),
                Kind::Flapping | Kind::Leaving if !well.get() && dice.borrow_mut().below(10) < 6 => {
                    Response::empty(503)
                }
                _ => Response::empty(204),
            }
        });
        if kind == Kind::Slow {
            host.slow.set(1 + self.random.below(20));
        }
        self.peers.push(Peer { kind, topic, host, number, left, joined });
    }

    fn wish(&self, peer: &Peer, mode: &str) {
        let lease = if peer.kind == Kind::Lapsing { "300" } else { "864000" };
        let (callback, topic) = (format!("http://s{}.test/cb", peer.number), topic(peer.topic));
        let form = [
            ("hub.mode", mode),
            ("hub.topic", topic.as_str()),
            ("hub.callback", callback.as_str()),
            ("hub.lease_seconds", lease),
        ];
        assert_eq!(self.world.post(&form).0, 202);
    }

    fn publish(&mut self) {
        let number = self.random.below(3) as usize;
        self.newest[number] += 1;
        let text = format!("{number}:{}", self.newest[number]);
        self.world.publish(&format!("/topic{number}"), "text/plain", &text);
        assert_eq!(self.world.post(&[("hub.mode", "publish"), ("hub.url", &topic(number))]).0, 204);
    }

    fn pause(&mut self) {
        let longest = [1, 30, 1_000, 60_000][self.random.below(4) as usize];
        self.world.simulation.advance(Duration::from_millis(self.random.below(longest)));
    }

    /// One of those who leave leaves, or one of those who die dies.
    fn trouble(&mut self) {
        let chosen = self.random.below(self.peers.len() as u64) as usize;
        let peer = &self.peers[chosen];
        if peer.joined.get().is_none() {
            return;
        }
        match peer.kind {
            Kind::Leaving => {
                // With news on their way, and the hub killed about when it is told.
                self.publish();
                self.world.simulation.advance(Duration::from_millis(self.random.below(20)));
                self.wish(&self.peers[chosen], "unsubscribe");
                self.world.simulation.advance(Duration::from_millis(self.random.below(20)));
                self.world.restart();
                self.restarts += 1;
            }
            Kind::Dead => {
                let address = format!("11.1.{}.{}", peer.number >> 8, peer.number & 0xff);
                self.world.simulation.network().set_reach(address.parse().unwrap(), Reach::Silent);
            }
            _ => {}
        }
    }

    fn run(&mut self) {
        for peer in &self.peers {
            self.wish(peer, "subscribe");
        }
        for _ in 0..40 {
            match self.random.below(7) {
                0 | 1 => self.publish(),
                2 => {
                    self.world.restart();
                    self.restarts += 1;
                }
                3 | 4 => self.trouble(),
                _ => {}
            }
            self.pause();
        }
        for number in 0..3 {
            self.newest[number] += 1;
            let text = format!("{number}:{}", self.newest[number]);
            self.world.publish(&format!("/topic{number}"), "text/plain", &text);
            assert_eq!(self.world.post(&[("hub.mode", "publish"), ("hub.url", &topic(number))]).0, 204);
        }
        self.pause();
        self.world.restart();
        self.well.set(true);
        self.world.simulation.advance(2 * 3600 * SECOND);
    }

    fn check(&self, peer: &Peer) {
        let deliveries = peer.host.deliveries();
        let versions: Vec<u64> = deliveries
            .iter()
            .map(|seen| {
                let (topic, version) = seen.text().split_once(':').unwrap();
                assert_eq!(topic, peer.topic.to_string(), "nobody gets what he did not ask for");
                assert_eq!(seen.target, "/cb");
                version.parse().unwrap()
            })
            .collect();
        assert!(versions.is_sorted(), "in order: {versions:?}");
        let last = versions.last().copied();
        match peer.kind {
            Kind::Live | Kind::Slow | Kind::Flapping => {
                assert_eq!(last, Some(self.newest[peer.topic]), "{versions:?}");
            }
            // The last one may be the only one.
            Kind::Lying => assert!(deliveries.is_empty()),
            Kind::Redirecting => {
                assert!(!deliveries.is_empty(), "it is tried, and its redirects are not followed")
            }
            Kind::Gone => assert!(deliveries.len() <= 1 + self.restarts + 1, "{}", deliveries.len()),
            Kind::Leaving => match peer.left.get() {
                Some(left) => {
                    let after = deliveries.iter().filter(|seen| seen.at > left).count();
                    assert_eq!(after, 0, "after {left:?}");
                }
                None => assert_eq!(last, Some(self.newest[peer.topic])),
            },
            Kind::Lapsing => {
                let joined = peer.joined.get().unwrap();
                let end = joined + Duration::from_secs(301);
                assert!(deliveries.iter().all(|seen| seen.at <= end));
            }
            Kind::Dead => {}
        }
    }
}

fn play(seed: u64) {
    let mut story = Story::new(seed);
    story.run();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for peer in &story.peers {
        *kinds.entry(format!("{:?}", peer.kind)).or_default() += 1;
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| story.check(peer)));
        // What was wrong stands above; this says where.
        assert!(checked.is_ok(), "seed {seed}: subscriber {} ({:?}) of {kinds:?}", peer.number, peer.kind);
    }
    let (waiting, running) =
        (story.world.hub.borrow().statistics().waiting, story.world.hub.borrow().statistics().running);
    let hopeless =
        story.peers.iter().filter(|peer| matches!(peer.kind, Kind::Dead | Kind::Redirecting)).count();
    assert!(
        waiting + running <= hopeless,
        "seed {seed}: {waiting} wait, {running} run, {hopeless} are hopeless"
    );
    story.world.hub.borrow().close();
}

#[test]
fn every_live_subscriber_gets_the_newest_and_nobody_else_anything() {
    for seed in 0..100 {
        play(seed);
    }
}
