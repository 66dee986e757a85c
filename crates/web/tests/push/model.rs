//! Readers of every face over a bad network, which stall, are reset and come back at the id they have, while a journal is slow and
//! fails: nothing is lost, repeated or reordered, except what a gap announces.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::sockets::{DEFLATE, Reading, UPGRADE, framed};
use super::*;

const SEEDS: u64 = 100;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Face {
    Sse,
    Json,
    Poll,
    Socket,
    /// A WebSocket that subscribes by a message, and takes compressed ones.
    Packed,
}

const FACES: [Face; 8] =
    [Face::Sse, Face::Json, Face::Poll, Face::Socket, Face::Packed, Face::Sse, Face::Json, Face::Socket];

/// A client as they are written: it remembers the last id it has heard.
struct Reader {
    face: Face,
    peer: Option<Peer>,
    unsent: Vec<u8>,
    /// What has come on this connection.
    text: String,
    read: usize,
    reading: Reading,
    cursor: EventId,
    began: EventId,
    got: Vec<(EventId, String)>,
    gaps: Vec<(EventId, EventId)>,
}

impl Reader {
    fn connect(&mut self, place: &Place) {
        let mut target = format!("/channels/a?since={}", self.cursor);
        let packed;
        let fields = match self.face {
            Face::Sse => SSE,
            Face::Json => JSON,
            Face::Poll => "",
            Face::Socket => UPGRADE,
            Face::Packed => {
                "/channels".clone_into(&mut target);
                packed = format!("{UPGRADE}{DEFLATE}");
                &packed
            }
        };
        let peer = place.simulation.network().connect(place.address);
        if !place.simulation.run_until(SECOND, || peer.is_connected()) {
            return;
        }
        self.unsent = get(&target, fields).into_bytes();
        if self.face == Face::Packed {
            let subscribe = serde_json::json!({ "subscribe": "a", "since": self.cursor.to_string() });
            self.unsent.extend(framed(&subscribe));
        }
        (self.text, self.read) = (String::new(), 0);
        self.reading = Reading::new(self.face == Face::Packed);
        self.peer = Some(peer);
    }

    fn read(&mut self) {
        let Some(peer) = &self.peer else { return };
        let sent = peer.write(&self.unsent);
        self.unsent.drain(..sent);
        let (bytes, ended) = (peer.take(), peer.is_ended());
        if matches!(self.face, Face::Socket | Face::Packed) {
            for message in self.reading.read(&bytes) {
                assert!(message.get("error").is_none(), "{message}");
                if message.get("subscribed").is_none() {
                    self.event(&message);
                }
            }
            self.peer.take_if(|_| ended);
            return;
        }
        self.text.push_str(&String::from_utf8(bytes).unwrap());
        let Some((head, _)) = self.text.split_once("\r\n\r\n") else { return };
        if self.read == 0 {
            self.read = head.len() + 4;
        }
        match self.face {
            Face::Sse => self.read_sse(),
            Face::Json => self.read_json(),
            _ => self.read_poll(),
        }
        if ended {
            self.peer = None;
        }
    }

    fn take(&mut self, id: EventId, data: String) {
        assert!(id > self.cursor, "{:?}: {id} after {}", self.face, self.cursor);
        self.cursor = id;
        self.got.push((id, data));
    }

    fn gap(&mut self, gap: &serde_json::Value) {
        let id = |name: &str| gap[name].as_str().unwrap().parse::<EventId>().unwrap();
        self.gaps.push((id("asked"), id("resumed")));
        self.cursor = id("resumed");
    }

    fn read_sse(&mut self) {
        while let Some(end) = self.text[self.read..].find("\n\n") {
            let event = self.text[self.read..self.read + end].to_owned();
            self.read += end + 2;
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            let Some(id) = field("id: ") else { continue };
            let data = field("data: ").unwrap().to_owned();
            match field("event: ") {
                Some("gap") => self.gap(&serde_json::from_str(&data).unwrap()),
                _ => self.take(id.parse().unwrap(), data),
            }
        }
    }

    fn read_json(&mut self) {
        while let Some(end) = self.text[self.read..].find('\n') {
            let line = self.text[self.read..self.read + end].to_owned();
            self.read += end + 1;
            if !line.is_empty() {
                self.event(&serde_json::from_str(&line).unwrap());
            }
        }
    }

    fn event(&mut self, event: &serde_json::Value) {
        match event.get("gap") {
            Some(gap) => self.gap(gap),
            None => {
                let id = event["id"].as_str().unwrap().parse().unwrap();
                self.take(id, event["data"].as_str().unwrap().to_owned());
            }
        }
    }

    fn read_poll(&mut self) {
        let head = &self.text[..self.read];
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        let Some(body) = self.text.get(self.read..self.read + length) else { return };
        if length > 0 {
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            if let Some(gap) = body.get("gap") {
                self.gap(gap);
            }
            for event in body["events"].as_array().unwrap() {
                self.event(event);
            }
            assert_eq!(body["next"], self.cursor.to_string());
        }
        self.peer = None;
    }
}

fn place(seed: u64) -> Place {
    let place = Place::new(seed, |simulation| {
        let mut options = ChannelsOptions::default();
        options.channel.retention.events_max = 20 + (seed % 200) as usize;
        let channels = if seed.is_multiple_of(2) {
            Channels::in_memory(simulation.reactor(), options)
        } else {
            let journal = MemoryJournal::new(simulation.reactor());
            journal.set_delay(Duration::from_millis(seed % 30));
            journal.set_failing(seed % 5 * 4);
            Channels::durable(simulation.reactor(), journal, options)
        };
        (channels, PushOptions::default())
    });
    place.simulation.network().set_conditions(|conditions| {
        conditions.window_bytes = 300 + (seed % 7) as usize * 400;
        conditions.segment_bytes_max = 50 + (seed % 11) as usize * 100;
        conditions.latency = (Duration::from_micros(10), Duration::from_millis(3));
    });
    place
}

#[test]
fn every_reader_gets_everything_once_or_a_gap() {
    for seed in 0..SEEDS {
        let run = move || run(seed);
        if let Err(panic) = std::panic::catch_unwind(run) {
            panic!("seed {seed}: {}", panic.downcast_ref::<String>().map_or("", |text| text.as_str()));
        }
    }
}

fn run(seed: u64) {
    let place = place(seed);
    let random = |below: u64| place.simulation.network().random() % below;
    let answered: Rc<RefCell<BTreeMap<EventId, String>>> = Rc::default();
    let began = begin(&place);
    let mut readers: Vec<Reader> = FACES
        .map(|face| Reader {
            face,
            peer: None,
            unsent: Vec::new(),
            text: String::new(),
            read: 0,
            reading: Reading::new(false),
            cursor: began,
            began,
            got: Vec::new(),
            gaps: Vec::new(),
        })
        .into();
    for number in 0..300 {
        let data = format!("{number} {}", "x".repeat(random(200) as usize));
        let kept = Rc::clone(&answered);
        let text = data.clone();
        let published = place.channels.publish("a", data).add_both(move |outcome: Result<EventId, _>| {
            if let Ok(id) = outcome {
                kept.borrow_mut().insert(id, text);
            }
        });
        published.detach();
        place.simulation.advance(Duration::from_millis(random(8)));
        let reader = &mut readers[random(FACES.len() as u64) as usize];
        match random(10) {
            // It is reset; what was on its way is lost.
            0 => reader.peer = None,
            _ if reader.peer.is_none() => reader.connect(&place),
            _ => reader.read(),
        }
    }
    // Everybody reads to the end.
    place.simulation.advance(SECOND);
    let last = *answered.borrow().last_key_value().unwrap().0;
    for reader in &mut readers {
        for _ in 0..3_000 {
            if reader.cursor >= last {
                break;
            }
            if reader.peer.is_none() {
                reader.connect(&place);
            }
            place.simulation.advance(5 * MS);
            reader.read();
        }
        check(reader, &answered.borrow(), last);
    }
}

fn begin(place: &Place) -> EventId {
    let begun: Rc<RefCell<Option<EventId>>> = Rc::default();
    while begun.borrow().is_none() {
        let mine = Rc::clone(&begun);
        let asked =
            place.channels.channel("a").add_both(move |channel: Result<ropewalk_channel::Channel, _>| {
                *mine.borrow_mut() = channel.ok().map(|channel| channel.last());
            });
        assert!(place.simulation.run_until(SECOND, || asked.has_outcome()));
    }
    begun.take().unwrap()
}

fn check(reader: &Reader, answered: &BTreeMap<EventId, String>, last: EventId) {
    let face = reader.face;
    assert!(reader.cursor >= last, "{face:?} comes to the end: {} of {last}", reader.cursor);
    let in_gap = |id: EventId| reader.gaps.iter().any(|(asked, resumed)| *asked < id && id <= *resumed);
    let expected: Vec<(EventId, String)> = answered
        .range((std::ops::Bound::Excluded(reader.began), std::ops::Bound::Included(reader.cursor)))
        .filter(|(id, _)| !in_gap(**id))
        .map(|(id, text)| (*id, text.clone()))
        .collect();
    assert_eq!(reader.got, expected, "{face:?} with {:?}", reader.gaps);
    for (asked, resumed) in &reader.gaps {
        assert!(answered.keys().any(|id| asked < id && id <= resumed), "{face:?}: a gap that lost nothing");
    }
}
