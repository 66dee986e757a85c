//! The echo over TLS and its client, against each other: the first time they meet, and again.

use std::cell::RefCell;
use std::rc::Rc;

use crate::support::{Ground, SECOND, address};
use crate::tls_echo;
use ropewalk::Stream;
use ropewalk::net::ConnectOptions;
use ropewalk::net::tls::{Identity, Pem, Roots, TlsClient, TlsClientOptions, TlsServer, TlsServerOptions};

#[test]
fn tls_echo_greets_and_welcomes_back() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = TlsServer::new(TlsServerOptions::new(Identity::text(cert.clone(), key))).unwrap();
    let ground = Ground::new(1, tls.wrap(|| tls_echo::Echo));
    let roots = Roots::Pem(Pem::text(cert));
    let client = TlsClient::new(TlsClientOptions { roots, ..TlsClientOptions::default() }).unwrap();
    for welcome in ["welcome, by TLS 1.3 and TLS13_", "welcome back, by TLS 1.3 and TLS13_"] {
        let options = ConnectOptions { tls: Some(client.clone()), ..ConnectOptions::default() };
        let endpoint = format!("tls:localhost:{}", address(&ground.port).port()).parse().unwrap();
        let reactor = ground.simulation.reactor().clone();
        let heard = Rc::new(RefCell::new(None));
        let told = Rc::clone(&heard);
        ground.simulation.reactor().spawn(async move {
            let stream = Stream::connect_with(&reactor, &endpoint, options).await.unwrap();
            *told.borrow_mut() = Some(tls_echo::say(stream, "hello").await.unwrap());
        });
        ground.advance(SECOND);
        let (greeting, echo) = heard.take().unwrap();
        assert!(greeting.starts_with(welcome), "{greeting}");
        assert_eq!(echo, "hello");
    }
    assert_eq!(tls.statistics().handshakes, 2);

    // Who does not speak TLS is not greeted.
    let peer = ground.connect();
    peer.write(b"hello?\n");
    ground.advance(SECOND);
    assert!(!peer.text().contains("welcome"));
    assert!(peer.is_ended());
}
