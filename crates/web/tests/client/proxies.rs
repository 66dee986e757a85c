//! Proxies and the seam for TLS: who is told what, and what a connector has to do. The TLS here is a mark on the wire.

use std::cell::Cell;
use std::rc::Rc;

use ropewalk_net::Transport;
use ropewalk_reactor::{Deferred, deferred};
use ropewalk_web::client::{ClientError, Connector, Deadlines, Phase, Proxy, Redirects};

use crate::common::*;

/// Says `TLS` and the host's name, and calls that a handshake.
struct Marker(Rc<Cell<u32>>);

impl Connector for Marker {
    fn has_tls(&self) -> bool {
        true
    }

    fn secure(&self, transport: &Transport, host: &str) -> Deferred<()> {
        self.0.set(self.0.get() + 1);
        transport.write(format!("<TLS {host}>").as_bytes());
        transport.reactor().defer_later(5 * MS, || ())
    }
}

#[test]
fn a_connector_makes_https() {
    let ground = Ground::scripted(|_, _| OK);
    let handshakes = Rc::new(Cell::new(0));
    let agent = ground.agent.clone().with_connector(Marker(Rc::clone(&handshakes)));
    for _ in 0..3 {
        let request = agent.get("https://a.example:80/x");
        assert_eq!(ground.wait(async move { request.send().await?.text().await }).unwrap(), "ok");
    }
    assert_eq!((handshakes.get(), ground.made()), (1, 1));
    assert!(ground.link(0).text().starts_with("<TLS a.example>GET /x HTTP/1.1\r\nHost: a.example:80\r\n"));
    // The same host without TLS is another one.
    let request = agent.get("http://a.example/");
    ground.wait(request.send()).unwrap();
    assert_eq!((handshakes.get(), ground.made()), (1, 2));
    drop(agent);
    ground.is_clean();
}

#[test]
fn https_never_leads_to_http_unless_that_is_asked_for() {
    let answer = "HTTP/1.1 302 x\r\nLocation: http://a.example/plain\r\nContent-Length: 0\r\n\r\n";
    let ground = Ground::scripted(move |number, _| if number % 2 == 0 { answer } else { OK });
    let agent = ground.agent.clone().with_connector(Marker(Rc::default()));
    let error = client_error(ground.wait(agent.get("https://a.example:80/").send()).unwrap_err());
    assert!(matches!(error, ClientError::Redirect(_)), "{error}");
    let ground2 = Ground::scripted(move |number, _| if number == 0 { answer } else { OK });
    let agent2 = ground2.agent.clone().with_connector(Marker(Rc::default()));
    let asked = Redirects { dangerous_downgrade: true, ..Redirects::default() };
    let response = ground2.wait(agent2.get("https://a.example:80/").redirects(asked).send()).unwrap();
    assert_eq!(response.url().to_string(), "http://a.example/plain");
    drop((agent, agent2, response));
    ground.is_clean();
    ground2.is_clean();
}

#[test]
fn a_handshake_has_a_deadline_and_may_fail() {
    struct Never;
    impl Connector for Never {
        fn has_tls(&self) -> bool {
            true
        }
        fn secure(&self, transport: &Transport, _: &str) -> Deferred<()> {
            let (firing, deferred) = Deferred::new(transport.reactor());
            transport.reactor().call_later(3600 * SECOND, move || {
                let _ = firing.callback(());
            });
            deferred
        }
    }
    struct Refuses;
    impl Connector for Refuses {
        fn has_tls(&self) -> bool {
            true
        }
        fn secure(&self, transport: &Transport, _: &str) -> Deferred<()> {
            deferred::fail(transport.reactor(), "the certificate is for somebody else")
        }
    }
    let ground = Ground::scripted(|_, _| OK);
    let agent = ground.agent.clone().with_connector(Refuses);
    let failure = ground.wait(agent.get("https://a.example:80/").send()).unwrap_err();
    assert!(failure.to_string().contains("somebody else"));
    ground.advance(SECOND);
    assert!(ground.link(0).is_lost() && ground.link(0).text().is_empty());
    assert_eq!(agent.statistics().open, 0);
    let agent = agent.with_connector(Never);
    let began = ground.reactor().now();
    let deadlines = Deadlines { tls: Some(4 * SECOND), ..Deadlines::default() };
    assert_eq!(
        phase(ground.wait(agent.get("https://a.example:80/").deadlines(deadlines).send())),
        Phase::Tls
    );
    assert!(ground.reactor().now().since(began) < 5 * SECOND);
    // A server that closes in the middle of it is not waited for.
    let slot = ground.begin(agent.get("https://a.example:80/").send());
    ground.advance(SECOND);
    ground.link(2).transport.borrow().as_ref().unwrap().abort_connection();
    ground.advance(SECOND);
    let error = client_error(slot.take().unwrap().unwrap_err());
    assert!(matches!(error, ClientError::Unanswered(_)), "{error}");
    ground.advance(SECOND);
    assert_eq!(agent.statistics().open, 0);
    drop(agent);
    ground.advance(3600 * SECOND);
    ground.is_clean();
}

#[test]
fn a_proxy_is_told_of_plain_requests_and_serves_all_hosts_over_one_connection() {
    let ground = Ground::scripted(|_, _| OK);
    let proxy = Proxy::new("http://me:pw@a.example").unwrap().except("b.example");
    let agent = ground.agent.clone().with_proxy(proxy);
    for url in ["http://x.example/1?q", "http://y.example:8080/2", "http://b.example/3"] {
        let request = agent.get(url);
        assert_eq!(ground.wait(async move { request.send().await?.text().await }).unwrap(), "ok");
    }
    assert_eq!(ground.made(), 2);
    let told = ground.link(0).text();
    assert!(told.starts_with("GET http://x.example/1?q HTTP/1.1\r\nHost: x.example\r\n"), "{told}");
    assert!(told.contains("GET http://y.example:8080/2 HTTP/1.1\r\nHost: y.example:8080\r\n"), "{told}");
    assert_eq!(told.matches("Proxy-Authorization: Basic bWU6cHc=\r\n").count(), 2);
    let direct = ground.link(1).text();
    assert!(direct.starts_with("GET /3 HTTP/1.1\r\n") && !direct.contains("Proxy-"), "{direct}");
    drop(agent);
    ground.is_clean();
}

#[test]
fn a_tunnel_leads_to_https() {
    for seed in 0..30 {
        let ground = Ground::seeded(seed, |number, _| match number {
            0 => "HTTP/1.0 200 Connection established\r\nContent-Length: 7\r\n\r\n".to_owned(),
            _ => OK.to_owned(),
        });
        let handshakes = Rc::new(Cell::new(0));
        let agent = ground.agent.clone().with_connector(Marker(Rc::clone(&handshakes)));
        let agent = agent.with_proxy(Proxy::new("http://me:pw@b.example").unwrap());
        for _ in 0..2 {
            let request = agent.get("https://a.example/secret").header("Cookie", "c");
            assert_eq!(ground.wait(async move { request.send().await?.text().await }).unwrap(), "ok");
        }
        let text = ground.link(0).text();
        let (clear, hidden) = text.split_once("<TLS a.example>").unwrap();
        assert!(clear.starts_with("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n"), "{clear}");
        assert!(
            clear.contains("Proxy-Authorization") && !clear.contains("secret") && !clear.contains("Cookie")
        );
        assert!(
            hidden.starts_with("GET /secret HTTP/1.1\r\nHost: a.example\r\n") && !hidden.contains("Proxy-")
        );
        assert_eq!((ground.made(), handshakes.get(), agent.statistics().reused), (1, 1, 1), "seed {seed}");
        drop(agent);
        ground.is_clean();
    }
}

#[test]
fn a_proxy_that_makes_no_tunnel() {
    for (answer, expected) in [
        ("HTTP/1.1 407 No\r\nContent-Length: 3\r\n\r\nno!", "the proxy makes no tunnel: it answers 407"),
        ("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\nevil", ""),
        ("nonsense", "the answer is refused"),
    ] {
        let ground = Ground::scripted(move |number, _| if number == 0 { answer } else { "" });
        let agent = ground.agent.clone().with_connector(Marker(Rc::default()));
        let agent = agent.with_proxy(Proxy::new("http://b.example").unwrap());
        let deadlines = Deadlines { first_byte: Some(SECOND), ..Deadlines::default() };
        let request = agent.get("https://a.example/").deadlines(deadlines);
        let failure = ground.wait(async move { request.send().await.map(drop) }).unwrap_err();
        assert!(failure.to_string().contains(expected), "{answer}: {failure}");
        ground.advance(SECOND);
        assert_eq!(agent.statistics().open, 0);
        drop(agent);
        ground.is_clean();
    }
    let silent = Ground::scripted(|_, _| Reply::Nothing);
    let agent = silent.agent.clone().with_connector(Marker(Rc::default()));
    let agent = agent.with_proxy(Proxy::new("http://b.example").unwrap());
    assert_eq!(phase(silent.wait(agent.get("https://a.example/").send())), Phase::Tunnel);
    let cancelled = agent.get("https://a.example/").send();
    silent.advance(20 * MS);
    cancelled.cancel();
    assert!(silent.wait(cancelled).is_err());
    drop(agent);
    silent.is_clean();
}
