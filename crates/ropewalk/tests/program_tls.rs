//! TLS of the program: `ropewalk cert`, the endpoint `ssl:`, and certificates that are renewed while it runs.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;

use ropewalk::net::tls::{Pem, Roots, TlsClient, TlsClientOptions};
use ropewalk::net::{ConnectOptions, Stream};
use ropewalk::{Failure, Outcome, Reactor};
use rustix::process::Signal;
use support::*;

/// A pair in a folder, as the program makes it.
fn pair(folder: &Folder, name: &str) -> (String, String) {
    let (cert, key) = (folder.name(&format!("{name}.crt")), folder.name(&format!("{name}.key")));
    let ended = run(&["cert", "localhost", "127.0.0.1", "--cert", &cert, "--key", &key]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("self-signed") && ended.stderr.contains("development only"),
        "{}",
        ended.stderr
    );
    (cert, key)
}

fn serve(folder: &Folder, cert: &str, key: &str, more: &[&str]) -> Program {
    let endpoint = format!("ssl:0:privateKey={key}:certKey={cert}");
    Program::start(&[&["web", &folder.name(""), "--listen", &endpoint], more].concat(), 1)
}

fn client(roots: &str) -> TlsClient {
    // The file may be overwritten meanwhile: it is read now.
    TlsClient::new(TlsClientOptions { roots: Roots::Pem(Pem::file(roots)), ..TlsClientOptions::default() })
        .unwrap()
}

async fn open(reactor: &Reactor, port: u16, tls: &TlsClient) -> Outcome<Stream> {
    let options = ConnectOptions { tls: Some(tls.clone()), ..ConnectOptions::default() };
    Stream::connect_with(reactor, &format!("tls:localhost:{port}").parse()?, options).await
}

/// One request on a connection that is kept.
async fn ask(stream: &mut Stream, path: &str) -> Outcome<String> {
    stream.write(format!("GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await?;
    let head = stream.read_until(b"\r\n\r\n", 4096).await?;
    let head = String::from_utf8(head)?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap().parse()?;
    Ok(head + &String::from_utf8(stream.read_bytes(length).await?)?)
}

#[test]
fn a_pair_is_made_and_nothing_is_overwritten() {
    let folder = Folder::new();
    let (cert, key) = pair(&folder, "dev");
    let mode = |path: &str| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&key), 0o600, "the key is for its owner alone");
    assert!(std::fs::read_to_string(&cert).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    let before = std::fs::read_to_string(&key).unwrap();
    let other = folder.name("other");
    for (cert, key) in [(&cert, &other), (&other, &key)] {
        let ended = run(&["cert", "--cert", cert, "--key", key]);
        assert_eq!(ended.code, Some(2));
        assert!(ended.stderr.contains("is there already"), "{}", ended.stderr);
        assert!(std::fs::metadata(&other).is_err(), "nothing was left behind by half");
    }
    assert_eq!(std::fs::read_to_string(&key).unwrap(), before);
    for wrong in
        [&["cert", "--cert", &other, "--key", &other][..], &["cert", "--days", "0"], &["cert", "ümlaut"]]
    {
        assert_eq!(run(wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_one_line_and_code_2() {
    let folder = Folder::new();
    let (cert, key) = pair(&folder, "dev");
    let (_, other) = pair(&folder, "other");
    for (endpoint, part) in [
        ("ssl:0".to_owned(), "the privateKey is missing"),
        (format!("ssl:0:privateKey={key}"), "there is no certificate in it"),
        (format!("ssl:0:privateKey={other}:certKey={cert}"), "it is not the private key of the certificate"),
        ("ssl:0:privateKey=/nowhere/key.pem".to_owned(), "/nowhere/key.pem: No such file"),
    ] {
        let ended = run(&["web", &folder.name(""), "--listen", &endpoint]);
        assert_eq!(ended.code, Some(2), "{endpoint}");
        assert!(ended.stderr.contains(part), "{endpoint}: {}", ended.stderr);
        assert!(!ended.stdout.contains("listening"));
    }
}

/// The new certificate is there after HUP, and what stood goes on; also on workers beside the first.
#[test]
fn hup_reads_certificates_again_and_connections_stay() {
    for workers in ["1", "2"] {
        let folder = Folder::new();
        folder.write("hello.txt", "hello");
        let (cert, key) = pair(&folder, "dev");
        let mut program = serve(&folder, &cert, &key, &["--workers", workers]);
        assert!(program.endpoint("web").starts_with("ssl:"), "{}", program.endpoint("web"));
        assert!(program.line().unwrap().trim().starts_with("https://127.0.0.1:"));
        let port = program.port("web");
        let old = client(&cert);
        let (new_cert, new_key) = pair(&folder, "new");
        let program = Rc::new(program);
        let hup = Rc::clone(&program);
        ropewalk::react(move |reactor| async move {
            let mut standing = open(&reactor, port, &old).await?;
            assert!(ask(&mut standing, "hello.txt").await?.ends_with("hello"));
            assert_eq!(standing.tls().unwrap().alpn, None, "who offers nothing is offered nothing");
            std::fs::rename(&new_key, &key)?;
            std::fs::rename(&new_cert, &cert)?;
            hup.signal(Signal::HUP);
            // It is read on a thread: who comes before that is shown the old one.
            let new = client(&cert);
            let mut renewed = loop {
                match open(&reactor, port, &new).await {
                    Ok(stream) => break stream,
                    Err(failure) => assert!(failure.to_string().contains("not accepted"), "{failure}"),
                }
            };
            assert!(ask(&mut renewed, "hello.txt").await?.ends_with("hello"));
            assert!(ask(&mut standing, "hello.txt").await?.ends_with("hello"), "it stood all the while");
            Ok::<(), Failure>(())
        })
        .unwrap();
        let program = Rc::into_inner(program).unwrap();
        assert_eq!(program.stop().code, Some(0));
    }
}
