//! ABOR, STAT and QUIT while a file is under way, as lines, behind Telnet's Interrupt and Synch, and at every moment.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::sync::Arc;

use common::{Ground, SEEDS};
use ropewalk_ftp::{FtpOptions, LocalStorage};

/// Both ways of a transfer, broken off after so many virtual milliseconds.
fn abort_at(seed: u64, line: &str, after: u64, abor: &[u8]) {
    let ground = Ground::new(seed);
    ground.storage.put("/big", &[5; 400_000]).unwrap();
    let client = ground.ada();
    let data = client.data();
    client.send(line);
    if line.starts_with("STOR") {
        data.write(&[6; 30_000]);
    }
    ground.advance(after);
    client.write(abor);
    // What the client is owed: one end for the transfer, and one for ABOR, in this order.
    let mut codes = Vec::new();
    while codes.last().is_none_or(|code| code != "226") || codes.len() < 2 {
        codes.push(client.code());
        assert!(codes.len() < 5 && codes.last().is_some_and(|code| !code.is_empty()), "{codes:?}");
    }
    let plain: Vec<&str> = codes.iter().map(String::as_str).filter(|code| !code.starts_with('1')).collect();
    assert!(plain == ["426", "226"] || plain == ["226", "226"], "seed {seed}, after {after}: {codes:?}");
    assert!(client.is_silent());
    client.expect("NOOP", "200");
    ground.advance(1000);
    assert!(data.is_ended() || !data.is_connected(), "it ends, or was never made");
    let stored = ground.storage.take("/up");
    if plain == ["426", "226"] {
        assert!(stored.is_none(), "seed {seed}, after {after}");
        assert_eq!(ground.server.statistics().aborted, 1);
    }
    assert!(ground.server.transfers().is_empty());
    // The next transfer is as good as any.
    assert_eq!(client.fetch("RETR hello.txt").0, b"hello\nworld\n");
}

#[test]
fn at_every_moment() {
    for seed in 0..SEEDS {
        for line in ["RETR big", "STOR up"] {
            abort_at(seed, line, seed % 50, b"ABOR\r\n");
        }
    }
}

#[test]
fn a_folder_has_the_old_file_or_the_new_one_and_nothing_else() {
    let folder = std::env::temp_dir().join(format!("ropewalk-ftp-aborting-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for seed in 0..SEEDS {
        std::fs::write(folder.join("up"), b"old").unwrap();
        let storage = Arc::new(LocalStorage::new(&folder).unwrap());
        let ground = Ground::over(seed, FtpOptions::default(), storage);
        let client = ground.ada();
        let data = client.data();
        ground.until("it stands", || data.is_connected());
        client.send("STOR up");
        assert_eq!(data.write(b"new"), 3);
        data.shutdown_write();
        ground.advance(seed);
        if seed % 2 == 0 {
            client.send("ABOR");
            while client.code() != "226" {}
        } else {
            // Or the whole client is gone.
            client.control.reset();
        }
        ground.advance(1000);
        let names: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["up"], "seed {seed}");
        let content = std::fs::read(folder.join("up")).unwrap();
        assert!(content == b"old" || content == b"new", "seed {seed}: {content:?}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn in_the_same_bytes_as_the_transfer() {
    let ground = Ground::new(1);
    let client = ground.ada();
    let data = client.data();
    client.write(b"STOR up\r\nNOOP\r\nABOR\r\n");
    let began = ground.simulation.network().now();
    assert_eq!([client.code(), client.code(), client.code()], ["426", "200", "226"]);
    assert!(ground.simulation.network().now().since(began).as_secs() < 1);
    ground.advance(1000);
    assert!(data.is_ended() || !data.is_connected(), "it ends, or was never made");
}

#[test]
fn as_interrupt_and_synch() {
    // IP and Data Mark, each behind its IAC; and the first alone, where the urgent byte was lost on its way.
    for abor in [&b"\xff\xf4\xff\xf2ABOR\r\n"[..], b"\xff\xf4ABOR\r\n"] {
        abort_at(3, "RETR big", 20, abor);
        abort_at(4, "STOR up", 20, abor);
    }
}

#[test]
fn while_nobody_comes_and_when_nothing_runs() {
    let ground = Ground::new(1);
    let client = ground.ada();
    client.expect("ABOR", "226");
    client.passive();
    client.expect("RETR hello.txt", "150");
    client.send("ABOR");
    assert_eq!((client.code(), client.code()), ("426".to_owned(), "226".to_owned()));
    let to = client.passive();
    assert_eq!(client.say("ABOR"), "226 The data connection is closed\r\n");
    let late = ground.simulation.network().connect(to);
    ground.advance(1000);
    assert!(!late.is_connected());
    client.expect("RETR hello.txt", "425");
}

#[test]
fn status_while_a_file_is_under_way() {
    let ground = Ground::new(1);
    let client = ground.ada();
    let data = client.data();
    client.expect("STOR up", "1");
    data.write(b"12345");
    ground.advance(100);
    client.write(b"\xff\xf4\xff\xf2");
    let status = client.expect("STAT", "211");
    assert!(status.contains("A transfer, 5 bytes so far"), "{status}");
    data.write(b"67");
    data.shutdown_write();
    assert_eq!(client.code(), "226");
    assert_eq!(ground.storage.take("/up").unwrap(), b"1234567");
}

#[test]
fn quit_waits_for_the_file() {
    let ground = Ground::new(1);
    let client = ground.ada();
    let data = client.data();
    client.expect("STOR up", "1");
    client.send("QUIT");
    assert!(client.is_silent());
    data.write(b"all");
    data.shutdown_write();
    assert_eq!((client.code(), client.code()), ("226".to_owned(), "221".to_owned()));
    assert!(client.is_over());
    assert_eq!(ground.storage.take("/up").unwrap(), b"all");
}

#[test]
fn the_program_stops_when_the_file_is_through() {
    let ground = Ground::new(1);
    let (busy, idle) = (ground.ada(), ground.ada());
    let data = busy.data();
    busy.expect("STOR up", "1");
    data.write(b"half, ");
    ground.advance(100);
    ground.simulation.reactor().announce_stop();
    assert_eq!(idle.code(), "421");
    assert!(idle.is_over());
    assert!(busy.is_silent());
    data.write(b"whole");
    data.shutdown_write();
    assert_eq!((busy.code(), busy.code()), ("226".to_owned(), "421".to_owned()));
    assert!(busy.is_over());
    assert_eq!(ground.storage.take("/up").unwrap(), b"half, whole");
}
