//! One history on four workers, each with a clock and a network of its own: order, and readers that are slow.

use ropewalk_channel::{ChannelOptions, Slow};

use super::*;

/// Home and three others that follow it.
struct Workers([Place; 4]);

impl Workers {
    fn new(seed: u64, options: &ChannelsOptions) -> Workers {
        let home = Place::new(seed, |simulation| {
            (Channels::in_memory(simulation.reactor(), options.clone()), PushOptions::default())
        });
        let way = home.channels.home();
        let other = |number: u64| {
            Place::new(seed + number * 1_000, |simulation| {
                let followed = Channels::replica(simulation.reactor(), &way, options.clone()).unwrap();
                (followed, PushOptions::default())
            })
        };
        let others = [other(1), other(2), other(3)];
        let [one, two, three] = others;
        Workers([home, one, two, three])
    }

    fn settle(&self) {
        for _ in 0..30 {
            self.0.iter().for_each(|place| place.simulation.advance(5 * MS));
        }
    }

    /// Sends a request to a worker, while all of them run.
    fn send(&self, worker: usize, request: impl AsRef<[u8]>) -> Peer {
        let peer = self.0[worker].send(request);
        self.settle();
        peer
    }
}

fn post(text: &str) -> String {
    format!("POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

#[test]
fn readers_on_four_workers_read_what_any_of_them_published_in_one_order() {
    for seed in 0..20 {
        let workers = Workers::new(seed, &ChannelsOptions::default());
        let readers: Vec<Peer> =
            (0..4).map(|worker| workers.send(worker, get("/channels/a", JSON))).collect();
        let random = || workers.0[0].simulation.network().random() as usize % 4;
        let answers: Vec<Peer> = (0..40)
            .map(|number| {
                let peer = workers.0[random()].send(post(&number.to_string()));
                workers.0[random()].simulation.advance(MS);
                peer
            })
            .collect();
        workers.settle();
        let answered = |peer: &Peer| {
            let answer = peer.take();
            let (status, body) = parts(&String::from_utf8(answer).unwrap());
            assert_eq!(status, 201, "seed {seed}: {body}");
            body.trim_start_matches("{\"id\":\"").trim_end_matches("\"}").parse::<u64>().unwrap()
        };
        let mut expected: Vec<(u64, usize)> =
            answers.iter().enumerate().map(|(number, peer)| (answered(peer), number)).collect();
        expected.sort_unstable();
        let lines: String = expected
            .iter()
            .map(|(id, number)| format!("{{\"id\":\"{id}\",\"data\":\"{number}\"}}\n"))
            .collect();
        for (worker, reader) in readers.iter().enumerate() {
            let read = String::from_utf8(reader.take()).unwrap();
            assert!(read.ends_with(&format!("\r\n\r\n{lines}")), "seed {seed}: worker {worker}: {read}");
        }
    }
}

/// A reader that stalls on another worker is told what it missed, or let go of, by that worker; readers elsewhere do not notice.
#[test]
fn a_stalled_reader_on_another_worker_is_told_or_let_go_of() {
    for slow in [Slow::Gap, Slow::Disconnect] {
        let retention = Retention { events_max: 100, ..Retention::default() };
        let channel = ChannelOptions { retention, slow, ..ChannelOptions::default() };
        let workers = Workers::new(1, &ChannelsOptions { channel, ..ChannelsOptions::default() });
        workers.0.iter().for_each(Place::be_calm);
        let network = workers.0[2].simulation.network();
        network.set_conditions(|conditions| conditions.window_bytes = 4_096);
        let stalled = workers.send(2, get("/channels/a", SSE));
        network.set_conditions(|conditions| conditions.window_bytes = 64 * 1024);
        let keen = [0, 2, 3].map(|worker| (worker, workers.send(worker, get("/channels/a", JSON))));
        keen.iter().for_each(|(worker, peer)| drop(workers.0[*worker].take(peer)));
        let mut seen = [0; 3];
        for number in 0..600 {
            workers.0[1].channels.publish("a", format!("{number} {}", "x".repeat(500))).detach();
            if number % 10 == 9 {
                for _ in 0..4 {
                    workers.0.iter().for_each(|place| place.simulation.advance(MS));
                }
                for ((worker, peer), seen) in keen.iter().zip(&mut seen) {
                    *seen += workers.0[*worker].take(peer).lines().count();
                }
            }
        }
        workers.settle();
        for ((worker, peer), seen) in keen.iter().zip(&mut seen) {
            *seen += workers.0[*worker].take(peer).lines().count();
        }
        assert_eq!(seen, [600; 3], "nobody waits for the stalled one");
        let mut rest = workers.0[2].take(&stalled);
        rest += &workers.0[2].take(&stalled);
        workers.settle();
        rest += &workers.0[2].take(&stalled);
        match slow {
            Slow::Gap => assert!(rest.contains("event: gap\n") && !stalled.is_ended(), "{}", rest.len()),
            Slow::Disconnect => assert!(!rest.contains("event: gap\n") && stalled.is_ended()),
        }
    }
}

/// 1. Another worker is so far behind that home's messages to it wait.
/// 2. A reader comes there with the id of the last event, which home has answered; others ask for everything, and for the last.
/// 3. They wait until that worker is as far: no gap, and nothing twice.
#[test]
fn a_worker_that_is_behind_catches_up_before_it_takes_a_place_for_unknown() {
    let workers = Workers::new(1, &ChannelsOptions::default());
    let _follows = workers.send(1, get("/channels/a", JSON));
    let channel = workers.0[0].channels.channel_now("a").unwrap();
    for number in 0..3_000 {
        channel.publish_now(number.to_string()).unwrap();
        workers.0[0].simulation.advance(Duration::from_micros(100));
    }
    let id = channel.last();
    let [resumed, last, client] = [format!("since={id}"), "last=1".to_owned(), "ack=ann".to_owned()]
        .map(|place| workers.0[1].send(get(&format!("/channels/a?{place}"), JSON)));
    workers.settle();
    let next = workers.0[0].publish("a", "next");
    workers.settle();
    let read = |peer: &Peer| parts(&String::from_utf8(peer.take()).unwrap()).1;
    let line = format!("{{\"id\":\"{next}\",\"data\":\"next\"}}\n");
    assert_eq!(read(&resumed), line);
    assert_eq!(read(&last), format!("{{\"id\":\"{id}\",\"data\":\"2999\"}}\n{line}"));
    assert_eq!(read(&client), line);
}
