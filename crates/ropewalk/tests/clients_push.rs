//! Channels before clients that others wrote: Python's `websockets`, npm's `ws`, and our own client in Chromium, over a server that dies
//! and comes back.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use ropewalk::channel::{Channel, Channels, ChannelsOptions, Event, Listener, SqliteJournal};
use ropewalk::net::{Address, Port};
use ropewalk::web::push::{self, Push, PushOptions};
use ropewalk::web::{Handler, Next, Request, Response, Router, Site, middleware};
use ropewalk::{LoopingCall, Reactor};
use support::*;

/// A browser takes longer to start than anything else here.
const PATIENCE: Duration = Duration::from_secs(60);
/// Events of each life of the server.
const EVENTS: usize = 30;
const LIVES: usize = 3;

/// Four readers, each in its way: the last behind a proxy that holds event streams back. Each reports what it has when it has read `end`.
const PAGE: &str = "<!doctype html><meta charset=utf-8><title>readers</title><script type=module>
import { subscribe, publish } from '/ropewalk.js';
const read = (transport, more) => {
  const got = [];
  let gaps = 0;
  const reader = subscribe('a', { since: 0, transport, onGap: () => gaps++, ...more, onEvent: ({ data }) => {
    got.push(typeof data === 'string' ? data : `bytes${data.join('.')}`);
    if (data === 'end') publish('verdict', `${transport} by ${reader.transport}, ${gaps} gaps: ${got.join()}`);
  } });
};
['sse', 'poll', 'websocket'].forEach(transport => read(transport));
read('auto', { name: 'held', patience: 1 });
</script>";

fn site(push: &Push) -> Site {
    // A proxy that waits for the end of an answer, which an event stream has not.
    let held = |request: Request, next: Next| {
        let streams = request.header("accept").is_some_and(|accept| accept.contains("event-stream"));
        if streams && request.argument("name").as_deref() == Some("held") {
            request.wait_long();
            let patience = request.reactor().sleep(PATIENCE);
            return ropewalk::web::Answer::Later(Box::pin(async move {
                patience.await;
                ropewalk::web::Answer::Now(Response::empty(204))
            }));
        }
        next.handle(request)
    };
    let router = Router::new()
        .get("/page", |_| Response::html(PAGE))
        .route("GET", "/ropewalk.js", push::script())
        .fallback(push.handler());
    Site::new(router.with(middleware(held)))
}

fn listen(reactor: &Reactor, push: &Push, port: u16) -> (Port, u16) {
    let at = format!("tcp:{port}:interface=127.0.0.1").parse().unwrap();
    let listening = ropewalk::listen(reactor, &at, site(push)).unwrap();
    let Address::Inet(address) = *listening.address() else { unreachable!("it listens on TCP") };
    (listening, address.port())
}

/// A child that does not outlive its test.
struct Foreign(Child);

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn browse(program: &Path, profile: &str, url: &str) -> Foreign {
    let mut command = ropewalk_testkit::headless(program, Path::new(profile));
    command.arg("--remote-debugging-port=0").arg(url).stdout(Stdio::null());
    Foreign(command.spawn().unwrap())
}

/// Ends the loop when as many reports have come as there are readers.
struct Verdicts(Reactor, RefCell<Vec<String>>);

impl Listener for Verdicts {
    fn published(&self, event: &Event) {
        self.1.borrow_mut().push(event.data.text().unwrap_or_default().to_owned());
        if self.1.borrow().len() == 4 {
            self.0.stop();
        }
    }
}

/// Publishes a life's events, one at a time, from when all four read.
fn publish_when_read(reactor: &Reactor, push: &Push, channel: &Channel, life: usize) -> LoopingCall {
    let (push, channel, stop) = (push.clone(), channel.clone(), reactor.clone());
    let (begun, answered) = (Cell::new(None), Rc::new(Cell::new(0)));
    let call = LoopingCall::new(reactor, move |_| {
        if begun.get().is_none() && push.viewers() < 4 {
            return;
        }
        let number = begun.get().unwrap_or(0);
        begun.set(Some(number + 1));
        match (number < EVENTS, life + 1 == LIVES) {
            (true, _) => {
                let counted = Rc::clone(&answered);
                let published = channel.publish(format!("{}", life * EVENTS + number));
                published.add_callback(move |_| counted.set(counted.get() + 1)).detach();
            }
            (false, true) if number == EVENTS => channel.publish("end").detach(),
            // It dies without a word, when each publish was answered: what was not may be lost.
            (false, false) if answered.get() == EVENTS => stop.stop(),
            _ => {}
        }
    });
    call.start(Duration::from_millis(5), false);
    call
}

/// 1. Four readers read a channel.
/// 2. The server dies while they do, and comes back at the same port with the same store, twice.
/// 3. Each of them has got every event once, in order.
#[test]
fn nothing_is_lost_when_the_server_comes_back() {
    let Some(program) = ropewalk_testkit::require("chromium") else { return };
    let folder = Folder::new();
    let (mut port, mut browser, mut verdicts) = (0, None, Vec::new());
    for life in 0..LIVES {
        let reactor = Reactor::new().unwrap();
        let journal = SqliteJournal::open(&reactor, Path::new(&folder.name("push.db"))).unwrap();
        let channels = Channels::durable(&reactor, journal, ChannelsOptions::default());
        let push = Push::new(&channels, PushOptions { loopback_only: true, ..PushOptions::default() });
        let (listening, at) = listen(&reactor, &push, port);
        port = at;
        browser.get_or_insert_with(|| {
            browse(&program, &folder.name("profile"), &format!("http://127.0.0.1:{port}/page"))
        });
        let told = Rc::new(Verdicts(reactor.clone(), RefCell::default()));
        let listener = Rc::clone(&told);
        let (of, publisher) = (reactor.clone(), push.clone());
        let publishing: Rc<RefCell<Vec<LoopingCall>>> = Rc::default();
        let kept = Rc::clone(&publishing);
        let subscription = Rc::new(RefCell::new(None));
        let keep = Rc::clone(&subscription);
        reactor.spawn(async move {
            let verdict = publisher.channels().channel("verdict").await.unwrap();
            *keep.borrow_mut() = Some(verdict.subscribe(listener));
            let channel = publisher.channels().channel("a").await.unwrap();
            kept.borrow_mut().push(publish_when_read(&of, &publisher, &channel, life));
        });
        let late = reactor.clone();
        let _patience = reactor.call_later(PATIENCE, move || late.stop());
        reactor.run().unwrap();
        drop((listening, publishing.take(), subscription.take()));
        verdicts.extend(told.1.take());
    }
    let all: Vec<String> = (0..LIVES * EVENTS).map(|number| number.to_string()).collect();
    let all = format!("{},end", all.join(","));
    verdicts.sort();
    let expected = ["auto by poll", "poll by poll", "sse by sse", "websocket by websocket"];
    assert_eq!(verdicts, expected.map(|way| format!("{way}, 0 gaps: {all}")));
}

const PYTHON: &str = r#"
import asyncio, base64, json, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1] + '/channels/a?since=0&ack=py', proxy=None) as socket:
        async def hear(): return json.loads(await asyncio.wait_for(socket.recv(), 20))
        async def say(**message): await socket.send(json.dumps(message))
        assert 'permessage-deflate' in socket.response.headers['Sec-WebSocket-Extensions']
        assert (await hear())['subscribed'] == 'a'
        await say(publish='a', data='kettle ' * 100, ref=[1, {'x': None}])
        await say(publish='a', base64=base64.b64encode(b'\xff\x00').decode())
        heard = [await hear() for _ in range(4)]
        events = [m for m in heard if 'channel' in m]
        answers = [m for m in heard if 'published' in m]
        assert [m['id'] for m in events] == [m['id'] for m in answers]
        assert answers[0]['ref'] == [1, {'x': None}] and 'ref' not in answers[1]
        assert events[0]['data'] == 'kettle ' * 100 and base64.b64decode(events[1]['base64']) == b'\xff\x00'
        await say(ack='a', id=events[0]['id'])
        assert (await hear()) == {'acknowledged': 'a', 'id': events[0]['id']}
        await say(subscribe='b', since='5')
        assert (await hear())['subscribed'] == 'b'
        assert (await hear())['gap']['asked'] == '5'
        await (await socket.ping())
        await say(nonsense=1)
        assert (await hear())['error'] == 'message'
    async with websockets.connect(sys.argv[1] + '/channels', compression=None, proxy=None) as socket:
        await socket.send(json.dumps({'subscribe': 'a', 'ack': 'py'}))
        await socket.recv()
        assert json.loads(await socket.recv()) == events[1], 'what was not acknowledged'
    for fields in ({'Origin': 'http://evil.example.org'},):
        try:
            await websockets.connect(sys.argv[1] + '/channels', additional_headers=fields, proxy=None)
            raise SystemExit('a foreign page')
        except websockets.InvalidStatus as error:
            assert error.response.status_code == 403
    print('fine')
asyncio.run(main())
"#;

const NODE: &str = r#"
const WebSocket = require('ws');
const assert = require('assert');
const socket = new WebSocket(process.argv[1] + '/channels');
const heard = [];
let waiting;
const hear = () => heard.length ? Promise.resolve(heard.shift()) : new Promise(done => waiting = done);
socket.on('message', data => {
    const message = JSON.parse(data);
    if (waiting) { const done = waiting; waiting = undefined; done(message); } else heard.push(message);
});
const say = message => socket.send(JSON.stringify(message));
socket.on('open', async () => {
    const names = Array.from({ length: 256 }, (_, n) => 'room:' + n);
    for (const name of names) { say({ subscribe: name }); assert.equal((await hear()).subscribed, name); }
    say({ subscribe: 'one more' }); assert.equal((await hear()).error, 'name');
    say({ subscribe: 'onemore' }); assert.equal((await hear()).error, 'too_many');
    for (const name of names) {
        say({ publish: name, data: name });
        const two = [await hear(), await hear()];
        assert.equal(two.find(message => message.channel).data, name);
        assert.equal(two.find(message => message.published).published, name);
    }
    socket.on('close', code => { console.log('fine', code); });
    socket.close(1000);
});
"#;

/// `{"exp":4102444800,"publish":["a"],"subscribe":["a"]}`, signed with HS256 by [`SECRET`].
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjQxMDI0NDQ4MDAsInB1Ymxpc2giOlsiYSJdLCJzdWJzY3JpYmUiOlsiYSJdfQ.1Hk0HKrFH78K3tz-MyvksHsQTiXLkYkKcwsMX6nGoeY";
const SECRET: &[u8] = b"a secret of thirty-two bytes here";

/// The client that pages have, with a token: it publishes and reads bytes and text, is told a gap, and is refused where it may not read.
const CLIENT: &str = r#"
const [url, script, token] = process.argv.slice(1);
const { subscribe, publish } = await import(script);
const base = url.replace('ws:', 'http:') + '/channels';
const heard = [];
let tokens = 0;
await publish('a', 'text\nof two lines', { base, token });
await publish('a', new Uint8Array([0, 255]), { base, token });
await new Promise(done => {
    const reader = subscribe('a', {
        base,
        since: 5,
        // The first is out of date.
        token: () => tokens++ ? token : 'x.y.z',
        onGap: gap => heard.push('gap behind ' + gap.asked),
        onEvent: ({ channel, data }) => {
            heard.push(channel + ' ' + (typeof data === 'string' ? JSON.stringify(data) : data.join('.')));
            if (typeof data !== 'string') { reader.close(); done(); }
        },
    });
});
const refusals = channel => new Promise(done => subscribe(channel, { base, token, onState: (state, why) => {
    if (state === 'refused') done(why);
} }));
heard.push(await refusals('b'));
heard.push(await publish('b', 'x', { base, token }).catch(error => error.status));
heard.push(await publish('a', 'x', { base }).catch(error => error.status));
console.log(heard.join('; '));
process.exit(0);
"#;

#[test]
fn the_client_of_pages_has_a_token() {
    let Some(program) = ropewalk_testkit::require("node") else { return };
    let tokens = push::Tokens::new(SECRET, None).unwrap();
    let options = PushOptions { admit: Some(tokens.admit()), ..PushOptions::default() };
    let folder = Folder::new();
    let script = folder.write("ropewalk.mjs", push::SCRIPT);
    let said = serve_options(options, move |url| {
        let mut command = Command::new(program);
        command.env_remove("NODE_OPTIONS").args(["--input-type=module", "--eval", CLIENT]);
        command.args([&url, &script, TOKEN]).stdin(Stdio::null());
        command.output().unwrap()
    });
    assert_eq!(said, "gap behind 5; a \"text\\nof two lines\"; a 0.255; 403; 403; 401\n");
}

fn serve_beside(run: impl FnOnce(String) -> std::process::Output + Send + 'static) -> String {
    serve_options(PushOptions { loopback_only: true, ..PushOptions::default() }, run)
}

fn serve_options(
    options: PushOptions,
    run: impl FnOnce(String) -> std::process::Output + Send + 'static,
) -> String {
    let reactor = Reactor::new().unwrap();
    let channels = Channels::in_memory(&reactor, ChannelsOptions::default());
    let push = Push::new(&channels, options);
    let (_listening, port) = listen(&reactor, &push, 0);
    let remote = reactor.remote();
    let thread = std::thread::spawn(move || {
        let output = run(format!("ws://127.0.0.1:{port}"));
        // The loop ends when the program has.
        let _ = remote.call_from_thread(|reactor| reactor.stop());
        output
    });
    let late = reactor.clone();
    let _patience = reactor.call_later(PATIENCE, move || late.stop());
    reactor.run().unwrap();
    let output = thread.join().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn websockets_of_python_speaks_with_channels() {
    let (Some(program), Some(path)) =
        (ropewalk_testkit::require("python3"), ropewalk_testkit::python("websockets"))
    else {
        return;
    };
    let said = serve_beside(move |url| {
        let mut command = Command::new(program);
        command.env("PYTHONPATH", path).args(["-c", PYTHON, &url]).stdin(Stdio::null());
        command.output().unwrap()
    });
    assert_eq!(said, "fine\n");
}

#[test]
fn ws_of_npm_reads_256_channels() {
    let (Some(program), Some(path)) = (ropewalk_testkit::require("node"), ropewalk_testkit::node("ws"))
    else {
        return;
    };
    let said = serve_beside(move |url| {
        let mut command = Command::new(program);
        command.env("NODE_PATH", path.join("node_modules")).env_remove("NODE_OPTIONS");
        command.args(["--eval", NODE, &url]).stdin(Stdio::null());
        command.output().unwrap()
    });
    assert_eq!(said, "fine 1000\n");
}
