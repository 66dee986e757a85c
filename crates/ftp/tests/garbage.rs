//! Whatever a client sends, in whatever order: the server answers or closes, never panics, and holds nothing when the client is gone.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use common::{Ground, PATIENCE, SEEDS};
use ropewalk_reactor::Random;
use ropewalk_wire::ftp::Verb;

/// A line that may mean something.
fn line(random: &mut Random) -> Vec<u8> {
    let arguments: [&[u8]; 14] = [
        b"",
        b"hello.txt",
        b"sub",
        b"/",
        b"..",
        b"x y",
        b"127,0,0,1,200,10",
        b"|1|127.0.0.1|51210|",
        b"5",
        b"A",
        b"I",
        b"20260101000000 hello.txt",
        b"CHMOD 644 hello.txt",
        b"\xff\xff\0\r*",
    ];
    let mut line = match random.below(10) {
        0 => (0..random.below(40)).map(|_| random.below(256) as u8).collect(),
        _ => {
            let verb = Verb::ALL[random.below(Verb::ALL.len() as u64) as usize];
            let argument = arguments[random.below(arguments.len() as u64) as usize];
            // Leaving is no test.
            let name = if verb == Verb::Quit { "PASV" } else { verb.name() };
            [name.as_bytes(), b" ", argument].concat()
        }
    };
    line.extend_from_slice(b"\r\n");
    line
}

#[test]
fn lines_in_any_order_with_data_connections_in_between() {
    for seed in 0..SEEDS {
        let ground = Ground::new(seed);
        let network = ground.simulation.network();
        let client = ground.ada();
        let mut random = Random::new(seed);
        let mut data = Vec::new();
        for _ in 0..60 {
            client.control.write(&line(&mut random));
            match random.below(4) {
                0 => data.push(
                    client
                        .control
                        .is_connected()
                        .then(|| network.connect(([127, 0, 0, 1], 40_003 + random.below(40) as u16).into())),
                ),
                1 => drop(data.pop()),
                2 => {
                    if let Some(Some(peer)) = data.last() {
                        peer.write(b"some data");
                        peer.shutdown_write();
                    }
                }
                _ => {}
            }
            ground.advance(random.below(60));
        }
        client.control.reset();
        drop(data);
        let server = ground.server.clone();
        assert!(ground.simulation.run_until(PATIENCE, || server.statistics().sessions == 0), "seed {seed}");
        // What was let go of in the thread pool takes a moment.
        ground.advance(1000);
        assert!(server.transfers().is_empty(), "seed {seed}");
        let statistics = ground.simulation.reactor().statistics();
        assert_eq!((statistics.sources, statistics.timers), (1, 0), "seed {seed}: only the listener is left");
    }
}
