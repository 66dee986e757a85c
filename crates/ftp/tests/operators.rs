//! What whoever looks after a server sees of its sessions and transfers, and how they are ended from outside.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use common::{Ground, PATIENCE, SEEDS};

#[test]
fn sessions_are_listed_from_the_connection_to_its_end() {
    let ground = Ground::new(1);
    let sessions = ground.server.sessions();
    assert!(sessions.list().is_empty());
    let stranger = ground.client();
    let ada = ground.ada();
    ground.advance(2000);
    let listed = sessions.list();
    let users: Vec<_> = listed.iter().map(|session| (session.id, session.user.as_deref())).collect();
    assert_eq!(users, [(1, None), (2, Some("ada"))]);
    assert!(listed.iter().all(|session| !session.secure && session.running.as_secs() >= 2));
    stranger.expect("QUIT", "221");
    ground.until("one is gone", || sessions.list().len() == 1);
    assert!(!sessions.end(1), "it has ended by itself");
    assert!(sessions.end(2));
    assert!(ada.reply().starts_with("421 Session ended by the operator") && ada.is_over());
    ground.until("both are gone", || sessions.list().is_empty());
    assert!(!sessions.end(2));
}

#[test]
fn a_session_that_is_ended_in_the_middle_leaves_nothing_behind() {
    for seed in 0..SEEDS {
        let ground = Ground::new(seed);
        let client = ground.ada();
        let data = client.data();
        let upload = seed % 2 == 0;
        client.expect(if upload { "STOR half.bin" } else { "RETR sub/deep.bin" }, "1");
        if upload {
            data.write(&[7; 1000]);
        }
        // Wherever it is by now: commands wait behind the transfer, too.
        client.write(b"NOOP\r\nPWD\r\n");
        ground.advance(seed);
        let ended = ground.server.sessions().end(1);
        assert!(ended, "seed {seed}");
        assert!(client.is_over(), "seed {seed}");
        let gone = ground.simulation.run_until(PATIENCE, || ground.server.statistics().sessions == 0);
        assert!(gone, "seed {seed}");
        ground.advance(1000);
        assert!(ground.server.transfers().is_empty() && ground.server.sessions().list().is_empty());
        let other = ground.ada();
        if upload {
            other.expect("SIZE half.bin", "550");
        }
        assert_eq!(other.fetch_text("NLST"), "hello.txt\r\nsub\r\n", "seed {seed}");
        drop(data);
    }
}
