//! Everything at once, by chance: servers that answer in every form or not at all, requests of every kind, cancelled and half read at
//! any moment. What must hold: nobody is given another's answer, nothing that may not be done twice is done twice, and in the end
//! nothing is left.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::{Outcome, Random};
use ropewalk_web::client::{Agent, Deadlines, PoolLimits};

use crate::common::*;

/// What the answer to this path is.
fn body(path: &str, length: u64) -> String {
    path.repeat(1 + length as usize / path.len())
}

/// An answer in one of many forms; some of them are none.
fn answer(random: &mut Random, path: &str) -> Reply {
    let text = body(path, [0, 0, 100, 3000, 90_000][random.below(5) as usize]);
    let interim = if random.below(5) == 0 { "HTTP/1.1 103 Hints\r\nLink: <x>\r\n\r\n" } else { "" };
    let length = format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", text.len());
    let chunks: String =
        text.as_bytes().chunks(1 + random.below(5000) as usize).fold(String::new(), |all, chunk| {
            all + &format!("{:x};ext\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk))
        });
    let whole = format!("{length}\r\n{text}");
    let cut = random.below(whole.len() as u64) as usize;
    match random.below(14) {
        0..=3 => whole.into(),
        4..=6 => {
            format!("{interim}HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n").into()
        }
        7 => Reply::Last(format!("{interim}HTTP/1.1 200 OK\r\n\r\n{text}").into_bytes()),
        8 => Reply::Last(whole.into_bytes()),
        9 => format!("{length}Connection: close\r\n\r\n{text}").into(),
        10 => format!("{length}Keep-Alive: timeout=2\r\n\r\n{text}").into(),
        11 => Reply::Reset,
        12 => Reply::Last(whole.as_bytes()[..cut].to_vec()),
        // It comes to its end only by a deadline.
        _ => Reply::Stuck(whole.as_bytes()[..cut].to_vec()),
    }
}

type Seen = Rc<RefCell<BTreeMap<String, u32>>>;

fn ground(seed: u64, seen: &Seen) -> Ground {
    let (random, seen) = (RefCell::new(Random::new(seed)), Rc::clone(seen));
    let ground = Ground::seeded(seed, move |_, head: &str| {
        let line: Vec<&str> = head.split(' ').collect();
        *seen.borrow_mut().entry(format!("{} {}", line[0], line[1])).or_default() += 1;
        answer(&mut random.borrow_mut(), line[1])
    });
    ground.simulation.network().set_conditions(|conditions| {
        conditions.segment_bytes_max = 1 + (seed as usize * 37) % 3000;
        conditions.window_bytes = 2000 + (seed as usize * 101) % 60_000;
    });
    ground
}

/// One request; answers whether it succeeded.
async fn request(agent: Agent, number: u64, mut random: Random) -> Outcome<bool> {
    let host = ["a", "b"][random.below(2) as usize];
    let path = format!("/{number}/");
    let method = ["GET", "GET", "POST", "PUT"][random.below(4) as usize];
    let mut request = agent.request(method, &format!("http://{host}.example{path}"));
    if method != "GET" {
        request = request.body(vec![b'x'; random.below(20_000) as usize]);
    } else if random.below(2) == 0 {
        request = request.pipelined();
    }
    let mut response = request.send().await?;
    if random.below(6) == 0 {
        let _ = response.piece().await?;
        return Ok(false);
    }
    let text = response.text().await?;
    assert_eq!(text, body(&path, text.len() as u64 - 1), "{method} {path} has another's answer");
    Ok(true)
}

#[test]
fn nobody_gets_anothers_answer() {
    let (mut succeeded, mut resent, mut reused) = (0, 0, 0);
    for seed in 0..50 {
        let seen = Seen::default();
        let ground = ground(seed, &seen);
        let mut random = Random::new(seed ^ 0xABCD);
        let limits = PoolLimits { per_host_max: 3, total_max: 4, pipeline_max: 3, ..PoolLimits::default() };
        let deadlines = Deadlines {
            first_byte: Some(3 * SECOND),
            head: Some(3 * SECOND),
            idle: Some(3 * SECOND),
            total: Some(60 * SECOND),
            ..Deadlines::default()
        };
        let agent = ground.agent.clone().with_pool(limits).with_deadlines(deadlines);
        let slots: Vec<_> = (0..60)
            .map(|number| {
                let (agent, own) = (agent.clone(), Random::new(seed << 16 | number));
                let (waits, lives) = (random.below(200), random.below(300));
                let reactor = ground.reactor().clone();
                let is_cancelled = random.below(4) == 0;
                ground.begin(async move {
                    reactor.sleep(Duration::from_millis(waits)).await;
                    let course = request(agent, number, own);
                    if is_cancelled {
                        return reactor.with_timeout(Duration::from_millis(lives), course).await?;
                    }
                    course.await
                })
            })
            .collect();
        let over =
            ground.simulation.run_until(200 * SECOND, || slots.iter().all(|slot| slot.borrow().is_some()));
        assert!(over, "seed {seed}: all come to an end");
        succeeded += slots.iter().filter(|slot| matches!(slot.take(), Some(Ok(true)))).count();
        for (what, times) in &*seen.borrow() {
            assert!(*times == 1 || !what.starts_with("POST"), "seed {seed}: {what} was done {times} times");
            assert!(*times <= 3, "seed {seed}: {what} was sent {times} times");
        }
        ground.advance(5 * SECOND);
        let statistics = agent.statistics();
        assert_eq!((statistics.waiting, statistics.open), (0, statistics.idle), "seed {seed}");
        (resent, reused) = (resent + statistics.resent, reused + statistics.reused);
        agent.close();
        drop(agent);
        ground.is_clean();
    }
    // The figures say that all of it happens.
    assert!(succeeded > 1000 && resent > 50 && reused > 400, "{succeeded} {resent} {reused}");
}
