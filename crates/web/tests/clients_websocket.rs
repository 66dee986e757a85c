//! WebSocket before others: Python's `websockets` and npm's `ws`, each as client of this server and as server of this client, and
//! Chromium's own.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use ropewalk_net::{Address, listen};
use ropewalk_reactor::{Outcome, Reactor, react};
use ropewalk_web::client::Agent;
use ropewalk_web::websocket::{
    self, DeflateOptions, Message, Options, Prepared, WebSocket, WebSocketHandler,
};
use ropewalk_web::{Request, Response, Router, Site};

const PATIENCE: Duration = Duration::from_secs(60);

/// Echoes; says what was asked for in other ways; tells the test what comes behind "report ".
struct Server {
    verdict: Sender<String>,
}

impl WebSocketHandler for Server {
    fn message(&mut self, socket: &WebSocket, message: Message) {
        match message.as_text() {
            Some("prepared") => socket.send_shared(&Prepared::text(&"prepared ".repeat(100))),
            Some("subprotocol") => socket.send_text(&socket.subprotocol().unwrap_or_default()),
            Some("close") => socket.close(4001, "as you wish"),
            Some(text) if text.starts_with("report ") => {
                // The test may have ended.
                let _ = self.verdict.send(text["report ".len()..].to_owned());
            }
            _ => socket.send(&message),
        }
    }
}

fn takeover(takeover: bool) -> Option<DeflateOptions> {
    Some(DeflateOptions { own_takeover: takeover, peer_takeover: takeover, ..DeflateOptions::default() })
}

/// Serves `page` and WebSockets, `/kept` with context takeover, while `work` runs on a thread. Answers what was reported.
fn serving(
    page: &'static str,
    work: impl FnOnce(u16, &dyn Fn() -> String) -> Result<(), String> + Send + 'static,
) {
    let (verdict, reported) = channel();
    let options = |deflate| {
        let subprotocols = vec!["second".to_owned()];
        Rc::new(Options { deflate, subprotocols, ..Options::default() })
    };
    let sockets = |options: Rc<Options>| {
        let verdict = verdict.clone();
        move |request: Request| {
            websocket::upgrade(&request, Rc::clone(&options), Server { verdict: verdict.clone() })
        }
    };
    let router = Router::new()
        .get("/", move |_| Response::html(page))
        .get("/plain", sockets(options(None)))
        .get("/fresh", sockets(options(takeover(false))))
        .get("/kept", sockets(options(takeover(true))));
    let reactor = Reactor::new().unwrap();
    let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse().unwrap(), Site::new(router)).unwrap();
    let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
    let remote = reactor.remote();
    let thread = std::thread::spawn(move || {
        let report = || reported.recv_timeout(PATIENCE).unwrap_or_else(|_| "nothing was reported".to_owned());
        let outcome = work(address.port(), &report);
        let _ = remote.call_from_thread(|reactor| reactor.stop());
        outcome
    });
    reactor.run().unwrap();
    thread.join().unwrap().unwrap();
}

/// Runs a program to its end.
fn succeeds(mut command: Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let said = |bytes| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() && output.stdout.ends_with(b"fine\n") {
        true => Ok(()),
        false => Err(said(&output.stdout) + &said(&output.stderr)),
    }
}

/// A program that is a server, and prints its port first; killed when it is dropped.
struct Foreign(Child, u16);

impl Foreign {
    fn start(mut command: Command) -> Foreign {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| panic!("it says no port: {line:?}"));
        Foreign(child, port)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What this client says to an echo, with compression in each form and without.
fn converse(port: u16) {
    let outcome = react(move |reactor| async move {
        for deflate in [None, takeover(false), takeover(true)] {
            let subprotocols = vec!["first".to_owned(), "second".to_owned()];
            let options = Options { deflate, subprotocols, ..Options::default() };
            let url = format!("ws://127.0.0.1:{port}/");
            let mut socket =
                websocket::dial(&Agent::new(&reactor), &url, options).add_timeout(PATIENCE).await?;
            assert_eq!(socket.subprotocol().as_deref(), Some("second"));
            for length in [0, 1, 125, 126, 1000, 65_535, 65_536, 900_000] {
                for message in [
                    Message::Text("kettle ".repeat(length / 7 + 1)[..length].to_owned()),
                    Message::Binary((0..length).map(|at| (at * at / 3) as u8).collect()),
                ] {
                    socket.send(&message);
                    let came = reactor.with_timeout(PATIENCE, socket.receive()).await?;
                    assert!(came.as_ref() == Some(&message), "{length} bytes, {deflate:?}");
                }
            }
            socket.send_text("close");
            assert_eq!(reactor.with_timeout(PATIENCE, socket.receive()).await?, None);
            let closed = socket.closed().unwrap();
            assert_eq!((closed.code, closed.reason.as_str(), closed.clean), (4001, "as you wish", true));
        }
        Outcome::Ok(())
    });
    outcome.unwrap();
}

const PYTHON_CLIENT: &str = r#"
import sys
from websockets.sync.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
base = 'ws://127.0.0.1:' + sys.argv[1]
for path, compression in [('/plain', 'deflate'), ('/fresh', None), ('/fresh', 'deflate'), ('/kept', 'deflate')]:
    with connect(base + path, compression=compression, subprotocols=['first', 'second'], max_size=None) as ws:
        assert bool(ws.protocol.extensions) == (path != '/plain' and compression is not None), ws.protocol.extensions
        ws.send('subprotocol')
        assert ws.recv() == 'second'
        for length in [0, 1, 125, 126, 1000, 65535, 65536, 1000000]:
            text = ('kettle ' * (length // 7 + 1))[:length]
            ws.send(text)
            assert ws.recv() == text, length
            data = bytes(n * n // 3 % 256 for n in range(length))
            ws.send(data)
            assert ws.recv() == data, length
        ws.send(['in ', 'pieces: ', 'ü'])
        assert ws.recv() == 'in pieces: ü'
        for _ in range(2):
            ws.send('prepared')
            assert ws.recv() == 'prepared ' * 100
        assert ws.ping(b'alive').wait(20)
        ws.send('close')
        try:
            ws.recv()
            raise SystemExit('it is not closed')
        except ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4001, 'as you wish'), closed
    with connect(base + path, compression=compression) as ws:
        ws.send(b'x' * (1024 * 1024 + 1))
        try:
            ws.recv()
            raise SystemExit('it was not too large')
        except ConnectionClosed as closed:
            assert closed.rcvd.code == 1009, closed
for origin, status in [('http://127.0.0.1:' + sys.argv[1], None), ('https://evil.example', 403)]:
    try:
        connect(base + '/plain', origin=origin).close()
        assert status is None
    except InvalidStatus as refused:
        assert refused.response.status_code == status, refused
print('fine')
"#;

const PYTHON_SERVER: &str = r#"
import sys
from websockets.sync.server import serve
def echo(ws):
    for message in ws:
        if message == 'close':
            return ws.close(4001, 'as you wish')
        else:
            ws.send(message)
with serve(echo, '127.0.0.1', 0, subprotocols=['second'], max_size=None) as server:
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
"#;

#[test]
fn pythons_client() {
    let Some(program) = ropewalk_testkit::require("python3") else { return };
    let Some(path) = ropewalk_testkit::python("websockets") else { return };
    serving("", move |port, _| {
        let mut command = Command::new(program);
        command.env("PYTHONPATH", path).args(["-c", PYTHON_CLIENT, &port.to_string()]);
        succeeds(command)
    });
}

#[test]
fn pythons_server() {
    let Some(program) = ropewalk_testkit::require("python3") else { return };
    let Some(path) = ropewalk_testkit::python("websockets") else { return };
    let mut command = Command::new(program);
    command.env("PYTHONPATH", path).args(["-c", PYTHON_SERVER]);
    let server = Foreign::start(command);
    converse(server.1);
}

const NODE_CLIENT: &str = r#"
const WebSocket = require('ws'), assert = require('node:assert');
const base = 'ws://127.0.0.1:' + process.argv[1];
const open = (url, options) => new Promise((resolve, reject) => {
    const ws = new WebSocket(url, ['first', 'second'], options);
    ws.on('open', () => resolve(ws)).on('error', reject);
});
const ask = (ws, data) => new Promise((resolve, reject) => {
    ws.once('message', (answer, binary) => resolve(binary ? answer : answer.toString()));
    ws.once('close', code => reject(new Error('closed ' + code)));
    ws.send(data);
});
(async () => {
    const forms = [false, true, { serverNoContextTakeover: true, clientNoContextTakeover: true },
        { serverMaxWindowBits: 10, clientMaxWindowBits: 11, threshold: 0 }];
    for (const path of ['/plain', '/fresh', '/kept']) for (const perMessageDeflate of forms) {
        const ws = await open(base + path, { perMessageDeflate });
        assert.strictEqual(ws.protocol, 'second');
        assert.strictEqual(ws.extensions !== '', path !== '/plain' && perMessageDeflate !== false);
        for (const length of [0, 1, 125, 126, 1000, 65535, 65536, 1000000]) {
            const text = 'kettle '.repeat(length / 7 + 1).slice(0, length);
            assert.strictEqual(await ask(ws, text), text);
            const data = Buffer.from(Array.from({ length: Math.min(length, 100000) }, (_, n) => n * n / 3));
            assert.deepStrictEqual(await ask(ws, data), data);
        }
        for (let n = 0; n < 2; n++) assert.strictEqual(await ask(ws, 'prepared'), 'prepared '.repeat(100));
        const pong = new Promise(resolve => ws.once('pong', data => resolve(data.toString())));
        ws.ping('alive');
        assert.strictEqual(await pong, 'alive');
        const closed = new Promise(resolve => ws.on('close', (code, reason) => resolve(code + ' ' + reason)));
        ws.send('close');
        assert.strictEqual(await closed, '4001 as you wish');
    }
    await assert.rejects(open(base + '/plain', { origin: 'https://evil.example' }), /403/);
    await assert.rejects(open(base + '/', {}), /200/);
    console.log('fine');
})().catch(error => { console.error(error); process.exit(1); });
"#;

const NODE_SERVER: &str = r#"
const { WebSocketServer } = require('ws');
const options = { port: 0, host: '127.0.0.1', perMessageDeflate: { threshold: 0 }, handleProtocols: () => 'second' };
const server = new WebSocketServer(options, () => console.log(server.address().port));
server.on('connection', ws => ws.on('message', (data, binary) => {
    if (!binary && data.toString() === 'close') ws.close(4001, 'as you wish');
    else ws.send(data, { binary });
}));
"#;

fn node(script: &str, argument: &str) -> Option<Command> {
    let program = ropewalk_testkit::require("node")?;
    let folder = ropewalk_testkit::node("ws")?;
    let mut command = Command::new(program);
    command.args(["--eval", script, argument]).env_remove("NODE_OPTIONS");
    command.env("NODE_PATH", folder.join("node_modules"));
    Some(command)
}

#[test]
fn nodes_client() {
    if node("", "").is_none() {
        return;
    }
    serving("", |port, _| succeeds(node(NODE_CLIENT, &port.to_string()).unwrap()));
}

#[test]
fn nodes_server() {
    let Some(command) = node(NODE_SERVER, "") else { return };
    let server = Foreign::start(command);
    converse(server.1);
}

/// What a browser makes of it, told to the server over the last socket.
const PAGE: &str = r#"<!doctype html><meta charset=utf-8><script>
const base = location.href.replace(/^http/, 'ws');
const open = path => new Promise((resolve, reject) => {
    const ws = new WebSocket(base + path, ['first', 'second']);
    ws.binaryType = 'arraybuffer';
    ws.onopen = () => resolve(ws);
    ws.onerror = () => reject(new Error('no ' + path));
});
const ask = (ws, data) => new Promise(resolve => { ws.onmessage = event => resolve(event.data); ws.send(data); });
const check = (got, wanted, what) => { if (got !== wanted) throw new Error(`${what}: ${String(got).slice(0, 50)}`); };
const talk = async path => {
    const ws = await open(path);
    check(ws.protocol, 'second', 'subprotocol');
    check(ws.extensions.startsWith('permessage-deflate'), path !== 'plain', path);
    for (const length of [0, 1, 125, 126, 65535, 65536, 1000000]) {
        const text = 'kettle '.repeat(length / 7 + 1).slice(0, length);
        check(await ask(ws, text), text, length);
        const data = new Uint8Array(length).map((_, n) => n * n / 3);
        check(new Uint8Array(await ask(ws, data)).join(), data.join(), length);
    }
    for (let n = 0; n < 2; n++) check(await ask(ws, 'prepared'), 'prepared '.repeat(100), 'prepared');
    const closed = new Promise(resolve => ws.onclose = event => resolve(`${event.code} ${event.reason} ${event.wasClean}`));
    ws.send('close');
    check(await closed, '4001 as you wish true', 'close');
};
(async () => {
    let verdict = 'fine';
    try { for (const path of ['plain', 'fresh', 'kept']) await talk(path); } catch (error) { verdict = String(error); }
    (await open('plain')).send('report ' + verdict);
})();
</script>"#;

#[test]
fn chromiums_client() {
    let Some(program) = ropewalk_testkit::require("chromium") else { return };
    serving(PAGE, move |port, report| {
        let profile = std::env::temp_dir().join(format!("ropewalk-websocket-{}", std::process::id()));
        let browser = browse(&program, &profile, &format!("http://127.0.0.1:{port}/"));
        let verdict = report();
        drop(browser);
        // What a browser leaves behind is not worth a failure.
        let _ = std::fs::remove_dir_all(profile);
        if verdict == "fine" { Ok(()) } else { Err(verdict) }
    });
}

/// A headless browser, until it is dropped.
fn browse(program: &Path, profile: &Path, url: &str) -> Foreign {
    let mut command = ropewalk_testkit::headless(program, profile);
    command.arg("--remote-debugging-port=0").arg(url).stdout(Stdio::null());
    Foreign(command.spawn().unwrap(), 0)
}
