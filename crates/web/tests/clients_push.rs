//! Clients that others wrote, on a channel: curl, Python's httpx-sse, npm's eventsource, and a browser.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use ropewalk_channel::{Channels, ChannelsOptions};
use ropewalk_net::{Address, listen};
use ropewalk_reactor::Reactor;
use ropewalk_web::push::{Push, PushOptions};
use ropewalk_web::{Response, Router, Site};

/// Reads two events, comes back behind the first, and reads bytes and a gap.
const PAGE: &str = "<!doctype html><meta charset=utf-8><title>wait</title><pre id=said></pre><script>
const said = text => document.getElementById('said').append(text + '\\n');
const source = new EventSource('/channels/a?since=5');
source.addEventListener('gap', event => said('gap ' + JSON.parse(event.data).asked));
source.addEventListener('binary', event => { said('binary ' + atob(event.data)); source.close(); document.title = 'done'; });
source.onmessage = event => { said('message ' + event.data + ' ' + (event.lastEventId > 5)); };
</script>";

/// Serves channel `a` with two texts and some bytes, and runs a program beside the loop, which ends when it has ended.
fn beside(run: impl FnOnce(SocketAddr) -> Output + Send + 'static) -> String {
    let reactor = Reactor::new().unwrap();
    let channels = Channels::in_memory(&reactor, ChannelsOptions::default());
    let a = channels.channel_now("a").unwrap();
    a.publish_now("one").unwrap();
    a.publish_now("two\nlines").unwrap();
    a.publish_now(b"bytes".to_vec()).unwrap();
    let push = Push::new(&channels, PushOptions { loopback_only: true, ..PushOptions::default() });
    let router = Router::new()
        .get("/page", |_| Response::new(PAGE).content_type("text/html; charset=utf-8"))
        .fallback(push.handler());
    let at = "tcp:0:interface=127.0.0.1".parse().unwrap();
    let port = listen(&reactor, &at, Site::new(router)).unwrap();
    let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
    let remote = reactor.remote();
    let thread = std::thread::spawn(move || {
        let output = run(address);
        // The loop ends when the program has.
        let _ = remote.call_from_thread(|reactor| reactor.stop());
        output
    });
    // A client that hangs ends with the test.
    let late = reactor.clone();
    let _patience = reactor.call_later(Duration::from_secs(90), move || late.stop());
    reactor.run().unwrap();
    let output = thread.join().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn curl(program: &Path, arguments: &[String]) -> Output {
    Command::new(program)
        .args(["--silent", "--show-error", "--noproxy", "*"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn curl_publishes_and_reads_every_form() {
    let Some(program) = ropewalk_testkit::require("curl") else { return };
    let said = beside(move |address| {
        let url = format!("http://{address}/channels/a");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let posted = curl(&program, &[words("-d three"), vec![url.clone()]].concat());
        assert!(posted.status.success() && posted.stdout.starts_with(b"{\"id\":\""), "{posted:?}");
        let mut whole = Vec::new();
        // A stream has no end: curl leaves when it has been silent for a second.
        for accept in ["text/event-stream", "application/x-ndjson"] {
            let mut arguments = words("-N --speed-limit 1 --speed-time 1 -H");
            arguments.extend([format!("Accept: {accept}"), format!("{url}?since=0")]);
            whole.extend(curl(&program, &arguments).stdout);
        }
        let mut last = curl(&program, &[format!("{url}?since=0")]);
        whole.extend_from_slice(&last.stdout);
        last.stdout = whole;
        last
    });
    for expected in [
        "data: one\n\n",
        "data: two\ndata: lines\n\n",
        "event: binary\ndata: Ynl0ZXM=\n\n",
        "data: three\n\n",
        ",\"data\":\"two\\nlines\"}\n",
        ",\"base64\":\"Ynl0ZXM=\"}\n",
        "{\"events\":[{\"id\":\"",
    ] {
        assert!(said.contains(expected), "{expected:?} in {said}");
    }
}

const PYTHON: &str = r#"
import sys, httpx, base64
from httpx_sse import connect_sse
url = sys.argv[1] + '/channels/a'
with httpx.Client(trust_env=False, timeout=20) as client:
    first = None
    with connect_sse(client, 'GET', url, params={'since': '0'}) as source:
        # It hands out the advice when to come back, which is no event, as an empty one.
        for event in filter(lambda event: event.data, source.iter_sse()):
            print(event.event, repr(event.data))
            first = first or event.id
            if event.event == 'binary':
                break
    with connect_sse(client, 'GET', url, headers={'Last-Event-ID': first}) as source:
        print('resumed', repr(next(event.data for event in source.iter_sse() if event.data)))
    posted = client.post(url, content=b'\xff', headers={'Content-Type': 'application/octet-stream'})
    print(posted.status_code)
    polled = client.get(url, params={'since': int(posted.json()['id']) - 1}).json()
    print(base64.b64decode(polled['events'][0]['base64']), polled['next'] == posted.json()['id'])
"#;

#[test]
fn httpx_sse_reads_resumes_and_polls() {
    let (Some(program), Some(path)) =
        (ropewalk_testkit::require("python3"), ropewalk_testkit::python("httpx_sse"))
    else {
        return;
    };
    let said = beside(move |address| {
        Command::new(program)
            .env("PYTHONPATH", path)
            .args(["-c", PYTHON, &format!("http://{address}")])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    });
    let expected = "message 'one'\nmessage 'two\\nlines'\nbinary 'Ynl0ZXM='\nresumed 'two\\nlines'\n201\nb'\\xff' True\n";
    assert_eq!(said, expected);
}

const NODE: &str = r#"
const { EventSource } = require('eventsource');
const url = process.argv[1] + '/channels/a';
const source = new EventSource(url + '?since=0');
source.onmessage = event => console.log('message', JSON.stringify(event.data), event.lastEventId.length > 10);
source.onerror = event => { console.log('error', event.message); process.exit(1); };
source.addEventListener('binary', async event => {
    console.log('binary', Buffer.from(event.data, 'base64').toString());
    source.close();
    const again = new EventSource(url + '?since=9007199254740991');
    again.addEventListener('gap', event => {
        console.log('gap', JSON.parse(event.data).asked);
        again.close();
    });
});
"#;

#[test]
fn eventsource_of_npm_reads_bytes_and_gaps() {
    let (Some(program), Some(path)) =
        (ropewalk_testkit::require("node"), ropewalk_testkit::node("eventsource"))
    else {
        return;
    };
    let said = beside(move |address| {
        Command::new(program)
            .env("NODE_PATH", path.join("node_modules"))
            .env_remove("NODE_OPTIONS")
            .args(["--eval", NODE, &format!("http://{address}")])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    });
    let expected = "message \"one\" true\nmessage \"two\\nlines\" true\nbinary bytes\ngap 9007199254740991\n";
    assert_eq!(said, expected);
}

#[test]
fn a_browser_reads_text_bytes_and_gaps() {
    let Some(program) = ropewalk_testkit::require("chromium") else { return };
    let profile = std::env::temp_dir().join(format!("ropewalk-push-browser-{}", std::process::id()));
    let data = profile.clone();
    let said = beside(move |address| {
        ropewalk_testkit::headless(&program, &data)
            .arg("--virtual-time-budget=20000")
            .args(["--dump-dom", &format!("http://{address}/page")])
            .output()
            .unwrap()
    });
    std::fs::remove_dir_all(&profile).unwrap();
    assert!(said.contains("gap 5\nmessage one true\nmessage two\nlines true\nbinary bytes\n"), "{said}");
}
