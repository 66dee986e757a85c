//! Node's fetch, a client with the manners of a browser: what it negotiates it understands.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::process::{Command, Stdio};

use ropewalk_net::{Address, listen};
use ropewalk_reactor::Reactor;
use ropewalk_web::{BodyError, Coding, Compression, Decompression, Request, Response, Router, Site};

const SCRIPT: &str = r#"
const base = process.argv[1], zlib = require('node:zlib');
const words = 'word '.repeat(100000);
(async () => {
    for (const accept of ['gzip', 'br', 'gzip, deflate, br']) {
        const answer = await fetch(base + '/words', { headers: { 'Accept-Encoding': accept } });
        if (await answer.text() !== words) throw new Error('the words are others in ' + accept);
        console.log(answer.headers.get('content-encoding'), answer.headers.get('vary'));
    }
    for (const [coding, pack] of [['gzip', zlib.gzipSync], ['br', zlib.brotliCompressSync]]) {
        const answer = await fetch(base + '/length', { method: 'POST', body: pack(words.slice(0, 50000)), headers: { 'Content-Encoding': coding } });
        console.log(answer.status, await answer.text());
    }
    const bomb = await fetch(base + '/length', { method: 'POST', body: zlib.gzipSync(Buffer.alloc(64 << 20)), headers: { 'Content-Encoding': 'gzip' } });
    console.log(bomb.status);
    const unknown = await fetch(base + '/length', { method: 'POST', body: 'x', headers: { 'Content-Encoding': 'compress' } });
    console.log(unknown.status, unknown.headers.get('accept-encoding'));
})().catch((error) => { console.error(error); process.exit(1); });
"#;

#[test]
fn fetch_unpacks_what_it_gets_and_is_understood_when_it_packs() {
    let Some(program) = ropewalk_testkit::require("node") else { return };
    let router = Router::new().get("/words", |_| Response::text("word ".repeat(100_000))).post(
        "/length",
        |request: Request| async move {
            let bytes = request.bytes().await?;
            Ok::<_, BodyError>(bytes.len().to_string())
        },
    );
    let compression = Compression::new().codings([Coding::Brotli, Coding::Gzip]);
    let site = Site::new(router).with(compression).with(Decompression::new());
    let reactor = Reactor::new().unwrap();
    let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse().unwrap(), site).unwrap();
    let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
    let remote = reactor.remote();
    let thread = std::thread::spawn(move || {
        let output = Command::new(program)
            .args(["--eval", SCRIPT, &format!("http://{address}")])
            .env_remove("NODE_OPTIONS")
            .stdin(Stdio::null())
            .output();
        let _ = remote.call_from_thread(|reactor| reactor.stop());
        output
    });
    reactor.run().unwrap();
    let output = thread.join().unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let expected = "gzip Accept-Encoding\nbr Accept-Encoding\nbr Accept-Encoding\n\
                    200 50000\n200 50000\n413\n415 gzip, br, zstd\n";
    assert_eq!(said, expected);
}
