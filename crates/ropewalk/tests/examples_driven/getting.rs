//! The example that gets pages: what it says of them, how many connections it takes, and that it leaves nothing.

use crate::get_page;
use crate::support::{Ground, SECOND, Said, address};
use ropewalk::net::listen;
use ropewalk::net::tls::{Identity, Pem, Roots, TlsClient, TlsClientOptions, TlsServer, TlsServerOptions};
use ropewalk::web::client::{Agent, Tls};
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
    let made = rcgen::generate_simple_self_signed(["secret.example".to_owned()]).unwrap();
    let pair = Identity::text(made.cert.pem(), made.signing_key.serialize_pem());
    let server = TlsServer::new(TlsServerOptions::new(pair)).unwrap();
    let roots = Roots::Pem(Pem::text(made.cert.pem()));
    let client = TlsClient::new(TlsClientOptions { roots, ..Tls::options() }).unwrap();
    for seed in 0..100 {
        let ground = Ground::new(seed, site());
        ground.simulation.network().set_host("secret.example", &["127.0.0.1".parse().unwrap()]);
        let endpoint = "tcp:443:interface=127.0.0.1".parse().unwrap();
        let _secret = listen(ground.simulation.reactor(), &endpoint, server.wrap(site())).unwrap();
        ground.advance(SECOND);
        let (before, said) = ((ground.sources(), ground.timers()), Said::default());
        let base = format!("http://{}", address(&ground.port));
        let mut urls: Vec<String> =
            ["/", "/moved", "/nothing", "/large"].iter().map(|path| format!("{base}{path}")).collect();
        urls.push("http://nowhere.example/".to_owned());
        urls.push("https://secret.example/".to_owned());
        let (agent, sink) = (Agent::new(ground.simulation.reactor()).with_tls(client.clone()), said.sink());
        ground.simulation.reactor().spawn(async move { get_page::get_all(&agent, urls, sink).await });
        ground.advance(20 * SECOND);
        let mut lines = said.take();
        assert_eq!(lines.pop().as_deref(), Some("6 pages over 5 connections"), "seed {seed}: {lines:?}");
        lines.sort();
        let [first, moved, secret, missing, large, nowhere] = &lines[..] else {
            panic!("seed {seed}: {lines:?}")
        };
        let page = format!("200      42 bytes  {base}/  \"The hall\"");
        assert_eq!([first, moved], [&page, &page], "seed {seed}");
        assert!(missing.starts_with("404 ") && missing.ends_with("/nothing  no title"), "{missing}");
        assert!(large.ends_with("/large: the answer has more than 4194304 bytes"), "{large}");
        assert!(nowhere.starts_with("failed: http://nowhere.example/: "), "{nowhere}");
        assert_eq!(secret, "200      42 bytes  https://secret.example/  \"The hall\"", "seed {seed}");
        // The agent is gone, and so are its connections.
        assert_eq!((ground.sources(), ground.timers()), before, "seed {seed}");
    }
}
