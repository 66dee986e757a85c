//! The walk of a request through `Files`: as far as it goes without waiting on the loop, and from there on in the thread pool
//! and back. It puts together what the other modules know, and decides how long an answer may be kept.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use ropewalk_reactor::Reactor;
use rustix::io::Errno;

use super::accept::{Coding, Codings, navigates, prefers_json};
use super::condition::Validators;
use super::content::{Content, PIECE_BYTES, Unread};
use super::listing::{Order, View};
use super::reply::{Draft, Subject, busy, undone, unopened};
use super::root::{Facts, Pace};
use super::search::{Called, Located, Sight, Wanted};
use super::versions::{self, Version};
use super::{Files, Settings, path};
use crate::answer::{Answer, IntoAnswer};
use crate::request::Request;
use crate::response::{Body, Response};
use crate::router::Handler;

/// The methods that a file takes (RFC 9110 10.2.1).
const ALLOW: &str = "GET, HEAD, OPTIONS";
/// For a file whose address has the version of its content: RFC 8246.
static FOR_GOOD: Cow<'static, str> = Cow::Borrowed("public, max-age=31536000, immutable");
static ASK: Cow<'static, str> = Cow::Borrowed("no-cache");

impl Handler for Files {
    fn handle(&self, request: Request) -> Answer {
        let settings = &self.settings;
        match request.method() {
            "GET" | "HEAD" => {}
            "OPTIONS" => return Answer::Now(settings.dress(Response::empty(204).header("Allow", ALLOW))),
            _ => {
                let refusal = Response::error(405, "a file can be read, and nothing else");
                return Answer::Now(settings.dress(refusal.header("Allow", ALLOW)));
            }
        }
        let wanted = settings.wanted(&request);
        let sight = match settings.in_threads {
            false => settings.search.look(&wanted, Pace::Cached),
            true => Err(Errno::AGAIN),
        };
        if matches!(sight, Err(Errno::AGAIN)) {
            let wanted = wanted.into_owned();
            return open(Rc::clone(settings), request, wanted).into_answer();
        }
        match settings.step(&request, &wanted, sight) {
            Step::Done(response) => Answer::Now(settings.dress(response)),
            step => {
                let wanted = wanted.into_owned();
                finish(Rc::clone(settings), request, wanted, step).into_answer()
            }
        }
    }
}

/// How far an answer got without waiting.
enum Step {
    Done(Response),
    /// The rest is to be read in the pool.
    Cold(Response, Content),
    /// The request names a version, and that of the file is not known.
    Unversioned(Located),
}

impl Settings {
    fn wanted<'a>(&self, request: &'a Request) -> Wanted<'a> {
        let search = &self.search;
        let (name, folder) = match search.root.only() {
            Some(name) => (Some(Cow::Owned(name.to_vec())), false),
            None => match path::asked(request.path(), &self.prefix, search.hidden) {
                Some(asked) => (Some(asked.name), asked.folder),
                None => (None, false),
            },
        };
        let codings =
            if search.precompressed { Codings::read(request.headers()) } else { Codings::default() };
        let navigation =
            search.fallback.is_some() && navigates(request.header("Sec-Fetch-Mode"), request.headers());
        let view = match &name {
            Some(name) if folder && self.listing => Some(self.view(request, name)),
            _ => None,
        };
        Wanted { name, folder, codings, navigation, view }
    }

    fn view(&self, request: &Request, name: &[u8]) -> View {
        View {
            prefix: self.prefix.clone(),
            name: name.to_vec(),
            order: Order::read(request.query()),
            json: prefers_json(request.headers()),
            nonce: format!("{:016x}{:016x}", request.reactor().random(), request.reactor().random()),
        }
    }

    fn step(&self, request: &Request, wanted: &Wanted<'_>, sight: Result<Sight, Errno>) -> Step {
        let located = match sight {
            Ok(Sight::File(located)) => located,
            Ok(Sight::Folder) => {
                let name = wanted.name.as_deref().unwrap_or_default();
                let location = path::location(&self.prefix, name, request.query());
                return Step::Done(Response::redirect(301, location));
            }
            Ok(Sight::List(text)) => return Step::Done(list(text, wanted.view.as_ref())),
            Err(errno) => {
                let mut response = unopened(errno, request.path());
                if let Some(vary) = self.vary(true).filter(|_| response.code() == 404) {
                    response = response.header("Vary", vary);
                }
                return Step::Done(response);
            }
        };
        match self.asked_version(request, wanted, &located) {
            None => self.answer(request, wanted, located, self.cache_control.as_ref()),
            Some((name, version)) => match self.versions.of(name, &located.original) {
                Some(known) => {
                    let cache_control = self.cache_control_of(known == version);
                    self.answer(request, wanted, located, cache_control)
                }
                None => Step::Unversioned(located),
            },
        }
    }

    /// The version that a request names, if it names one of a file.
    fn asked_version<'a>(
        &self,
        request: &Request,
        wanted: &'a Wanted<'_>,
        located: &Located,
    ) -> Option<(&'a [u8], Version)> {
        let named = located.called == Called::Asked && self.search.root.only().is_none();
        let version = Version::asked(request.query()).filter(|_| named)?;
        wanted.name.as_deref().map(|name| (name, version))
    }

    /// How long a file may be kept that was asked for by the right version, or by a wrong one: what comes for that must not be
    /// kept by guessing.
    fn cache_control_of(&self, right: bool) -> Option<&Cow<'static, str>> {
        match right {
            true => Some(&FOR_GOOD),
            false => self.cache_control.as_ref().or(Some(&ASK)),
        }
    }

    /// Remembers a version, unless the file was changed so shortly before that it may change again and look the same.
    pub(super) fn keep_version(&self, reactor: &Reactor, name: &[u8], facts: Facts, version: Version) {
        if Validators::new(&facts, reactor.wall_clock()).has_rested() {
            self.versions.keep(name, facts, version);
        }
    }

    fn answer(
        &self,
        request: &Request,
        wanted: &Wanted<'_>,
        located: Located,
        cache_control: Option<&Cow<'static, str>>,
    ) -> Step {
        let Located { file, facts, called, coding, .. } = located;
        let missing = called == Called::MissingPage;
        let subject = Subject {
            media: &self.types.of(self.search.name(called, wanted)),
            facts,
            cache_control: cache_control.filter(|_| !missing),
            coding: coding.map(Coding::name),
            several: self.search.precompressed,
            vary: self.vary(missing || called == Called::Fallback),
        };
        self.fill(
            request,
            match missing {
                true => subject.draft_error(404, request, file),
                false => subject.draft(request, file),
            },
        )
    }

    /// Which fields decide what comes, for a file or for something that is not there.
    fn vary(&self, absent: bool) -> Option<&'static str> {
        match (self.search.precompressed, absent && self.search.fallback.is_some()) {
            (true, true) => Some("Accept-Encoding, Accept, Sec-Fetch-Mode"),
            (true, false) => Some("Accept-Encoding"),
            (false, true) => Some("Accept, Sec-Fetch-Mode"),
            (false, false) => None,
        }
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

    /// The answer with the fields that every answer has.
    fn dress(&self, mut response: Response) -> Response {
        response.fields.extend(self.fields.iter().cloned());
        response
    }
}

/// Finds the file in the pool, and goes on from there.
async fn open(settings: Rc<Settings>, request: Request, wanted: Wanted<'static>) -> Response {
    let search = Arc::clone(&settings.search);
    let job = move || {
        let sight = search.look(&wanted, Pace::Whole);
        (wanted, sight)
    };
    match request.reactor().defer_to_thread(job).await {
        Ok((wanted, sight)) => {
            let step = settings.step(&request, &wanted, sight);
            finish(settings, request, wanted, step).await
        }
        Err(failure) => settings.dress(undone(failure)),
    }
}

/// Goes the rest of the way.
async fn finish(
    settings: Rc<Settings>,
    request: Request,
    wanted: Wanted<'static>,
    mut step: Step,
) -> Response {
    if let Step::Unversioned(located) = step {
        let cache_control = version(&settings, &request, &wanted, &located).await;
        step = settings.answer(&request, &wanted, located, cache_control);
    }
    let response = match step {
        Step::Done(response) => response,
        Step::Cold(response, content) => read(&request, response, content).await,
        Step::Unversioned(_) => busy(),
    };
    settings.dress(response)
}

/// Reads a file for its version in the pool, and says how long it may be kept.
async fn version<'a>(
    settings: &'a Settings,
    request: &Request,
    wanted: &Wanted<'_>,
    located: &Located,
) -> Option<&'a Cow<'static, str>> {
    let wrong = settings.cache_control_of(false);
    let Some((name, version)) = settings.asked_version(request, wanted, located) else { return wrong };
    // A large file has no version; neither has any while many others are being read.
    if located.original.size > versions::BYTES_MAX {
        return wrong;
    }
    let Some(_reading) = settings.versions.begin() else { return wrong };
    let (search, owned) = (Arc::clone(&settings.search), name.to_vec());
    let job = move || versions::read(&search.root, &owned);
    if let Ok(Ok((facts, Some(version)))) = request.reactor().defer_to_thread(job).await {
        settings.keep_version(request.reactor(), name, facts, version);
    }
    settings.cache_control_of(settings.versions.of(name, &located.original) == Some(version))
}

/// Reads a small body in the pool.
async fn read(request: &Request, response: Response, content: Content) -> Response {
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

/// The list of a folder. It changes without a trace, so a cache asks again; of the page only its own style may be used.
fn list(text: Vec<u8>, view: Option<&View>) -> Response {
    let response = match view {
        Some(view) if !view.json => Response::html(text).header(
            "Content-Security-Policy",
            format!(
                "default-src 'none'; style-src 'nonce-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                view.nonce
            ),
        ),
        _ => Response::new(text).content_type("application/json; charset=utf-8"),
    };
    response
        .header("Cache-Control", "no-cache")
        .header("Vary", "Accept")
        .header("X-Content-Type-Options", "nosniff")
}
