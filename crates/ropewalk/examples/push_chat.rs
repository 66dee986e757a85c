//! A chat over channels: each room is one, the browser reads it by the client that the server brings along, and nothing is lost while a
//! laptop sleeps.
//!
//! Run it with `cargo run --example push_chat`, open http://127.0.0.1:8080/ in two windows, and say something. Stop the program, start it
//! again, and see the windows come back by themselves with what was said before: the rooms are kept in `./ropewalk-chat`. From a shell:
//! ```text
//! curl -d 'hello from a shell' http://127.0.0.1:8080/channels/room:lobby
//! curl -N -H 'Accept: text/event-stream' 'http://127.0.0.1:8080/channels/room:lobby?last=5'
//! ```
//! There is no handler of its own: who says something publishes, and who listens subscribes. What a page shows is text, never HTML.

use std::process::ExitCode;
use std::rc::Rc;

use ropewalk::channel::{Channels, ChannelsOptions, SqliteJournal};
use ropewalk::web::push::{self, Action, PushOptions};
use ropewalk::web::{Request, Response, Router, Site};
use ropewalk::{Failure, Reactor, net};

const PAGE: &str = "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'>
<title>A chat over channels</title>
<style>
  body { font: 1.05em sans-serif; max-width: 40em; margin: 2em auto; padding: 0 1em }
  p { margin: .3em 0; overflow-wrap: anywhere } form { display: flex; gap: .5em; margin-top: 1em }
  input { flex: 1; font: inherit; padding: .4em } [name=who] { flex: none; width: 8em } small { color: #777 }
</style>
<h1>The lobby</h1> <small></small> <div></div>
<form><input name=who placeholder='your name' maxlength=30><input name=text autofocus autocomplete=off placeholder='say something'></form>
<script type=module>
  import { subscribe, publish } from '/ropewalk.js';
  const room = 'room:' + (location.hash.slice(1) || 'lobby');
  const [lines, form, state] = ['div', 'form', 'small'].map(name => document.querySelector(name));
  document.querySelector('h1').textContent = room;
  const show = text => { const p = document.createElement('p'); p.textContent = text; lines.append(p); p.scrollIntoView(); };
  subscribe(room, {
    last: 50,
    onEvent: ({ data }) => show(data),
    onGap: gap => show(`(${gap.missed ?? 'some'} lines are gone)`),
    onState: text => state.textContent = text,
  });
  form.onsubmit = event => {
    event.preventDefault();
    publish(room, `${form.who.value || 'somebody'}: ${form.text.value}`).then(() => form.text.value = '', error => state.textContent = error);
  };
</script>
";

/// Rooms, and nothing else: a stranger cannot fill the disk with channels of other names.
fn only_rooms(_: &Request, action: Action, name: &str) -> Result<(), Response> {
    match action {
        Action::List => Ok(()),
        _ if name.starts_with("room:") => Ok(()),
        _ => Err(Response::error(403, "a channel of this server is called room:NAME")),
    }
}

/// The page, the client, and the rooms.
pub fn site(channels: &Channels) -> Site {
    // Only for this machine: nobody is asked who they are.
    let options =
        PushOptions { loopback_only: true, allow: Some(Rc::new(only_rooms)), ..PushOptions::default() };
    let router = Router::new()
        .get("/", |_| Response::html(PAGE))
        .route("GET", "/ropewalk.js", push::script())
        .fallback(push::service(channels, options));
    Site::new(router)
}

/// What was said survives a crash; a room keeps its last thousand lines, and a line is no essay.
fn rooms(reactor: &Reactor) -> Result<Channels, Failure> {
    let mut options = ChannelsOptions { channels_max: 100, ..ChannelsOptions::default() };
    options.channel.retention.events_max = 1_000;
    options.channel.event_bytes_max = 4_096;
    std::fs::create_dir_all("ropewalk-chat")?;
    let journal = SqliteJournal::open(reactor, "ropewalk-chat/rooms.db".as_ref())?;
    Ok(Channels::durable(reactor, journal, options))
}

fn main() -> ExitCode {
    ropewalk::main("push_chat", |app| {
        let endpoint: net::ServerEndpoint = "tcp:8080:interface=127.0.0.1".parse()?;
        let channels = rooms(app.reactor()).map_err(ropewalk::StartError::new)?;
        app.serve_home("web", endpoint, move |_| Ok(site(&channels)));
        Ok(())
    })
}
