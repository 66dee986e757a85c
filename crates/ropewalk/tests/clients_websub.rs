//! Subscribers and publishers written by others, at a hub of ours: npm's `pubsubhubbub` and Flask-WebSub.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::path::Path;
use std::process::Command;

use support::*;

fn hub(folder: &Folder) -> Program {
    let store = folder.name("store");
    let list = ["--allow-topics", "127.0.0.0/8,::1", "--allow-callbacks", "127.0.0.0/8,::1"];
    let mut arguments = vec!["hub", "--listen", "tcp:0", "--store", &store];
    arguments.extend(list);
    Program::start(&arguments, 1)
}

fn must_pass(program: &Path, script: &str, port: u16, change: impl FnOnce(&mut Command)) {
    let mut command = Command::new(program);
    command.args(["-", &port.to_string()]);
    change(&mut command);
    let output = {
        use std::io::Write;
        use std::process::Stdio;
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn npm_pubsubhubbub_subscribes_gets_news_and_unsubscribes() {
    let (Some(node), Some(place)) =
        (ropewalk_testkit::require("node"), ropewalk_testkit::node("pubsubhubbub"))
    else {
        return;
    };
    let folder = Folder::new();
    let hub = hub(&folder);
    // Without a secret: this package sends one that is derived from its own, and then checks by its own.
    let script = r#"
const http = require('http'), pubsub = require('pubsubhubbub');
const hub = `http://127.0.0.1:${process.argv[2]}/hub`;
const fail = why => { console.error(why); process.exit(1); };
setTimeout(() => fail('nothing came in 20 s'), 20000);
const topics = http.createServer((_, res) => {
  res.writeHead(200, { 'Content-Type': 'application/atom+xml' });
  res.end('<feed>news</feed>');
});
topics.listen(0, '127.0.0.1', () => {
  const topic = `http://127.0.0.1:${topics.address().port}/feed`;
  const subscriber = pubsub.createServer({ callbackUrl: '', leaseSeconds: 3600 });
  subscriber.on('listen', () => {
    subscriber.callbackUrl = `http://127.0.0.1:${subscriber.server.address().port}/cb`;
    subscriber.subscribe(topic, hub, error => error && fail(error));
  });
  subscriber.on('error', fail);
  subscriber.on('denied', data => fail(JSON.stringify(data)));
  subscriber.on('subscribe', data => {
    if (data.topic !== topic || data.lease < Date.now() / 1000 + 3500) fail(JSON.stringify(data));
    const ping = () => {
      const request = http.request(hub, { method: 'POST', headers: { 'Content-Type': 'application/x-www-form-urlencoded' } },
        res => res.statusCode === 204 || fail(res.statusCode));
      request.end(`hub.mode=publish&hub.url=${encodeURIComponent(topic)}`);
    };
    // The subscription stands when the hub has read our answer.
    ping();
    const again = setInterval(ping, 200);
    subscriber.on('feed', data => {
      clearInterval(again);
      if (data.topic !== topic || data.feed.toString() !== '<feed>news</feed>' || data.hub !== hub) fail(JSON.stringify(data));
      subscriber.unsubscribe(topic, hub, error => error && fail(error));
    });
  });
  subscriber.on('unsubscribe', () => process.exit(0));
  subscriber.listen(0, '127.0.0.1');
});
"#;
    must_pass(&node, script, hub.port("hub"), |command| {
        command.current_dir(&place).env("NODE_PATH", place.join("node_modules"));
    });
}

#[test]
fn flask_websub_discovers_subscribes_gets_news_and_unsubscribes() {
    let (Some(python), Some(place)) =
        (ropewalk_testkit::require("python3"), ropewalk_testkit::python("flask_websub"))
    else {
        return;
    };
    let folder = Folder::new();
    let hub = hub(&folder);
    let script = r#"
import sys, threading, queue, tempfile, os, logging
import requests
from flask import Flask
from werkzeug.serving import make_server
from flask_websub.subscriber import Subscriber, SQLite3SubscriberStorage, SQLite3TempSubscriberStorage, discover

logging.getLogger('werkzeug').setLevel(logging.ERROR)
hub = f'http://127.0.0.1:{sys.argv[1]}/hub'
folder = tempfile.mkdtemp()
server = None
events = queue.Queue()
app = Flask(__name__)
# It sends secrets over https only.
subscriber = Subscriber(SQLite3SubscriberStorage(os.path.join(folder, 'a')), SQLite3TempSubscriberStorage(os.path.join(folder, 'b')))
app.register_blueprint(subscriber.build_blueprint('/callbacks'))

@app.route('/topic')
def topic():
    return 'news', 200, {'Link': f'<{app.config["TOPIC"]}>; rel="self", <{hub}>; rel="hub"', 'Content-Type': 'text/plain'}

subscriber.add_listener(lambda topic, callback, body: events.put(('news', body)))
subscriber.add_success_handler(lambda topic, callback, mode: events.put((mode, None)))
subscriber.add_error_handler(lambda topic, callback, reason: events.put(('error', reason)))
server = make_server('127.0.0.1', 0, app, threaded=True)
base = f'http://127.0.0.1:{server.server_port}'
app.config['TOPIC'] = base + '/topic'
threading.Thread(target=server.serve_forever, daemon=True).start()

found = discover(base + '/topic')
assert found == {'topic_url': base + '/topic', 'hub_url': hub}, found
with app.test_request_context(base_url=base):
    callback = subscriber.subscribe(**found)
assert events.get(timeout=20) == ('subscribe', None)
for _ in range(50):
    # The subscription stands when the hub has read our answer.
    assert requests.post(hub, data={'hub.mode': 'publish', 'hub.topic': base + '/topic'}).status_code == 204
    try:
        event = events.get(timeout=0.4)
        break
    except queue.Empty:
        pass
assert event == ('news', b'news'), event
with app.test_request_context(base_url=base):
    subscriber.unsubscribe(callback)
assert events.get(timeout=20) == ('unsubscribe', None)
"#;
    must_pass(&python, script, hub.port("hub"), |command| {
        command.env("PYTHONPATH", &place);
    });
}
