//! The blog that pushes: from a post to the reader's open page, through hub and subscriber.

use crate::support::SECOND;
use ropewalk::Simulation;

#[test]
fn a_post_reaches_the_open_page() {
    for seed in 0..10 {
        let simulation = Simulation::new(seed);
        let reactor = simulation.reactor().clone();
        simulation
            .reactor()
            .spawn(async move { crate::websub_blog::serve(&reactor, "tcp:8080:interface=127.0.0.1").await });
        simulation.advance(10 * SECOND);
        let connect = || simulation.network().connect("127.0.0.1:8080".parse().unwrap());
        let reader = connect();
        simulation.advance(SECOND);
        reader.write(b"GET /news HTTP/1.1\r\nHost: blog\r\n\r\n");
        simulation.advance(SECOND);
        assert!(reader.text().contains("text/event-stream"), "seed {seed}");
        let writer = connect();
        simulation.advance(SECOND);
        for text in ["one", "two"] {
            let head =
                "POST /write HTTP/1.1\r\nHost: blog\r\nContent-Type: application/x-www-form-urlencoded";
            writer.write(format!("{head}\r\nContent-Length: 8\r\n\r\ntext={text}").as_bytes());
            simulation.advance(5 * SECOND);
            let shown = reader.text();
            assert!(shown.contains(&format!("data: {text}\n")), "seed {seed}: {shown:?}");
        }
    }
}
