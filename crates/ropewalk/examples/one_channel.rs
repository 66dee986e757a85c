//! One channel, three ways to read it: an event stream, lines of JSON and a long poll, with one history behind all of them.
//!
//! Run it with `cargo run --example one_channel`, and read on in three terminals:
//! ```text
//! curl -N -H 'Accept: text/event-stream' 'http://127.0.0.1:8080/channels/news?since=0'
//! curl -N -H 'Accept: application/x-ndjson' 'http://127.0.0.1:8080/channels/news?last=1'
//! curl 'http://127.0.0.1:8080/channels/news?since=0'
//! ```
//! Then publish in a fourth one, from outside or through a handler of the program's own, and see it in all of them:
//! ```text
//! curl -d 'hello, all' http://127.0.0.1:8080/channels/news
//! curl http://127.0.0.1:8080/tick
//! ```
//! The history is in memory; with `Channels::durable` and a `SqliteJournal` it would survive a crash.
use std::process::ExitCode;

use ropewalk::channel::{Channels, ChannelsOptions, Limit, Since};
use ropewalk::web::push::{self, PushOptions};
use ropewalk::web::{Request, Router, Site};
use ropewalk::{Failure, Reactor, net};

/// The channels, and two handlers that use one of them.
pub fn site(reactor: &Reactor) -> Site {
    let channels = Channels::in_memory(reactor, ChannelsOptions::default());
    let (writer, reader) = (channels.clone(), channels.clone());
    // A handler publishes as everybody does: the deferred fires when the event is there for all.
    let tick = move |request: Request| {
        let who = request.peer();
        writer.publish("news", format!("{who} says tick")).add_callback(|id| format!("that was {id}\n"))
    };
    // And it may read: a cursor is all that it takes.
    let latest = move |_: Request| {
        let reader = reader.clone();
        async move {
            let batch = reader.channel("news").await?.since(Since::Last(3), Limit::default());
            let lines = batch.events.iter().filter_map(|event| event.data.text());
            Ok::<_, Failure>(lines.map(|line| format!("{line}\n")).collect::<String>())
        }
    };
    // Only for this machine: nobody is asked who they are.
    let options = PushOptions { loopback_only: true, ..PushOptions::default() };
    let router =
        Router::new().get("/tick", tick).get("/latest", latest).fallback(push::service(&channels, options));
    Site::new(router)
}

fn main() -> ExitCode {
    ropewalk::main("one_channel", |app| {
        let endpoint: net::ServerEndpoint = "tcp:8080:interface=127.0.0.1".parse()?;
        app.serve_home("web", endpoint, |reactor| Ok(site(reactor)));
        Ok(())
    })
}
