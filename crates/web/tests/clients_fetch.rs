//! Node's fetch beyond what is negotiated (`clients_node`): connections that are kept, redirects, bodies of every kind, streams that are
//! given up, and TLS with an authority of one's own.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod foreign;

use std::process::Command;

const SCRIPT: &str = r#"
const [http, https] = process.argv.slice(1), assert = require('node:assert');
const get = (path, more) => fetch(http + path, more), text = async (path, more) => (await get(path, more)).text();
const large = Buffer.from('rope'.repeat(500000)), sum = large.reduce((sum, byte) => sum + byte, 0);
(async () => {
    const places = new Set();
    for (let at = 0; at < 20; at++) places.add(await text('/place'));
    assert(places.size < 4, 'connections are kept, and sometimes a second one is made before the first is free');
    for (const [status, method] of [[301, 'GET'], [302, 'GET'], [303, 'GET'], [307, 'POST'], [308, 'POST']]) {
        const answer = await get('/to/' + status, { method: 'POST', body: 'x' });
        assert.equal(await answer.text(), method, status);
        assert(answer.redirected && answer.url.endsWith('/method'));
    }
    assert.equal((await get('/to/302', { redirect: 'manual' })).status, 302);
    await assert.rejects(get('/round'), TypeError);
    const inside = await get('/in', { redirect: 'manual' });
    assert.deepEqual(inside.headers.getSetCookie().map((line) => line.split('=')[0]), ['here', 'there']);
    assert.equal(await text('/cookies', { headers: { Cookie: 'here=7; there=8' } }), '7,8');

    assert.equal(await text('/sum', { method: 'POST', body: large }), `${large.length} ${sum} length none`);
    const pieces = new ReadableStream({
        start() { this.at = 0; },
        pull(to) {
            to.enqueue(large.subarray(this.at, this.at += 10000));
            if (this.at >= large.length) to.close();
        },
    });
    assert.equal(await text('/sum', { method: 'PUT', body: pieces, duplex: 'half' }), `${large.length} ${sum} chunked none`);
    const form = new FormData();
    form.append('field', 'välue');
    form.append('file', new Blob([large]), 'f.bin');
    const multipart = await get('/raw', { method: 'POST', body: form });
    const kind = multipart.headers.get('x-kind');
    const again = await new Response(await multipart.arrayBuffer(), { headers: { 'Content-Type': kind } }).formData();
    assert.equal(again.get('field'), 'välue');
    assert.deepEqual(Buffer.from(await again.get('file').arrayBuffer()), large);
    const urlencoded = await text('/raw', { method: 'POST', body: new URLSearchParams({ a: '1 2' }) });
    assert.equal(urlencoded, 'a=1+2');
    assert.equal((await get('/refuse', { method: 'POST', body: 'x' })).status, 403);

    let drops = '';
    for await (const piece of (await get('/dripping')).body) drops += Buffer.from(piece).toString();
    assert.equal(drops.split('\n').filter((line) => line.startsWith('data')).length, 5);
    const control = new AbortController(), dripping = await get('/dripping', { signal: control.signal });
    control.abort();
    await assert.rejects(dripping.text(), { name: 'AbortError' });
    assert.equal((await Promise.all(Array.from({ length: 50 }, () => text('/method')))).join(''), 'GET'.repeat(50));

    assert.equal(await (await fetch(https + '/method', { method: 'PATCH' })).text(), 'PATCH');
    assert.equal(await (await fetch(https + '/sum', { method: 'POST', body: large })).text(), `${large.length} ${sum} length none`);
    assert.equal(await (await fetch(https + '/words')).text(), 'word '.repeat(100000));
    console.log('fine');
})().catch((error) => { console.error(error); process.exit(1); });
"#;

const STRANGER: &str = "fetch(process.argv[1] + '/method').then(() => process.exit(1), (error) => console.log(error.cause.code))";

fn node(script: &'static str, believing: bool) -> Option<String> {
    let program = ropewalk_testkit::require("node")?;
    Some(foreign::against(move |place| {
        let mut command = Command::new(program);
        let urls: &[&str] = if believing { &[&place.http, &place.https] } else { &[&place.https] };
        command
            .args(["--eval", script])
            .args(urls)
            .env_remove("NODE_OPTIONS")
            .env_remove("NODE_EXTRA_CA_CERTS");
        if believing {
            command.env("NODE_EXTRA_CA_CERTS", place.folder.join("ca.pem"));
        }
        command
    }))
}

#[test]
fn fetch_in_every_way() {
    if let Some(said) = node(SCRIPT, true) {
        assert_eq!(said, "fine\n");
    }
}

#[test]
fn fetch_believes_no_stranger() {
    if let Some(said) = node(STRANGER, false) {
        assert!(said.contains("UNABLE_TO_VERIFY") || said.contains("SELF_SIGNED"), "{said}");
    }
}
