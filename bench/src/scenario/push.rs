//! Channels and their subscribers: one message to all of one channel, and messages to a hundred channels in turn.
//!
//! A message is published when everybody has the one before, so CPU time divides exactly by deliveries, and deliveries a second are
//! from the publisher's write to the last reader. Subscribers are connected anew for each slice. Memory is that of the first slice,
//! when the server's heap has held nobody.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{chosen, progress};
use crate::SuiteArgs;
use crate::account::Memory;
use crate::child::Child;
use crate::client;
use crate::folder::Folder;
use crate::machine::connections_max;
use crate::report::{Section, Series, Unit, median};
use crate::servers::push::{CHANNEL, Face, publication};
use crate::servers::{PUSH_BASE, PUSH_OWN, PUSH_PEER, Server};
use crate::viewers::Viewers;

/// Before a slice: the first messages find cold caches and growing buffers.
const WARM_UP: u32 = 2;

/// Channels of the scenario that has many.
const CHANNELS: u32 = 100;

/// What nobody listens to.
const ALONE: &str = "alone";

/// Enough for a server to finish what it does behind the last delivery.
const QUIET: Duration = Duration::from_millis(500);

/// How often what this project does is to be done in a second, over Nchan's and over the bare loop's.
const RATE_TO_PEER: f64 = 2.0;
const RATE_TO_BASE: f64 = 0.8;

/// Who listens to what.
#[derive(Clone, Copy)]
struct Plan {
    face: Face,
    channels: u32,
    viewers: u32,
    length: Duration,
}

impl Plan {
    fn channel(&self, number: u32) -> String {
        match self.channels {
            1 => CHANNEL.to_owned(),
            channels => format!("{CHANNEL}{}", number % channels),
        }
    }

    /// Those of one channel.
    fn readers(&self) -> u32 {
        self.viewers / self.channels
    }

    fn connect(&self, address: SocketAddr, count: u32) -> io::Result<Viewers> {
        let request = |number| self.face.request(&self.channel(number));
        Viewers::connect(address, count, request, |head| self.face.welcomes(head))
    }
}

struct Contestant {
    child: Child,
    _folder: Folder,
    series: Series,
    /// Microseconds of a publication that nobody hears.
    alone_us: Vec<f64>,
    /// Of a subscriber: private and resident.
    bytes: Option<[f64; 2]>,
}

/// One message to all.
pub(super) fn broadcast(arguments: &SuiteArgs, face: Face) -> io::Result<Option<Section>> {
    let (name, over, bytes_max) = match face {
        Face::Sse => ("broadcast-sse", "event streams", 350.0),
        Face::WebSocket => ("broadcast-websocket", "WebSockets, without compression", 500.0),
    };
    let plan = Plan {
        face,
        channels: 1,
        viewers: connections_max(arguments.viewers),
        length: Duration::from_secs(arguments.seconds),
    };
    let contestants = measure(arguments, plan, |_| true)?;
    if contestants.is_empty() {
        return Ok(None);
    }
    let title = format!("{name}: one message to {} subscribers of a channel, {over}", plan.viewers);
    let mut section = table(name, &title, PUSH_BASE, &contestants);
    let rates = |base: &str| rates(&contestants, PUSH_OWN, base);
    section.at_least("deliveries/s of push-ropewalk over nchan", rates(PUSH_PEER), RATE_TO_PEER);
    section.at_least("deliveries/s of push-ropewalk over push-mio", rates(PUSH_BASE), RATE_TO_BASE);
    let own = contestants.iter().find(|one| one.series.name() == PUSH_OWN);
    let own = own.and_then(|one| one.bytes).map(|[private, _]| private);
    section.bound("private bytes of push-ropewalk per idle subscriber", own, bytes_max);
    Ok(Some(section))
}

/// Messages to a hundred channels in turn.
pub(super) fn channels(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    let viewers = (connections_max(arguments.viewers) / CHANNELS).max(1) * CHANNELS;
    let plan =
        Plan { face: Face::Sse, channels: CHANNELS, viewers, length: Duration::from_secs(arguments.seconds) };
    let contestants = measure(arguments, plan, |server| server.push.is_some_and(|can| can.channels))?;
    if contestants.is_empty() {
        return Ok(None);
    }
    let title = format!(
        "channels: messages to {CHANNELS} channels in turn, each with {} event streams",
        plan.readers()
    );
    let mut section = table("channels", &title, PUSH_PEER, &contestants);
    let each: Vec<Option<f64>> =
        contestants.iter().map(|one| Some(one.series.medians().0 * f64::from(plan.readers()))).collect();
    section.column("CPU us/publication", "publication_us", 1, &each);
    let alone: Vec<Vec<f64>> = contestants.into_iter().map(|one| one.alone_us).collect();
    section.spread("with no reader", "alone_us", 1, &alone);
    section.remark(
        "A publication is the request and all its deliveries, and by itself where its channel has no reader.",
    );
    Ok(Some(section))
}

fn measure(arguments: &SuiteArgs, plan: Plan, can: impl Fn(&Server) -> bool) -> io::Result<Vec<Contestant>> {
    let mut contestants = Vec::new();
    for server in chosen(arguments, |server| server.push.is_some() && can(server)) {
        if let Some(what) = server.push.and_then(|pushes| (pushes.missing)()) {
            progress(what);
            continue;
        }
        contestants.push(Contestant::start(server, arguments.server_core)?);
    }
    for round in 1..=arguments.rounds {
        for contestant in &mut contestants {
            contestant.slice(plan).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", contestant.series.name()))
            })?;
        }
        progress(&format!("round {round} of {}", arguments.rounds));
    }
    Ok(contestants)
}

impl Contestant {
    fn start(server: &Server, core: usize) -> io::Result<Contestant> {
        let folder = Folder::make(server.name)?;
        // Whoever keeps events there is to keep them in memory here.
        let own = server.push.is_some_and(|pushes| !pushes.durable).then_some(("--folder", folder.path()));
        let child = Child::start(server, core, own.as_slice())?;
        let series = Series::new(server.name.to_owned());
        Ok(Contestant { child, _folder: folder, series, alone_us: Vec::new(), bytes: None })
    }

    fn slice(&mut self, plan: Plan) -> io::Result<()> {
        let mut publisher = Publisher::open(self.child.address)?;
        let before = if self.bytes.is_none() { Some(self.empty(plan, &mut publisher)?) } else { None };
        let mut viewers = plan.connect(self.child.address, plan.viewers)?;
        let readers = plan.readers() as usize;
        for number in 0..WARM_UP * plan.channels {
            publisher.publish(&plan.channel(number), &mut viewers, readers)?;
        }
        if let Some(before) = before {
            let after = self.settled()?;
            self.bytes = Some(each(before, after, plan.viewers));
        }
        let (start, usage) = (Instant::now(), self.child.usage()?);
        let mut messages = 0;
        while start.elapsed() < plan.length || messages % plan.channels > 0 {
            publisher.publish(&plan.channel(messages), &mut viewers, readers)?;
            messages += 1;
        }
        let seconds = start.elapsed().as_secs_f64();
        let spent = self.child.usage()?.since(usage);
        let deliveries = f64::from(messages) * f64::from(plan.readers());
        self.series.add(spent, deliveries, deliveries / seconds);
        if plan.channels > 1 {
            self.alone(plan.length / 4, &mut publisher, &mut viewers)?;
        }
        drop((viewers, publisher));
        self.child.wait_idle()
    }

    /// Its memory when it has done everything once, and nobody is there.
    fn empty(&self, plan: Plan, publisher: &mut Publisher) -> io::Result<Memory> {
        let mut one = plan.connect(self.child.address, 1)?;
        publisher.publish(&plan.channel(0), &mut one, 1)?;
        drop(one);
        self.settled()
    }

    fn settled(&self) -> io::Result<Memory> {
        thread::sleep(QUIET);
        self.child.memory()
    }

    fn alone(
        &mut self,
        length: Duration,
        publisher: &mut Publisher,
        viewers: &mut Viewers,
    ) -> io::Result<()> {
        let (start, usage) = (Instant::now(), self.child.usage()?);
        let mut messages = 0_u32;
        while start.elapsed() < length {
            publisher.publish(ALONE, viewers, 0)?;
            messages += 1;
        }
        let spent = self.child.usage()?.since(usage);
        self.alone_us.push(spent.cpu_us / f64::from(messages));
        Ok(())
    }
}

fn each(before: Memory, after: Memory, count: u32) -> [f64; 2] {
    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / f64::from(count);
    [each(after.private_dirty, before.private_dirty), each(after.resident, before.resident)]
}

/// A connection that publishes.
struct Publisher(TcpStream);

impl Publisher {
    fn open(address: SocketAddr) -> io::Result<Publisher> {
        client::open(address, 0).map(Publisher)
    }

    /// Until so many have it. They read before this reads its answer, which some servers give behind the last delivery.
    fn publish(&mut self, channel: &str, viewers: &mut Viewers, readers: usize) -> io::Result<()> {
        self.0.write_all(publication(channel).as_bytes())?;
        viewers.wait_lines(readers)?;
        client::read_response(&mut self.0)?.succeeded()
    }
}

/// The table that all of them have.
fn table(name: &'static str, title: &str, base: &str, contestants: &[Contestant]) -> Section {
    let series: Vec<Series> = contestants.iter().map(|one| one.series.clone()).collect();
    let mut section = Section::of_series(name, title, Unit::micro("delivery"), base, &series);
    for to in [PUSH_BASE, PUSH_PEER] {
        let Some(base) = series.iter().find(|one| one.name() == to) else { continue };
        let rates: Vec<Vec<f64>> = series.iter().map(|one| one.rates(base)).collect();
        section.spread(&format!("delivery/s to {to}"), &format!("rate_to_{to}"), 2, &rates);
    }
    let figure = |at: usize| -> Vec<Option<f64>> {
        contestants.iter().map(|one| one.bytes.map(|bytes| bytes[at])).collect()
    };
    section.column("private bytes", "private_bytes", 0, &figure(0));
    section.column("resident bytes", "resident_bytes", 0, &figure(1));
    section.remark(
        "Deliveries a second are from the publisher's write to the last reader, one message after the other. Bytes are the server's \
         own memory per subscriber that has had a message and is silent, Private_Dirty with Swap, and Rss, from smaps_rollup, over the \
         same server with nobody; what the kernel holds for a socket is not in it, nor what nginx lays out for all its connections \
         when it starts. The bare loop writes the bytes that this project writes; the peers frame the message as they do.",
    );
    section
}

/// The median of the rounds' ratios.
fn rates(contestants: &[Contestant], own: &str, base: &str) -> Option<f64> {
    let find = |name: &str| contestants.iter().find(|one| one.series.name() == name);
    let (own, base) = find(own).zip(find(base))?;
    Some(median(&own.series.rates(&base.series)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn viewers_are_dealt_to_the_channels() {
        let plan = Plan { face: Face::Sse, channels: 100, viewers: 10_000, length: Duration::from_secs(1) };
        assert_eq!(plan.readers(), 100);
        let of_seven = (0..plan.viewers).filter(|number| plan.channel(*number) == "news7").count();
        assert_eq!(of_seven, 100);
        assert_eq!(Plan { channels: 1, ..plan }.channel(7), CHANNEL);
    }

    #[test]
    fn memory_is_per_subscriber() {
        let before = Memory { private_dirty: 1_000, resident: 5_000 };
        let after = Memory { private_dirty: 3_000, resident: 4_000 };
        assert_eq!(each(before, after, 10), [200.0, 0.0]);
    }
}
