//! Foreign programs against TLS: openssl in both versions and with resumption, curl, Python; and keys and certificates that openssl has
//! made, as they are.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::*;

/// What openssl says; it must succeed.
fn openssl(program: &Path, arguments: &[&str], input: &str) -> String {
    let output = feed(program, arguments, input);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn feed(program: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that has ended already reads nothing, and says why.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// A self-signed pair, made by openssl in the way that every how-to has it.
fn make(program: &Path, folder: &Folder, key: &[&str]) -> (String, String) {
    let (cert, its_key) = (folder.name("cert.pem"), folder.name("key.pem"));
    openssl(program, &[key, &["-out", &its_key]].concat(), "");
    let subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
    let request = ["req", "-x509", "-new", "-key", &its_key, "-days", "2", "-out", &cert];
    openssl(program, &[&request[..], &subject].concat(), "");
    (cert, its_key)
}

fn serve(folder: &Folder, cert: &str, key: &str) -> Program {
    folder.write("hello.txt", "hello over TLS\n");
    let endpoint = format!("ssl:0:privateKey={key}:certKey={cert}");
    Program::start(&["web", &folder.name(""), "--listen", &endpoint], 1)
}

const P256: &[&str] = &["ecparam", "-name", "prime256v1", "-genkey"];

const REQUEST: &str = "GET /hello.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// s_client, which ends when the server does.
fn s_client(program: &Path, port: u16, arguments: &[&str]) -> String {
    let at = format!("localhost:{port}");
    let usual = ["s_client", "-connect", &at, "-ign_eof", "-verify_return_error"];
    openssl(program, &[&usual[..], arguments].concat(), REQUEST)
}

#[test]
fn keys_of_every_form_that_openssl_makes() {
    let Some(program) = ropewalk_testkit::require("openssl") else { return };
    let forms: [&[&str]; 5] = [
        &["genrsa", "-traditional"],
        &["genrsa"],
        P256,
        &["ecparam", "-name", "secp384r1", "-genkey", "-noout"],
        &["genpkey", "-algorithm", "ed25519"],
    ];
    for form in forms {
        let folder = Folder::new();
        let (cert, key) = make(&program, &folder, form);
        let server = serve(&folder, &cert, &key);
        let said = s_client(&program, server.port("web"), &["-CAfile", &cert]);
        assert!(said.contains("Verify return code: 0 (ok)"), "{form:?}: {said}");
        assert!(said.contains("hello over TLS"), "{form:?}: {said}");
        // And a client of this side believes such a file, under its name.
        let port = server.port("web");
        let heard = |host: &str| {
            let endpoint = format!("tls:{host}:{port}:trustRoots={cert}").parse();
            ropewalk::react(move |reactor| async move {
                let mut stream = ropewalk::Stream::connect(&reactor, &endpoint?).await?;
                stream.write(REQUEST.as_bytes()).await?;
                Ok(String::from_utf8(stream.read_until_close(4096).await?)?)
            })
        };
        assert!(heard("localhost").unwrap().ends_with("hello over TLS\n"), "{form:?}");
    }
}

#[test]
fn an_encrypted_key_says_how_to_decrypt_it() {
    let Some(program) = ropewalk_testkit::require("openssl") else { return };
    let folder = Folder::new();
    let (cert, key) = make(&program, &folder, P256);
    for (name, form) in [("pkcs8.pem", "pkcs8"), ("traditional.pem", "ec")] {
        let secret = folder.name(name);
        let how: &[&str] = match form {
            "pkcs8" => &["pkcs8", "-topk8", "-passout", "pass:rope"],
            _ => &["ec", "-aes128", "-passout", "pass:rope"],
        };
        openssl(&program, &[how, &["-in", &key, "-out", &secret]].concat(), "");
        let endpoint = format!("ssl:0:privateKey={secret}:certKey={cert}");
        let ended = run(&["web", &folder.name(""), "--listen", &endpoint]);
        assert_eq!(ended.code, Some(2));
        assert!(ended.stderr.contains("the private key is encrypted"), "{form}: {}", ended.stderr);
    }
}

#[test]
fn openssl_in_both_versions_and_with_resumption() {
    let Some(program) = ropewalk_testkit::require("openssl") else { return };
    let folder = Folder::new();
    let (cert, key) = make(&program, &folder, P256);
    let server = serve(&folder, &cert, &key);
    let port = server.port("web");
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let session = folder.name(version);
        let usual = ["-CAfile", &cert, flag];
        let first = s_client(&program, port, &[&usual[..], &["-sess_out", &session]].concat());
        assert!(first.contains(&format!("New, {version}")) && first.contains("hello over TLS"), "{first}");
        let again = s_client(&program, port, &[&usual[..], &["-sess_in", &session]].concat());
        assert!(again.contains(&format!("Reused, {version}")) && again.contains("hello over TLS"), "{again}");
    }
    // Six times, by the session's id: without tickets there is the server's memory.
    let at = format!("localhost:{port}");
    let again = ["s_client", "-connect", &at, "-tls1_2", "-no_ticket", "-reconnect", "-CAfile", &cert];
    let said = openssl(&program, &again, "");
    assert_eq!(said.matches("Reused, TLSv1.2").count(), 5, "{said}");
    for old in ["-tls1", "-tls1_1"] {
        let output = feed(&program, &["s_client", "-connect", &at, old, "-cipher", "ALL:@SECLEVEL=0"], "");
        assert!(!output.status.success(), "{old} is spoken no more");
    }
}

#[test]
fn clients_with_certificates() {
    let Some(program) = ropewalk_testkit::require("openssl") else { return };
    let (here, there, stranger) = (Folder::new(), Folder::new(), Folder::new());
    let (cert, key) = make(&program, &here, P256);
    let (client, its_key) = make(&program, &there, P256);
    let (other, other_key) = make(&program, &stranger, P256);
    here.write("hello.txt", "hello over TLS\n");
    let endpoint = format!("ssl:0:privateKey={key}:certKey={cert}:clientCA={client}");
    let server = Program::start(&["web", &here.name(""), "--listen", &endpoint], 1);
    let at = format!("localhost:{}", server.port("web"));
    let usual = ["s_client", "-connect", &at, "-ign_eof", "-CAfile", &cert];
    let said = openssl(&program, &[&usual[..], &["-cert", &client, "-key", &its_key]].concat(), REQUEST);
    assert!(said.contains("hello over TLS"), "{said}");
    for shown in [&["-cert", &other, "-key", &other_key][..], &[]] {
        let output = feed(&program, &[&usual[..], shown].concat(), REQUEST);
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("hello over TLS") && said.contains("alert"), "{shown:?}: {said}");
    }
}

#[test]
fn curl_believes_the_file_and_nothing_else() {
    let Some(openssl) = ropewalk_testkit::require("openssl") else { return };
    let Some(curl) = ropewalk_testkit::require("curl") else { return };
    let folder = Folder::new();
    let (cert, key) = make(&openssl, &folder, P256);
    let server = serve(&folder, &cert, &key);
    let url = format!("https://localhost:{}/hello.txt", server.port("web"));
    let usual = ["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--verbose"];
    let fetch = |more: &[&str]| feed(&curl, &[&usual[..], more, &[&url, &url]].concat(), "");
    let good = fetch(&["--cacert", &cert]);
    let (out, said) = (String::from_utf8_lossy(&good.stdout), String::from_utf8_lossy(&good.stderr));
    assert!(good.status.success(), "{said}");
    assert_eq!(out, "hello over TLS\nhello over TLS\n");
    assert!(said.contains("server accepted http/1.1"), "{said}");
    assert_eq!(fetch(&[]).status.code(), Some(60), "a certificate that nobody has signed");
}

/// Both ways of Python's ssl: a request, and a connection that is ended in good order, which Python insists on.
#[test]
fn python_reads_to_an_orderly_end() {
    let Some(openssl) = ropewalk_testkit::require("openssl") else { return };
    let Some(python) = ropewalk_testkit::require("python3") else { return };
    let folder = Folder::new();
    let (cert, key) = make(&openssl, &folder, P256);
    let server = serve(&folder, &cert, &key);
    let script = format!(
        r#"
import socket, ssl, sys
context = ssl.create_default_context(cafile={cert:?})
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context.minimum_version = context.maximum_version = version
    session = None
    for round in range(2):
        plain = socket.create_connection(("localhost", {port}), timeout=20)
        # An end without a farewell is an error here, and not suppressed.
        with context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False, session=session) as tls:
            tls.sendall({REQUEST:?}.encode())
            heard = b""
            while piece := tls.recv(7):
                heard += piece
            session = tls.session
            assert heard.endswith(b"hello over TLS\n"), heard
            print(tls.version(), tls.session_reused)
"#,
        port = server.port("web"),
    );
    let output = feed(&python, &["-c", &script], "");
    let (out, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert_eq!(out, "TLSv1.2 False\nTLSv1.2 True\nTLSv1.3 False\nTLSv1.3 True\n");
}
