//! The cost of a broadcast: one line to every viewer of an event stream.
//!
//! The line is sent when everybody has the one before, so CPU time divides exactly by deliveries. Viewers are connected anew for
//! each slice: two servers' worth of them would not fit under the usual descriptor limit.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{chosen, progress};
use crate::SuiteArgs;
use crate::child::Child;
use crate::client;
use crate::machine::connections_max;
use crate::report::{Section, Series, Unit};
use crate::servers::{BROADCAST_BASE, Server, Trigger};
use crate::viewers::{LINE, Viewers};

/// Before the slice: the first line finds cold caches and growing buffers.
const WARM_UP_LINES: u32 = 2;

struct Contestant {
    child: Child,
    feed: Feed,
    series: Series,
}

/// All servers that broadcast, interleaved.
pub(super) fn run(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    let count = connections_max(arguments.viewers);
    let servers = chosen(arguments, |server| server.broadcast.is_some());
    let contestants: io::Result<Vec<Contestant>> =
        servers.into_iter().map(|server| Contestant::start(server, arguments.server_core)).collect();
    let mut contestants = contestants?;
    for round in 1..=arguments.rounds {
        for contestant in &mut contestants {
            contestant.slice(count, Duration::from_secs(arguments.seconds))?;
        }
        progress(&format!("round {round} of {}", arguments.rounds));
    }
    let series: Vec<Series> = contestants.into_iter().map(|contestant| contestant.series).collect();
    let title = format!("sse: one line to {count} viewers");
    Ok((!series.is_empty())
        .then(|| Section::of_series("sse", &title, Unit::micro("delivery"), BROADCAST_BASE, &series)))
}

impl Contestant {
    fn start(server: &Server, core: usize) -> io::Result<Contestant> {
        let path =
            std::env::temp_dir().join(format!("ropewalk-bench-{}-{}.feed", std::process::id(), server.name));
        let file = match server.broadcast {
            Some(Trigger::File) => Some(FeedFile::create(path)?),
            Some(Trigger::Request) | None => None,
        };
        let options = file.as_ref().map(|file| ("--feed", file.path.as_path()));
        let child = Child::start(server, core, options.as_slice())?;
        let feed = match file {
            Some(file) => Feed::File(file),
            None => Feed::Request(client::open(child.address, 0)?),
        };
        Ok(Contestant { child, feed, series: Series::new(server.name.to_owned()) })
    }

    fn slice(&mut self, count: u32, length: Duration) -> io::Result<()> {
        let mut viewers = Viewers::connect(
            self.child.address,
            count,
            |_| client::request("/events"),
            |head| head.starts_with("HTTP/1.1 200 "),
        )?;
        for _ in 0..WARM_UP_LINES {
            self.feed.send()?;
            viewers.wait_line()?;
        }
        let (start, before) = (Instant::now(), self.child.usage()?);
        let mut lines = 0_u32;
        while start.elapsed() < length {
            self.feed.send()?;
            viewers.wait_line()?;
            lines += 1;
        }
        let spent = self.child.usage()?.since(before);
        let deliveries = f64::from(lines) * f64::from(count);
        self.series.add(spent, deliveries, deliveries / start.elapsed().as_secs_f64());
        Ok(())
    }
}

/// What makes the server send a line.
enum Feed {
    Request(TcpStream),
    File(FeedFile),
}

impl Feed {
    fn send(&mut self) -> io::Result<()> {
        match self {
            Feed::Request(stream) => {
                stream.write_all(client::request("/tick").as_bytes())?;
                client::read_response(stream).map(drop)
            }
            // In one write, as a log is written: half a line would wake who follows the file for nothing.
            Feed::File(feed) => feed.file.write_all(format!("{LINE}\n").as_bytes()),
        }
    }
}

/// Removed with its contestant.
struct FeedFile {
    path: PathBuf,
    file: File,
}

impl FeedFile {
    fn create(path: PathBuf) -> io::Result<FeedFile> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        Ok(FeedFile { path, file })
    }
}

impl Drop for FeedFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
