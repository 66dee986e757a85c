//! `Files`: a handler that serves a folder, or one file. Conditional requests, ranges, index files; no listing, no writing.
//!
//! ```text
//!  path ─► Asked ─► Root::find ─► Found ─► Subject::draft ─► Response + Content ─► read ─► Answer
//!                     │ not in memory                                         │ not in memory
//!                     └──────────────► the thread pool, and on ◄──────────────┘
//! ```
//! The loop does not wait for a disk: look-ups and reads are first tried with what the kernel has in memory, four system calls
//! for a small file (openat2, fstat, preadv2, close), and go to the thread pool otherwise. Large files and single ranges of them
//! are sent by the kernel; see [`FileSender`](ropewalk_net::FileSender) for how it is kept from waiting.

mod condition;
mod content;
mod media;
mod path;
mod range;
mod reply;
mod root;

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use rustix::io::Errno;

use crate::answer::{Answer, IntoAnswer};
use crate::request::Request;
use crate::response::{Body, Response};
use crate::router::Handler;

use content::{Content, PIECE_BYTES, Unread};
use reply::{Draft, Subject, busy, missing, undone, unopened};
use root::{Found, Pace, Root};

/// The methods that a file takes (RFC 9110 10.2.1).
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// Serves a folder, or one file.
///
/// `GET` and `HEAD`; a folder is answered with its index file, and asked for without a slash behind it with a redirect. There
/// are an `ETag`, `Last-Modified`, ranges, also several at once, and all conditional requests of RFC 9110.
///
/// Nothing outside of the folder is ever served: the kernel resolves every name beneath it (openat2, RESOLVE_BENEATH), so
/// neither `..` nor a symbolic link leads out. Links to what is inside work; absolute ones do not. On a kernel without
/// openat2 no link is followed. Only regular files are served.
///
/// ```no_run
/// use ropewalk_web::{Files, Router, Site};
/// let router = Router::new()
///     .get("/api", |_| "hello")
///     .fallback(Files::new("public")?.cache_control("max-age=60"));
/// let site = Site::new(router);
/// # drop(site);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Files {
    settings: Rc<Settings>,
}

#[derive(Clone)]
struct Settings {
    root: Arc<Root>,
    index: Arc<[Vec<u8>]>,
    /// The index names are no longer the default.
    index_chosen: bool,
    cache_control: Option<Cow<'static, str>>,
    prefix: Vec<u8>,
    hidden: bool,
    in_threads: bool,
}

impl Files {
    /// Serves the files below this folder, which stays the same one if it is renamed.
    ///
    /// # Errors
    /// There is no such folder, it is none, or this user may not look into it; the text says what to do.
    pub fn new(path: impl AsRef<Path>) -> io::Result<Files> {
        Root::tree(path.as_ref()).map(Files::over)
    }

    /// Serves this one file, whatever the path of the request: the route decides. A file that is put in its place later is
    /// served then.
    ///
    /// ```no_run
    /// use ropewalk_web::{Files, Router};
    /// let router = Router::new().route("GET", "/favicon.ico", Files::file("art/icon.ico")?);
    /// # drop(router);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// There is no such file, it is none, or this user may not read it; the text says what to do.
    pub fn file(path: impl AsRef<Path>) -> io::Result<Files> {
        Root::file(path.as_ref()).map(Files::over)
    }

    fn over(root: Root) -> Files {
        Files {
            settings: Rc::new(Settings {
                root: Arc::new(root),
                index: Arc::from([b"index.html".to_vec()]),
                index_chosen: false,
                cache_control: None,
                prefix: Vec::new(),
                hidden: false,
                in_threads: false,
            }),
        }
    }

    fn change(mut self, change: impl FnOnce(&mut Settings)) -> Files {
        change(Rc::make_mut(&mut self.settings));
        self
    }

    /// The same, answering a folder with its file of this name. The first call replaces `index.html`, each further one adds
    /// a name to be looked for after those before.
    ///
    /// ```no_run
    /// # use ropewalk_web::Files;
    /// let files = Files::new("public")?.index("index.html").index("index.htm");
    /// # drop(files);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn index(self, name: &str) -> Files {
        self.change(|settings| {
            let known = if settings.index_chosen { &*settings.index } else { &[] };
            settings.index = known.iter().cloned().chain([name.as_bytes().to_vec()]).collect();
            settings.index_chosen = true;
        })
    }

    /// The same with this `Cache-Control` on every file, and on the answer that it has not changed. Control characters are
    /// left out.
    ///
    /// ```no_run
    /// # use ropewalk_web::Files;
    /// let files = Files::new("hashed")?.cache_control("public, max-age=31536000, immutable");
    /// # drop(files);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn cache_control(self, value: &str) -> Files {
        let value: String = value.chars().filter(|character| !character.is_control()).collect();
        self.change(|settings| settings.cache_control = Some(value.into()))
    }

    /// The same for requests whose path begins with this, which is taken off; the others are answered with 404. It is
    /// written without percent-encoding.
    ///
    /// ```no_run
    /// use ropewalk_web::{Files, Router};
    /// let files = Files::new("public")?.prefix("/static");
    /// let router = Router::new().route("*", "/static/{*rest}", files);
    /// # drop(router);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn prefix(self, prefix: &str) -> Files {
        self.change(|settings| settings.prefix = path::prefix(prefix))
    }

    /// The same, also serving names that begin with a dot. By default there is only `/.well-known/`, which is for strangers
    /// (RFC 8615); `.env` and `.git` are not.
    #[must_use]
    pub fn hidden(self, hidden: bool) -> Files {
        self.change(|settings| settings.hidden = hidden)
    }

    /// The same, opening and reading in the thread pool only. For a folder on a network, where the kernel may ask a server
    /// about what it has in memory, too.
    #[must_use]
    pub fn in_threads(self, in_threads: bool) -> Files {
        self.change(|settings| settings.in_threads = in_threads)
    }
}

impl Handler for Files {
    fn handle(&self, request: Request) -> Answer {
        match request.method() {
            "GET" | "HEAD" => {}
            "OPTIONS" => return Answer::Now(Response::empty(204).header("Allow", ALLOW)),
            _ => {
                let refusal = Response::error(405, "a file can be read, and nothing else");
                return Answer::Now(refusal.header("Allow", ALLOW));
            }
        }
        let settings = &self.settings;
        let Some((name, folder)) = settings.asked(request.path()) else { return Answer::Now(missing()) };
        let found = match settings.in_threads {
            false => settings.root.find(&name, folder, &settings.index, Pace::Cached),
            true => Err(Errno::AGAIN),
        };
        if matches!(found, Err(Errno::AGAIN)) {
            let name = name.into_owned();
            return open(Rc::clone(settings), request, name, folder).into_answer();
        }
        match settings.step(&request, &name, found) {
            Step::Done(response) => Answer::Now(response),
            Step::Cold(response, content) => read(request, response, content).into_answer(),
        }
    }
}

/// How far an answer got without waiting.
enum Step {
    Done(Response),
    /// The rest is to be read in the pool.
    Cold(Response, Content),
}

impl Settings {
    /// What a path asks for; `None` is a 404.
    fn asked<'a>(&self, path: &'a str) -> Option<(Cow<'a, [u8]>, bool)> {
        match self.root.only() {
            Some(name) => Some((Cow::Owned(name.to_vec()), false)),
            None => path::asked(path, &self.prefix, self.hidden).map(|asked| (asked.name, asked.folder)),
        }
    }

    fn step(&self, request: &Request, name: &[u8], found: Result<Found, Errno>) -> Step {
        let (file, facts, index) = match found {
            Ok(Found::File { file, facts, index }) => (file, facts, index),
            Ok(Found::Folder) => {
                let location = path::location(&self.prefix, name, request.query());
                return Step::Done(Response::redirect(301, location));
            }
            Err(errno) => return Step::Done(unopened(errno, request.path())),
        };
        let name = index.and_then(|index| self.index.get(index)).map_or(name, Vec::as_slice);
        let subject = Subject { name, facts, cache_control: self.cache_control.as_ref() };
        self.fill(request, subject.draft(request, file))
    }

    /// Puts the bytes into an answer: what is small at once; what is not as a file, or as a stream if it has several parts or
    /// may be read in threads only.
    fn fill(&self, request: &Request, (mut response, content): Draft) -> Step {
        let Some(content) = content else { return Step::Done(response) };
        if content.len() > PIECE_BYTES && content.is_one_part() && !self.in_threads {
            let body = content.into_sender().map(Body::from);
            return Step::Done(finished(response, body));
        }
        if content.len() > PIECE_BYTES {
            let length = content.len();
            let pieces = content.stream(request.reactor(), !self.in_threads);
            response.body = Body::Stream(Box::pin(pieces), Some(length));
            return Step::Done(response);
        }
        if self.in_threads {
            return Step::Cold(response, content);
        }
        match content.read(Pace::Cached) {
            Err(Unread::Cold) => Step::Cold(response, content),
            outcome => Step::Done(finished(response, outcome.map(Body::Bytes))),
        }
    }
}

/// Finds the file in the pool, and goes on from there.
async fn open(settings: Rc<Settings>, request: Request, name: Vec<u8>, folder: bool) -> Response {
    let (root, index) = (Arc::clone(&settings.root), Arc::clone(&settings.index));
    let job = move || {
        let found = root.find(&name, folder, &index, Pace::Whole);
        (name, found)
    };
    match request.reactor().defer_to_thread(job).await {
        Ok((name, found)) => match settings.step(&request, &name, found) {
            Step::Done(response) => response,
            Step::Cold(response, content) => read(request, response, content).await,
        },
        Err(failure) => undone(failure),
    }
}

/// Reads a small body in the pool.
async fn read(request: Request, response: Response, content: Content) -> Response {
    match request.reactor().defer_to_thread(move || content.read(Pace::Whole)).await {
        Ok(outcome) => finished(response, outcome.map(Body::Bytes)),
        Err(failure) => undone(failure),
    }
}

/// An answer with its body, or the reason why there are none: its head is not sent yet, so it can still change.
fn finished(mut response: Response, outcome: Result<Body, Unread>) -> Response {
    match outcome {
        Ok(body) => {
            response.body = body;
            response
        }
        Err(Unread::Shrunk | Unread::Cold) => busy(),
        Err(Unread::Failed(error)) => Response::failure(format!("a file could not be read: {error}")),
    }
}
