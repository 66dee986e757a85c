//! The log-tail server: followers and standard input publish to a channel, and every viewer reads it: raw TCP, Server-Sent
//! Events, long poll, and a page. It joins the parts of this crate with the reactor; listening is the application's business.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::Duration;

use ropewalk_channel::Retention;
use ropewalk_reactor::failure::Place;
use ropewalk_reactor::{LoopingCall, Reactor, Readiness, Time};
use ropewalk_web::push::{self, Feed, RawViewers};
use ropewalk_web::{Answer, Handler, IntoAnswer, Request, Response, Router};
use serde_json::json;

use crate::follower::Reached;
use crate::input::Input;
use crate::{Follower, LineSplitter, Progress, Start, Watch};

/// Bytes that are read in one go, of all sources together, so that a burst does not hold the loop.
const BURST_BYTES: usize = 256 * 1024;
/// Between two goes viewers have this long to take what the first has brought, and everybody else has the loop.
const BREATH: Duration = Duration::from_millis(1);
/// The lines of a file that are history when the server starts.
const BACKLOG_LINES: usize = 1_000;
/// How often every file is looked at although nothing was told: the system does not tell everything.
const LOOK: Duration = Duration::from_secs(1);
/// The same where the system tells nothing at all.
const LOOK_UNTOLD: Duration = Duration::from_millis(100);

/// What to follow, and how.
#[derive(Clone, Debug, Default)]
pub struct TailOptions {
    /// Files; `-` is standard input.
    pub sources: Vec<PathBuf>,
    /// Events that a raw viewer or an event stream gets when it begins, unless it asks otherwise.
    pub history: usize,
    /// What is kept for viewers that come later or come back.
    pub retention: Retention,
    /// What viewers must know.
    pub token: Option<String>,
    /// Lines begin with the name of their file.
    pub label: bool,
}

/// Why a file cannot be followed: one line, with what to do.
#[derive(Debug)]
pub struct TailError {
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for TailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.source.kind() {
            io::ErrorKind::NotFound => write!(f, "{path}: no such file; create it first, or check the name"),
            io::ErrorKind::PermissionDenied => {
                write!(f, "{path}: no permission to read it; run as a user or in a group that may")
            }
            // What this crate says itself has the path already.
            _ if self.source.get_ref().is_some() => write!(f, "{}", self.source),
            _ => write!(f, "{path}: {}", self.source),
        }
    }
}

impl std::error::Error for TailError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// A running tail. Clones are one.
///
/// ```no_run
/// use ropewalk_net::listen;
/// use ropewalk_reactor::Reactor;
/// use ropewalk_tail::{Tail, TailOptions};
/// use ropewalk_web::Site;
/// let reactor = Reactor::new()?;
/// let tail = Tail::start(&reactor, TailOptions { sources: vec!["app.log".into()], ..TailOptions::default() })?;
/// listen(&reactor, &"tcp:8080".parse()?, Site::new(tail.handler()))?;
/// listen(&reactor, &"tcp:8888".parse()?, tail.raw_viewers())?;
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Tail(Rc<Inner>);

struct Inner {
    reactor: Reactor,
    feed: Feed,
    options: TailOptions,
    files: RefCell<Vec<Followed>>,
    looking: RefCell<Option<LoopingCall>>,
    burst: Cell<Burst>,
    /// Another process is about to go on: nothing is read here.
    packed: Cell<bool>,
}

/// What was published in one go. A go ends while the history still holds all of it: else no viewer could be fast enough.
#[derive(Clone, Copy, Default)]
struct Burst {
    began: Time,
    lines: usize,
    bytes: usize,
}

struct Followed {
    follower: Follower,
    label: String,
    /// It goes on after a breath, whoever asks before.
    waits: bool,
    /// The last error was told already.
    failing: bool,
}

impl Tail {
    /// Opens everything and begins to follow.
    ///
    /// # Errors
    /// A source that is missing, unreadable or no file; then nothing is followed.
    pub fn start(reactor: &Reactor, options: TailOptions) -> Result<Tail, TailError> {
        let mut files = Vec::new();
        for path in options.sources.iter().filter(|path| !is_input(path)) {
            let failed = |source| TailError { path: path.clone(), source };
            let follower = Follower::open(path, Start::LastLines(BACKLOG_LINES)).map_err(failed)?;
            files.push(Followed { follower, label: label_of(path), waits: false, failing: false });
        }
        let feed = Feed::in_memory(reactor, options.retention);
        let input = options.sources.iter().any(|path| is_input(path));
        let tail = Tail(Rc::new(Inner {
            reactor: reactor.clone(),
            feed,
            options,
            files: RefCell::new(files),
            looking: RefCell::new(None),
            burst: Cell::default(),
            packed: Cell::new(false),
        }));
        tail.follow();
        if input {
            tail.read_input().map_err(|source| TailError { path: "-".into(), source })?;
        }
        Ok(tail)
    }

    /// The feed of all lines.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.0.feed
    }

    /// The web face: `/` is the page, `/events` the event stream, `/poll` the long poll, `/status` figures as JSON.
    #[must_use]
    pub fn handler(&self) -> impl Handler + use<> {
        let status = self.clone();
        let router = Router::new()
            .get("/", |_| page())
            .route("GET", "/events", push::sse(&self.0.feed, self.0.options.history))
            .route("GET", "/poll", push::poll(&self.0.feed))
            .get("/status", move |_| status.status());
        Guarded { token: self.0.options.token.clone(), inner: router }
    }

    /// The raw face, for `nc`: every line and nothing else, as [`crate::Line`] says what a line is.
    #[must_use]
    pub fn raw_viewers(&self) -> RawViewers {
        RawViewers::new(&self.0.feed, self.0.options.history).token(self.0.options.token.as_deref())
    }

    /// All lines that are kept, and how far each file was read, for the next process of the program. From now on nothing is read, until
    /// [`Tail::go_on`].
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        self.0.packed.set(true);
        let reached: Vec<Reached> =
            self.0.files.borrow().iter().map(|followed| followed.follower.reached()).collect();
        let mut packed = serde_json::to_vec(&reached).expect("a vector takes everything");
        packed.push(b'\n');
        packed.extend(self.0.feed.channel().pack());
        packed
    }

    /// Goes on where another process was, instead of where this one has begun; before anybody has seen it. False: what that one has left is
    /// not understood.
    pub fn unpack(&self, packed: &[u8]) -> bool {
        let Some(end) = packed.iter().position(|&byte| byte == b'\n') else { return false };
        let Ok(all) = serde_json::from_slice::<Vec<Reached>>(&packed[..end]) else { return false };
        if !self.0.feed.channel().unpack(&packed[end + 1..]) {
            return false;
        }
        let mut files = self.0.files.borrow_mut();
        for reached in all {
            let same = |followed: &&mut Followed| followed.follower.path().to_string_lossy() == reached.path;
            if let Some(followed) = files.iter_mut().find(same) {
                followed.follower.go_on_at(reached);
            }
        }
        drop(files);
        self.step_all();
        true
    }

    /// The next process has failed: this one reads on.
    pub fn go_on(&self) {
        self.0.packed.set(false);
        self.0.feed.channel().go_on();
        self.step_all();
    }

    fn status(&self) -> serde_json::Value {
        let statistics = self.0.feed.channel().statistics();
        let files: Vec<String> = self.0.options.sources.iter().map(|path| label_of(path)).collect();
        json!({
            "files": files,
            "viewers": self.0.feed.viewers(),
            "lines": statistics.published,
            "kept": statistics.events,
            "version": env!("CARGO_PKG_VERSION"),
        })
    }

    /// Reads what is there, and from then on whenever the system tells, or the timer comes.
    fn follow(&self) {
        if self.0.files.borrow().is_empty() {
            return;
        }
        let told = match self.watch() {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!("files are looked at every {LOOK_UNTOLD:?} instead of being watched: {error}");
                false
            }
        };
        self.step_all();
        let looker = Rc::downgrade(&self.0);
        let looking = LoopingCall::new(&self.0.reactor, move |_| {
            if let Some(inner) = looker.upgrade() {
                Tail(inner).step_all();
            }
        });
        looking.start(if told { LOOK } else { LOOK_UNTOLD }, false);
        *self.0.looking.borrow_mut() = Some(looking);
    }

    fn watch(&self) -> Result<(), Box<dyn std::error::Error>> {
        let mut watch = Watch::new()?;
        for followed in self.0.files.borrow().iter() {
            watch.add(followed.follower.path())?;
        }
        let descriptor = std::os::fd::AsFd::as_fd(&watch).try_clone_to_owned()?;
        let weak = Rc::downgrade(&self.0);
        self.0.reactor.add_handler(descriptor, Readiness::READABLE, move |_| {
            let changes = watch.drain();
            let Some(inner) = weak.upgrade() else { return };
            let tail = Tail(inner);
            for number in &changes.files {
                tail.step(*number);
            }
            if let Some(fault) = changes.fault {
                tracing::warn!("watching files: {fault}; the timer goes on looking");
                tail.step_all();
            }
        })?;
        Ok(())
    }

    fn step_all(&self) {
        let count = self.0.files.borrow().len();
        (0..count).for_each(|number| self.step(number));
    }

    /// Reads on in one file; a long way goes in several turns.
    fn step(&self, number: usize) {
        if self.0.packed.get() {
            return;
        }
        let goes_on = {
            let mut files = self.0.files.borrow_mut();
            let Some(followed) = files.get_mut(number).filter(|followed| !followed.waits) else { return };
            let label = if self.0.options.label { Some(followed.label.as_str()) } else { None };
            let outcome = loop {
                let room = self.0.room();
                if room == 0 {
                    break Ok(Progress::MoreNow);
                }
                let outcome = followed.follower.step(room, &mut |line| self.0.publish(label, line.text));
                if !matches!(outcome, Ok(Progress::MoreNow)) {
                    break outcome;
                }
                self.0.has_read(room);
            };
            if let Err(error) = &outcome
                && !std::mem::replace(&mut followed.failing, true)
            {
                tracing::error!("{}: {error}", followed.follower.path().display());
            }
            followed.failing &= outcome.is_err();
            followed.waits = matches!(outcome, Ok(Progress::MoreNow));
            followed.waits
        };
        if goes_on {
            let tail = self.clone();
            self.0.reactor.call_later(BREATH, move || {
                if let Some(followed) = tail.0.files.borrow_mut().get_mut(number) {
                    followed.waits = false;
                }
                tail.step(number);
            });
        }
    }

    /// Publishes the lines of standard input, and keeps serving them when it has ended.
    fn read_input(&self) -> io::Result<()> {
        let mut input = Input::open()?;
        let weak = Rc::downgrade(&self.0);
        self.0.reactor.spawn(async move {
            let mut splitter = LineSplitter::new();
            while let Some(piece) = input.piece().await {
                let mut rest = &piece[..];
                while !rest.is_empty() {
                    let Some((inner, room)) = input_room(&weak).await else { return };
                    let (now, later) = rest.split_at(rest.len().min(room));
                    splitter.push(now, &mut |line| inner.publish(inner.input_label(), line.text));
                    inner.has_read(now.len());
                    rest = later;
                }
            }
            let Some((inner, _)) = input_room(&weak).await else { return };
            splitter.finish(&mut |line| inner.publish(inner.input_label(), line.text));
        });
        Ok(())
    }
}

/// Waits until some of standard input may be published; nothing when there is no tail any more.
async fn input_room(tail: &Weak<Inner>) -> Option<(Rc<Inner>, usize)> {
    loop {
        let inner = tail.upgrade()?;
        let packed = inner.packed.get();
        let room = if packed { 0 } else { inner.room() };
        if room > 0 {
            return Some((inner, room));
        }
        let waited = inner.reactor.sleep(if packed { LOOK_UNTOLD } else { BREATH });
        drop(inner);
        waited.await;
    }
}

impl Inner {
    fn input_label(&self) -> Option<&'static str> {
        self.options.label.then_some("standard input")
    }

    /// Bytes that may be read before viewers have their turn: none of them makes more than one line.
    fn room(&self) -> usize {
        let now = self.reactor.now();
        if now.since(self.burst.get().began) >= BREATH {
            self.burst.set(Burst { began: now, ..Burst::default() });
        }
        let burst = self.burst.get();
        // Half of what is kept: the other half is for a viewer that has not taken all of the go before.
        let lines_max = match self.options.retention.events_max {
            0 => usize::MAX,
            kept => kept.div_ceil(2),
        };
        lines_max.saturating_sub(burst.lines).min(BURST_BYTES.saturating_sub(burst.bytes))
    }

    fn has_read(&self, bytes: usize) {
        let burst = self.burst.get();
        self.burst.set(Burst { bytes: burst.bytes + bytes, ..burst });
    }

    fn publish(&self, label: Option<&str>, line: &str) {
        let burst = self.burst.get();
        self.burst.set(Burst { lines: burst.lines + 1, ..burst });
        let published = match label {
            Some(label) => self.feed.publish(format!("{label}: {line}")),
            None => self.feed.publish(line),
        };
        if let Err(error) = published {
            tracing::error!("a line is lost: {error}");
        }
    }
}

fn is_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn label_of(path: &Path) -> String {
    if is_input(path) {
        return "standard input".to_owned();
    }
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn page() -> Response {
    Response::html(include_str!("../pages/tail.html"))
        .header("Cache-Control", "no-cache")
        .header("Content-Security-Policy", PAGE_POLICY)
        .header("X-Content-Type-Options", "nosniff")
        .header("Referrer-Policy", "no-referrer")
}

/// The page runs its own script and asks this server; nothing that a log line could smuggle in runs or loads.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                           img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Lets nobody in without the token, where there is one: `?token=…` or `Authorization: Bearer …`.
struct Guarded<H> {
    token: Option<String>,
    inner: H,
}

impl<H: Handler> Handler for Guarded<H> {
    fn handle(&self, request: Request) -> Answer {
        if let Some(token) = &self.token {
            let bearer = request.header("authorization").and_then(bearer).map(str::to_owned);
            let given = bearer.or_else(|| request.argument("token")).unwrap_or_default();
            if !ropewalk_web::constant_time_eq(given.as_bytes(), token.as_bytes()) {
                return Response::error(401, "this log wants its token: add ?token=… to the address")
                    .header("WWW-Authenticate", "Bearer")
                    .into_answer();
            }
        }
        self.inner.handle(request)
    }

    fn place(&self, method: &str, path: &str) -> Option<Place> {
        self.inner.place(method, path)
    }
}

/// The token of an `Authorization` field; the name of the scheme has no case (RFC 9110 section 11.1).
fn bearer(field: &str) -> Option<&str> {
    let (scheme, token) = field.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
}
