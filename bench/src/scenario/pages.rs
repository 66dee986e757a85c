//! Frameworks at work under `wrk`: the ways to say hello, JSON, a route among many, and files beside nginx.
//!
//! Rows that do the same are a group, with a base of their own.

use std::io;
use std::path::Path;
use std::process::Command;

use clap::ValueEnum;

use super::{chosen, progress};
use crate::SuiteArgs;
use crate::child::Child;
use crate::client;
use crate::folder::Folder;
use crate::report::{Section, Series, Unit};
use crate::servers::{FILES_BASE, Page, Server};
use crate::wrk::{Style, Wrk};

const WARM_UP_SECONDS: u64 = 1;

/// One row of the table: a server that serves something, running.
struct Contestant {
    child: Child,
    path: String,
    series: Series,
}

/// Starts it and asks once; what it answered.
fn contestant(
    server: &Server,
    label: String,
    path: String,
    options: &[(&str, &Path)],
    arguments: &SuiteArgs,
) -> io::Result<(Contestant, Vec<u8>)> {
    let child = Child::start(server, arguments.server_core, options)?;
    let body =
        client::fetch(child.address, &path).map_err(|error| io::Error::other(format!("{label}: {error}")))?;
    Ok((Contestant { child, path, series: Series::new(label) }, body))
}

fn measure(
    arguments: &SuiteArgs,
    mut contestants: Vec<Contestant>,
    connections: u32,
) -> io::Result<Vec<Series>> {
    let wrk = Wrk::find()?;
    for one in &contestants {
        wrk.run(&one.child.url(&one.path), Style::Single, connections, WARM_UP_SECONDS)?;
    }
    for round in 1..=arguments.rounds {
        for one in &mut contestants {
            let before = one.child.usage()?;
            let load = wrk.run(&one.child.url(&one.path), Style::Single, connections, arguments.seconds)?;
            let spent = one.child.usage()?.since(before);
            one.series.add(spent, load.requests as f64, load.per_second);
        }
        progress(&format!("round {round} of {}", arguments.rounds));
    }
    Ok(contestants.into_iter().map(|one| one.series).collect())
}

/// A group's rows, with the best peer as the base, and the bound of each of ours to it.
fn group(
    section: &mut Option<Section>,
    name: &'static str,
    title: &str,
    series: &[Series],
    base: Option<&str>,
    limit: f64,
) {
    let ours = |one: &&Series| one.name().split([' ', ',']).next() == Some("ropewalk");
    let peers = series.iter().filter(|one| !ours(one));
    let best = peers.min_by(|one, other| one.medians().0.total_cmp(&other.medians().0));
    let base = base.and_then(|base| series.iter().find(|one| one.name().starts_with(base))).or(best);
    let mut table =
        Section::of_series(name, title, Unit::micro("request"), base.map_or("", Series::name), series);
    table.call_base("its group's base");
    for (own, base) in
        series.iter().filter(ours).zip(std::iter::repeat(base)).filter_map(|(own, base)| Some((own, base?)))
    {
        table.bound(&format!("CPU time of {} over {}", own.name(), base.name()), own.ratio(base), limit);
    }
    match section {
        None => *section = Some(table),
        Some(section) => section.append(table),
    }
}

/// Hello in each of the ways, JSON, many routes: beside the best of the peers.
pub(super) fn ways(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    const GROUPS: [(&str, &[Page]); 4] = [
        ("hello", &[Page::Hello, Page::Resource, Page::Handler]),
        ("typed", &[Page::Typed]),
        ("json", &[Page::Json]),
        ("routes", &[Page::Routes]),
    ];
    let title = format!(
        "ways: {} keep-alive connections; hello, a typed parameter, JSON, ten parameters among 200 routes",
        arguments.connections
    );
    let mut section = None;
    for (what, pages) in GROUPS {
        let mut contestants = Vec::new();
        let mut said: Option<Vec<u8>> = None;
        for server in chosen(arguments, |server| pages.iter().any(|page| server.pages.contains(page))) {
            for page in pages.iter().filter(|page| server.pages.contains(page)) {
                let name =
                    page.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
                let label = if name == what {
                    format!("{}, {what}", server.name)
                } else {
                    format!("{}, {what} from a {name}", server.name)
                };
                let options = [("--page", Path::new(&name))];
                let (one, body) = contestant(server, label, page.path(), &options, arguments)?;
                if said.get_or_insert_with(|| body.clone()) != &body {
                    return Err(io::Error::other(format!("{} answers something else", one.series.name())));
                }
                contestants.push(one);
            }
        }
        let series = measure(arguments, contestants, arguments.connections)?;
        if !series.is_empty() {
            group(&mut section, "ways", &title, &series, None, 1.0);
        }
    }
    Ok(section)
}

/// Files of three sizes, beside nginx.
pub(super) fn files(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    const SIZES: [(&str, usize, u32); 3] =
        [("1 KiB", 1 << 10, 64), ("100 KiB", 100 << 10, 64), ("10 MiB", 10 << 20, 8)];
    let servers = chosen(arguments, |server| server.files);
    let nginx = Command::new("nginx").arg("-v").output().is_ok();
    let servers: Vec<_> = servers.into_iter().filter(|server| nginx || server.name != FILES_BASE).collect();
    let folder = Folder::make("files")?;
    let mut section = None;
    for (size, bytes, connections) in SIZES {
        let name = format!("/{bytes}.txt");
        std::fs::write(folder.path().join(&name[1..]), vec![b'x'; bytes])?;
        let mut contestants = Vec::new();
        for server in &servers {
            let options = [("--folder", folder.path())];
            let label = format!("{}, {size}", server.name);
            let (one, body) = contestant(server, label, name.clone(), &options, arguments)?;
            if body.len() != bytes {
                return Err(io::Error::other(format!("{} sends {} bytes", one.series.name(), body.len())));
            }
            contestants.push(one);
        }
        let series = measure(arguments, contestants, connections.min(arguments.connections))?;
        if !series.is_empty() {
            let title = "files: from the page cache, 64 connections, 8 for the largest";
            group(&mut section, "files", title, &series, Some(FILES_BASE), 1.1);
        }
    }
    Ok(section)
}
