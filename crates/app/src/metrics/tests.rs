//! The page by a strict reader of its own, written from the format's description; handlers under the simulation. Python's parser reads
//! the program's page in `clients_logs` of the facade.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use ropewalk_net::{Address, SystemResolver, listen};
use ropewalk_reactor::Simulation;
use ropewalk_web::client::Agent;
use ropewalk_web::{Metrics, Router, Site};

use super::*;
use crate::log::{Event, Level, Publisher};
use crate::logfile::LogWriter;

/// A sample's name and labels.
type Series = (String, BTreeMap<String, String>);

/// Reads a page; what the format does not allow is a panic.
fn read(page: &str) -> BTreeMap<Series, f64> {
    assert!(page.ends_with('\n'));
    let (mut samples, mut kinds, mut current) = (BTreeMap::new(), BTreeMap::new(), String::new());
    let mut done = BTreeSet::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(done.insert(name.to_owned()), "{name} is there twice");
            assert!(!help.is_empty());
            current = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current, "TYPE follows HELP");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{kind}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            kinds.insert(name.to_owned(), kind.to_owned());
        } else {
            let (series, value) = sample(line);
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| series.0.strip_suffix(end));
            let is_part = family == Some(&current) && kinds[&current] == "histogram";
            assert!(series.0 == current || is_part, "{line} stands under {current}");
            assert!(samples.insert(series, value).is_none(), "twice: {line}");
        }
    }
    samples
}

fn sample(line: &str) -> (Series, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    assert!(page::is_name(name, true), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap();
            assert!(page::is_name(label, false), "{line}");
            let (value, after) = quoted(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            match after.as_bytes()[0] {
                b',' => rest = &after[1..],
                b'}' => {
                    rest = &after[1..];
                    break;
                }
                _ => panic!("{line}"),
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap();
    let value = if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap() };
    ((name.to_owned(), labels), value)
}

/// What stands up to the quote, and what follows it.
fn quoted(text: &str) -> (String, &str) {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match characters.next().unwrap().1 {
                'n' => '\n',
                other @ ('"' | '\\') => other,
                other => panic!("\\{other} is no escape"),
            }),
            other => value.push(other),
        }
    }
    panic!("a quote is open: {text}")
}

fn find(page: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    read(page).get(&(name.to_owned(), labels)).copied()
}

#[test]
fn whatever_a_label_says_is_read_again() {
    let evil = "a\\b\"c\nd\\n{e=\"f\"} 1\n# TYPE x counter";
    let mut page = Page::default();
    page.gauge("x", evil, &[("l", evil), ("empty", "")], 1.5);
    page.gauge("bad name-1", "h", &[("1 bad", "v")], f64::INFINITY);
    page.counter("y", "h", &[], 7.0);
    page.gauge("y_total", "It is a counter.", &[], 9.0);
    let text = page.text();
    assert_eq!(find(&text, "x", &[("l", evil), ("empty", "")]), Some(1.5));
    assert_eq!(find(&text, "bad_name_1", &[("_1_bad", "v")]), Some(f64::INFINITY));
    assert_eq!(find(&text, "y_total", &[]), Some(7.0));
    assert!(text.contains("# HELP x a\\\\b\"c\\nd\\\\n{e=\"f\"} 1\\n# TYPE x counter\n"), "{text}");
}

#[test]
fn figures_of_ones_own_are_counted_from_any_thread() {
    let registry = Registry::new();
    let counting: Vec<_> = (0..4)
        .map(|_| {
            let registry = registry.clone();
            std::thread::spawn(move || {
                let count = registry.counter("c_total", "h", &[("b", "2"), ("a", "1")]).unwrap();
                let gauge = registry.gauge("g", "h", &[]).unwrap();
                let spread = registry.histogram("s_seconds", "h", &[("a", "1")], &[0.1, 1.0]).unwrap();
                for number in 0..1000 {
                    count.increment();
                    gauge.add(0.5);
                    spread.observe([0.05, 0.1, 0.5, 2.0][number % 4]);
                }
                spread.observe(f64::NAN);
            })
        })
        .collect();
    counting.into_iter().for_each(|thread| thread.join().unwrap());
    let sources = Sources::new();
    sources.registry(&registry);
    let page = exposition(&sources);
    assert_eq!(find(&page, "c_total", &[("a", "1"), ("b", "2")]), Some(4000.0));
    assert_eq!(find(&page, "g", &[]), Some(2000.0));
    let bucket = |bound| find(&page, "s_seconds_bucket", &[("a", "1"), ("le", bound)]).unwrap();
    assert_eq!(["0.1", "1", "+Inf"].map(bucket), [2000.0, 3000.0, 4000.0]);
    assert_eq!(find(&page, "s_seconds_count", &[("a", "1")]), Some(4000.0));
    assert!((find(&page, "s_seconds_sum", &[("a", "1")]).unwrap() - 2650.0).abs() < 1e-6);
}

#[test]
fn names_and_kinds_that_cannot_be_are_refused() {
    let registry = Registry::new();
    let name = |name: &str| Some(MetricError::Name(name.to_owned()));
    for wrong in ["", "1x_total", "x y_total", "ü_total", "x"] {
        assert_eq!(registry.counter(wrong, "h", &[]).err(), name(wrong));
    }
    for wrong in ["", "le", "a:b", "a-b"] {
        assert_eq!(registry.gauge("g", "h", &[(wrong, "v")]).err(), name(wrong));
    }
    for wrong in [&[1.0, 1.0][..], &[2.0, 1.0], &[f64::NAN], &[f64::INFINITY]] {
        assert_eq!(registry.histogram("h", "h", &[], wrong).err(), Some(MetricError::Bounds));
    }
    registry.histogram("h", "h", &[], &[1.0]).unwrap();
    let taken = Some(MetricError::Taken("h".to_owned()));
    assert_eq!(registry.histogram("h", "h", &[], &[2.0]).err(), taken);
    assert_eq!(registry.gauge("h", "h", &[]).err(), taken);
}

#[test]
fn labels_that_somebody_sends_do_not_fill_the_memory() {
    let registry = Registry::new();
    for number in 0..5000 {
        registry.counter("c_total", "h", &[("path", &number.to_string())]).unwrap().increment();
    }
    let sources = Sources::new();
    sources.registry(&registry);
    let page = exposition(&sources);
    assert_eq!(find(&page, "c_total", &[("path", "other")]), Some(4000.0));
    assert_eq!(read(&page).keys().filter(|(name, _)| name == "c_total").count(), 1001);
}

#[test]
fn a_process_knows_its_own_figures() {
    let page = exposition(&Sources::new());
    let value = |name| find(&page, name, &[]).unwrap_or_else(|| panic!("no {name} in {page}"));
    assert!(value("process_resident_memory_bytes") > 100_000.0);
    assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
    assert!(value("process_cpu_seconds_total") > 0.0);
    assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") < value("process_max_fds"));
    assert!(value("process_threads") >= 1.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let age = now - value("process_start_time_seconds");
    // The system counts in ticks, from a second that is rounded.
    assert!((-2.0..3600.0).contains(&age), "{age}");
}

/// Sends a request and runs the simulation until the connection ends; what came.
fn ask(simulation: &Simulation, address: &Address, target: &str) -> String {
    let Address::Inet(address) = address else { panic!("{address}") };
    let peer = simulation.network().connect(*address);
    let patience = std::time::Duration::from_secs(20);
    assert!(simulation.run_until(patience, || peer.is_writable()));
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(peer.write(request.as_bytes()), request.len());
    assert!(simulation.run_until(patience, || peer.is_ended()));
    String::from_utf8(peer.take()).unwrap()
}

#[test]
fn the_page_shows_loops_ports_sites_pools_and_logs() {
    let simulation = Simulation::new(7);
    let reactor = simulation.reactor().clone();
    let (sources, requests) = (Sources::new(), Metrics::new());
    let site = Site::new(
        Router::new()
            .get("/", |_| "hello")
            .route("GET", "/metrics", handler(&sources))
            .route("GET", "/healthz", healthz())
            .route("GET", "/readyz", readyz(|| Err("not yet".to_owned()))),
    );
    let site = site.observe(Rc::new(requests.clone()));
    sources.site("web", &site.handle());
    sources.reactor("home", &reactor);
    sources.requests(&requests);
    let log = LogWriter::new(Box::new(std::io::sink()), None).unwrap();
    log.write(b"a line\n");
    sources.log("access", &log);
    let publisher = Publisher::default();
    publisher.publish(Event::new(Level::Error, "x", "y"));
    sources.publisher(&publisher);
    let port = listen(&reactor, &"tcp:80:interface=127.0.0.1".parse().unwrap(), site).unwrap();
    sources.port("web", &port);
    sources.agent("api", &Agent::new(&reactor));
    sources.resolver(&SystemResolver::default());
    let ask = |target| ask(&simulation, port.address(), target);
    assert!(ask("/").ends_with("hello"));
    assert!(ask("/healthz").ends_with("\r\n\r\nok\n"));
    let refused = ask("/readyz");
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.ends_with("\r\n\r\nnot yet\n"), "{refused}");
    let answer = ask("/metrics");
    assert!(answer.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    let page = answer.split_once("\r\n\r\n").unwrap().1;
    let endpoint = port.endpoint().to_string();
    for (name, labels, expected) in [
        ("ropewalk_connections_accepted_total", &[("service", "web"), ("endpoint", &*endpoint)][..], 4.0),
        ("ropewalk_site_requests_total", &[("service", "web")], 3.0),
        ("ropewalk_site_timeouts_total", &[("service", "web"), ("phase", "head")], 0.0),
        ("ropewalk_log_lines_total", &[("log", "access")], 1.0),
        ("ropewalk_events_total", &[("level", "error")], 1.0),
        ("ropewalk_agent_connections", &[("agent", "api")], 0.0),
        ("ropewalk_resolver_lookups_total", &[], 0.0),
        ("http_requests_total", &[("route", "/"), ("method", "GET"), ("status", "2xx")], 1.0),
        ("http_requests_total", &[("route", "/readyz"), ("method", "GET"), ("status", "5xx")], 1.0),
        ("http_request_duration_seconds_count", &[("route", "/"), ("method", "GET"), ("status", "2xx")], 1.0),
    ] {
        assert_eq!(find(page, name, labels), Some(expected), "{name}");
    }
    assert!(find(page, "ropewalk_loop_turns_total", &[("worker", "home")]).unwrap() > 0.0);
    assert!(read(page).keys().any(|(name, _)| name == "ropewalk_pool_threads_max"));
}
