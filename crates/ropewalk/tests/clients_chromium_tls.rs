//! Channels over TLS in headless Chromium: a page, its event stream and its WebSocket, with a certificate that only this browser believes.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use ropewalk::channel::{Channels, ChannelsOptions, Event, Listener};
use ropewalk::net::{Address, Port};
use ropewalk::web::push::{Push, PushOptions};
use ropewalk::web::{Response, Router, Site};
use ropewalk::{LoopingCall, Reactor};
use support::*;

/// A browser takes longer to start than anything else here.
const PATIENCE: Duration = Duration::from_secs(60);
const EVENTS: usize = 20;

/// Both kinds of reader, and a look at a server whose key this browser does not believe.
const PAGE: &str = "<!doctype html><meta charset=utf-8><title>readers</title><script type=module>
const say = text => fetch('/channels/verdict', { method: 'POST', body: text, headers: { 'Content-Type': 'text/plain' } });
const collect = way => {
  const got = [];
  return text => { got.push(text); if (text === 'end') say(`${way()}: ${got.join()}`); };
};
const events = new EventSource('/channels/a?since=0');
const told = collect(() => `events, secure ${isSecureContext}`);
events.onmessage = ({ data }) => told(data);
const socket = new WebSocket(`wss://${location.host}/channels/a?since=0`);
const heard = collect(() => `socket, ${socket.url.split(':')[0]}`);
socket.onmessage = ({ data }) => { const message = JSON.parse(data); if ('data' in message) heard(message.data); };
fetch(`https://127.0.0.1:${location.hash.slice(1)}/`, { mode: 'no-cors' })
  .then(() => say('other: believed'), () => say('other: refused'));
</script>";

/// A pair as the program makes it, signed by nobody but itself.
fn pair(folder: &Folder, name: &str) -> (String, String) {
    let (cert, key) = (folder.name(&format!("{name}.crt")), folder.name(&format!("{name}.key")));
    let ended = run(&["cert", "localhost", "127.0.0.1", "--cert", &cert, "--key", &key]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    (cert, key)
}

/// How a browser is told of a public key: the SHA-256 of its SubjectPublicKeyInfo, in base64 (RFC 7469 section 2.4).
fn pin(openssl: &Path, key: &str) -> String {
    let steps = "\"$1\" pkey -in \"$2\" -pubout -outform der | \"$1\" dgst -sha256 -binary | \"$1\" base64";
    let output = Command::new("sh").args(["-c", steps, "sh"]).arg(openssl).arg(key).output().unwrap();
    let pin = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    assert_eq!(pin.len(), 44, "{}", String::from_utf8_lossy(&output.stderr));
    pin
}

fn listen(reactor: &Reactor, (cert, key): &(String, String), site: Site) -> (Port, u16) {
    let at = format!("ssl:0:interface=127.0.0.1:privateKey={key}:certKey={cert}").parse().unwrap();
    let listening = ropewalk::listen(reactor, &at, site).unwrap();
    let Address::Inet(address) = *listening.address() else { unreachable!("it listens on TCP") };
    (listening, address.port())
}

/// A browser that does not outlive its test.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Opens a page in a browser that believes this key, and no other that nobody has signed.
fn browse(program: &Path, profile: &str, pin: &str, url: &str) -> Browser {
    let mut command = ropewalk_testkit::headless(program, Path::new(profile));
    command.arg(format!("--ignore-certificate-errors-spki-list={pin}"));
    command.arg("--remote-debugging-port=0").arg(url).stdout(Stdio::null());
    Browser(command.spawn().unwrap())
}

/// Ends the loop when all three have reported.
struct Verdicts(Reactor, RefCell<Vec<String>>);

impl Listener for Verdicts {
    fn published(&self, event: &Event) {
        self.1.borrow_mut().push(event.data.text().unwrap_or_default().to_owned());
        if self.1.borrow().len() == 3 {
            self.0.stop();
        }
    }
}

/// 1. A page comes over TLS, and reads a channel by an event stream and by a WebSocket, over TLS both.
/// 2. Events are published while both are there.
/// 3. Each has got all of them, in order.
/// 4. A server with another key, which was not named, is not believed.
#[test]
fn a_page_hears_events_over_tls_by_event_stream_and_by_websocket() {
    let Some(chromium) = ropewalk_testkit::require("chromium") else { return };
    let Some(openssl) = ropewalk_testkit::require("openssl") else { return };
    let folder = Folder::new();
    let (believed, unknown) = (pair(&folder, "believed"), pair(&folder, "unknown"));
    let reactor = Reactor::new().unwrap();
    let channels = Channels::in_memory(&reactor, ChannelsOptions::default());
    let push = Push::new(&channels, PushOptions { loopback_only: true, ..PushOptions::default() });
    let router = Router::new().get("/page", |_| Response::html(PAGE)).fallback(push.handler());
    let (_listening, port) = listen(&reactor, &believed, Site::new(router));
    let asked = Rc::new(Cell::new(0));
    let count = Rc::clone(&asked);
    let other = Router::new().get("/", move |_| {
        count.set(count.get() + 1);
        "nobody is to see this"
    });
    let (other_port, other) = listen(&reactor, &unknown, Site::new(other));
    let verdicts = Rc::new(Verdicts(reactor.clone(), RefCell::default()));
    let verdict = channels.channel_now("verdict").unwrap();
    let _subscription = verdict.subscribe(verdicts.clone());
    let (channel, number) = (channels.channel_now("a").unwrap(), Cell::new(0));
    let publishing = LoopingCall::new(&reactor, move |_| {
        if push.viewers() < 2 && number.get() == 0 {
            return;
        }
        match number.replace(number.get() + 1) {
            now if now < EVENTS => drop(channel.publish_now(now.to_string()).unwrap()),
            now if now == EVENTS => drop(channel.publish_now("end").unwrap()),
            _ => {}
        }
    });
    publishing.start(Duration::from_millis(5), false);
    let late = reactor.clone();
    let _patience = reactor.call_later(PATIENCE, move || late.stop());
    let url = format!("https://127.0.0.1:{port}/page#{other}");
    let _browser = browse(&chromium, &folder.name("profile"), &pin(&openssl, &believed.1), &url);
    reactor.run().unwrap();
    let mut heard = verdicts.1.take();
    heard.sort();
    let all: Vec<String> = (0..EVENTS).map(|number| number.to_string()).collect();
    let all = format!("{},end", all.join(","));
    assert_eq!(
        heard,
        [format!("events, secure true: {all}"), "other: refused".to_owned(), format!("socket, wss: {all}")]
    );
    assert_eq!(asked.get(), 0);
    assert!(other_port.statistics().accepted > 0, "it was tried");
}
