//! WebSub hubs side by side: `ropewalk hub` with its store in memory-backed files, and Flask-WebSub's with SQLite.
//!
//! Flask-WebSub hands its work to celery. Here threads of its own process take that place, which spares it the broker and the worker
//! processes; what is retried is retried by a timer, as celery would.

use std::io;
use std::net::SocketAddr;

use super::{Program, Scratch, pinned, python, ropewalk};

const PYTHON: &str = "
import concurrent.futures, logging, sys, threading, types
from flask import Flask
from werkzeug.serving import make_server, WSGIRequestHandler
from flask_websub.hub import Hub, SQLite3HubStorage
logging.disable(logging.CRITICAL)

pool = concurrent.futures.ThreadPoolExecutor(8)

class Again(Exception):
    pass

class Task:
    def __init__(self, call, bind=False, max_retries=3, **_):
        self.call, self.bind, self.most = call, bind, max_retries
        self.request = types.SimpleNamespace(retries=0)
    def delay(self, *arguments):
        pool.submit(self.run, 0, arguments)
    def run(self, retries, arguments):
        if not self.bind:
            return self.call(*arguments)
        bound = types.SimpleNamespace(request=types.SimpleNamespace(retries=retries))
        def retry(countdown):
            if retries < self.most:
                threading.Timer(countdown, lambda: pool.submit(self.run, retries + 1, arguments)).start()
            raise Again()
        bound.retry = retry
        try:
            self.call(bound, *arguments)
        except Again:
            pass

class Celery:
    def task(self, **options):
        return lambda call: Task(call, **options)

app = Flask(__name__)
app.config['PUBLISH_SUPPORTED'] = True
hub = Hub(SQLite3HubStorage(sys.argv[1]), Celery(), PUBLISH_SUPPORTED=True)
app.register_blueprint(hub.build_blueprint('/hub'))
class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass
server = make_server('127.0.0.1', 0, app, threaded=True, request_handler=Quiet)
print('listening on tcp:%d' % server.server_port)
server.serve_forever()
";

/// One of them, running.
pub(crate) struct Hub {
    pub(crate) program: Program,
    /// It is asked at `/hub`.
    pub(crate) address: SocketAddr,
    _scratch: Scratch,
}

/// How one is started; none where it is missing, which has been said then. Each has a folder of this name.
pub(crate) type Start = fn(usize, &str) -> io::Result<Option<Hub>>;

/// Both, and how many times fewer subscribers the second one gets: it takes milliseconds for each.
pub(crate) const HUBS: [(&str, Start, u32); 2] = [("ropewalk", ours, 1), ("flask-websub", flask, 20)];

fn ours(core: usize, folder: &str) -> io::Result<Option<Hub>> {
    let Some(path) = ropewalk() else { return Ok(None) };
    let scratch = Scratch::new(&format!("hub-{folder}"))?;
    let mut command = pinned(&path, core, true)?;
    command.args(["hub", "--listen", "tcp:0", "--access-log", "none", "--log-level", "warn"]);
    command.args(["--allow-topics", "127.0.0.0/8", "--allow-callbacks", "127.0.0.0/8"]);
    command.arg("--store").arg(scratch.folder("store")?);
    let (program, address) = Program::listening(command, &scratch)?;
    Ok(Some(Hub { program, address, _scratch: scratch }))
}

fn flask(core: usize, folder: &str) -> io::Result<Option<Hub>> {
    let Some(mut command) = python("flask_websub", "Flask-WebSub", core)? else { return Ok(None) };
    let scratch = Scratch::new(&format!("flask-{folder}"))?;
    command.args(["-c", PYTHON]).arg(scratch.path("hub.sqlite"));
    let (program, address) = Program::listening(command, &scratch)?;
    Ok(Some(Hub { program, address, _scratch: scratch }))
}
