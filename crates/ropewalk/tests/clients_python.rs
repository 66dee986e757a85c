//! Python's own HTTP client: connections that stay open, event streams and long polls.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::io::Write;

use support::*;

const PRELUDE: &str = "import sys, json, http.client, urllib.request\nport = int(sys.argv[1])\n\
    url = f'http://127.0.0.1:{port}'\nopener = urllib.request.build_opener(urllib.request.ProxyHandler({}))\n";

/// Runs a script with the port as its argument; what it asserts must hold.
fn http(script: &str, port: u16) {
    python(&format!("{PRELUDE}{script}"), &port.to_string());
}

#[test]
fn a_connection_that_stays_open() {
    let server = Program::start(&["--listen", "tcp:0"], 1);
    http(
        r#"
c = http.client.HTTPConnection('127.0.0.1', port, timeout=20)
c.connect()
place = c.sock.getsockname()
for n in range(100):
    c.request('POST', '/echo', body=b'x' * n)
    r = c.getresponse()
    assert (r.status, r.read()) == (200, b'x' * n)
    c.request('POST', '/echo', body=iter([b'in ', b'pieces']), encode_chunked=True, headers={'Transfer-Encoding': 'chunked'})
    assert c.getresponse().read() == b'in pieces'
    c.request('HEAD', '/hello')
    r = c.getresponse()
    assert (r.status, r.getheader('content-length'), r.read()) == (200, '14', b'')
    assert c.sock.getsockname() == place, 'one connection for all'
"#,
        server.port("web"),
    );
}

#[test]
fn an_event_stream_and_where_to_go_on() {
    let folder = Folder::new();
    let log = folder.write("app.log", "one\ntwo\nthree\n");
    let server = Program::tail(&[&log]);
    http(
        r#"
def events(since, count):
    request = urllib.request.Request(url + '/events', headers={'Last-Event-ID': since})
    found, event = [], {}
    with opener.open(request, timeout=20) as stream:
        assert stream.headers['Content-Type'].startswith('text/event-stream')
        for line in stream:
            name, _, value = line.decode().rstrip('\n').partition(': ')
            if name:
                event[name] = value
            elif 'data' in event:
                found.append(event)
                event = {}
                if len(found) == count:
                    return found
            else:
                event = {}
first = events('0', 3)
assert [e['data'] for e in first] == ['one', 'two', 'three'], first
again = events(first[0]['id'], 2)
assert again == first[1:], again
"#,
        server.port("web"),
    );
}

#[test]
fn a_long_poll_answers_with_what_is_new() {
    let (server, mut input) = Program::tail_input(&[]);
    input.write_all(b"one\ntwo\n").unwrap();
    // Until both are there, each answer says where to go on.
    http(
        r#"
seen, since = [], '0'
while len(seen) < 2:
    with opener.open(f'{url}/poll?since={since}', timeout=30) as answer:
        said = json.load(answer)
    seen += [e['data'] for e in said['events']]
    since = said['next']
assert seen == ['one', 'two'], seen
assert int(since) < 2 ** 53
"#,
        server.port("web"),
    );
}
