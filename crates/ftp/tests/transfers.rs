//! Files both ways: passive and active, texts and images, resumed, added to, slowly, two at a time; under many seeds.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use common::{Ground, PATIENCE, SEEDS};
use ropewalk_ftp::{Direction, FtpOptions};

fn noise(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index * 7919 % 251) as u8).collect()
}

#[test]
fn up_and_down_again_under_a_hundred_seeds() {
    let content = noise(300_000);
    for seed in 0..SEEDS {
        let ground = Ground::new(seed);
        let client = ground.ada();
        assert_eq!(client.store("STOR big", &content), "226 It has come whole\r\n", "seed {seed}");
        let (bytes, reply) = client.fetch("RETR big");
        assert!(reply.starts_with("226") && bytes == content, "seed {seed}: {reply}");
        let statistics = ground.server.statistics();
        assert_eq!((statistics.uploads, statistics.downloads, statistics.broken), (1, 1, 0));
        assert_eq!((statistics.bytes_received, statistics.bytes_sent), (300_000, 300_000));
        client.expect("QUIT", "221");
        assert!(client.is_over());
        ground.advance(100);
        assert_eq!((ground.server.statistics().sessions, ground.server.transfers().len()), (0, 0));
    }
}

#[test]
fn the_same_with_everything_in_pieces() {
    for seed in 0..20 {
        let ground = Ground::new(seed);
        ground.simulation.network().set_conditions(|conditions| {
            conditions.window_bytes = 700;
            conditions.segment_bytes_max = 50;
        });
        let client = ground.ada();
        let content = noise(20_000);
        assert_eq!(client.store("STOR big", &content), "226 It has come whole\r\n");
        assert_eq!(client.fetch("RETR big").0, content, "seed {seed}");
    }
}

#[test]
fn files_of_the_system_go_the_same_way() {
    let folder = std::env::temp_dir().join(format!("ropewalk-ftp-transfers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let content = noise(200_000);
    std::fs::write(folder.join("big"), &content).unwrap();
    std::fs::write(folder.join("text"), "a\nb\r\nc").unwrap();
    let storage = ropewalk_ftp::LocalStorage::new(&folder).unwrap();
    let ground = Ground::over(3, FtpOptions::default(), std::sync::Arc::new(storage));
    let client = ground.ada();
    assert!(client.fetch("RETR big").0 == content);
    client.expect("REST 150000", "350");
    assert!(client.fetch("RETR big").0 == content[150_000..]);
    client.expect("REST 200000", "350");
    assert_eq!(client.fetch("RETR big").0, b"");
    client.expect("REST 200001", "350");
    assert!(client.fetch("RETR big").1.starts_with("554"));
    assert!(client.fetch("RETR .").1.starts_with("550"));
    assert_eq!(client.store("STOR new", b"abc"), "226 It has come whole\r\n");
    client.expect("REST 1", "350");
    assert_eq!(client.store("STOR new", b"XYZ"), "226 It has come whole\r\n");
    assert_eq!(client.store("APPE new", b"!"), "226 It has come whole\r\n");
    assert_eq!(std::fs::read(folder.join("new")).unwrap(), b"aXYZ!");
    client.expect("TYPE A", "200");
    assert_eq!(client.fetch("RETR text").0, b"a\r\nb\r\nc");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_active_connection_goes_to_the_client() {
    for line in ["PORT 127,0,0,1,10,10", "EPRT |1|127.0.0.1|2570|"] {
        let ground = Ground::new(5);
        let network = ground.simulation.network();
        network.answer_by_hand();
        let client = ground.ada();
        client.expect(line, "200");
        client.send("RETR hello.txt");
        assert_eq!(client.code(), "150");
        let mut callers = network.callers();
        while callers.is_empty() {
            ground.advance(1);
            callers = network.callers();
        }
        let caller = callers.remove(0);
        assert_eq!(caller.to().to_string(), "127.0.0.1:2570");
        assert_eq!(caller.from().ip(), ground.address.ip(), "from where the client knows us");
        let data = caller.accept();
        assert_eq!(ground.drain(&data), b"hello\nworld\n");
        assert_eq!(client.code(), "226");
        // Each is for one transfer.
        client.expect("RETR hello.txt", "425");
        client.expect(line, "200");
        client.send("STOR x");
        assert_eq!(client.code(), "150");
        ground.advance(10);
        network.callers().remove(0).refuse(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(client.code(), "425");
        assert_eq!(ground.storage.take("/x"), None);
    }
}

#[test]
fn extended_passive() {
    let ground = Ground::new(1);
    let client = ground.ada();
    let port = |reply: String| reply.split('|').nth(3).unwrap().parse::<u16>().unwrap();
    let to = port(client.expect("EPSV", "229"));
    let data = ground.simulation.network().connect(([127, 0, 0, 1], to).into());
    ground.until("it stands", || data.is_connected());
    ground.advance(10);
    assert_eq!(client.expect("RETR hello.txt", "125"), "125 12 bytes: starting\r\n");
    assert_eq!(ground.drain(&data), b"hello\nworld\n");
    assert_eq!(client.code(), "226");
    client.expect("EPSV 1", "229");
    assert_eq!(client.say("EPSV 2"), "522 Network protocol not supported, use (1)\r\n");
    client.expect("EPSV x", "501");
    client.expect("EPSV ALL", "200");
    for line in ["PASV", "PORT 127,0,0,1,10,10", "EPRT |1|127.0.0.1|2570|"] {
        assert!(client.expect(line, "501").contains("EPSV ALL"));
    }
    client.expect("EPSV", "229");
}

#[test]
fn texts_are_split_at_every_byte() {
    let wire: &[u8] = b"a\r\nb\rc\r\r\n\r\n\n";
    for cut in 0..=wire.len() {
        let ground = Ground::new(cut as u64);
        let client = ground.user("ada");
        let data = client.data();
        client.expect("STOR text", "1");
        ground.until("it stands", || data.is_connected());
        data.write(&wire[..cut]);
        ground.advance(500);
        data.write(&wire[cut..]);
        data.shutdown_write();
        assert_eq!(client.code(), "226");
        assert_eq!(ground.storage.take("/text").unwrap(), b"a\nb\rc\r\n\n\n", "cut at {cut}");
        assert_eq!(client.fetch("RETR text").0, b"a\r\nb\rc\r\n\r\n\r\n");
        client.expect("REST 3", "350");
        assert!(client.fetch("RETR text").1.starts_with("501"));
    }
}

#[test]
fn resuming_adding_and_unique_names() {
    let ground = Ground::new(1);
    let client = ground.ada();
    client.expect("REST 6", "350");
    assert_eq!(client.fetch("RETR hello.txt").0, b"world\n");
    assert_eq!(client.fetch("RETR hello.txt").0, b"hello\nworld\n", "it holds for one transfer");
    client.expect("REST 13", "350");
    assert!(client.fetch("RETR hello.txt").1.starts_with("554"));
    client.expect("REST 6", "350");
    assert!(client.store("STOR hello.txt", b"there\n").starts_with("226"));
    assert_eq!(ground.storage.take("/hello.txt").unwrap(), b"hello\nthere\n");
    client.expect("REST 99", "350");
    assert!(client.store("STOR hello.txt", b"x").starts_with("554"));
    assert!(client.store("APPE hello.txt", b"more").starts_with("226"));
    assert!(client.store("APPE new", b"first").starts_with("226"));
    assert_eq!(ground.storage.take("/hello.txt").unwrap(), b"hello\nthere\nmore");
    assert_eq!(ground.storage.take("/new").unwrap(), b"first");
    assert!(client.store("STOR empty", b"").starts_with("226"));
    assert_eq!(ground.storage.take("/empty").unwrap(), b"");
    for named in ["STOU", "STOU name", "STOU sub/name"] {
        let data = client.data();
        let reply = client.say(named);
        let name = reply.strip_prefix("125 FILE: ").or(reply.strip_prefix("150 FILE: ")).unwrap().trim_end();
        data.write(b"unique");
        data.shutdown_write();
        assert_eq!(client.code(), "226");
        client.expect(&format!("SIZE {name}"), "213 6");
        let path = if name.starts_with('/') { name.to_owned() } else { format!("/{name}") };
        assert_eq!(ground.storage.take(&path).unwrap(), b"unique", "{reply}");
    }
    assert!(client.store("STOR no/where", b"x").starts_with("550"));
    assert!(client.store("STOR sub", b"x").starts_with("550"));
    assert!(client.store("STOR huge", &noise(9 << 20)).starts_with("452"), "the storage is full");
    assert_eq!(ground.storage.take("/huge"), None);
}

#[test]
fn two_transfers_run_side_by_side_and_are_listed() {
    let ground = Ground::new(1);
    ground.storage.put("/big", &noise(1 << 20)).unwrap();
    let (one, two) = (ground.ada(), ground.user("guest"));
    two.expect("TYPE I", "200");
    let (data_one, data_two) = (one.data(), two.data());
    data_two.set_window(Some(1000));
    one.expect("STOR slowly", "1");
    two.expect("RETR big", "1");
    data_one.write(b"begin");
    ground.advance(1000);
    let transfers = ground.server.transfers();
    let listed = transfers.list();
    assert_eq!(listed.len(), 2);
    assert_eq!(
        (listed[0].direction, listed[0].bytes, listed[0].user.as_str()),
        (Direction::Upload, 5, "ada")
    );
    assert_eq!((listed[1].direction, listed[1].path.to_string().as_str()), (Direction::Download, "/big"));
    assert!(listed[1].bytes > 0 && listed[1].bytes < 1 << 20);
    data_two.set_window(None);
    assert_eq!(ground.drain(&data_two).len(), 1 << 20);
    assert_eq!(two.code(), "226");
    data_one.shutdown_write();
    assert_eq!(one.code(), "226");
    assert!(transfers.is_empty() && !transfers.kill(1));
}

#[test]
fn a_transfer_can_be_killed_from_outside() {
    let ground = Ground::new(1);
    let client = ground.ada();
    let data = client.data();
    client.expect("STOR half", "1");
    data.write(b"half of it");
    ground.advance(100);
    let transfers = ground.server.transfers();
    assert!(transfers.kill(transfers.list()[0].id));
    assert_eq!(client.reply(), "426 Transfer broken off by the operator\r\n");
    ground.until("it is broken off", || data.is_reset());
    client.expect("NOOP", "200");
    assert_eq!(ground.storage.take("/half"), None);
    assert_eq!(ground.server.statistics().aborted, 1);
}

#[test]
fn a_slow_user_gets_what_he_may() {
    let ground = Ground::new(1);
    let client = ground.user("slow");
    client.expect("TYPE I", "200");
    let began = ground.simulation.network().now();
    let content = noise(5000);
    assert!(client.store("STOR x", &content).starts_with("226"));
    let up = ground.simulation.network().now().since(began);
    assert!((4.0..5.0).contains(&up.as_secs_f64()), "{up:?}: a second's worth comes at once");
    assert_eq!(client.fetch("RETR x").0, content);
    let down = ground.simulation.network().now().since(began) - up;
    assert!((4.0..5.0).contains(&down.as_secs_f64()), "{down:?}");
}

#[test]
fn lines_that_come_together_are_answered_in_their_order() {
    let ground = Ground::new(1);
    let client = ground.ada();
    let data = client.data();
    client.write(b"RETR hello.txt\r\nNOOP\r\nPWD\nTYPE A\r\nQUIT\r\nNOOP\r\n");
    let codes: Vec<String> = (0..6).map(|_| client.code()).collect();
    assert_eq!(codes, ["125", "226", "200", "257", "200", "221"]);
    assert_eq!(ground.drain(&data), b"hello\nworld\n");
    assert!(client.is_over() && client.reply().is_empty(), "after QUIT nothing is answered");
}

#[test]
fn who_ends_his_direction_gets_what_is_due() {
    let ground = Ground::new(1);
    let client = ground.ada();
    client.write(b"PWD\r\nSIZE hello.txt\r\n");
    client.control.shutdown_write();
    assert_eq!((client.code(), client.code()), ("257".to_owned(), "213".to_owned()));
    assert!(client.is_over());
}

#[test]
fn whoever_vanishes_leaves_nothing_behind() {
    for seed in 0..SEEDS {
        let ground = Ground::new(seed);
        let client = ground.ada();
        let data = client.data();
        client.send("STOR half");
        ground.pour(&data, &noise(10_000));
        ground.advance(seed * 3);
        if seed % 2 == 0 {
            client.control.reset();
            data.reset();
        } else {
            data.reset();
            assert!(client.code().starts_with('1'));
            // It may be gone before the command has come.
            let code = client.code();
            assert!(code == "425" || code == "426", "seed {seed}: {code}");
            client.expect("QUIT", "221");
        }
        let server = ground.server.clone();
        assert!(ground.simulation.run_until(PATIENCE, || server.statistics().sessions == 0), "seed {seed}");
        ground.advance(1000);
        assert!(ground.storage.take("/half").is_none(), "seed {seed}");
        assert!(server.transfers().is_empty());
    }
}
