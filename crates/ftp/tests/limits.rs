//! Every limit and every deadline, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::time::Duration;

use common::{Ground, PATIENCE};
use ropewalk_ftp::{FtpLimits, FtpOptions};

fn limited(limits: FtpLimits) -> Ground {
    Ground::with(1, FtpOptions { limits, ..FtpOptions::default() })
}

fn seconds(ground: &Ground) -> f64 {
    ground.simulation.network().now().as_nanos() as f64 / 1e9
}

#[test]
fn sessions_in_all_and_of_one_peer() {
    let ground = limited(FtpLimits { sessions_max: 3, sessions_per_peer_max: 2, ..FtpLimits::default() });
    let (one, _two) = (ground.client(), ground.client());
    let third = ground.stranger();
    assert_eq!(third.reply(), "421 Too many sessions; try again later\r\n");
    assert!(third.is_over());
    let elsewhere = ground.client_from([192, 0, 2, 1].into());
    assert_eq!(elsewhere.code(), "220");
    assert_eq!(ground.client_from([192, 0, 2, 2].into()).code(), "421");
    one.expect("QUIT", "221");
    assert!(one.is_over());
    ground.advance(100);
    assert_eq!(ground.stranger().code(), "220");
    assert_eq!(ground.server.statistics().refused, 2);
}

#[test]
fn sessions_of_one_user() {
    let ground = Ground::new(1);
    let first = ground.user("single");
    let second = ground.client();
    second.expect("USER single", "331");
    second.expect("PASS x", "421");
    assert!(second.is_over());
    first.expect("QUIT", "221");
    assert!(first.is_over());
    ground.advance(100);
    ground.user("single").expect("REIN", "220");
    ground.user("single");
}

#[test]
fn guests_do_not_wait_in_the_line_of_passwords() {
    // 1. Three hundred come at once: more than may wait for a password to be hashed. 2. Theirs is not, and all of them are let in.
    let ground = limited(FtpLimits { sessions_per_peer_max: 300, ..FtpLimits::default() });
    let guests: Vec<_> = (0..300).map(|_| ground.client()).collect();
    for guest in &guests {
        guest.send("USER anonymous");
    }
    guests.iter().for_each(|guest| assert_eq!(guest.code(), "331"));
    for guest in &guests {
        guest.send("PASS me@example.com");
    }
    guests.iter().for_each(|guest| assert_eq!(guest.code(), "230"));
}

#[test]
fn a_line_has_an_end() {
    let ground = limited(FtpLimits { line_bytes_max: 100, ..FtpLimits::default() });
    let client = ground.client();
    client.expect(&format!("NOOP {}", "x".repeat(95)), "200");
    client.expect(&format!("NOOP {}", "x".repeat(96)), "500");
    client.expect("NOOP", "200");
    assert_eq!(ground.server.statistics().malformed, 1);
}

#[test]
fn who_does_not_log_in_or_does_nothing_is_sent_away() {
    let ground = Ground::new(1);
    let silent = ground.client();
    assert_eq!(silent.reply(), "421 Timeout\r\n");
    assert!((60.0..60.1).contains(&seconds(&ground)));
    assert!(silent.is_over());
    let chatty = ground.client();
    let began = seconds(&ground);
    loop {
        ground.advance(10_000);
        if chatty.say("NOOP").starts_with("421") {
            break;
        }
    }
    assert!((60.0..71.0).contains(&(seconds(&ground) - began)), "NOOP is no login");
    let idle = ground.ada();
    ground.advance(299_000);
    idle.expect("NOOP", "200");
    let began = seconds(&ground);
    assert_eq!(idle.code(), "421");
    assert!((300.0..300.1).contains(&(seconds(&ground) - began)));
    assert_eq!(ground.server.statistics().timed_out, 3);
}

#[test]
fn a_transfer_keeps_its_session_and_a_stalled_one_is_broken_off() {
    let ground = Ground::new(1);
    ground.storage.put("/big", &[1; 1 << 20]).unwrap();
    let client = ground.ada();
    let data = client.data();
    client.expect("STOR up", "1");
    for _ in 0..20 {
        ground.advance(59_000);
        data.write(b"x");
    }
    assert!(client.is_silent(), "slow is not stalled");
    let began = seconds(&ground);
    assert_eq!(client.reply(), "426 Nothing has moved for too long\r\n");
    assert!((57.0..61.0).contains(&(seconds(&ground) - began)));
    assert_eq!(ground.storage.take("/up"), None);
    let data = client.data();
    data.set_window(Some(10_000));
    client.expect("RETR big", "1");
    assert_eq!(client.reply(), "426 Nothing has moved for too long\r\n");
    ground.until("it is broken off", || data.is_reset());
    assert_eq!(ground.server.statistics().broken, 2);
    client.expect("NOOP", "200");
}

#[test]
fn a_passive_port_is_closed_if_nobody_comes() {
    let ground = Ground::new(1);
    let client = ground.ada();
    let to = client.passive();
    ground.advance(31_000);
    let late = ground.simulation.network().connect(to);
    ground.advance(1000);
    assert!(!late.is_connected());
    client.expect("RETR hello.txt", "150");
    assert_eq!(client.code(), "425");
    // Or if who came is not made use of.
    let early = client.data();
    ground.advance(31_000);
    assert!(early.is_ended());
    client.passive();
    client.expect("RETR hello.txt", "150");
    let began = seconds(&ground);
    assert_eq!(client.code(), "425");
    assert!((29.0..31.0).contains(&(seconds(&ground) - began)));
}

#[test]
fn an_active_connection_that_nobody_answers_ends() {
    let ground = Ground::new(1);
    ground.simulation.network().answer_by_hand();
    let client = ground.ada();
    client.expect("PORT 127,0,0,1,10,10", "200");
    client.expect("RETR hello.txt", "150");
    let began = seconds(&ground);
    assert_eq!(client.code(), "425");
    assert!((29.0..31.0).contains(&(seconds(&ground) - began)));
}

#[test]
fn wrong_passwords_cost_time_and_then_the_connection() {
    let ground = Ground::new(1);
    let client = ground.client();
    for (delay, code) in [(1.0, "530"), (2.0, "530"), (4.0, "421")] {
        client.expect("USER ada", "331");
        let began = seconds(&ground);
        client.expect("PASS wrong", code);
        let took = seconds(&ground) - began;
        assert!((delay..delay + 0.1).contains(&took), "{took}");
    }
    assert!(client.is_over());
    let statistics = ground.server.statistics();
    assert_eq!((statistics.logins, statistics.logins_failed), (0, 3));
}

#[test]
fn an_address_that_guesses_is_not_listened_to_any_more() {
    let limits = FtpLimits { failures_per_peer_max: 4, ..FtpLimits::default() };
    let ground = limited(limits);
    for _ in 0..4 {
        let client = ground.client();
        client.expect("USER ada", "331");
        client.expect("PASS wrong", "530");
    }
    let client = ground.client();
    client.expect("USER ada", "331");
    assert!(client.expect("PASS x", "421").contains("your address"), "also with the right one");
    assert!(client.is_over());
    let elsewhere = ground.client_from([192, 0, 2, 1].into());
    assert_eq!(elsewhere.code(), "220");
    elsewhere.expect("USER ada", "331");
    elsewhere.expect("PASS x", "230");
    ground.advance(600_000);
    ground.user("ada");
}

#[test]
fn commands_come_at_a_rate_and_so_many_wait() {
    let limits = FtpLimits { commands_per_second_max: 10, pipelined_max: 5, ..FtpLimits::default() };
    let ground = limited(limits);
    let client = ground.ada();
    let began = seconds(&ground);
    client.write(&b"NOOP\r\n".repeat(100));
    for _ in 0..100 {
        assert_eq!(client.code(), "200");
    }
    let took = seconds(&ground) - began;
    assert!((9.0..12.0).contains(&took), "{took}");
}

#[test]
fn who_does_not_read_answers_gets_no_more_of_them() {
    let ground = Ground::new(1);
    let client = ground.ada();
    client.control.set_window(Some(2000));
    let mut sent = 0;
    for _ in 0..100 {
        sent += client.control.write(&b"HELP\r\n".repeat(500));
        ground.advance(100);
    }
    assert!(sent < 200_000, "the rest stays in the network: {sent}");
    assert!(ground.server.statistics().commands < 10_000);
    assert!(ground.simulation.run_until(PATIENCE, || ground.server.statistics().sessions == 0), "it stalls");
}

/// STAT is answered beside a transfer, but not without end to who does not read.
#[test]
fn nor_while_a_file_is_under_way() {
    let ground = Ground::new(1);
    ground.storage.put("/big", &vec![7; 1 << 20]).unwrap();
    let client = ground.ada();
    let data = client.data();
    data.set_window(Some(1000));
    assert!(client.say("RETR big").starts_with('1'));
    client.control.set_window(Some(2000));
    let mut sent = 0;
    for _ in 0..100 {
        sent += client.control.write(&b"STAT\r\n".repeat(500));
        ground.advance(100);
    }
    assert!(sent < 200_000, "the rest stays in the network: {sent}");
    assert!(ground.server.statistics().commands < 10_000);
}

#[test]
fn passive_ports_are_of_the_range_and_run_out() {
    let options = FtpOptions {
        passive_ports: Some(50_000..=50_002),
        masquerade: Some([203, 0, 113, 9].into()),
        limits: FtpLimits { data_connect: Duration::from_secs(5), ..FtpLimits::default() },
        ..FtpOptions::default()
    };
    let ground = Ground::with(1, options);
    let clients: Vec<_> = (0..4).map(|_| ground.ada()).collect();
    let mut ports: Vec<u16> = clients[..3]
        .iter()
        .map(|client| {
            let to = client.passive();
            assert_eq!(to.ip().to_string(), "203.0.113.9");
            to.port()
        })
        .collect();
    ports.sort_unstable();
    assert_eq!(ports, [50_000, 50_001, 50_002]);
    clients[3].expect("PASV", "425");
    clients[2].passive();
    clients[3].expect("EPSV", "425");
    ground.advance(6000);
    clients[3].expect("EPSV", "229");
}
