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

/// For what a hub does behind the last answer.
const QUIET: Duration = Duration::from_millis(300);

/// Wishes that come from one address: our hub takes 60 a minute.
const WISHES_PER_SOURCE: u32 = 50;

struct Contestant {
    name: String,
    hub: Hub,
    load: Subscribers,
    hosts: u32,
    subscribers: u32,
    update: Updates,
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

/// Both hubs and both cases, interleaved; then ours with the dead.
pub(super) fn run(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    let named = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    let mut contestants = Vec::new();
    for (name, start, fewer) in HUBS.iter().filter(|(name, ..)| named(name)) {
        for hosts in HOSTS {
            let size = (hosts, SUBSCRIBERS / fewer);
            contestants.extend(Contestant::start(name, *start, size, arguments.server_core)?);
        }
    }
    for round in 1..=arguments.rounds {
        for contestant in &mut contestants {
            contestant.round()?;
        }
        progress(&format!("round {round} of {}", arguments.rounds));
    }
    let ours = |one: &&mut Contestant| one.name == "ropewalk" && one.hosts == HOSTS[1];
    let mut dead = None;
    if let Some(contestant) = contestants.iter_mut().find(ours) {
        dead = Some(contestant.with_the_dead(arguments.rounds)?);
    }
    Ok((!contestants.is_empty()).then(|| section(&contestants, dead)))
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
        let dead = if hosts > 1 && name == "ropewalk" { DEAD_HOSTS } else { 0 };
        let load = Subscribers::start(hub.address, hosts, dead)?;
        let update = Updates::default();
        let mut contestant = Contestant { name: name.to_owned(), hub, load, hosts, subscribers, update };
        contestant.subscribe(subscribers, false)?;
        contestant.round()?;
        contestant.update = Updates::default();
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
        thread::sleep(QUIET * 2);
        Ok(())
    }

    fn round(&mut self) -> io::Result<()> {
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
        self.update.per_second.add(count / seconds);
        self.update.cpu_us.add((tree::cpu_us(id)? - before) / count);
        self.update.last_ms.add(seconds * 1e3);
        self.update.fetched_kept.add(update.fetched_kept * 100.0);
        self.update.delivered_kept.add(update.delivered_kept * 100.0);
        Ok(())
    }

    /// The first update after the deaths, when nobody knows of them yet, and the ones after it.
    fn with_the_dead(&mut self, rounds: u32) -> io::Result<[Updates; 2]> {
        self.subscribe(DEAD, true)?;
        let living = std::mem::take(&mut self.update);
        self.round()?;
        self.load.die();
        self.update = Updates::default();
        self.round()?;
        let first = std::mem::take(&mut self.update);
        for _ in 1..rounds.max(2) {
            self.round()?;
        }
        progress(&format!("{DEAD_HOSTS} hosts have died"));
        Ok([first, std::mem::replace(&mut self.update, living)])
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

fn section(contestants: &[Contestant], dead: Option<[Updates; 2]>) -> Section {
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
    for one in contestants {
        row(&mut section, &one.name, (one.hosts, one.subscribers), &one.update);
    }
    let base = contestants.iter().find(|one| one.name == "ropewalk" && one.hosts == HOSTS[1]);
    if let (Some([first, later]), Some(base)) = (dead, base) {
        let size = (HOSTS[1], SUBSCRIBERS);
        row(&mut section, &format!("ropewalk, and {DEAD_HOSTS} dead hosts, first"), size, &first);
        row(&mut section, &format!("ropewalk, and {DEAD_HOSTS} dead hosts, then"), size, &later);
        let usual = base.update.last_ms.median();
        let what = "the last living subscriber's time with dead hosts over that without";
        section.bound(&format!("{what}, first update"), Some(first.last_ms.median() / usual), DELAY_MAX);
        section.bound(&format!("{what}, later ones"), Some(later.last_ms.median() / usual), DELAY_MAX);
    }
    for hosts in HOSTS {
        let of = |name: &str| contestants.iter().find(|one| one.name == name && one.hosts == hosts);
        if let (Some(ours), Some(flask)) = (of("ropewalk"), of("flask-websub")) {
            let ratio = ours.update.cpu_us.ratio(&flask.update.cpu_us);
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
