//! `ropewalk push`: its arguments, and the wiring of channels, their journal and the service.
//!
//! A kind of service. What the service does is in `web::push`. Channels live at home; each other worker follows those that it uses.

use std::cell::RefCell;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use ropewalk_app::{Activity, App, OpenChannels, OpenDatabase, StartError};
use ropewalk_channel::{Channels, ChannelsOptions, Retention, SqliteJournal};
use ropewalk_net::ServerEndpoint;
use ropewalk_reactor::Reactor;
use ropewalk_web::push::{self, Algorithm, Push, PushOptions, Tokens};
use ropewalk_web::{Cors, Handler, Response, Router, Site};

use crate::command::WEB_ENDPOINT;
use crate::kinds::local;

/// The page loads what stands beside it, and nothing else; its icon is in it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Args)]
pub(crate) struct PushArgs {
    /// Where channels are served
    #[arg(long, value_name = "ENDPOINT", default_value = WEB_ENDPOINT)]
    listen: ServerEndpoint,
    /// The folder that keeps events: what was answered survives a crash. Without it they are gone with the program
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Events that a channel keeps
    #[arg(long, value_name = "N", default_value_t = Retention::default().events_max, allow_negative_numbers = true)]
    retain_events: usize,
    /// Bytes that a channel keeps
    #[arg(long, value_name = "N", default_value_t = Retention::default().bytes_max, allow_negative_numbers = true)]
    retain_bytes: usize,
    /// How long a channel keeps an event: 90s, 15m, 12h or 7d [default: for ever]
    #[arg(long, value_name = "AGE", value_parser = age)]
    retain_age: Option<Duration>,
    /// The key of tokens (JWT) that say who may publish and subscribe: a secret, or a public key in PEM. With it channels may be served to
    /// others
    #[arg(long, value_name = "FILE")]
    jwt_key: Option<PathBuf>,
    /// How tokens are signed: HS256, RS256, ES256 or EdDSA [default: what the key is good for]
    #[arg(long, value_name = "ALG", requires = "jwt_key")]
    jwt_alg: Option<Algorithm>,
    /// The audience that tokens must name
    #[arg(long, value_name = "NAME", requires = "jwt_key")]
    jwt_audience: Option<String>,
    /// An origin, as https://app.example.org, whose pages may publish and read; may be given more than once
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,
}

/// Adds the service.
pub(crate) fn build(app: &mut App, args: PushArgs) -> Result<(), StartError> {
    let listen = local(args.listen.clone());
    let tokens = args.tokens()?;
    if tokens.is_none() && !listen.is_local() {
        return Err(StartError::new(
            "channels that others can reach, be it through a proxy, want authorisation: give --jwt-key FILE, or leave the interface at 127.0.0.1",
        ));
    }
    let opened = OpenDatabase::default();
    // In an upgrade nothing is published any more, and without a store what is in memory goes along.
    let carried = OpenChannels::default();
    app.store(carried.clone());
    app.store(opened.clone());
    let open = Open { origins: args.origin.clone(), tokens };
    // Home's connections may be gone while those of others still come to their end.
    let kept: Rc<RefCell<Option<Channels>>> = Rc::default();
    let shown = Rc::clone(&kept);
    let place = app.serve_shared("push", listen, move |reactor| {
        // Not before it starts: another process may still have the store. Nor may a start that failed.
        drop(kept.borrow_mut().take());
        let channels = args.channels(reactor, &opened)?;
        carried.set(&channels);
        let (way, options, to_others) = (channels.home(), args.options(), open.clone());
        let site = open.site(&channels);
        *kept.borrow_mut() = Some(channels);
        let other = move |reactor: &Reactor| {
            let followed = Channels::replica(reactor, &way, options.clone()).map_err(StartError::new)?;
            Ok(to_others.site(&followed))
        };
        Ok((site, other))
    });
    place.shows(move || shown.borrow().as_ref().map(of_channels).into_iter().collect());
    Ok(())
}

fn of_channels(channels: &Channels) -> Activity {
    let figures = channels.statistics();
    let (here, kept, waiting) = (figures.channels, figures.kept, figures.waiting);
    Activity::new(format!("{here} channels in memory, {kept} in the journal; {waiting} events wait for it"))
        .with("channels", here)
        .with("kept", kept)
        .with("bytes", figures.bytes)
        .with("waiting", waiting)
}

/// What a worker needs to serve channels.
#[derive(Clone)]
struct Open {
    origins: Vec<String>,
    tokens: Option<Tokens>,
}

impl Open {
    fn site(&self, channels: &Channels) -> Site {
        let options = PushOptions {
            // Who has a token may come by any name: no page of a stranger has one.
            loopback_only: self.tokens.is_none(),
            admit: self.tokens.clone().map(Tokens::admit),
            origins: self.origins.clone(),
            ..PushOptions::default()
        };
        Site::new(router(&Push::new(channels, options)).with(others(&self.origins)))
    }
}

/// What pages of other origins may send and see; none of them, if no origin is named.
fn others(origins: &[String]) -> Cors {
    Cors::origins(origins).headers(["Authorization", "Content-Type"]).expose(["Last-Event-ID"]).credentials()
}

fn router(push: &Push) -> Router {
    Router::new()
        .get("/", |_| page("text/html", include_str!("../pages/push.html")))
        .get("/push.css", |_| page("text/css", include_str!("../pages/push.css")))
        .get("/push.js", |_| page("text/javascript", include_str!("../pages/push.js")))
        .route("GET", "/ropewalk.js", push::script())
        .fallback(push.handler())
}

fn page(media: &str, text: &'static str) -> Response {
    Response::new(text)
        .content_type(format!("{media}; charset=utf-8"))
        .header("Cache-Control", "no-cache")
        .header("Content-Security-Policy", POLICY)
        .header("X-Content-Type-Options", "nosniff")
}

impl PushArgs {
    fn tokens(&self) -> Result<Option<Tokens>, StartError> {
        let Some(file) = &self.jwt_key else { return Ok(None) };
        let wrong = |why: &dyn std::fmt::Display| StartError::new(format!("{}: {why}", file.display()));
        let key = std::fs::read(file).map_err(|error| wrong(&error))?;
        // An editor puts a line end behind a secret.
        let tokens = Tokens::new(key.trim_ascii_end(), self.jwt_alg).map_err(|error| wrong(&error))?;
        Ok(Some(match &self.jwt_audience {
            Some(audience) => tokens.audience(audience),
            None => tokens,
        }))
    }

    fn options(&self) -> ChannelsOptions {
        let mut options = ChannelsOptions::default();
        options.channel.retention = Retention {
            events_max: self.retain_events,
            bytes_max: self.retain_bytes,
            age_max: self.retain_age,
        };
        options
    }

    fn channels(&self, reactor: &Reactor, opened: &OpenDatabase) -> Result<Channels, StartError> {
        let options = self.options();
        let Some(folder) = &self.store else { return Ok(Channels::in_memory(reactor, options)) };
        make(folder)?;
        let journal = SqliteJournal::open(reactor, &folder.join("push.db")).map_err(StartError::new)?;
        opened.set(journal.database());
        Ok(Channels::durable(reactor, journal, options))
    }
}

/// Makes the folder, if it is not there, for its owner alone.
fn make(folder: &Path) -> Result<(), StartError> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        StartError::new(format!("{}: {error}; name a folder that may be written", folder.display()))
    })
}

/// `90s`, `15m`, `12h`, `7d`.
pub(crate) fn age(text: &str) -> Result<Duration, String> {
    let wrong = || "write an age such as 90s, 15m, 12h or 7d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).filter(|age| *age > 0).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        assert_eq!(age("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(age("7d"), Ok(Duration::from_secs(604_800)));
        for wrong in ["", "s", "10", "0s", "-1s", "1w", "1.5h", "99999999999999999d", "1é"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
