//! openssl as a server for the agent: certificates as others serve them, expired ones among them, an end of the connection that is the end
//! of the page, and the roots of the system.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

#[path = "../../net/tests/authority/mod.rs"]
mod authority;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use authority::Authority;
use ropewalk_net::tls::{Roots, TlsClient, TlsClientOptions};
use ropewalk_reactor::{Failure, react};
use ropewalk_web::client::{Agent, ClientError, Tls, get_page};

/// Set for this very program, when it runs once more to see the system's roots.
const INNER: &str = "ROPEWALK_TEST_INNER";

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("ropewalk-openssl-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("page.txt"), "a page over TLS\n".repeat(10_000)).unwrap();
        Folder(folder)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `openssl s_server`, which serves the files of its folder.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(program: &Path, folder: &Folder, pair: &(String, String), arguments: &[&str]) -> Server {
        let (cert, key) = (folder.write("cert.pem", &pair.0), folder.write("key.pem", &pair.1));
        let mut child = Command::new(program)
            .args(["s_server", "-accept", "127.0.0.1:0", "-WWW", "-cert"])
            .args([cert.as_os_str(), "-key".as_ref(), key.as_os_str()])
            .args(arguments)
            .current_dir(&folder.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let accept = lines.by_ref().map(Result::unwrap).find(|line| line.starts_with("ACCEPT")).unwrap();
        // What it says of each connection must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let port = accept.rsplit(':').next().unwrap().trim().parse().unwrap();
        Server { child, port }
    }

    fn get(&self, host: &str, options: TlsClientOptions) -> Result<String, Failure> {
        let url = format!("https://{host}:{}/page.txt", self.port);
        react(move |reactor| async move {
            let agent = Agent::new(&reactor).with_tls(TlsClient::new(options)?);
            agent.get(&url).send().await?.success()?.text().await
        })
    }

    fn refused(&self, host: &str, options: TlsClientOptions) -> String {
        let failure = self.get(host, options).unwrap_err();
        assert!(matches!(failure.check(), Some(ClientError::Tls { .. })), "{failure}");
        failure.to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn believing(authority: &Authority) -> TlsClientOptions {
    TlsClientOptions { roots: Roots::Pem(authority.roots()), ..Tls::options() }
}

#[test]
fn a_page_of_another_server_in_both_versions() {
    let Some(program) = ropewalk_testkit::require("openssl") else { return };
    let (authority, folder) = (Authority::new(), Folder::new("page"));
    let pair = authority.pair(&["localhost"]);
    for version in ["-tls1_2", "-tls1_3"] {
        let server = Server::start(&program, &folder, &pair, &[version]);
        // It speaks HTTP/1.0: the connection's end is the page's.
        assert_eq!(server.get("localhost", believing(&authority)).unwrap().len(), 160_000, "{version}");
        let misnamed = server.refused("127.0.0.1", believing(&authority));
        assert!(misnamed.contains("it is for localhost, and not for 127.0.0.1"), "{misnamed}");
        let unknown = server.refused("localhost", believing(&Authority::new()));
        assert!(unknown.contains("it was not signed by the root"), "{unknown}");
    }
}

#[test]
fn an_expired_certificate_says_since_when() {
    let Some(program) = ropewalk_testkit::require("openssl") else { return };
    let (authority, folder) = (Authority::new(), Folder::new("expired"));
    let server = Server::start(&program, &folder, &authority.expired(&["localhost"]), &[]);
    let expired = server.refused("localhost", believing(&authority));
    assert!(expired.ends_with("it has expired on 2002-01-01; its owner has to renew it"), "{expired}");
}

#[test]
fn a_server_that_asks_is_shown_a_certificate() {
    let Some(program) = ropewalk_testkit::require("openssl") else { return };
    let (authority, folder) = (Authority::new(), Folder::new("mutual"));
    folder.write("ca.pem", &authority.pem());
    let asking = ["-Verify", "1", "-verify_return_error", "-CAfile", "ca.pem"];
    let server = Server::start(&program, &folder, &authority.pair(&["localhost"]), &asking);
    let shown = TlsClientOptions { identity: Some(authority.identity(&["me"])), ..believing(&authority) };
    assert_eq!(server.get("localhost", shown).unwrap().len(), 160_000);
    assert!(server.get("localhost", believing(&authority)).is_err(), "without one");
}

/// Runs this program once more, with these roots in place of the system's.
#[test]
fn the_systems_roots_are_believed() {
    if let Ok(url) = std::env::var(INNER) {
        let page = react(move |reactor| async move { get_page(&reactor, &url).await }).unwrap();
        return assert_eq!(page.len(), 160_000);
    }
    let Some(program) = ropewalk_testkit::require("openssl") else { return };
    let (authority, folder) = (Authority::new(), Folder::new("system"));
    let server = Server::start(&program, &folder, &authority.pair(&["localhost"]), &[]);
    let roots = folder.write("roots.pem", &authority.pem());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_systems_roots_are_believed", "--nocapture"])
        .env(INNER, format!("https://localhost:{}/page.txt", server.port))
        .env("SSL_CERT_FILE", roots)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
}
