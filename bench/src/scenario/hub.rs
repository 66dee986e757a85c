//! A WebSub hub with one update for ten thousand subscribers, at one host and at two hundred, beside Flask-WebSub's; and how much
//! later the living are told where a tenth as many hosts have died.
//!
//! The subscribers and the topic are on the load's core. The dead come on top of the living, so that these have the same work in both
//! cases: half of them refuse connections, half take requests and never answer.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::progress;
use crate::SuiteArgs;
use crate::client;
use crate::figures::Figures;
use crate::foreign::hub::{HUBS, Hub, Start};
use crate::foreign::tree;
use crate::report::{Section, number};
use crate::subscribers::Subscribers;

/// Subscribers of one topic.
const SUBSCRIBERS: u32 = 10_000;

/// Hosts that they are at.
const HOSTS: [u32; 2] = [1, 200];

/// Hosts that die, and those subscribed there.
const DEAD_HOSTS: u32 = 20;
const DEAD: u32 = DEAD_HOSTS * SUBSCRIBERS / HOSTS[1];

/// How much longer the living may wait for the dead.
const DELAY_MAX: f64 = 1.10;

/// Of the slowest hub, for the whole of an update.
const PATIENCE: Duration = Duration::from_secs(60);

/// For what a hub does behind the last answer, and to be behind the second that ours leaves between two fetches of a topic: what a
/// ping waits there is no delay by subscribers.
const QUIET: Duration = Duration::from_millis(1_200);

/// Wishes that come from one address: our hub takes 60 a minute.
const WISHES_PER_SOURCE: u32 = 50;

/// What came of one update.
struct Round {
    per_second: f64,
    cpu_us: f64,
    last_ms: f64,
    fetched_kept: f64,
    delivered_kept: f64,
}

/// Figures of one row.
#[derive(Default)]
struct Updates {
    per_second: Figures,
    cpu_us: Figures,
    last_ms: Figures,
    fetched_kept: Figures,
    delivered_kept: Figures,
}

impl Updates {
    fn add(&mut self, round: &Round) {
        self.per_second.add(round.per_second);
        self.cpu_us.add(round.cpu_us);
        self.last_ms.add(round.last_ms);
        self.fetched_kept.add(round.fetched_kept);
        self.delivered_kept.add(round.delivered_kept);
    }
}

/// Ours with hosts that die; then both hubs and both cases, interleaved.
pub(super) fn run(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    let named = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    let dying = if named(HUBS[0].0) { Dying::measure(arguments)? } else { None };
    let mut contestants = Vec::new();
    for (name, start, fewer) in HUBS.iter().filter(|(name, ..)| named(name)) {
        for hosts in HOSTS {
            let size = (hosts, SUBSCRIBERS / fewer);
            let started = Contestant::start(name, *start, size, arguments.server_core)?;
            contestants.extend(started.map(|contestant| (contestant, Updates::default())));
        }
    }
    for round in 1..=arguments.rounds {
        for (contestant, updates) in &mut contestants {
            updates.add(&contestant.round()?);
        }
        progress(&format!("round {round} of {}", arguments.rounds));
    }
    Ok((!contestants.is_empty()).then(|| section(&contestants, dying.as_ref())))
}

/// The same update to the same living subscribers: before others have died, when nobody knows of it yet, and then. A death is only
/// once a surprise, so each round has a hub of its own.
#[derive(Default)]
struct Dying {
    before: Updates,
    first: Updates,
    later: Updates,
}

impl Dying {
    fn measure(arguments: &SuiteArgs) -> io::Result<Option<Dying>> {
        let (name, start, _) = HUBS[0];
        let mut dying = Dying::default();
        for round in 1..=arguments.rounds {
            let started = Contestant::start(name, start, (HOSTS[1], SUBSCRIBERS), arguments.server_core)?;
            let Some(mut one) = started else { return Ok(None) };
            dying.before.add(&one.round()?);
            dying.before.add(&one.round()?);
            one.subscribe(DEAD, true)?;
            one.round()?;
            one.load.die();
            dying.first.add(&one.round()?);
            dying.later.add(&one.round()?);
            dying.later.add(&one.round()?);
            progress(&format!("{DEAD_HOSTS} hosts have died, round {round} of {}", arguments.rounds));
        }
        Ok(Some(dying))
    }
}

struct Contestant {
    name: String,
    hub: Hub,
    load: Subscribers,
    hosts: u32,
    subscribers: u32,
}

impl Contestant {
    /// Everybody is subscribed and has had an update.
    fn start(
        name: &str,
        start: Start,
        (hosts, subscribers): (u32, u32),
        core: usize,
    ) -> io::Result<Option<Contestant>> {
        let Some(hub) = start(core, &hosts.to_string())? else { return Ok(None) };
        let dead = if hosts > 1 && name == HUBS[0].0 { DEAD_HOSTS } else { 0 };
        let load = Subscribers::start(hub.address, hosts, dead)?;
        let mut contestant = Contestant { name: name.to_owned(), hub, load, hosts, subscribers };
        contestant.subscribe(subscribers, false)?;
        contestant.round()?;
        progress(&format!("{name} has {subscribers} subscribers at {hosts} hosts"));
        Ok(Some(contestant))
    }

    fn subscribe(&mut self, count: u32, dies: bool) -> io::Result<()> {
        let before = self.load.verified();
        for number in 0..count {
            let source = u32::from(dies) * SUBSCRIBERS / WISHES_PER_SOURCE + number / WISHES_PER_SOURCE;
            let (callback, topic) = (self.load.callback(number, dies), self.load.topic());
            let form = format!(
                "hub.mode=subscribe&hub.topic={topic}&hub.callback={callback}&hub.lease_seconds=86400"
            );
            let status = post(self.hub.address, source, &form)?;
            if status != 202 {
                return Err(io::Error::other(format!("{}: a wish is answered {status}", self.name)));
            }
        }
        let start = Instant::now();
        while self.load.verified() - before < u64::from(count) {
            if start.elapsed() > PATIENCE {
                return Err(io::Error::other(format!(
                    "{}: {} of {count} asked",
                    self.name,
                    self.load.verified() - before
                )));
            }
            thread::sleep(Duration::from_millis(20));
        }
        // The last of them have answered; that the hub has written it down cannot be seen from here.
        thread::sleep(QUIET);
        Ok(())
    }

    fn round(&mut self) -> io::Result<Round> {
        let (id, address) = (self.hub.program.id(), self.hub.address);
        let before = tree::cpu_us(id)?;
        let form = format!("hub.mode=publish&hub.topic={}", self.load.topic());
        let outcome = self.load.update(self.subscribers, PATIENCE, || match post(address, 0, &form)? {
            202 | 204 => Ok(()),
            status => Err(io::Error::other(format!("a ping is answered {status}"))),
        });
        self.load.trouble()?;
        let update = outcome.map_err(|error| io::Error::other(format!("{}: {error}", self.name)))?;
        thread::sleep(QUIET);
        let (count, seconds) = (f64::from(self.subscribers), update.took.as_secs_f64());
        Ok(Round {
            per_second: count / seconds,
            cpu_us: (tree::cpu_us(id)? - before) / count,
            last_ms: seconds * 1e3,
            fetched_kept: update.fetched_kept * 100.0,
            delivered_kept: update.delivered_kept * 100.0,
        })
    }
}

/// Posts a form from the `source`th address, and goes.
fn post(hub: SocketAddr, source: u32, form: &str) -> io::Result<u16> {
    let source = Ipv4Addr::new(127, 0, 16 + (source / 250) as u8, 1 + (source % 250) as u8);
    let mut stream = client::open_from(hub, source)?;
    let length = form.len();
    let request = format!(
        "POST /hub HTTP/1.1\r\nHost: {hub}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {length}\r\n\r\n{form}"
    );
    stream.write_all(request.as_bytes())?;
    let head = client::read_head(&mut stream)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::Error::other(format!("no status: {head}")))
}

fn section(contestants: &[(Contestant, Updates)], dying: Option<&Dying>) -> Section {
    let mut section = Section::new(
        "hub",
        format!("hub: one update to {SUBSCRIBERS} subscribers, at one host and at {}", HOSTS[1]),
        "A host is what the hub takes for one: a loopback address with its port. From the ping to the last living subscriber; CPU time of \
         the hub with all its processes and threads; kept is the share of requests over connections that had served before. Our hub has \
         its store in files in memory and 4 connections per host, as it comes; Flask-WebSub has threads instead of celery, and fewer \
         subscribers, which its figures per delivery do not depend on. Medians, with the lowest and the highest.",
        &[
            "hub",
            "hosts",
            "subscribers",
            "deliveries/s",
            "CPU us/delivery",
            "last after ms",
            "fetches kept %",
            "deliveries kept %",
        ],
    );
    for (one, updates) in contestants {
        row(&mut section, &one.name, (one.hosts, one.subscribers), updates);
    }
    if let Some(Dying { before, first, later }) = dying {
        for (when, update) in [("before", before), ("first", first), ("then", later)] {
            let name = format!("ropewalk, {DEAD_HOSTS} more hosts die: {when}");
            row(&mut section, &name, (HOSTS[1], SUBSCRIBERS), update);
        }
        let what = "the last living subscriber's time with dead hosts over that before";
        for (when, update) in [("first update", first), ("later ones", later)] {
            let ratio = update.last_ms.median() / before.last_ms.median();
            section.bound(&format!("{what}, {when}"), Some(ratio), DELAY_MAX);
        }
    }
    for hosts in HOSTS {
        let of = |name: &str| {
            let found = contestants.iter().find(|(one, _)| one.name == name && one.hosts == hosts);
            found.map(|(_, updates)| updates)
        };
        if let (Some(ours), Some(flask)) = (of("ropewalk"), of("flask-websub")) {
            let ratio = ours.cpu_us.ratio(&flask.cpu_us);
            section.bound(
                &format!("ropewalk's CPU time per delivery over Flask-WebSub's, {hosts} hosts"),
                ratio,
                1.0,
            );
        }
    }
    section
}

fn row(section: &mut Section, name: &str, (hosts, subscribers): (u32, u32), update: &Updates) {
    let cells = [
        name.to_owned(),
        hosts.to_string(),
        number(f64::from(subscribers), 0),
        update.per_second.show(0),
        update.cpu_us.show(0),
        update.last_ms.show(0),
        number(update.fetched_kept.median(), 0),
        number(update.delivered_kept.median(), 1),
    ];
    let value = json!({
        "server": name, "hosts": hosts, "subscribers": subscribers,
        "per_second": update.per_second.json(), "cpu_us": update.cpu_us.json(), "last_ms": update.last_ms.json(),
        "fetched_kept": update.fetched_kept.json(), "delivered_kept": update.delivered_kept.json(),
    });
    section.row(cells.to_vec(), value);
}
