//! `Files`: a handler that serves a folder, or one file, and what can be chosen about it. Conditional requests, ranges, coded
//! copies, versions, lists of folders; no writing, and no coding of its own.
//!
//! ```text
//!  path ─► Wanted ─► Search::look ─► Located ─► Subject::draft ─► Response + Content ─► read ─► Answer
//!                      │ not in memory                                             │ not in memory
//!                      └───────────────► the thread pool, and on ◄─────────────────┘
//! ```
//! The loop does not wait for a disk: look-ups and reads are first tried with what the kernel has in memory, four system calls
//! for a small file (openat2, fstat, preadv2, close), and go to the thread pool otherwise; `serve` is that walk. Large files and
//! single ranges of them are sent by the kernel; see [`FileSender`](ropewalk_net::FileSender) for how it is kept from waiting.

mod accept;
pub(crate) mod condition;
mod content;
mod listing;
mod media;
mod path;
mod range;
mod reply;
mod root;
mod search;
mod serve;
mod versions;

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use ropewalk_reactor::deferred::{fail, succeed};
use ropewalk_reactor::{Deferred, Failure, Reactor};

use media::Types;
pub use media::content_type;
use root::{Found, Pace, Root};
use search::Search;
use versions::Versions;

/// Serves a folder, or one file. Clones are one: they share what is known of versions.
///
/// `GET` and `HEAD`; a folder is answered with its index file, and asked for without a slash behind it with a redirect. There
/// are an `ETag`, `Last-Modified`, ranges, also several at once, and all conditional requests of RFC 9110. On request there are
/// [copies](Files::precompressed) that were compressed beforehand, [lists](Files::listing) of folders, a page for
/// [what is missing](Files::missing_page) and one for [whatever path](Files::fallback). Addresses with a [version](Files::url)
/// are kept for good.
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
#[derive(Clone)]
pub struct Files {
    settings: Rc<Settings>,
}

#[derive(Clone)]
struct Settings {
    search: Arc<Search>,
    types: Types,
    cache_control: Option<Cow<'static, str>>,
    /// Fields of every answer.
    fields: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    prefix: Vec<u8>,
    listing: bool,
    in_threads: bool,
    versions: Rc<Versions>,
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
                search: Arc::new(Search {
                    root: Arc::new(root),
                    index: vec![b"index.html".to_vec()],
                    index_chosen: false,
                    extensions: Vec::new(),
                    precompressed: false,
                    hidden: false,
                    missing_page: None,
                    fallback: None,
                }),
                types: Types::default(),
                cache_control: None,
                fields: Vec::new(),
                prefix: Vec::new(),
                listing: false,
                in_threads: false,
                versions: Rc::default(),
            }),
        }
    }

    fn change(mut self, change: impl FnOnce(&mut Settings)) -> Files {
        change(Rc::make_mut(&mut self.settings));
        self
    }

    fn change_search(self, change: impl FnOnce(&mut Search)) -> Files {
        self.change(|settings| change(Arc::make_mut(&mut settings.search)))
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
        self.change_search(|search| {
            if !std::mem::replace(&mut search.index_chosen, true) {
                search.index.clear();
            }
            search.index.push(name.into());
        })
    }

    /// The same with this `Cache-Control` on every file, and on the answer that it has not changed. Control characters are
    /// left out. What is asked for by its right [version](Files::url) has another, that lets it be kept for good.
    ///
    /// ```no_run
    /// # use ropewalk_web::Files;
    /// let files = Files::new("hashed")?.cache_control("public, max-age=31536000, immutable");
    /// # drop(files);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn cache_control(self, value: &str) -> Files {
        self.change(|settings| settings.cache_control = Some(printable(value).into()))
    }

    /// The same with one field more on every answer, errors and redirects too. It is not for fields that files have anyway. As
    /// with [`Response::header`](crate::Response::header), a name that is no token or a value with a line break makes every
    /// answer a 500.
    ///
    /// ```no_run
    /// # use ropewalk_web::Files;
    /// let fonts = Files::new("fonts")?.header("Access-Control-Allow-Origin", "*");
    /// # drop(fonts);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn header(self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Files {
        self.change(|settings| settings.fields.push((name.into(), value.into())))
    }

    /// The same, where files with this ending are of this type. It comes before what is known of endings, and the longest ending
    /// before shorter ones. Control characters are left out of the type.
    ///
    /// ```no_run
    /// # use ropewalk_web::Files;
    /// let files = Files::new("public")?.media_type(".gltf", "model/gltf+json").default_type("text/plain; charset=utf-8");
    /// # drop(files);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn media_type(self, ending: &str, media: &str) -> Files {
        self.change(|settings| settings.types.set(ending, printable(media)))
    }

    /// The same with this type for files whose ending says nothing, instead of `application/octet-stream`.
    #[must_use]
    pub fn default_type(self, media: &str) -> Files {
        self.change(|settings| settings.types.set_other(printable(media)))
    }

    /// The same, finding `about.html` where `/about` is asked for and is not there, if the ending is `.html`. Each call adds an
    /// ending to be looked for after those before.
    ///
    /// ```no_run
    /// # use ropewalk_web::Files;
    /// let files = Files::new("site")?.extension(".html");
    /// # drop(files);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn extension(self, ending: &str) -> Files {
        let ending = format!(".{}", ending.strip_prefix('.').unwrap_or(ending));
        self.change_search(|search| search.extensions.push(ending.into()))
    }

    /// The same, answering with `name.br`, `name.zst` or `name.gz` beside the file where the client takes that coding
    /// (`Accept-Encoding`, RFC 9110 12.5.3), unless the copy is older than the file. It has the file's type and an `ETag` of its
    /// own. A range is one of the coded bytes (RFC 9110 14.1.2: of the representation), as a client that resumes expects; because
    /// two copies may be of the same second, `If-Range` wants the tag and no date. A client that forbids all that there is gets
    /// the file itself.
    ///
    /// It costs up to three look-ups more for each request of a client that takes such codings.
    ///
    /// ```no_run
    /// # use ropewalk_web::Files;
    /// let files = Files::new("dist")?.precompressed(true);
    /// # drop(files);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn precompressed(self, precompressed: bool) -> Files {
        self.change_search(|search| search.precompressed = precompressed)
    }

    /// The same, answering a folder that has no index with the list of what is in it: a page, or JSON if the client asks for it
    /// (`Accept: application/json`). Hidden names are left out unless they are [served](Files::hidden), and everything that would
    /// not be served: sockets, links that lead out. `?sort=size` or `modified`, and `&order=desc`, order it.
    ///
    /// At most 10,000 entries are shown, and then it says so. A folder is read anew for each request, in the thread pool.
    ///
    /// ```no_run
    /// # use ropewalk_web::Files;
    /// let files = Files::new("downloads")?.listing(true);
    /// # drop(files);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn listing(self, listing: bool) -> Files {
        self.change(|settings| settings.listing = listing)
    }

    /// The same with this file of the folder as the body of a 404.
    ///
    /// ```no_run
    /// # use ropewalk_web::Files;
    /// let files = Files::new("site")?.missing_page("404.html");
    /// # drop(files);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn missing_page(self, name: &str) -> Files {
        self.change_search(|search| search.missing_page = Some(name.into()))
    }

    /// The same with this file of the folder, and 200, for what is not there: the page of an application that makes sense of the
    /// path in the browser. It is for those who go to a page only (`Sec-Fetch-Mode: navigate`, or without that field an `Accept`
    /// that names `text/html`), so that a script or an image that is missing is still missing.
    ///
    /// ```no_run
    /// # use ropewalk_web::Files;
    /// let files = Files::new("dist")?.fallback("index.html");
    /// # drop(files);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn fallback(self, name: &str) -> Files {
        self.change_search(|search| search.fallback = Some(name.into()))
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
        self.change_search(|search| search.hidden = hidden)
    }

    /// The same, opening and reading in the thread pool only. For a folder on a network, where the kernel may ask a server
    /// about what it has in memory, too.
    #[must_use]
    pub fn in_threads(self, in_threads: bool) -> Files {
        self.change(|settings| settings.in_threads = in_threads)
    }

    /// The address of a file of this folder, with the version of its content: `/static/style.css?v=…`. Asked for so, it is answered
    /// with `Cache-Control: public, max-age=31536000, immutable` as long as the version is the right one: browsers keep it, and
    /// ask for another address when the file has changed. A wrong version gets the file as it is now, and what
    /// [`Files::cache_control`] says, or else `no-cache`.
    ///
    /// The content is read in the thread pool, once for each change of the file; otherwise the deferred has fired already. A file
    /// of more than 64 MiB has an address without a version. Beside [`Files::prefix`], the name is written as in the file system,
    /// with slashes and without percent-encoding.
    ///
    /// ```no_run
    /// use ropewalk_web::{Files, Request, Response, Router};
    /// let files = Files::new("public")?.prefix("/static");
    /// let page = files.clone();
    /// let router = Router::new().route("*", "/static/{*rest}", files).get("/", move |request: Request| {
    ///     let style = page.url(request.reactor(), "style.css");
    ///     style.add_callback(|style| Response::html(format!("<link rel=stylesheet href=\"{style}\">")))
    /// });
    /// # drop(router);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// The deferred fails with an [`io::Error`] when there is no such file, or it cannot be read.
    pub fn url(&self, reactor: &Reactor, name: &str) -> Deferred<String> {
        let settings = &self.settings;
        let wrong =
            |kind, why: &str| fail(reactor, Failure::new(io::Error::new(kind, format!("{name}: {why}"))));
        if settings.search.root.only().is_some() {
            return wrong(io::ErrorKind::Unsupported, "a single file has the address of its route");
        }
        let Some(name) = path::given(name) else {
            return wrong(io::ErrorKind::InvalidInput, "it names no file of the folder");
        };
        let address = path::address(&settings.prefix, &name);
        let search = Arc::clone(&settings.search);
        if !settings.in_threads
            && let Ok(Found::File { facts, .. }) = search.root.find(&name, false, &[], Pace::Cached)
            && let Some(version) = settings.versions.of(&name, &facts)
        {
            return succeed(reactor, format!("{address}?v={version}"));
        }
        let settings = Rc::clone(settings);
        let clock = reactor.clone();
        let job = move || versions::read(&search.root, &name).map(|(facts, version)| (name, facts, version));
        reactor.defer_to_thread(job).add_callback(move |read| match read {
            Ok((_, _, None)) => Ok(address),
            Ok((name, facts, Some(version))) => {
                settings.keep_version(&clock, &name, facts, version);
                Ok(format!("{address}?v={version}"))
            }
            Err(errno) => {
                let error = io::Error::from(errno);
                let text = format!("{address}: the file could not be read: {error}");
                Err(Failure::new(io::Error::new(error.kind(), text)))
            }
        })
    }
}

/// What may stand in a field: no control characters.
fn printable(value: &str) -> String {
    value.chars().filter(|character| !character.is_control()).collect()
}
