//! A chat room: what one member says, all the others get.
//!
//! Run it with `cargo run --example chat`, then join it from several terminals with `nc 127.0.0.1 7008`. The first line is the
//! member's name; every further one appears at all the others as `name: line`.
//!
//! A member that does not read misses lines, and is told how many when it reads again: it costs 64 KiB at most and delays
//! nobody. If it takes nothing for a minute, the transport breaks it off.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::rc::Rc;

use ropewalk::net::{LineHandler, LineReceiver, LineTransport};
use ropewalk::reactor::Key;
use ropewalk::{Factory, Lost, Transport};

const LINE_BYTES_MAX: usize = 1000;

struct Member {
    transport: Transport,
    missed: u64,
}

impl Member {
    fn tell(&mut self, line: &Rc<[u8]>) {
        if self.transport.is_full() {
            self.missed += 1;
            return;
        }
        if self.missed > 0 {
            self.transport.write(format!("* you were too slow for {} lines\n", self.missed).as_bytes());
            self.missed = 0;
        }
        self.transport.write_shared(line);
    }
}

/// Who is there. One thread, one loop: an `Rc` and a cell are all the sharing there is.
#[derive(Default)]
struct Room(RefCell<BTreeMap<Key, Member>>);

impl Room {
    fn tell_others(&self, from: Key, line: &str) {
        let line: Rc<[u8]> = format!("{line}\n").into_bytes().into();
        let mut members = self.0.borrow_mut();
        members.iter_mut().filter(|(id, _)| **id != from).for_each(|(_, member)| member.tell(&line));
    }
}

struct Guest {
    room: Rc<Room>,
    name: Option<String>,
}

impl LineHandler for Guest {
    fn connection_made(&mut self, transport: &LineTransport<'_>) {
        transport.send_line(b"* welcome; your name?");
    }

    fn line_received(&mut self, transport: &LineTransport<'_>, line: &[u8]) {
        // What a terminal would obey is not passed on.
        let text: String = String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).collect();
        match (&self.name, text.trim()) {
            (_, "") => {}
            (Some(name), text) => self.room.tell_others(transport.id(), &format!("{name}: {text}")),
            (None, name) => {
                let member = Member { transport: Transport::clone(transport), missed: 0 };
                self.room.0.borrow_mut().insert(transport.id(), member);
                self.room.tell_others(transport.id(), &format!("* {name} has joined"));
                self.name = Some(name.to_owned());
            }
        }
    }

    fn connection_lost(&mut self, transport: &LineTransport<'_>, _lost: &Lost) {
        if let Some(name) = self.name.take() {
            self.room.0.borrow_mut().remove(&transport.id());
            self.room.tell_others(transport.id(), &format!("* {name} has left"));
        }
    }
}

/// One room, and a guest for each connection. Lines end with `\n`, as terminals send them.
pub fn chat() -> impl Factory {
    let room: Rc<Room> = Rc::default();
    move || {
        let guest = Guest { room: Rc::clone(&room), name: None };
        LineReceiver::new(guest).with_delimiter(b"\n").with_max_length(LINE_BYTES_MAX)
    }
}

fn main() -> ExitCode {
    ropewalk::main("chat", |app| {
        app.serve_factory("chat", "tcp:7008:interface=127.0.0.1".parse()?, |_| Ok(Rc::new(chat())));
        Ok(())
    })
}
