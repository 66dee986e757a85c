//! Certificates in files: what is wrong with them is said in one line, and new ones are taken up while connections stand.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod authority;
mod common;

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use authority::Authority;
use common::{Ground, Probe};
use ropewalk_net::tls::{ClientAuth, Identity, Pem, TlsClient, TlsError, TlsServer, TlsServerOptions};
use ropewalk_net::{ConnectOptions, Transport, connect_with};
use ropewalk_reactor::Simulation;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ropewalk-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        // Renamed into its place, as those who renew certificates do.
        std::fs::write(path.with_extension("new"), text).unwrap();
        std::fs::rename(path.with_extension("new"), &path).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn refused(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> TlsError {
    let identity = Identity::files(chain.as_ref(), key.as_ref());
    let error = TlsServer::new(TlsServerOptions::new(identity)).expect_err("it cannot be used");
    assert!(!error.to_string().contains('\n'), "{error}");
    error
}

#[test]
fn what_is_wrong_with_the_files_is_said_in_one_line() {
    let folder = Folder::new("tls-wrong");
    let authority = Authority::new();
    let (chain, key) = authority.pair(&["localhost"]);
    let (_, other) = authority.pair(&["localhost"]);
    let (old, its_key) = authority.expired(&["localhost"]);
    let cert = folder.write("cert.pem", &chain);
    let good = folder.write("key.pem", &key);
    TlsServer::new(TlsServerOptions::new(Identity::files(&cert, &good))).unwrap();

    let says = |error: TlsError, parts: &[&str]| {
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    };
    says(refused(folder.0.join("none.pem"), &good), &["none.pem: No such file"]);
    says(refused(&cert, folder.0.join("none.pem")), &["none.pem: No such file"]);
    says(refused(&good, &good), &["key.pem: there is no certificate in it"]);
    says(refused(&cert, &cert), &["cert.pem: there is no private key in it"]);
    says(refused(&cert, folder.write("empty.pem", "")), &["empty.pem: there is no private key"]);
    let wrong = refused(&cert, folder.write("other.pem", &other));
    assert!(matches!(wrong, TlsError::Mismatch { .. }));
    says(wrong, &["other.pem: it is not the private key of the certificate in", "cert.pem"]);
    let wrong = refused(folder.write("old.pem", &old), folder.write("oldkey.pem", &its_key));
    assert!(matches!(wrong, TlsError::Expired { .. }));
    says(wrong, &["old.pem: the certificate has expired on 2002-01-01; renew it"]);
    for encrypted in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIIB\n-----END RSA PRIVATE KEY-----\n",
    ] {
        says(
            refused(&cert, folder.write("secret.pem", encrypted)),
            &["secret.pem: the private key is encrypted"],
        );
    }
    let cut = &chain[..chain.len() / 2];
    says(refused(folder.write("cut.pem", cut), &good), &["cut.pem: "]);
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    says(refused(folder.write("damaged.pem", damaged), &good), &["damaged.pem: the certificate is damaged"]);
    let odd = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    says(refused(&cert, folder.write("odd.pem", odd)), &["odd.pem: the private key is of a kind"]);
    assert!(matches!(TlsServer::new(TlsServerOptions::default()), Err(TlsError::Misuse(_))));
    let no_roots = TlsServerOptions {
        client_auth: ClientAuth::Required(Pem::file(folder.0.join("none.pem"))),
        ..TlsServerOptions::new(Identity::files(&cert, &good))
    };
    says(TlsServer::new(no_roots).unwrap_err(), &["none.pem: No such file"]);
}

#[test]
fn pairs_are_found_where_others_have_laid_them_down() {
    let folder = Folder::new("tls-pairs");
    let authority = Authority::new();
    let (chain, key) = authority.pair(&["localhost"]);
    folder.write("fullchain.pem", &chain);
    folder.write("privkey.pem", &key);
    let both = folder.write("both.pem", &format!("{key}{chain}"));
    let beside = folder.write("beside.crt", &chain);
    folder.write("beside.key", &key);
    for path in [&folder.0, &both, &beside] {
        TlsServer::new(TlsServerOptions::new(Identity::at(path))).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Keeps connections, speaks on all of them while the files change, and connects anew: nothing is dropped, and what is new is seen.
#[test]
fn a_certificate_is_renewed_under_load_and_nothing_is_dropped() {
    let folder = Folder::new("tls-renewed");
    let authority = Authority::new();
    let names = ["localhost", "127.0.0.1"];
    let lay_down = |names: &[&str]| {
        let (chain, key) = authority.pair(names);
        folder.write("key.pem", &key);
        folder.write("cert.pem", &chain)
    };
    let cert = lay_down(&names);
    let options = TlsServerOptions::new(Identity::files(&cert, folder.0.join("key.pem")));
    let tls = TlsServer::new(options).unwrap();
    let client = authority.client_options();
    let simulation = Simulation::new(7);
    let ground = Ground::at(&simulation);
    let port = ground.listen(Default::default(), tls.wrap(Probe::echo));

    // Each says something every 50 ms, and must hear it again.
    let failures = Rc::new(RefCell::new(Vec::new()));
    let rounds = Rc::new(Cell::new(0_u32));
    let shown = Rc::new(RefCell::new(Vec::new()));
    let address = match port.address() {
        ropewalk_net::Address::Inet(address) => format!("tls:localhost:{}", address.port()),
        other => panic!("{other}"),
    };
    let speak = |index: u32| {
        let (ground, failures, rounds) = (ground.clone(), Rc::clone(&failures), Rc::clone(&rounds));
        let (shown, address, client) = (Rc::clone(&shown), address.clone(), client.clone());
        simulation.reactor().spawn(async move {
            let tls = TlsClient::new(client).unwrap();
            let probe = Probe::new();
            let seen = Rc::clone(&probe.seen);
            let probe = RefCell::new(Some(probe));
            let make = move || probe.borrow_mut().take().unwrap();
            let options = ConnectOptions { tls: Some(tls), ..ConnectOptions::default() };
            let connected =
                connect_with(&ground.reactor, &address.parse().unwrap(), Rc::new(make), options).await;
            let transport: Transport = match connected {
                Ok(transport) => transport,
                Err(failure) => return failures.borrow_mut().push(failure.to_string()),
            };
            shown.borrow_mut().push(transport.tls().unwrap().peer_certificates[0].clone());
            for round in 1..=200 {
                transport.write(format!("{index:06}").as_bytes());
                ground.pause(Duration::from_millis(50)).await;
                if seen.is_lost() || seen.len() < (round - 1) * 6 {
                    failures.borrow_mut().push(seen.reason());
                    return;
                }
                rounds.set(rounds.get() + 1);
            }
        });
    };
    (0..20).for_each(&speak);
    simulation.advance(Duration::from_secs(2));
    assert_eq!(shown.borrow().len(), 20);
    lay_down(&names);
    // It is looked at once a minute, on a thread; those that talk meanwhile notice nothing.
    assert!(tls.reload_if_changed().unwrap());
    assert!(!tls.reload_if_changed().unwrap(), "nothing has changed since");
    (20..40).for_each(&speak);
    simulation.advance(Duration::from_secs(30));
    assert_eq!(*failures.borrow(), Vec::<String>::new());
    assert_eq!(rounds.get(), 40 * 200);
    let shown = shown.take();
    assert!(
        shown[..20].iter().all(|one| *one == shown[0]) && shown[20..].iter().all(|one| *one == shown[20])
    );
    assert_ne!(shown[0], shown[20], "the new one is shown to those who come now");
}

#[test]
fn the_port_looks_after_its_files_and_keeps_the_old_ones_if_the_new_are_broken() {
    let folder = Folder::new("tls-watched");
    let authority = Authority::new();
    let (chain, key) = authority.pair(&["localhost"]);
    let cert = folder.write("cert.pem", &chain);
    folder.write("key.pem", &key);
    let options = TlsServerOptions {
        // Sooner than is allowed: once a second it is.
        check_every: Some(Duration::from_millis(1)),
        ..TlsServerOptions::new(Identity::files(&cert, folder.0.join("key.pem")))
    };
    let tls = TlsServer::new(options).unwrap();
    let client = TlsClient::new(authority.client_options()).unwrap();
    let simulation = Simulation::new(1);
    let ground = Ground::at(&simulation);
    let port = ground.listen(Default::default(), tls.wrap(Probe::echo));
    let ropewalk_net::Address::Inet(address) = *port.address() else { unreachable!() };
    let shown = || {
        let shown = Rc::new(RefCell::new(None));
        let (told, ground, client) = (Rc::clone(&shown), ground.clone(), client.clone());
        simulation.reactor().spawn(async move {
            let endpoint = format!("tls:localhost:{}", address.port()).parse().unwrap();
            let options = ConnectOptions { tls: Some(client), ..ConnectOptions::default() };
            let transport =
                connect_with(&ground.reactor, &endpoint, Rc::new(Probe::new), options).await.unwrap();
            *told.borrow_mut() = Some(transport.tls().unwrap().peer_certificates);
            transport.lose_connection();
        });
        simulation.advance(Duration::from_secs(2));
        shown.take().expect("it has connected")
    };
    let first = shown();
    // 1. The new certificate comes before its key: for a moment they do not fit.
    let (chain, key) = authority.pair(&["localhost"]);
    folder.write("cert.pem", &chain);
    simulation.advance(Duration::from_secs(5));
    assert_eq!(shown(), first, "the old pair stays in use");
    assert!(matches!(tls.reload(), Err(TlsError::Mismatch { .. })));
    // 2. The key comes, too. A session that is resumed shows the certificate with which it began.
    folder.write("key.pem", &key);
    simulation.advance(Duration::from_secs(5));
    let fresh = TlsClient::new(authority.client_options()).unwrap();
    drop(client);
    let client = fresh;
    let told = Rc::new(RefCell::new(None));
    let tell = Rc::clone(&told);
    let reactor = simulation.reactor().clone();
    simulation.reactor().spawn(async move {
        let endpoint = format!("tls:localhost:{}", address.port()).parse().unwrap();
        let options = ConnectOptions { tls: Some(client), ..ConnectOptions::default() };
        let transport = connect_with(&reactor, &endpoint, Rc::new(Probe::new), options).await.unwrap();
        *tell.borrow_mut() = Some(transport.tls().unwrap().peer_certificates);
    });
    simulation.advance(Duration::from_secs(2));
    assert_ne!(told.take().unwrap(), first);
    // 3. Who stops listening looks no more.
    port.stop_listening();
    let sources = simulation.reactor().statistics();
    simulation.advance(Duration::from_secs(60));
    assert_eq!(simulation.reactor().statistics().sources, sources.sources);
}
