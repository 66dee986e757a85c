//! Connections that leave: frozen under one port and thawed under another, with all that was on its way; or gone on with, as if
//! nothing had happened.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use common::{Ground, Kind, Probe, Seen, real};
use ropewalk_net::{
    Address, Factory, Frozen, LineHandler, LineReceiver, LineTransport, Port, Protocol, Transport,
    TransportOptions,
};

/// Answers each line with its number.
#[derive(Clone, Default)]
struct Numbers {
    lines: u32,
    transport: Rc<RefCell<Option<Transport>>>,
}

impl LineHandler for Numbers {
    fn connection_made(&mut self, transport: &LineTransport<'_>) {
        *self.transport.borrow_mut() = Some(Transport::clone(transport));
    }

    fn line_received(&mut self, transport: &LineTransport<'_>, line: &[u8]) {
        self.lines += 1;
        transport.send_line(format!("{} {}", self.lines, line.escape_ascii()).as_bytes());
    }

    fn freezable(&self) -> bool {
        true
    }

    fn freeze(&mut self, _: &LineTransport<'_>) -> Option<Frozen> {
        Some(Frozen { kind: "numbers".to_owned(), version: 1, bytes: self.lines.to_be_bytes().to_vec() })
    }

    fn thawed(&mut self, transport: &LineTransport<'_>) {
        self.connection_made(transport);
    }
}

struct Counting(Rc<RefCell<Option<Transport>>>);

impl Factory for Counting {
    fn build_protocol(&self, _: &Address) -> Option<Box<dyn Protocol>> {
        let numbers = Numbers { lines: 0, transport: Rc::clone(&self.0) };
        Some(Box::new(LineReceiver::new(numbers).with_any_ending()))
    }

    fn thaw(&self, _: &Address, frozen: &Frozen) -> Option<Box<dyn Protocol>> {
        let lines = match (frozen.kind.as_str(), frozen.version) {
            ("numbers", 1) => u32::from_be_bytes(frozen.bytes.clone().try_into().ok()?),
            _ => return None,
        };
        let numbers = Numbers { lines, transport: Rc::clone(&self.0) };
        Some(Box::new(LineReceiver::new(numbers).with_any_ending()))
    }
}

type Last = Rc<RefCell<Option<Transport>>>;

fn port(ground: &Ground) -> (Port, Last) {
    let last = Last::default();
    (ground.listen(TransportOptions::default(), Counting(Rc::clone(&last))), last)
}

async fn client(ground: &Ground, port: &Port) -> Rc<Seen> {
    let probe = Probe::new();
    let seen = Rc::clone(&probe.seen);
    let probe = RefCell::new(Some(probe));
    ground.connect(port, move || probe.take().unwrap()).await.unwrap();
    seen
}

async fn says(ground: &Ground, seen: &Seen, text: &str) {
    ground.until(text, || seen.len() == text.len()).await;
    assert_eq!(String::from_utf8(seen.data.borrow().clone()).unwrap(), text);
}

fn everywhere<F: Future<Output = ()> + 'static>(check: impl Fn(Ground) -> F) {
    // One per test: the names in it are seeded.
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let folder = std::env::temp_dir().join(format!("ropewalk-{}-{test}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for kind in [Kind::Tcp, Kind::Unix(folder.clone())] {
        real(kind, &check);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_connection_goes_on_under_another_port() {
    everywhere(|ground| async move {
        let (old, last) = port(&ground);
        let (new, newest) = port(&ground);
        let seen = client(&ground, &old).await;
        // 1. A line and a half have come.
        seen.transport().write(b"one\ntw");
        says(&ground, &seen, "1 one\r\n").await;
        ground.until("the half line is here", || last.borrow().as_ref().unwrap().traffic().0 == 6).await;
        // 2. What is written at the last moment travels.
        let transport = last.borrow().clone().unwrap();
        transport.halt();
        transport.write(b"late\r\n");
        let parcel = transport.freeze().expect("it is at rest");
        assert_eq!(
            (parcel.travelled.unread.as_slice(), parcel.travelled.unsent.as_slice()),
            (&b"tw"[..], &b"late\r\n"[..])
        );
        // 3. What comes meanwhile is nobody's yet.
        seen.transport().write(b"o\nthree\n");
        assert_eq!(old.statistics().connections, 1);
        assert!(new.thaw(parcel).unwrap().is_some());
        transport.hand_over();
        assert!(transport.is_disconnected());
        assert_eq!((old.statistics().connections, new.statistics().connections), (0, 1));
        says(&ground, &seen, "1 one\r\nlate\r\n2 two\r\n3 three\r\n").await;
        // 4. It ends like any other.
        newest.borrow().as_ref().unwrap().lose_connection();
        ground.until("the peer hears of it", || seen.is_lost() || seen.ended.get()).await;
        assert_eq!(new.connections().len(), 0);
    });
}

#[test]
fn a_connection_that_does_not_go_goes_on_as_if_nothing_had_happened() {
    everywhere(|ground| async move {
        let (port, last) = port(&ground);
        let seen = client(&ground, &port).await;
        seen.transport().write(b"one\ntw");
        says(&ground, &seen, "1 one\r\n").await;
        ground.until("the half line is here", || last.borrow().as_ref().unwrap().traffic().0 == 6).await;
        let transport = port.connections().pop().expect("it is there");
        let parcel = transport.freeze().expect("it is at rest");
        drop(parcel);
        assert!(transport.freeze().is_none(), "it is frozen already");
        transport.write(b"kept\r\n");
        seen.transport().write(b"o\n");
        ground.pause(std::time::Duration::from_millis(20)).await;
        assert_eq!(seen.len(), 7, "nothing leaves");
        transport.go_on().unwrap();
        says(&ground, &seen, "1 one\r\nkept\r\n2 two\r\n").await;
        seen.transport().lose_connection();
        ground.until("it ends", || transport.is_disconnected()).await;
        assert!(transport.freeze().is_none() && transport.go_on().is_ok());
    });
}

#[test]
fn who_connects_while_a_port_halts_is_served_by_who_accepts_next() {
    everywhere(|ground| async move {
        let (old, _last) = port(&ground);
        old.halt();
        let seen = client(&ground, &old).await;
        seen.transport().write(b"hello\n");
        ground.pause(std::time::Duration::from_millis(20)).await;
        assert_eq!(old.statistics().accepted, 0);
        let fd = old.descriptor().expect("a socket");
        let opened = ropewalk_net::Opened::inherit(fd, &old.endpoint()).unwrap();
        let heir = std::rc::Rc::new(Counting(Last::default()));
        let options = ropewalk_net::ServerOptions::default();
        let new = ropewalk_net::listen_on(&ground.reactor, &old.endpoint(), opened, heir, options).unwrap();
        old.hand_over();
        says(&ground, &seen, "1 hello\r\n").await;
        assert_eq!(new.statistics().accepted, 1);
        // And one that resumes finds them itself.
        new.halt();
        let second = client(&ground, &new).await;
        second.transport().write(b"again\n");
        new.resume();
        says(&ground, &second, "1 again\r\n").await;
        new.stop_listening();
    });
}

#[test]
fn what_has_nothing_to_say_of_itself_stays() {
    everywhere(|ground| async move {
        let port = ground.listen(TransportOptions::default(), Probe::echo);
        let seen = client(&ground, &port).await;
        seen.transport().write(b"x");
        ground.until("the echo", || seen.len() == 1).await;
        let transport = port.connections().pop().unwrap();
        assert!(!transport.is_freezable() && transport.freeze().is_none());
        seen.transport().write(b"y");
        ground.until("the echo", || seen.len() == 2).await;
    });
}
