//! Who is here: everybody who comes and goes is announced to all who are in the room.
//!
//! Run it with `cargo run --example presence`, and enter the room in two terminals:
//! ```text
//! curl -N -H 'Accept: application/x-ndjson' 'http://127.0.0.1:8080/channels/room?name=ann'
//! curl -N -H 'Accept: application/x-ndjson' 'http://127.0.0.1:8080/channels/room?name=bob'
//! ```
//! The first one sees `{"id":"…","data":"bob is here"}`; leave with Ctrl-C in the second, and it sees that bob has left. Who is there
//! now:
//! ```text
//! curl http://127.0.0.1:8080/channels/room/presence
//! {"count":1,"names":{"ann":1}}
//! ```
use std::process::ExitCode;

use ropewalk::channel::{Channels, ChannelsOptions, PresenceChange};
use ropewalk::web::push::{self, PushOptions};
use ropewalk::web::{Router, Site};
use ropewalk::{Reactor, StartError, net};

/// The room, which tells of itself.
pub fn site(reactor: &Reactor) -> Result<Site, StartError> {
    let channels = Channels::in_memory(reactor, ChannelsOptions::default());
    let room = channels.channel_now("room").map_err(StartError::new)?;
    let teller = room.clone();
    let reactor = reactor.clone();
    let watch = room.watch_presence(move |change| {
        let text = match change {
            PresenceChange::Joined(Some(name)) => format!("{name} is here"),
            PresenceChange::Left(Some(name)) => format!("{name} has left"),
            _ => return,
        };
        let teller = teller.clone();
        // A moment later, so that who comes is told of itself as well.
        reactor.call_soon(move || {
            if let Err(error) = teller.publish_now(text) {
                tracing::warn!("nobody was told: {error}");
            }
        });
    });
    let options = PushOptions { loopback_only: true, ..PushOptions::default() };
    // The watch lasts as long as somebody keeps it: here, the site.
    let router = Router::new().state(watch).fallback(push::service(&channels, options));
    Ok(Site::new(router))
}

fn main() -> ExitCode {
    ropewalk::main("presence", |app| {
        let endpoint: net::ServerEndpoint = "tcp:8080:interface=127.0.0.1".parse()?;
        app.serve_home("web", endpoint, site);
        Ok(())
    })
}
