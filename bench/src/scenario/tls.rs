//! TLS: requests over connections that are kept, handshakes full and resumed, and memory while idle. One P-256 key for all.

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::{chosen, progress};
use crate::SuiteArgs;
use crate::canned::BODY;
use crate::child::Child;
use crate::machine::connections_max;
use crate::report::{Section, Series, Unit, number};
use crate::secure::{Client, Identity};
use crate::servers::{Server, TLS_BASE};
use crate::wrk::{Style, Wrk};

const WARM_UP_SECONDS: u64 = 1;
/// Enough for a server to finish what it does behind the last answer.
const QUIET: Duration = Duration::from_millis(500);
/// Each of them is ten kilobytes of this process, too.
const IDLE_MAX: u32 = 2_000;
/// What every server is asked for: a folder has nothing at `/`.
const PATH: &str = "/hello.txt";

/// The ground of all of them: a certificate, and a folder for those that serve files.
struct Ground {
    identity: Identity,
    folder: PathBuf,
}

impl Ground {
    fn make() -> io::Result<Ground> {
        let identity = Identity::make()?;
        let folder = identity.folder().join("site");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("hello.txt"), BODY)?;
        Ok(Ground { identity, folder })
    }

    fn start(&self, server: &Server, arguments: &SuiteArgs) -> io::Result<Child> {
        let mut options = vec![("--tls", self.identity.folder())];
        if !server.hello && server.files {
            options.push(("--folder", self.folder.as_path()));
        }
        let child = Child::start(server, arguments.server_core, &options)?;
        let (_, body) = Client::new(&self.identity, false)?.connect(child.address, 0, path(server))?;
        if body != BODY.as_bytes() {
            return Err(io::Error::other(format!("{} answers something else", server.name)));
        }
        Ok(child)
    }
}

fn path(server: &Server) -> &'static str {
    if server.hello { "/" } else { PATH }
}

/// One contestant of a table.
struct Contestant {
    server: &'static Server,
    child: Child,
    series: Series,
}

fn contestants(ground: &Ground, arguments: &SuiteArgs, label: &str) -> io::Result<Vec<Contestant>> {
    let start = |server: &'static Server| {
        let child = ground.start(server, arguments)?;
        Ok(Contestant { server, child, series: Series::new(format!("{}{label}", server.name)) })
    };
    chosen(arguments, |server| server.tls).into_iter().map(start).collect()
}

/// Requests over TLS, connections kept.
pub(super) fn requests(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    const LIMIT: f64 = 1.05;
    let ground = Ground::make()?;
    let mut contestants = contestants(&ground, arguments, "")?;
    let wrk = Wrk::find()?;
    let url = |one: &Contestant| format!("https://{}{}", one.child.address, path(one.server));
    for one in &contestants {
        wrk.run(&url(one), Style::Single, arguments.connections, WARM_UP_SECONDS)?;
    }
    for round in 1..=arguments.rounds {
        for one in &mut contestants {
            let before = one.child.usage()?;
            let load = wrk.run(&url(one), Style::Single, arguments.connections, arguments.seconds)?;
            let spent = one.child.usage()?.since(before);
            one.series.add(spent, load.requests as f64, load.per_second);
        }
        progress(&format!("round {round} of {}", arguments.rounds));
    }
    let title = format!("tls: {} keep-alive connections over TLS 1.3", arguments.connections);
    let series: Vec<Series> = contestants.into_iter().map(|one| one.series).collect();
    Ok(table("tls", &title, Unit::micro("request"), "", &series, LIMIT))
}

/// Connections that come, ask once, and go: with full handshakes, and with resumed ones.
pub(super) fn handshakes(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    const LIMIT: f64 = 1.0;
    let ground = Ground::make()?;
    let mut whole: Option<Section> = None;
    for (label, resumes) in [(", full", false), (", resumed", true)] {
        let mut contestants = contestants(&ground, arguments, label)?;
        let clients = contestants.iter().map(|_| Client::new(&ground.identity, resumes));
        let clients = clients.collect::<io::Result<Vec<_>>>()?;
        for (one, client) in contestants.iter().zip(&clients) {
            client.shake(one.child.address, 0, path(one.server), true)?;
        }
        for round in 1..=arguments.rounds {
            for (one, client) in contestants.iter_mut().zip(&clients) {
                let (before, start, mut count) = (one.child.usage()?, Instant::now(), 0);
                while start.elapsed() < Duration::from_secs(arguments.seconds) {
                    client.shake(one.child.address, count, path(one.server), false)?;
                    count += 1;
                }
                let seconds = start.elapsed().as_secs_f64();
                let spent = one.child.usage()?.since(before);
                one.series.add(spent, f64::from(count), f64::from(count) / seconds);
            }
            progress(&format!("{}: round {round} of {}", &label[2..], arguments.rounds));
        }
        let series: Vec<Series> = contestants.into_iter().map(|one| one.series).collect();
        let title = "handshakes: a connection, a handshake (TLS 1.3, P-256), one request, the end";
        let Some(section) = table("handshakes", title, Unit::micro("connection"), label, &series, LIMIT)
        else {
            continue;
        };
        match &mut whole {
            None => whole = Some(section),
            Some(whole) => whole.append(section),
        }
    }
    Ok(whole)
}

fn table(
    name: &'static str,
    title: &str,
    unit: Unit<'_>,
    label: &str,
    series: &[Series],
    limit: f64,
) -> Option<Section> {
    let base = format!("{TLS_BASE}{label}");
    let mut section = Section::of_series(name, title, unit, &base, series);
    section.call_base(TLS_BASE);
    let find = |name: &str| series.iter().find(|one| one.name() == format!("{name}{label}"));
    let own = find("ropewalk");
    let ratio = |base: &str| own.zip(find(base)).and_then(|(own, base)| own.ratio(base));
    section.bound(&format!("CPU time of ropewalk over {base}"), ratio(TLS_BASE), limit);
    if name == "handshakes" {
        section.bound(&format!("CPU time of ropewalk over nginx{label}"), ratio("nginx"), 0.5);
    }
    (!series.is_empty()).then_some(section)
}

/// Memory per connection that has shaken hands and asked once.
pub(super) fn idle(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    let ground = Ground::make()?;
    let count = connections_max(arguments.idle).min(IDLE_MAX);
    let mut section = Section::new(
        "tls-idle",
        format!("tls-idle: {count} connections over TLS that have done one request"),
        "Bytes of the server's memory per connection. Private is Private_Dirty and Swap, resident is Rss, both from smaps_rollup.",
        &["server", "private", "resident"],
    );
    let servers = chosen(arguments, |server| server.tls);
    for server in &servers {
        let child = ground.start(server, arguments)?;
        let client = Client::new(&ground.identity, false)?;
        thread::sleep(QUIET);
        let before = child.memory()?;
        let open = (0..count).map(|number| client.connect(child.address, number, path(server)));
        let held = open.collect::<io::Result<Vec<_>>>()?;
        thread::sleep(QUIET);
        let after = child.memory()?;
        drop(held);
        let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / f64::from(count);
        let private = each(after.private_dirty, before.private_dirty);
        let resident = each(after.resident, before.resident);
        section.row(
            vec![server.name.to_owned(), number(private, 0), number(resident, 0)],
            serde_json::json!({ "server": server.name, "private_bytes": private, "resident_bytes": resident }),
        );
        progress(&format!("{} has held {count} connections", server.name));
    }
    Ok((!servers.is_empty()).then_some(section))
}
