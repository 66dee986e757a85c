//! Logs and figures as others read them: `tail -F` behind a rotation, Python's parser of Prometheus' format and of JSON.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use ropewalk::app::log::{Event, Level, to_json};
use ropewalk::app::metrics::{self, Registry, Sources};
use ropewalk::app::{At, LogWriter, Rotation};
use ropewalk::web::{Metrics, Router, Site};
use support::*;

/// What a label may say in the worst case; the script knows it, too.
const EVIL: &str = "a\\b\"c\nd\\n{e=\"f\"} ü";

#[test]
fn tail_f_reads_on_behind_a_rotation() {
    let Some(tail) = ropewalk_testkit::require("tail") else { return };
    let folder = Folder::new();
    let path = folder.write("a.log", "");
    let rotation = Rotation { at: At::Never, compress: true, ..Rotation::default() };
    let log = LogWriter::rotating(path.as_ref(), rotation).unwrap();
    let mut child = Command::new(tail)
        .args(["-n", "+1", "-F", &path])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (tell, told) = channel();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next()
            && tell.send(line).is_ok()
        {}
    });
    for round in 0..3 {
        for number in 0..100 {
            log.write(format!("{round} {number}\n").as_bytes());
        }
        for number in 0..100 {
            assert_eq!(told.recv_timeout(PATIENCE).unwrap(), format!("{round} {number}"));
        }
        log.rotate();
        assert!(log.flush(PATIENCE));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Runs a Python script with packages; what it asserts must hold.
fn script(package: &str, script: &str, argument: &str) {
    let (Some(python), Some(path)) =
        (ropewalk_testkit::require("python3"), ropewalk_testkit::python(package))
    else {
        return;
    };
    let output =
        Command::new(python).env("PYTHONPATH", path).args(["-c", script, argument]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn pythons_parser_of_prometheus_reads_the_page() {
    let server = Server::start(|reactor| {
        let (sources, requests, registry) = (Sources::new(), Metrics::new(), Registry::new());
        sources.reactor("home", reactor);
        sources.requests(&requests);
        sources.registry(&registry);
        registry.counter("shop_sold_total", "A \\ help\nof two lines.", &[("kind", EVIL)]).unwrap().add(3);
        let took = registry.histogram("shop_sale_seconds", "Sales.", &[], &[0.5, 1.0]).unwrap();
        [0.25, 0.75, 5.0].into_iter().for_each(|value| took.observe(value));
        let site = Site::new(Router::new().route("GET", "/metrics", metrics::handler(&sources)));
        let site = site.observe(std::rc::Rc::new(requests));
        sources.site("web", &site.handle());
        let port = ropewalk::listen(reactor, &"tcp:0:interface=127.0.0.1".parse().unwrap(), site).unwrap();
        sources.port("web", &port);
        match port.address() {
            ropewalk::Address::Inet(address) => address.port(),
            _ => unreachable!("it was asked for TCP"),
        }
    });
    script(
        "prometheus_client",
        r#"
import sys, urllib.request
from prometheus_client.parser import text_string_to_metric_families
url = f'http://127.0.0.1:{sys.argv[1]}/metrics'
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
opener.open(url, timeout=20).read()
answer = opener.open(url, timeout=20)
assert answer.headers['Content-Type'] == 'text/plain; version=0.0.4; charset=utf-8'
families = {f.name: f for f in text_string_to_metric_families(answer.read().decode())}
def value(family, name, **labels):
    found = [s.value for s in families[family].samples if s.name == name and s.labels == labels]
    assert len(found) == 1, (name, labels, families[family].samples)
    return found[0]
evil = 'a\\b"c\nd\\n{e="f"} ü'
assert families['shop_sold'].documentation == 'A \\ help\nof two lines.'
assert families['shop_sold'].type == 'counter'
assert value('shop_sold', 'shop_sold_total', kind=evil) == 3
assert families['shop_sale_seconds'].type == 'histogram'
assert value('shop_sale_seconds', 'shop_sale_seconds_bucket', le='0.5') == 1
assert value('shop_sale_seconds', 'shop_sale_seconds_bucket', le='+Inf') == 3
assert value('shop_sale_seconds', 'shop_sale_seconds_sum') == 6
assert value('process_open_fds', 'process_open_fds') > 3
assert value('ropewalk_loop_turns', 'ropewalk_loop_turns_total', worker='home') > 0
assert value('ropewalk_site_requests', 'ropewalk_site_requests_total', service='web') == 1
assert value('http_requests', 'http_requests_total', route='/metrics', method='GET', status='2xx') == 1
"#,
        &server.place.to_string(),
    );
}

#[test]
fn python_reads_the_json_of_an_event() {
    let Some(_) = ropewalk_testkit::require("python3") else { return };
    let event = Event::format(Level::Warn, "shop", "{what} \u{1b}[31m").with("what", EVIL).with("n", -3);
    python(
        r#"
import json, sys
event = json.loads(sys.argv[1])
evil = 'a\\b"c\nd\\n{e="f"} ü'
assert event['message'] == evil + ' \x1b[31m' and event['fields'] == {'what': evil, 'n': -3}
assert (event['level'], event['namespace'], event['format']) == ('warn', 'shop', '{what} \x1b[31m')
assert event['time'] == '1970-01-01T00:00:00Z'
"#,
        to_json(&event).trim_end(),
    );
}
