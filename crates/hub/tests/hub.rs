//! The hub's requirements of WebSub (the ids H1 to H35), and the checks of websub.rocks for hubs, under the simulated clock.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::time::Duration;

use common::*;
use ropewalk_hub::store::{List, Pair};
use ropewalk_hub::{Algorithm, HubOptions, Secret, TopicPolicy};
use ropewalk_web::Response;

fn world() -> (World, Host) {
    let world = World::new(7);
    world.publish("/news", "text/plain; charset=utf-8", "one");
    let subscriber = world.subscriber(1);
    (world, subscriber)
}

#[test]
fn h01_h12_h18_h20_a_subscription_as_simple_as_can_be() {
    // websub.rocks 100.
    let (world, subscriber) = world();
    world.subscribe(&[]);
    let asked = &subscriber.verifications()[0];
    let names: Vec<&str> = asked.query.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["hub.mode", "hub.topic", "hub.challenge", "hub.lease_seconds"]);
    assert_eq!(
        (asked.query.first("hub.mode"), asked.query.first("hub.topic")),
        (Some("subscribe"), Some(TOPIC))
    );
    assert_eq!(asked.query.first("hub.lease_seconds"), Some("864000"));
    world.ping();
    let delivered = &subscriber.deliveries()[0];
    assert_eq!((delivered.text(), delivered.target.as_str()), ("one", "/cb"));
    assert_eq!(delivered.field("X-Hub-Signature"), None);
}

#[test]
fn h02_h31_h34_a_secret_signs_with_sha256_unless_asked_otherwise() {
    // websub.rocks 101.
    let (world, subscriber) = world();
    let secret = Secret::new("a secret of 20 bytes").unwrap();
    world.subscribe(&[("hub.secret", "a secret of 20 bytes")]);
    world.ping();
    let signature = subscriber.deliveries()[0].field("X-Hub-Signature").unwrap().to_owned();
    assert_eq!(signature, secret.sign(Algorithm::Sha256, b"one"));
    for (algorithm, text) in [("sha1", "two"), ("sha384", "three"), ("sha512", "four")] {
        world.subscribe(&[("hub.secret", "a secret of 20 bytes"), ("hub.algorithm", algorithm)]);
        world.publish("/news", "text/plain", text);
        world.ping();
        let delivered = subscriber.deliveries().last().unwrap().clone();
        let signature = delivered.field("X-Hub-Signature").unwrap().to_owned();
        assert!(
            signature.starts_with(algorithm) && secret.verify(&signature, text.as_bytes()),
            "{signature}"
        );
    }
}

#[test]
fn h03_parameters_that_are_not_understood_are_ignored() {
    // websub.rocks 102.
    let (world, subscriber) = world();
    world.subscribe(&[("foo", "bar"), ("hub.foo", "hub.bar"), ("hub.verify", "at leisure")]);
    world.ping();
    assert_eq!(subscriber.deliveries().len(), 1);
}

#[test]
fn h04_a_lease_means_nothing_to_an_unsubscription() {
    let (world, subscriber) = world();
    world.subscribe(&[]);
    world.wish("unsubscribe", &[("hub.lease_seconds", "what?")]);
    let asked = subscriber.verifications().last().unwrap().clone();
    assert_eq!(
        (asked.query.first("hub.mode"), asked.query.first("hub.lease_seconds")),
        (Some("unsubscribe"), None)
    );
    assert_eq!(world.subscriptions().total, 0);
}

#[test]
fn h05_leases_are_respected_within_bounds() {
    let (world, subscriber) = world();
    for (asked, granted) in [("7200", "7200"), ("5", "300"), ("999999999", "2592000"), ("", "864000")] {
        world.subscribe(&[("hub.lease_seconds", asked)]);
        let last = subscriber.verifications().last().unwrap().clone();
        assert_eq!(last.query.first("hub.lease_seconds"), Some(granted));
    }
}

#[test]
fn h06_subscribing_again_changes_the_subscription_and_delivers_once() {
    // websub.rocks 103.
    let (world, subscriber) = world();
    world.subscribe(&[("hub.secret", "old"), ("hub.lease_seconds", "1000")]);
    world.simulation.advance(500 * SECOND);
    world.subscribe(&[("hub.lease_seconds", "1000")]);
    world.simulation.advance(900 * SECOND);
    world.ping();
    assert_eq!(subscriber.deliveries().len(), 1, "once, and beyond the first lease");
    assert_eq!(subscriber.deliveries()[0].field("X-Hub-Signature"), None, "the old secret is gone");
}

#[test]
fn h06_h07_what_is_not_confirmed_changes_nothing() {
    let (world, subscriber) = world();
    world.subscribe(&[("hub.secret", "true")]);
    subscriber.answer(|seen| match seen.method.as_str() {
        "GET" => Response::empty(404),
        _ => Response::empty(204),
    });
    world.subscribe(&[("hub.secret", "forged")]);
    world.wish("unsubscribe", &[]);
    world.ping();
    let delivered = subscriber.deliveries();
    let signature = delivered[0].field("X-Hub-Signature").unwrap();
    assert!(Secret::new("true").unwrap().verify(signature, b"one"));
}

#[test]
fn h08_a_topic_is_one_however_it_is_encoded() {
    let (world, subscriber) = world();
    world.publish("/~news", "text/plain", "tilde");
    world.subscribe(&[("hub.topic", "http://pub.test/%7Enews")]);
    let asked = &subscriber.verifications()[0];
    assert_eq!(asked.query.first("hub.topic"), Some("http://pub.test/%7Enews"), "as the subscriber knows it");
    world.post(&[("hub.mode", "publish"), ("hub.url", "http://pub.test/~news")]);
    world.settle();
    assert_eq!(subscriber.deliveries()[0].text(), "tilde");
}

#[test]
fn h09_h10_h32_the_callback_keeps_its_query() {
    let (world, subscriber) = world();
    world.subscribe(&[("hub.callback", "http://s1.test/cb?hub.mode=mine&id=a%2Fb&x")]);
    let target = &subscriber.verifications()[0].target;
    assert!(target.starts_with("/cb?hub.mode=mine&id=a%2Fb&x&hub.mode=subscribe&hub.topic="), "{target}");
}

#[test]
fn h10_deliveries_go_to_the_callback_with_its_query() {
    let (world, subscriber) = world();
    subscriber.answer(|seen| {
        let challenge = seen.query.all("hub.challenge").last().map(str::to_owned);
        challenge.map_or(Response::empty(204), Response::text)
    });
    world.subscribe(&[("hub.callback", "http://s1.test/cb?id=a%2Fb")]);
    world.ping();
    let delivered = &subscriber.deliveries()[0];
    assert_eq!((delivered.target.as_str(), delivered.text()), ("/cb?id=a%2Fb", "one"));
}

#[test]
fn h11_topics_by_policy() {
    let below = TopicPolicy::Below(vec!["http://pub.test/blog/".parse().unwrap()]);
    let world = World::with(1, HubOptions { topics: below, ..HubOptions::default() });
    let subscriber = world.subscriber(1);
    let wish = |topic| [("hub.mode", "subscribe"), ("hub.topic", topic), ("hub.callback", CALLBACK)];
    let (status, text) = world.post(&wish("http://pub.test/news"));
    assert_eq!((status, text.contains("hub.topic")), (403, true));
    assert_eq!(world.post(&wish("http://pub.test/blog/1")).0, 202);
    world.settle();
    assert_eq!(subscriber.verifications().len(), 1);
}

#[test]
fn h11_h17_h19_only_topics_that_name_the_hub() {
    let world = World::with(1, HubOptions { topics: TopicPolicy::Naming, ..HubOptions::default() });
    let subscriber = world.subscriber(1);
    world.publish("/other", "text/html", "<head><link rel=hub href=http://else.test/></head>");
    world.publish("/ours", "text/html", &format!("<head><link rel=hub href={HUB}></head>"));
    let page = format!("<head><link rel=hub href={HUB}><link rel=self href=http://pub.test/x></head>");
    world.publish("/copy", "text/html", &page);
    for (topic, mode) in [("other", "denied"), ("ours", "subscribe"), ("copy", "denied"), ("none", "denied")]
    {
        world.subscribe(&[("hub.topic", &format!("http://pub.test/{topic}"))]);
        let last = subscriber.verifications().last().unwrap().clone();
        assert_eq!(last.query.first("hub.mode"), Some(mode), "{topic}");
        assert_eq!(last.query.first("hub.reason").is_some(), mode == "denied");
    }
    assert_eq!(world.subscriptions().total, 1);
}

#[test]
fn h13_verification_begins_at_once() {
    let (world, subscriber) = world();
    let asked_at = world.simulation.network().now();
    world.post(&[("hub.mode", "subscribe"), ("hub.topic", TOPIC), ("hub.callback", CALLBACK)]);
    world.settle();
    let waited = subscriber.verifications()[0].at - asked_at.since(ropewalk_reactor::Time::START);
    assert!(waited < Duration::from_millis(500), "{waited:?}");
}

#[test]
fn h14_errors_are_told_in_plain_text() {
    let (world, _) = world();
    let (status, text) = world.post(&[("hub.mode", "subscribe"), ("hub.topic", TOPIC)]);
    assert_eq!((status, text.as_str()), (400, "hub.callback is missing\n"));
    let secret = "x".repeat(200);
    let form = [
        ("hub.mode", "subscribe"),
        ("hub.topic", TOPIC),
        ("hub.callback", CALLBACK),
        ("hub.secret", &secret),
    ];
    assert_eq!(world.post(&form).0, 400);
    let json = world.agent.post(HUB).json("hub.mode=subscribe");
    assert_eq!(world.wait(async move { Ok(json.send().await?.status()) }), 415);
    let large = world.agent.post(HUB).form(&[("hub.mode", "publish"), ("x", &"x".repeat(30_000_000))]);
    assert_eq!(world.wait(async move { Ok(large.send().await?.status()) }), 413);
}

#[test]
fn h15_the_answer_does_not_wait_for_the_subscriber() {
    let (world, subscriber) = world();
    subscriber.slow.set(5);
    let before = world.simulation.network().now();
    let form = [("hub.mode", "subscribe"), ("hub.topic", TOPIC), ("hub.callback", CALLBACK)];
    assert_eq!(world.post(&form).0, 202);
    assert!(world.simulation.network().now().since(before) < SECOND);
    let nobody = [("hub.mode", "subscribe"), ("hub.topic", TOPIC), ("hub.callback", "http://nobody.test/")];
    assert_eq!(world.post(&nobody).0, 202);
}

#[test]
fn h16_a_hub_that_has_moved_says_where() {
    let moved_to = Some("https://new.test/hub".to_owned());
    let world = World::with(1, HubOptions { moved_to, ..HubOptions::default() });
    let request = world.agent.post(HUB).form(&[("hub.mode", "subscribe")]);
    let answer = world.wait(async move {
        let response = request.send().await?;
        Ok((response.status(), response.header("Location").map(str::to_owned)))
    });
    assert_eq!(answer, (308, Some("https://new.test/hub".to_owned())));
}

#[test]
fn h19_the_hub_can_end_a_subscription_and_says_so() {
    let (world, subscriber) = world();
    world.subscribe(&[]);
    let hub = world.hub.borrow().clone();
    world.wait(async move { hub.deny(Pair::new(TOPIC, CALLBACK), "the blog is closed").await });
    world.settle();
    let told = subscriber.verifications().last().unwrap().clone();
    let said: Vec<_> =
        ["hub.mode", "hub.topic", "hub.reason"].iter().map(|name| told.query.first(name)).collect();
    assert_eq!(said, [Some("denied"), Some(TOPIC), Some("the blog is closed")]);
    assert_eq!(told.query.first("hub.challenge"), None);
    world.ping();
    assert_eq!((subscriber.deliveries().len(), world.list(List::Intents).total), (0, 0));
}

#[test]
fn h21_only_2xx_with_the_challenge_is_a_yes() {
    let (world, subscriber) = world();
    let wrong: [fn(&Seen) -> Response; 6] = [
        |_| Response::text("yes"),
        |_| Response::empty(204),
        |seen| Response::text(format!("{}x", seen.query.first("hub.challenge").unwrap())),
        |seen| Response::text(seen.query.first("hub.challenge").unwrap().to_owned()).status(404),
        |seen| Response::text(seen.query.first("hub.challenge").unwrap().to_owned()).status(500),
        |seen| Response::redirect(302, format!("http://s1.test{}", seen.target)),
    ];
    for answer in wrong {
        subscriber.answer(answer);
        world.subscribe(&[]);
        assert_eq!((world.subscriptions().total, world.list(List::Intents).total), (0, 0));
    }
    assert_eq!(
        subscriber.verifications().len(),
        wrong.len(),
        "an answer is an answer: nothing is asked twice"
    );
    subscriber
        .answer(|seen| Response::text(seen.query.first("hub.challenge").unwrap().to_owned()).status(201));
    world.subscribe(&[]);
    assert_eq!(world.subscriptions().total, 1);
}

#[test]
fn h22_an_expired_lease_delivers_nothing() {
    let (world, subscriber) = world();
    world.subscribe(&[("hub.lease_seconds", "1000")]);
    world.simulation.advance(998 * SECOND);
    world.ping();
    assert_eq!(subscriber.deliveries().len(), 1);
    world.simulation.advance(2 * SECOND);
    world.publish("/news", "text/plain", "two");
    world.ping();
    world.simulation.advance(DAY);
    assert_eq!((subscriber.deliveries().len(), world.subscriptions().total), (1, 0));
    assert_eq!(world.list(List::Topics).total, 0, "nobody wants the topic any more");
}

#[test]
fn h22_a_lease_that_ends_while_a_delivery_waits_ends_the_delivery() {
    let (world, subscriber) = world();
    subscriber.answer(|seen| match seen.method.as_str() {
        "GET" => willing(seen),
        _ => Response::empty(503),
    });
    world.subscribe(&[("hub.lease_seconds", "300")]);
    world.ping();
    world.simulation.advance(DAY);
    let last = subscriber.deliveries().last().unwrap().at;
    assert!(last < Duration::from_secs(310), "{last:?}");
}

#[test]
fn h23_pings_by_any_name_fetch_once_and_for_nobody_never() {
    let (world, subscriber) = world();
    assert_eq!(
        world.post(&[("hub.mode", "publish"), ("hub.url", TOPIC)]).0,
        204,
        "0.3 wants 204 also without subscribers"
    );
    world.settle();
    assert_eq!(world.publisher.seen().len(), 0);
    world.subscribe(&[]);
    for (number, name) in ["hub.url", "hub.topic", "hub.url[]", "hub.topic[]"].iter().enumerate() {
        world.publish("/news", "text/plain", &format!("news {number}"));
        assert_eq!(world.post(&[("hub.mode", "publish"), (name, TOPIC)]).0, 204);
        world.settle();
        assert_eq!(subscriber.deliveries().last().unwrap().text(), format!("news {number}"));
    }
    assert_eq!(world.publisher.seen().len(), 4);
}

#[test]
fn h23_what_has_not_changed_is_not_fetched_whole_and_not_delivered() {
    let (world, subscriber) = world();
    world.subscribe(&[]);
    world.ping();
    world.ping();
    let fetches = world.publisher.seen();
    assert_eq!((fetches.len(), subscriber.deliveries().len()), (2, 1));
    assert!(fetches[0].field("If-None-Match").is_none() && fetches[1].field("If-None-Match").is_some());
    let agent = fetches[1].field("User-Agent").unwrap();
    assert!(agent.contains(HUB) && agent.contains("1 subscriber)"), "{agent}");
    // A publisher without validators: the content itself is compared.
    world.publisher.answer(|_| Response::text("one").content_type("text/plain; charset=utf-8"));
    world.ping();
    assert_eq!(subscriber.deliveries().len(), 1);
    world.publisher.answer(|_| Response::text("one").content_type("text/markdown"));
    world.ping();
    assert_eq!(subscriber.deliveries().len(), 2, "another type is another content");
}

#[test]
fn h23_a_topic_that_has_moved_is_followed() {
    let (world, subscriber) = world();
    world.subscribe(&[]);
    world.publisher.answer(|seen| match seen.target.as_str() {
        "/news" => Response::redirect(302, "/elsewhere"),
        _ => Response::text("moved"),
    });
    world.ping();
    assert_eq!(subscriber.deliveries()[0].text(), "moved");
    assert!(subscriber.deliveries()[0].field("Link").unwrap().contains(TOPIC), "the topic stays what it is");
}

#[test]
fn h23_a_publisher_that_fails_is_asked_again() {
    let (world, subscriber) = world();
    world.subscribe(&[]);
    world.publisher.answer(|_| Response::empty(503));
    world.ping();
    let contents = world.contents.clone();
    assert_eq!(contents.borrow().len(), 1);
    world.publisher.answer(|_| Response::text("well again"));
    world.simulation.advance(60 * SECOND);
    assert_eq!(subscriber.deliveries()[0].text(), "well again");
}

#[test]
fn h25_what_is_not_the_whole_is_not_delivered() {
    for status in [204, 205, 206] {
        let (world, subscriber) = world();
        world.subscribe(&[]);
        world.publisher.answer(move |_| Response::text("part").status(status));
        world.ping();
        assert_eq!(subscriber.deliveries().len(), 0, "{status}");
        world.publisher.answer(|_| Response::text("all of it"));
        world.simulation.advance(DAY);
        assert_eq!(subscriber.deliveries().len(), 1, "{status}");
    }
}

#[test]
fn h24_h25_deliveries_are_the_topic_as_it_is() {
    // websub.rocks 105 and 106.
    for (media, text) in [
        ("text/plain", "plain"),
        ("application/json", "{\"a\": 1}"),
        ("text/html; charset=UTF-8", "<p>ü"),
        ("application/octet-stream", "\0\x01\x02"),
    ] {
        let (world, subscriber) = world();
        world.publish("/news", media, text);
        world.subscribe(&[]);
        world.ping();
        let delivered = &subscriber.deliveries()[0];
        assert_eq!((delivered.field("Content-Type"), delivered.text()), (Some(media), text));
    }
}

#[test]
fn h25_feeds_are_cut_to_what_a_subscriber_does_not_have() {
    let world = World::with(1, HubOptions { feed_diff: true, ..HubOptions::default() });
    let subscriber = world.subscriber(1);
    let feed = |entries: &[&str]| {
        let entry = |id: &&str| format!("<entry><id>{}</id><title>{id}</title></entry>", &id[..1]);
        format!("<feed><title>t</title>{}</feed>", entries.iter().map(entry).collect::<String>())
    };
    let publish = |entries: &[&str]| {
        world.publish("/news", "application/atom+xml", &feed(entries));
        world.ping();
    };
    world.subscribe(&[]);
    publish(&["a", "b"]);
    publish(&["c", "a", "b"]);
    publish(&["c", "a2", "b"]);
    assert_eq!(subscriber.deliveries().len(), 3);
    publish(&["c", "a2"]);
    assert_eq!(subscriber.deliveries().len(), 3, "an entry that is gone is no news");
    // Who could not be reached gets what was missed, at once.
    subscriber.answer(|_| Response::empty(503));
    publish(&["d", "c", "a2"]);
    subscriber.answer(willing);
    publish(&["e", "d", "c", "a2"]);
    world.simulation.advance(60 * SECOND);
    let texts: Vec<String> = subscriber.deliveries().iter().map(|seen| seen.text().to_owned()).collect();
    let expected = [&["a", "b"][..], &["c"], &["a2"], &["d"], &["e", "d"]].map(feed);
    assert_eq!(texts, expected);
}

#[test]
fn h26_one_link_field_names_hub_and_topic() {
    let (world, subscriber) = world();
    world.subscribe(&[]);
    world.ping();
    let delivered = &subscriber.deliveries()[0];
    assert_eq!(delivered.fields("Link"), [format!("<{HUB}>; rel=\"hub\", <{TOPIC}>; rel=\"self\"")]);
}

#[test]
fn h27_h29_anything_but_2xx_is_tried_again() {
    for status in [301, 302, 307, 400, 404, 500, 503] {
        let (world, subscriber) = world();
        world.subscribe(&[]);
        subscriber.answer(move |seen| match seen.target.as_str() {
            "/cb" => Response::empty(status).header("Location", "http://s1.test/other"),
            _ => Response::empty(204),
        });
        world.ping();
        assert_eq!(subscriber.deliveries().len(), 1);
        subscriber.answer(|_| Response::empty(202));
        world.simulation.advance(20 * SECOND);
        let targets: Vec<String> = subscriber.deliveries().iter().map(|seen| seen.target.clone()).collect();
        assert_eq!(targets, ["/cb", "/cb"], "{status}: no redirect is followed");
        world.simulation.advance(DAY);
        assert_eq!(subscriber.deliveries().len(), 2);
    }
}

#[test]
fn h27_410_ends_the_subscription() {
    let (world, subscriber) = world();
    world.subscribe(&[]);
    subscriber.answer(|_| Response::empty(410));
    world.ping();
    assert_eq!((subscriber.deliveries().len(), world.subscriptions().total), (1, 0));
}

#[test]
fn h27_slow_successes_are_successes() {
    let (world, subscriber) = world();
    world.subscribe(&[]);
    subscriber.slow.set(25);
    world.ping();
    world.simulation.advance(DAY);
    assert_eq!(subscriber.deliveries().len(), 1);
}

#[test]
fn h28_what_a_subscriber_answers_is_not_read() {
    let (world, subscriber) = world();
    world.subscribe(&[]);
    subscriber.answer(|_| Response::new(vec![b'x'; 10_000_000]));
    world.ping();
    assert_eq!(world.hub.borrow().statistics().delivered, 1);
}

#[test]
fn h29_h30_a_delivery_is_given_up_but_not_the_subscription() {
    let (world, subscriber) = world();
    world.subscribe(&[]);
    subscriber.answer(|_| Response::empty(500));
    world.ping();
    world.simulation.advance(3 * DAY);
    let tries: Vec<Duration> = subscriber.deliveries().iter().map(|seen| seen.at).collect();
    assert_eq!(tries.len(), 10);
    let waits: Vec<u64> = tries.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert!(waits.windows(2).all(|pair| pair[1] >= pair[0]), "{waits:?}");
    let letters = world.list(List::Letters).letters;
    assert_eq!((letters.len(), letters[0].attempts, letters[0].version), (1, 10, 1));
    assert_eq!(world.subscriptions().total, 1);
    subscriber.answer(willing);
    world.publish("/news", "text/plain", "two");
    world.ping();
    assert_eq!(subscriber.deliveries().last().unwrap().text(), "two");
    assert_eq!(world.list(List::Letters).total, 0, "who has the newest has no dead letter");
}

#[test]
fn h29_retry_after_is_honoured() {
    let (world, subscriber) = world();
    world.subscribe(&[]);
    subscriber.answer(|_| Response::empty(503).header("Retry-After", "3600"));
    world.ping();
    subscriber.answer(willing);
    world.simulation.advance(3_500 * SECOND);
    assert_eq!(subscriber.deliveries().len(), 1);
    world.simulation.advance(200 * SECOND);
    assert_eq!(subscriber.deliveries().len(), 2);
}

#[test]
fn h30_a_dead_letter_can_be_replayed() {
    let (world, subscriber) = world();
    world.subscribe(&[]);
    subscriber.answer(|_| Response::empty(500));
    world.ping();
    world.simulation.advance(3 * DAY);
    subscriber.answer(willing);
    let hub = world.hub.borrow().clone();
    world.wait(async move { hub.replay(Pair::new(TOPIC, CALLBACK)).await });
    world.settle();
    assert_eq!((subscriber.deliveries().last().unwrap().text(), world.list(List::Letters).total), ("one", 0));
    assert_eq!(world.hub.borrow().statistics().delivered, 1);
}

#[test]
fn h33_challenges_are_random_and_of_use_once() {
    let (world, subscriber) = world();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..10 {
        world.subscribe(&[]);
        let challenge =
            subscriber.verifications().last().unwrap().query.first("hub.challenge").unwrap().to_owned();
        assert!(challenge.len() >= 32 && seen.insert(challenge));
    }
}

#[test]
fn h35_leases_are_reconfirmed_by_subscribing_again_and_by_nothing_else() {
    // Periodic reconfirmation is optional, and not done: short leases do the same.
    let (world, subscriber) = world();
    world.subscribe(&[]);
    world.simulation.advance(5 * DAY);
    assert_eq!(subscriber.verifications().len(), 1);
}

#[test]
fn unsubscribing_ends_deliveries() {
    // websub.rocks 104.
    let (world, subscriber) = world();
    world.subscribe(&[]);
    world.wish("unsubscribe", &[]);
    world.ping();
    assert_eq!(subscriber.deliveries().len(), 0);
}

#[test]
fn callers_of_0_3_get_their_token_back() {
    let (world, subscriber) = world();
    world.subscribe(&[("hub.verify", "async"), ("hub.verify", "sync"), ("hub.verify_token", "mine & yours")]);
    assert_eq!(subscriber.verifications()[0].query.first("hub.verify_token"), Some("mine & yours"));
    assert_eq!(world.subscriptions().total, 1);
}

/// A wish of 0.3 that waits for its verification; status of the answer, and how long it took.
fn wait_for(world: &World, mode: &str, more: &[(&str, &str)]) -> (u16, std::time::Duration) {
    let mut form = vec![("hub.mode", mode), ("hub.topic", TOPIC), ("hub.callback", CALLBACK)];
    form.retain(|(name, _)| !more.iter().any(|(known, _)| known == name));
    form.extend([("hub.verify", "sync"), ("hub.verify", "async")]);
    form.extend(more);
    let before = world.simulation.network().now();
    let (status, _) = world.post(&form);
    (status, world.simulation.network().now().since(before))
}

#[test]
fn callers_of_0_3_may_wait_for_the_verification() {
    let (world, subscriber) = world();
    subscriber.slow.set(3);
    // As FreshRSS sends it, beside what WebSub has.
    let (status, took) = wait_for(&world, "subscribe", &[("hub.secret", "s"), ("hub.lease_seconds", "3600")]);
    assert_eq!((status, took.as_secs()), (204, 3));
    assert_eq!(world.subscriptions().total, 1, "it stands before the answer");
    world.ping();
    world.simulation.advance(10 * SECOND);
    assert_eq!(subscriber.deliveries().len(), 1);
    assert_eq!(wait_for(&world, "unsubscribe", &[]).0, 204);
    assert_eq!(world.subscriptions().total, 0);
}

#[test]
fn callers_of_0_3_who_wait_hear_that_it_was_not_confirmed() {
    let (world, subscriber) = world();
    subscriber.answer(|_| Response::text("no challenge of mine"));
    assert_eq!(wait_for(&world, "subscribe", &[]).0, 409);
    subscriber.answer(|_| Response::empty(404));
    assert_eq!(wait_for(&world, "subscribe", &[]).0, 409);
    // Nobody is there: that is tried once, and not while the caller waits for three tries.
    let (status, took) = wait_for(&world, "subscribe", &[("hub.callback", "http://nobody.test/")]);
    assert!(status == 409 && took < 2 * SECOND, "{status} {took:?}");
    assert_eq!((world.list(List::Intents).total, world.subscriptions().total), (0, 0));
}

#[test]
fn callers_of_0_3_do_not_wait_for_ever_and_what_they_were_told_stays_true() {
    let (world, subscriber) = world();
    subscriber.slow.set(30);
    let (status, took) = wait_for(&world, "subscribe", &[]);
    assert_eq!((status, took.as_secs()), (409, 10));
    // The subscriber says yes after all, and too late.
    world.simulation.advance(60 * SECOND);
    assert_eq!((world.list(List::Intents).total, world.subscriptions().total), (0, 0));
}

#[test]
fn a_newer_wish_ends_the_waiting_of_an_older_one() {
    let (world, subscriber) = world();
    subscriber.slow.set(3);
    let form = |mode: &'static str| {
        [("hub.mode", mode), ("hub.topic", TOPIC), ("hub.callback", CALLBACK), ("hub.verify", "sync")]
    };
    let (first, second) =
        (world.agent.post(HUB).form(&form("subscribe")), world.agent.post(HUB).form(&form("unsubscribe")));
    let reactor = world.simulation.reactor().clone();
    let statuses = world.wait(async move {
        let first = reactor.spawn(async move { first.send().await.map(|response| response.status()) });
        reactor.sleep(SECOND).await;
        let second = second.send().await?.status();
        Ok((first.await??, second))
    });
    assert_eq!(statuses, (409, 204));
    assert_eq!(world.subscriptions().total, 0);
}

#[test]
fn a_callback_that_is_not_there_is_asked_three_times() {
    let (world, _) = world();
    world.subscribe(&[("hub.callback", "http://s9.test/cb")]);
    world.simulation.advance(3 * SECOND);
    assert_eq!(world.list(List::Intents).total, 1);
    let late = world.subscriber(9);
    world.simulation.advance(30 * SECOND);
    assert_eq!((late.verifications().len(), world.subscriptions().total), (1, 1));
    world.subscribe(&[("hub.callback", "http://never.test/cb")]);
    world.simulation.advance(600 * SECOND);
    assert_eq!((world.list(List::Intents).total, world.subscriptions().total), (0, 1));
}

#[test]
fn newest_wins_and_nobody_waits_for_what_is_old() {
    let (world, subscriber) = world();
    world.subscribe(&[]);
    subscriber.slow.set(10);
    world.ping();
    for number in 2..9 {
        world.publish("/news", "text/plain", &format!("number {number}"));
        world.ping();
    }
    subscriber.slow.set(0);
    world.simulation.advance(60 * SECOND);
    let texts: Vec<String> = subscriber.deliveries().iter().map(|seen| seen.text().to_owned()).collect();
    assert_eq!(texts, ["one", "number 8"]);
}
