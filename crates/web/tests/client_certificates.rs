//! Who has shown a certificate is known to handlers: mutual TLS between the server and the client of this crate.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

#[path = "../../net/tests/authority/mod.rs"]
mod authority;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use authority::Authority;
use ropewalk_net::listen;
use ropewalk_net::tls::{Identity, Pem, Roots, TlsClient, TlsClientOptions, TlsInfo, TlsServer, TlsVersion};
use ropewalk_reactor::{Outcome, Simulation};
use ropewalk_web::client::{Agent, Tls};
use ropewalk_web::testing::TestClient;
use ropewalk_web::{Request, Router, Site};

type Seen = Rc<RefCell<Vec<Option<TlsInfo>>>>;

fn site() -> (Router, Seen) {
    let seen = Seen::default();
    let noted = Rc::clone(&seen);
    let router = Router::new().get("/", move |request: Request| {
        noted.borrow_mut().push(request.tls());
        request.scheme()
    });
    (router, seen)
}

/// What the site sees of a client with this identity.
fn visit(authority: &Authority, tls: &TlsServer, identity: Option<Identity>) -> Vec<Option<TlsInfo>> {
    let simulation = Simulation::new(1);
    let (router, seen) = site();
    let endpoint = "tcp:443:interface=127.0.0.1".parse().unwrap();
    let _port = listen(simulation.reactor(), &endpoint, tls.wrap(Site::new(router))).unwrap();
    let roots = Roots::Pem(Pem::text(authority.pem()));
    let client = TlsClient::new(TlsClientOptions { roots, identity, ..Tls::options() }).unwrap();
    let agent = Agent::new(simulation.reactor()).with_tls(client);
    let done = Rc::new(RefCell::new(None));
    let told = Rc::clone(&done);
    simulation.reactor().spawn(async move {
        let visit = async {
            for _ in 0..2 {
                assert_eq!(agent.get("https://localhost/").send().await?.text().await?, "https");
            }
            Outcome::Ok(())
        };
        *told.borrow_mut() = Some(visit.await);
    });
    simulation.run_until(Duration::from_secs(60), || done.borrow().is_some());
    done.take().unwrap().unwrap();
    seen.take()
}

#[test]
fn a_handler_knows_who_has_shown_a_certificate() {
    let authority = Authority::new();
    let (chain, key) = authority.sign(&["ada.example"], |params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, "Ada");
        params.subject_alt_names.push(rcgen::SanType::Rfc822Name("ada@example.org".try_into().unwrap()));
    });
    let seen = visit(&authority, &authority.strict_server(true), Some(Identity::text(chain, key)));
    assert_eq!(seen.len(), 2);
    for tls in seen {
        let tls = tls.unwrap();
        assert_eq!((tls.version, tls.sni.as_deref()), (TlsVersion::V1_3, Some("localhost")));
        assert!(tls.cipher.starts_with("TLS13_"), "{}", tls.cipher);
        assert_eq!(tls.peer_certificates.len(), 1);
        let subject = tls.peer_subject().unwrap();
        assert_eq!(subject.common_name.as_deref(), Some("Ada"));
        assert_eq!(
            (subject.dns, subject.emails),
            (vec!["ada.example".into()], vec!["ada@example.org".into()])
        );
    }
}

#[test]
fn who_shows_none_is_nobody() {
    let authority = Authority::new();
    let seen = visit(&authority, &authority.strict_server(false), None);
    let tls = seen[0].as_ref().unwrap();
    assert_eq!((tls.peer_certificates.len(), tls.peer_subject()), (0, None));
    let (router, seen) = site();
    TestClient::new(router).get("/").send().assert_text("http");
    assert_eq!(*seen.borrow(), [None]);
}
