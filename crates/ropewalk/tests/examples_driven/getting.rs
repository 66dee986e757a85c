//! The example that gets pages: what it says of them, how many connections it takes, and that it leaves nothing.

use crate::get_page;
use crate::support::{Ground, SECOND, Said, address};
use ropewalk::web::client::Agent;
use ropewalk::web::{Response, Router, Site};

fn site() -> Site {
    let router = Router::new()
        .get("/", |_| Response::html("<html><title> The hall </title>rope</html>"))
        .get("/moved", |_| Response::redirect(302, "/"))
        .get("/large", |_| "x".repeat(5 * 1024 * 1024));
    Site::new(router)
}

#[test]
fn get_page_says_what_came_of_each() {
    for seed in 0..100 {
        let ground = Ground::new(seed, site());
        ground.advance(SECOND);
        let (before, said) = ((ground.sources(), ground.timers()), Said::default());
        let base = format!("http://{}", address(&ground.port));
        let mut urls: Vec<String> =
            ["/", "/moved", "/nothing", "/large"].iter().map(|path| format!("{base}{path}")).collect();
        urls.push("http://nowhere.example/".to_owned());
        urls.push("https://secret.example/".to_owned());
        let (agent, sink) = (Agent::new(ground.simulation.reactor()), said.sink());
        ground.simulation.reactor().spawn(async move { get_page::get_all(&agent, urls, sink).await });
        ground.advance(20 * SECOND);
        let mut lines = said.take();
        assert_eq!(lines.pop().as_deref(), Some("6 pages over 4 connections"), "seed {seed}: {lines:?}");
        lines.sort();
        let [first, moved, missing, large, nowhere, secret] = &lines[..] else {
            panic!("seed {seed}: {lines:?}")
        };
        let page = format!("200      42 bytes  {base}/  \"The hall\"");
        assert_eq!([first, moved], [&page, &page], "seed {seed}");
        assert!(missing.starts_with("404 ") && missing.ends_with("/nothing  no title"), "{missing}");
        assert!(large.ends_with("/large: the answer has more than 4194304 bytes"), "{large}");
        assert!(nowhere.starts_with("failed: http://nowhere.example/: "), "{nowhere}");
        assert!(secret.contains("https needs TLS"), "{secret}");
        // The agent is gone, and so are its connections.
        assert_eq!((ground.sources(), ground.timers()), before, "seed {seed}");
    }
}
