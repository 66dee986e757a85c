//! The pages in headless Chromium: what a reader sees, and that no line of a log becomes a part of the page.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use support::*;

/// A browser takes longer to start than anything else here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A headless browser that prints the document when the page has had two minutes of its own time; killed when the test is
/// over. That time stands still while a request is open, so an event stream has to end first. Else it flies: it is long so
/// that a frame is drawn meanwhile.
struct Browser {
    child: Child,
    document: Receiver<String>,
    _profile: Folder,
}

impl Browser {
    fn open(program: &Path, url: &str) -> Browser {
        let profile = Folder::new();
        let mut child = ropewalk_testkit::headless(program, Path::new(&profile.name("profile")))
            .arg("--virtual-time-budget=120000")
            .args(["--dump-dom", url])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (sender, document) = channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stdout.read_to_string(&mut text);
            // The test may be over.
            let _ = sender.send(text);
        });
        Browser { child, document, _profile: profile }
    }

    fn document(self) -> String {
        self.document.recv_timeout(PATIENCE).expect("the browser prints the document")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What stands on the page at `target` when its event stream has come to an end together with the server.
fn shown(program: &Path, server: Program, target: &str, status: &str) -> String {
    let port = server.port("web");
    let browser = Browser::open(program, &format!("http://127.0.0.1:{port}{target}"));
    eventually("the page is a viewer", || get(port, status).text().contains("\"viewers\":1"));
    assert_eq!(server.stop().code, Some(0));
    browser.document()
}

#[test]
fn a_line_of_the_log_is_text_on_the_page() {
    let Some(program) = ropewalk_testkit::require("chromium") else { return };
    let folder = Folder::new();
    let lines = [
        "an ordinary line",
        "<b id=injected>bold</b><script>document.title='forged'</script>",
        "<img src=x onerror=\"document.title='forged'\">",
        "a\rid: 1\rdata: forged",
    ];
    let log = folder.write("app.log", lines.map(|line| format!("{line}\n")).concat());
    let server = Program::tail(&[&log]);
    let document = shown(&program, server, "/", "/status");
    assert!(document.contains("an ordinary line"), "{document}");
    assert!(document.contains("&lt;b id=injected&gt;bold&lt;/b&gt;&lt;script&gt;"), "{document}");
    assert!(!document.contains("<b id=\"injected\"") && !document.contains("<img"), "{document}");
    assert!(!document.contains("<title>forged"), "{document}");
    assert!(document.contains("app.log"), "the page says what it shows: {document}");
}

#[test]
fn the_page_wants_the_token_and_hands_it_on() {
    let Some(program) = ropewalk_testkit::require("chromium") else { return };
    let folder = Folder::new();
    let log = folder.write("app.log", "a secret line\n");
    let server = Program::tail(&[&log, "--token", "a&b"]);
    let url = format!("http://127.0.0.1:{}/", server.port("web"));
    assert!(Browser::open(&program, &url).document().contains("401 Unauthorized"));
    let shown = shown(&program, server, "/?token=a%26b", "/status?token=a%26b");
    assert!(shown.contains("a secret line"), "{shown}");
}

#[test]
fn the_welcome_page_shows_the_request_that_fetched_it() {
    let Some(program) = ropewalk_testkit::require("chromium") else { return };
    let server = Program::start(&["--listen", "tcp:0"], 1);
    let shown = shown(&program, server, "/", "/status");
    assert!(shown.contains("ropewalk") && shown.contains("</html>"), "{shown}");
    assert!(
        shown.contains("GET / HTTP/1.1") || shown.contains("GET /</"),
        "its own log is not there: {shown}"
    );
}

#[test]
fn a_name_of_a_file_is_text_in_a_list() {
    let Some(program) = ropewalk_testkit::require("chromium") else { return };
    let folder = Folder::new();
    for name in
        ["<img src=x onerror=document.title='forged'>", "\" autofocus onfocus=\"document.title='forged'"]
    {
        folder.write(name, "x");
    }
    let server = Program::web(&[folder.path().as_os_str(), "--listing".as_ref()]);
    let document = Browser::open(&program, &format!("http://127.0.0.1:{}/", server.port("web"))).document();
    assert!(document.contains("&lt;img src=x") && document.contains("<title>/</title>"), "{document}");
    assert!(!document.contains("<img") && !document.contains(" autofocus=\""), "{document}");
    assert!(document.contains("2 files, 2 B"), "{document}");
}
