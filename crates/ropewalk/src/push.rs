//! `ropewalk push`: its arguments, and the wiring of channels, their journal and the service.
//!
//! A kind of service. What the service does is in `web::push`.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use ropewalk_app::{App, StartError};
use ropewalk_channel::{Channels, ChannelsOptions, Retention, SqliteJournal};
use ropewalk_net::ServerEndpoint;
use ropewalk_reactor::Reactor;
use ropewalk_web::push::{Push, PushOptions};
use ropewalk_web::{Response, Router, Site};

use crate::command::WEB_ENDPOINT;
use crate::kinds::local;

/// What a person who opens the address finds.
const USAGE: &str = "\
Channels are at /channels/NAME:

  curl -d 'some text' http://HOST/channels/NAME              publishes
  curl -N -H 'Accept: text/event-stream' …/channels/NAME     reads on, as Server-Sent Events
  curl -N -H 'Accept: application/x-ndjson' …/channels/NAME  the same as lines of JSON
  curl '…/channels/NAME?since=ID'                            waits for what follows ID; 0 is the earliest kept
  curl …/channels                                            all channels
";

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
}

/// Adds the service.
pub(crate) fn build(app: &mut App, args: PushArgs) -> Result<(), StartError> {
    let listen = local(args.listen.clone());
    if !listen.is_local() {
        return Err(StartError::new(
            "channels that others can reach, be it through a proxy, want authorisation, and there is none yet; leave the interface at 127.0.0.1",
        ));
    }
    app.serve_home("push", listen, move |reactor| {
        let channels = args.channels(reactor)?;
        let options = PushOptions { loopback_only: true, ..PushOptions::default() };
        let push = Push::new(&channels, options);
        let router = Router::new().get("/", |_| Response::text(USAGE)).fallback(push.handler());
        Ok(Site::new(router))
    });
    Ok(())
}

impl PushArgs {
    fn channels(&self, reactor: &Reactor) -> Result<Channels, StartError> {
        let mut options = ChannelsOptions::default();
        options.channel.retention = Retention {
            events_max: self.retain_events,
            bytes_max: self.retain_bytes,
            age_max: self.retain_age,
        };
        let Some(folder) = &self.store else { return Ok(Channels::in_memory(reactor, options)) };
        make(folder)?;
        let journal = SqliteJournal::open(reactor, &folder.join("push.db")).map_err(StartError::new)?;
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
fn age(text: &str) -> Result<Duration, String> {
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
