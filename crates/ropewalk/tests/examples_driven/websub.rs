//! The blog that pushes: from a post to the reader's open page, through a folder, hub, subscriber and a file.

use crate::support::SECOND;
use ropewalk::Simulation;

#[test]
fn a_post_reaches_the_open_page() {
    for seed in 0..10 {
        let simulation = Simulation::new(seed);
        let reactor = simulation.reactor().clone();
        let folder = std::env::temp_dir().join(format!("ropewalk-blog-{}-{seed}", std::process::id()));
        let place = folder.clone();
        simulation.reactor().spawn(async move {
            crate::websub_blog::serve(&reactor, "tcp:8080:interface=127.0.0.1", &place, |_| {}).await
        });
        simulation.advance(20 * SECOND);
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
            simulation.advance(15 * SECOND);
            let shown = reader.text();
            assert!(shown.contains(&format!("data: {text}\n")), "seed {seed}: {shown:?}");
        }
        assert_eq!(reader.text().matches("data: one\n").count(), 1, "seed {seed}: each once");
        let kept = std::fs::read_to_string(folder.join("kept.jsonl")).unwrap();
        assert_eq!(kept.lines().count(), 2, "seed {seed}: {kept}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
