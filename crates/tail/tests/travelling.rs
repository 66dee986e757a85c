//! A tail that goes on in another process: its lines keep their ids, each file is read on where it was, and viewers notice nothing.
#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped has failed the test")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{Folder, append, rename, truncate};
use ropewalk_channel::{EventId, Limit, Since};
use ropewalk_net::{Address, Factory, Port, listen};
use ropewalk_reactor::{Peer, Simulation};
use ropewalk_tail::{Tail, TailOptions};
use ropewalk_web::Site;

fn start(simulation: &Simulation, path: &Path) -> Tail {
    let options = TailOptions { sources: vec![path.to_owned()], ..TailOptions::default() };
    Tail::start(simulation.reactor(), options).unwrap()
}

fn settle(simulation: &Simulation) {
    simulation.advance(Duration::from_secs(2));
}

/// What came behind this id, without a gap.
fn behind(tail: &Tail, id: EventId) -> Vec<String> {
    let batch = tail.feed().channel().since(Since::After(id), Limit::default());
    assert!(batch.gap.is_none() && !batch.more, "{:?}", batch.gap);
    batch.events.iter().map(|event| event.data.text().unwrap().to_owned()).collect()
}

/// A tail has read `a`, `b` and half a line, and is packed; then something happens to the file. What the next one has behind `b`.
fn goes_on(happens: impl FnOnce(&Folder, &Path)) -> Vec<String> {
    let folder = Folder::new();
    let path = folder.path("log");
    append(&path, "a\nb\nha");
    let simulation = Simulation::new(1);
    let old = start(&simulation, &path);
    settle(&simulation);
    let last = old.feed().channel().last();
    let packed = old.pack();
    happens(&folder, &path);
    settle(&simulation);
    assert!(behind(&old, last).is_empty(), "nothing is read here any more");
    let new = start(&simulation, &path);
    settle(&simulation);
    assert!(new.unpack(&packed));
    settle(&simulation);
    assert_eq!(behind(&new, EventId::EARLIEST)[..2], ["a", "b"]);
    behind(&new, last)
}

#[test]
fn files_are_read_on_where_they_were() {
    assert_eq!(goes_on(|_, path| append(path, "lf\nc\n")), ["half", "c"]);
    assert!(goes_on(|_, _| {}).is_empty(), "half a line waits on");
}

#[test]
fn files_that_have_changed_meanwhile_are_read_from_their_beginning() {
    // Another one has the name.
    let rotated = goes_on(|folder, path| {
        rename(path, &folder.path("log.1"));
        append(path, "x\ny\n");
    });
    assert_eq!(rotated, ["x", "y"]);
    // It was cut short and is longer already. The half line was handed over, as it would have been.
    let anew = goes_on(|_, path| {
        truncate(path);
        append(path, "new and longer\n");
    });
    assert_eq!(anew, ["ha", "new and longer"]);
}

#[test]
fn what_is_not_understood_changes_nothing_and_the_old_one_may_go_on() {
    let folder = Folder::new();
    let path = folder.path("log");
    append(&path, "a\n");
    let simulation = Simulation::new(1);
    let (old, new) = (start(&simulation, &path), start(&simulation, &path));
    settle(&simulation);
    let last = old.feed().channel().last();
    let packed = old.pack();
    let own = new.feed().channel().last();
    for end in 0..packed.len() {
        assert!(!new.unpack(&packed[..end]), "cut at {end}");
    }
    assert_eq!(new.feed().channel().last(), own);
    append(&path, "b\n");
    old.go_on();
    assert_eq!(behind(&old, last), ["b"]);
}

fn open(simulation: &Simulation, factory: impl Factory) -> Port {
    listen(simulation.reactor(), &"tcp:0:interface=127.0.0.1".parse().unwrap(), factory).unwrap()
}

fn connect(simulation: &Simulation, port: &Port, request: &str) -> Peer {
    let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
    let peer = simulation.network().connect(address);
    settle(simulation);
    peer.write(request.as_bytes());
    settle(simulation);
    peer
}

#[test]
fn viewers_go_along() {
    let folder = Folder::new();
    let path = folder.path("log");
    append(&path, "a\n");
    let simulation = Simulation::new(1);
    let old = start(&simulation, &path);
    let ports =
        |tail: &Tail| [open(&simulation, tail.raw_viewers()), open(&simulation, Site::new(tail.handler()))];
    let [raw, web] = ports(&old);
    let lines = connect(&simulation, &raw, "");
    let stream = connect(&simulation, &web, "GET /events HTTP/1.1\r\nHost: h\r\n\r\n");
    append(&path, "b\n");
    settle(&simulation);
    assert!(lines.text() == "b\n" && stream.text().ends_with("data: b\n\n"));
    let before = stream.text();
    let frozen: Vec<_> = [&raw, &web]
        .into_iter()
        .map(|port| {
            let transport = port.connections().pop().unwrap();
            transport.halt();
            let travelled = transport.freeze_here().unwrap();
            (transport, travelled)
        })
        .collect();
    let packed = old.pack();
    append(&path, "c\n");
    let new = start(&simulation, &path);
    settle(&simulation);
    assert!(new.unpack(&packed));
    for (port, (transport, travelled)) in ports(&new).into_iter().zip(&frozen) {
        assert!(port.thaw_here(transport, travelled).unwrap().is_some());
    }
    append(&path, "d\n");
    settle(&simulation);
    assert_eq!(lines.text(), "b\nc\nd\n");
    let more = stream.text().strip_prefix(&before).expect("it goes on").to_owned();
    assert_eq!(more.matches("data: ").count(), 2, "{more}");
    assert!(more.contains("data: c\n\n") && more.ends_with("data: d\n\n"), "{more}");
}
