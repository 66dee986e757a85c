//! A chat room in the browser, over WebSocket: what one member says, all get.
//!
//! Run it with `cargo run --example websocket_chat`, open http://127.0.0.1:8080/ in two windows, and say something. The first line is
//! one's name. Each line is encoded once. A member that does not read misses lines, and is told how many when it reads again: it
//! delays nobody. A page of another site that connects here is refused.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::rc::Rc;

use ropewalk::reactor::Key;
use ropewalk::web::websocket::{
    self, Closed, Limits, Message, Options, Prepared, WebSocket, WebSocketHandler,
};
use ropewalk::web::{Handler, Request, Response, Router};

const PAGE: &str = "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'>
<title>A chat</title>
<style>body { font: 1.1em sans-serif; max-width: 40em; margin: 2em auto } p { margin: .3em 0 } input { width: 100% }</style><div></div>
<form><input autofocus autocomplete=off placeholder='your name'></form>
<script>
  const [lines, form, input] = ['div', 'form', 'input'].map(name => document.querySelector(name));
  const say = text => { const p = document.createElement('p'); p.textContent = text; lines.append(p); scrollTo(0, 1e9); };
  const socket = new WebSocket(location.href.replace(/^http/, 'ws') + 'room');
  socket.onmessage = event => say(event.data);
  socket.onclose = event => say(`* gone (${event.code} ${event.reason})`);
  form.onsubmit = event => { event.preventDefault(); socket.send(input.value); input.value = input.placeholder = ''; };
</script>
";

/// Who is there, and how many lines each has missed. One thread, one loop: an `Rc` and a cell are all the sharing there is.
#[derive(Clone, Default)]
struct Room(Rc<RefCell<BTreeMap<Key, (WebSocket, u64)>>>);

impl Room {
    fn tell(&self, line: &str) {
        let line = Prepared::text(line);
        for (socket, missed) in self.0.borrow_mut().values_mut() {
            if socket.is_full() {
                *missed += 1;
            } else {
                socket.send_shared(&line);
            }
        }
    }
}

struct Guest {
    room: Room,
    name: Option<String>,
}

impl WebSocketHandler for Guest {
    fn open(&mut self, socket: &WebSocket) {
        socket.send_text("* welcome; your name?");
    }

    fn message(&mut self, socket: &WebSocket, message: Message) {
        match (&self.name, message.as_text().map(str::trim)) {
            (_, None) => socket.close(websocket::code::UNSUPPORTED, "text only"),
            (_, Some("")) => {}
            (Some(name), Some(text)) => self.room.tell(&format!("{name}: {text}")),
            (None, Some(name)) => {
                self.room.0.borrow_mut().insert(socket.id(), (socket.clone(), 0));
                self.room.tell(&format!("* {name} has joined"));
                self.name = Some(name.to_owned());
            }
        }
    }

    fn drained(&mut self, socket: &WebSocket) {
        if let Some((_, missed)) = self.room.0.borrow_mut().get_mut(&socket.id())
            && *missed > 0
        {
            socket.send_text(&format!("* you were too slow for {} lines", std::mem::take(missed)));
        }
    }

    fn closed(&mut self, socket: &WebSocket, _: &Closed) {
        if let Some(name) = self.name.take() {
            self.room.0.borrow_mut().remove(&socket.id());
            self.room.tell(&format!("* {name} has left"));
        }
    }
}

/// One room, and the page of it.
pub fn chat() -> impl Handler {
    let (room, options) =
        (Room::default(), Rc::new(Options { limits: Limits::of(1000), ..Options::default() }));
    let join = move |request: Request| {
        websocket::upgrade(&request, Rc::clone(&options), Guest { room: room.clone(), name: None })
    };
    Router::new().get("/", |_| Response::html(PAGE)).get("/room", join)
}

fn main() -> ExitCode {
    ropewalk::main("websocket_chat", |app| app.serve("tcp:8080:interface=127.0.0.1", chat))
}
