//! https by the agent's own TLS, in the simulation: kept connections, whom it believes, what a refusal says, what never answers, and a
//! tunnel through a proxy.

use std::rc::Rc;

use ropewalk_net::tls::{Identity, Pem, Pin, Roots, TlsClient, TlsClientOptions, TlsError, TlsServer};
use ropewalk_net::{Lost, Port, Stream, StreamError, Transport, listen, stream_factory};
use ropewalk_reactor::Scope;
use ropewalk_web::client::{Agent, ClientError, Deadlines, Phase, Proxy, Tls, get_page};
use ropewalk_web::{Body, Request, Response, Router, Site};

use crate::authority::Authority;
use crate::common::*;

thread_local! {
    /// Making keys is the slow part: one authority is enough for all seeds.
    static AUTHORITY: Rc<Authority> = Rc::new(Authority::new());
}

fn authority() -> Rc<Authority> {
    AUTHORITY.with(Rc::clone)
}

fn options() -> TlsClientOptions {
    TlsClientOptions { roots: Roots::Pem(authority().roots()), ..Tls::options() }
}

/// The agent of this ground, with TLS of these options.
fn agent(ground: &Ground, options: TlsClientOptions) -> Agent {
    ground.agent.clone().with_tls(TlsClient::new(options).unwrap())
}

fn body() -> Vec<u8> {
    (0..200_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn site() -> Site {
    let router = Router::new()
        .get("/", |request: Request| if request.is_secure() { "in secret" } else { "in the clear" })
        .get("/large", |_| Response::new(body()))
        .post("/echo", |request: Request| async move { request.bytes().await.map(Response::new) });
    Site::new(router)
}

/// A site behind this server's TLS.
fn secure(seed: u64, tls: &TlsServer) -> Ground {
    Ground::of(seed, tls.wrap(site()))
}

fn server() -> TlsServer {
    let options = authority().server_options();
    TlsServer::new(ropewalk_net::tls::TlsServerOptions { alpn: vec![b"http/1.1".to_vec()], ..options })
        .unwrap()
}

#[test]
fn pages_come_over_one_connection_with_every_seed() {
    let (tls, client) = (server(), TlsClient::new(options()).unwrap());
    for seed in 0..30 {
        let ground = secure(seed, &tls);
        let agent = ground.agent.clone().with_tls(client.clone());
        let asking = agent.clone();
        let outcome = ground.wait(async move {
            let small = asking.get("https://localhost:80/").send().await?.text().await?;
            let large = asking.get("https://localhost:80/large").send().await?.bytes().await?;
            let echo = asking.post("https://localhost:80/echo").body(body()).send().await?.bytes().await?;
            Ok((small, large, echo))
        });
        let (small, large, echo) = outcome.unwrap();
        assert_eq!(small, "in secret", "seed {seed}");
        assert!(large == body() && echo == body(), "seed {seed}");
        assert_eq!(agent.statistics().made, 1, "seed {seed}");
        drop(agent);
        ground.is_clean();
    }
    let handshakes = tls.statistics();
    assert_eq!((handshakes.handshakes, handshakes.failed), (30, 0));
    assert!(handshakes.resumed > 20, "sessions are resumed: {handshakes:?}");
}

/// How a page of this URL fails.
fn fails(ground: &Ground, agent: &Agent, url: &str) -> ClientError {
    let error = client_error(ground.wait(agent.get(url).send()).map(drop).unwrap_err());
    ground.advance(SECOND);
    assert_eq!(agent.statistics().open, 0, "{error}");
    error
}

fn refusal(error: &ClientError) -> &TlsError {
    match error {
        ClientError::Tls { error, .. } => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_certificate_that_is_not_accepted_says_what_to_do() {
    let ground = secure(1, &server());
    let stranger = rcgen::generate_simple_self_signed(["stranger".to_owned()]).unwrap().cert.pem();
    let unknown = TlsClientOptions { roots: Roots::Pem(Pem::text(stranger)), ..Tls::options() };
    let error = fails(&ground, &agent(&ground, unknown), "https://localhost:80/");
    assert!(matches!(refusal(&error), TlsError::Certificate(_)));
    assert_eq!(
        error.to_string(),
        "localhost: TLS: the peer's certificate is not accepted: its issuer is unknown (UnknownIssuer); if it is to be \
         believed, name the issuer's certificate as a root, or pin the key"
    );
    let namesake = TlsClientOptions { roots: Roots::Pem(Authority::new().roots()), ..Tls::options() };
    let error = fails(&ground, &agent(&ground, namesake), "https://localhost:80/");
    assert!(
        error.to_string().contains("it was not signed by the root that has its issuer's name"),
        "{error}"
    );
    let error = fails(&ground, &agent(&ground, options()), "https://a.example:80/");
    assert_eq!(
        error.to_string(),
        "a.example: TLS: the peer's certificate is not accepted: it is for localhost, 127.0.0.1, and not for a.example; \
         connect to a name that it has"
    );
    ground.is_clean();
}

#[test]
fn pins_and_certificates_of_this_side() {
    let (chain, key) = authority().pair(&["localhost"]);
    let pin = Pin::of_pem(&chain).unwrap();
    let tls = TlsServer::new(ropewalk_net::tls::TlsServerOptions::new(Identity::text(chain, key))).unwrap();
    let ground = secure(3, &tls);
    let pinned = TlsClientOptions { roots: Roots::Pinned, pins: vec![pin], ..Tls::options() };
    let agent_pinned = agent(&ground, pinned);
    let request = agent_pinned.get("https://localhost:80/");
    assert_eq!(ground.wait(async move { request.send().await?.text().await }).unwrap(), "in secret");
    drop(agent_pinned);
    let wrong = TlsClientOptions { roots: Roots::Pinned, pins: vec![Pin([7; 32])], ..Tls::options() };
    assert!(matches!(
        refusal(&fails(&ground, &agent(&ground, wrong), "https://localhost:80/")),
        TlsError::Certificate(_)
    ));
    ground.is_clean();

    let strict = secure(4, &authority().strict_server(true));
    let shown = TlsClientOptions { identity: Some(authority().identity(&["me"])), ..options() };
    let agent_known = agent(&strict, shown);
    let request = agent_known.get("https://localhost:80/");
    assert_eq!(strict.wait(async move { request.send().await?.text().await }).unwrap(), "in secret");
    drop(agent_known);
    let error = fails(&strict, &agent(&strict, options()), "https://localhost:80/");
    assert!(error.to_string().contains("wants a certificate of this side"), "{error}");
    strict.is_clean();
}

#[test]
fn a_server_that_has_no_tls_or_never_answers_or_goes() {
    let ground = Ground::of(5, site());
    let error = fails(&ground, &agent(&ground, options()), "https://localhost:80/");
    assert!(matches!(refusal(&error), TlsError::Protocol(_)), "{error}");
    ground.is_clean();

    let silent = Ground::scripted(|_, _| Reply::Nothing);
    let waiting = agent(&silent, options());
    let began = silent.reactor().now();
    let error = fails(&silent, &waiting, "https://localhost:80/");
    assert!(
        matches!(error, ClientError::TimedOut { phase: Phase::Tls, limit } if limit == 10 * SECOND),
        "{error}"
    );
    assert!(silent.reactor().now().since(began) < 12 * SECOND);
    let sooner = Deadlines { tls: Some(3 * SECOND), ..Deadlines::default() };
    let request = waiting.get("https://localhost:80/").deadlines(sooner);
    let error = client_error(silent.wait(request.send()).map(drop).unwrap_err());
    assert!(
        matches!(error, ClientError::TimedOut { phase: Phase::Tls, limit } if limit == 3 * SECOND),
        "{error}"
    );
    let slot = silent.begin(waiting.get("https://localhost:80/").send());
    silent.advance(SECOND);
    silent.link(2).transport.borrow().as_ref().unwrap().abort_connection();
    silent.advance(SECOND);
    let error = client_error(slot.take().unwrap().unwrap_err());
    assert!(matches!(error, ClientError::Unanswered(Lost::Broken(_))), "{error}");
    // One that is given up in the middle leaves nothing.
    let given_up = waiting.get("https://localhost:80/").send();
    silent.advance(SECOND);
    given_up.cancel();
    assert!(silent.wait(given_up).is_err());
    drop(waiting);
    silent.is_clean();
}

#[test]
fn another_protocol_than_http_1_is_not_spoken() {
    let options_h2 =
        ropewalk_net::tls::TlsServerOptions { alpn: vec![b"h2".to_vec()], ..authority().server_options() };
    let ground = secure(6, &TlsServer::new(options_h2).unwrap());
    let error = fails(&ground, &agent(&ground, options()), "https://localhost:80/");
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    let offered = TlsClientOptions { alpn: vec![b"h2".to_vec()], ..options() };
    let error = fails(&ground, &agent(&ground, offered), "https://localhost:80/");
    assert!(error.to_string().contains("the server speaks h2"), "{error}");
    ground.is_clean();
}

#[test]
fn an_answer_that_is_cut_off_is_not_taken_for_whole() {
    // Until the connection ends, and that without a farewell.
    let cut = stream_factory(|mut stream: Stream| async move {
        stream.read_until(b"\r\n\r\n", 10_000).await?;
        stream.write(b"HTTP/1.0 200 OK\r\n\r\nhalf of").await?;
        stream.abort();
        Ok::<(), StreamError>(())
    });
    let ground = Ground::of(7, server().wrap(cut));
    let agent = agent(&ground, options());
    let request = agent.get("https://localhost:80/");
    let error = ground.wait(async move { request.send().await?.text().await }).unwrap_err();
    assert!(matches!(client_error(error), ClientError::Truncated(_) | ClientError::Unanswered(_)));
    drop(agent);
    ground.is_clean();
}

async fn pump(mut from: Stream, to: Transport) {
    while let Ok(bytes) = from.read_some().await {
        to.write(&bytes);
    }
    to.lose_connection();
}

/// A proxy that does as it is told, and no more.
fn proxy(ground: &Ground) -> Port {
    let tunnel = stream_factory(move |mut client: Stream| async move {
        let head = client.read_until(b"\r\n\r\n", 10_000).await?;
        assert!(head.starts_with(b"CONNECT localhost:80 HTTP/1.1\r\n"));
        let endpoint = "tcp:127.0.0.1:80".parse().unwrap();
        let reactor = client.reactor().clone();
        let server = Stream::connect(&reactor, &endpoint).await?;
        client.write(b"HTTP/1.1 200 Go ahead\r\n\r\n").await?;
        let (to_client, to_server) = (client.transport().clone(), server.transport().clone());
        let scope = Scope::new(&reactor);
        scope.spawn(pump(client, to_server));
        scope.spawn(pump(server, to_client));
        scope.join().await
    });
    listen(ground.reactor(), &"tcp:3128:interface=127.0.0.1".parse().unwrap(), tunnel).unwrap()
}

#[test]
fn a_tunnel_through_a_proxy() {
    let tls = server();
    for seed in 0..10 {
        let ground = secure(seed, &tls);
        let port = proxy(&ground);
        let agent = agent(&ground, options()).with_proxy(Proxy::new("http://localhost:3128").unwrap());
        let asking = agent.clone();
        let outcome = ground.wait(async move {
            let first = asking.get("https://localhost:80/").send().await?.text().await?;
            let second = asking.get("https://localhost:80/large").send().await?.bytes().await?;
            Ok((first, second))
        });
        let (first, second) = outcome.unwrap();
        assert!(first == "in secret" && second == body(), "seed {seed}");
        assert_eq!(agent.statistics().made, 1, "seed {seed}");
        port.stop_listening();
        agent.close();
        ground.advance(SECOND);
        assert_eq!(ground.port.statistics().connections, 0, "seed {seed}");
    }
}

#[test]
fn a_tunnel_through_a_proxy_that_has_tls_itself() {
    let tls = server();
    for seed in 0..10 {
        let ground = secure(seed, &tls);
        let inner = proxy(&ground);
        // TLS in front of it, by a tunnel that knows nothing else.
        let front = stream_factory(|client: Stream| async move {
            let reactor = client.reactor().clone();
            let server = Stream::connect(&reactor, &"tcp:127.0.0.1:3128".parse().unwrap()).await?;
            let (to_client, to_server) = (client.transport().clone(), server.transport().clone());
            let scope = Scope::new(&reactor);
            scope.spawn(pump(client, to_server));
            scope.spawn(pump(server, to_client));
            scope.join().await
        });
        let endpoint = "tcp:8443:interface=127.0.0.1".parse().unwrap();
        let port = listen(ground.reactor(), &endpoint, tls.wrap(front)).unwrap();
        let agent = agent(&ground, options()).with_proxy(Proxy::new("https://localhost:8443").unwrap());
        let asking = agent.clone();
        let outcome = ground.wait(async move {
            let first = asking.get("https://localhost:80/").send().await?.text().await?;
            let second = asking.get("https://localhost:80/large").send().await?.bytes().await?;
            Ok((first, second))
        });
        let (first, second) = outcome.unwrap();
        assert!(first == "in secret" && second == body(), "seed {seed}");
        assert_eq!(agent.statistics().made, 1, "seed {seed}");
        inner.stop_listening();
        port.stop_listening();
    }
}

#[test]
fn redirects_lead_up_to_https_and_not_down_again() {
    let tls = server();
    let ground = Ground::scripted(
        |_, _| "HTTP/1.1 301 x\r\nLocation: https://localhost:443/\r\nContent-Length: 0\r\n\r\n",
    );
    let down = Router::new()
        .get("/", |_| "up here")
        .get("/down", |_| Response::new(Body::Empty).status(302).header("Location", "http://localhost/"));
    let endpoint = "tcp:443:interface=127.0.0.1".parse().unwrap();
    let port = listen(ground.reactor(), &endpoint, tls.wrap(Site::new(down))).unwrap();
    let agent = agent(&ground, options());
    let request = agent.get("http://localhost/");
    let response = ground.wait(request.send()).unwrap();
    assert_eq!(response.url().to_string(), "https://localhost/");
    let error = client_error(ground.wait(agent.get("https://localhost/down").send()).map(drop).unwrap_err());
    assert!(matches!(error, ClientError::Redirect(_)), "{error}");
    port.stop_listening();
}

#[test]
fn the_systems_roots_do_not_know_the_tests_authority() {
    let ground = secure(8, &server());
    let error = ground.wait(get_page(ground.reactor(), "https://localhost:80/")).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("UnknownIssuer") || text.contains("the system's roots"), "{text}");
}
