//! The site of articles in Chromium, as its editor uses it: sign in by the form, write with a picture, search, edit, delete.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

#[path = "articles/browser.rs"]
mod browser;
mod support;

#[allow(dead_code, unreachable_pub, reason = "an example is a program, here it is a module")]
#[path = "../examples/articles/main.rs"]
mod articles;

use std::path::Path;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use browser::Browser;
use ropewalk::net::Address;
use ropewalk::{Reactor, Remote, listen};
use support::{Folder, PATIENCE};

/// The site on a thread of its own.
struct Server {
    port: u16,
    remote: Remote,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(folder: &Path) -> Server {
        let folder = folder.to_owned();
        let (tell, told) = channel();
        let thread = std::thread::spawn(move || {
            let reactor = Reactor::new().unwrap();
            let site = articles::site(&reactor, &folder, "correct horse").unwrap();
            let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse().unwrap(), site).unwrap();
            let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
            tell.send((address.port(), reactor.remote())).unwrap();
            reactor.run().unwrap();
        });
        let (port, remote) = told.recv_timeout(PATIENCE).unwrap();
        Server { port, remote, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.remote.call_from_thread(Reactor::stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A picture of 8 by 8: red.
const PICTURE: &[u8] = include_bytes!("articles/red.png");

fn write(browser: &mut Browser, title: &str, tags: &str, text: &str) {
    browser.fill("[name=title]", title);
    browser.fill("[name=tags]", tags);
    browser.fill("[name=text]", text);
}

#[test]
fn an_editor_signs_in_writes_searches_edits_and_deletes() {
    let Some(program) = ropewalk_testkit::require("chromium") else { return };
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let site = format!("http://127.0.0.1:{}", server.port);
    let mut browser = Browser::start(&program);
    sign_in(&mut browser, &site);
    write_seven(&mut browser, &site, &folder.write("red.png", PICTURE));
    look(&mut browser, &site);
    edit(&mut browser, &site);
    assert_eq!(
        std::fs::read_dir(folder.path().join("pictures")).unwrap().count(),
        0,
        "the old picture is gone"
    );
    delete_and_leave(&mut browser, &site);
}

/// 1. Who wants to write is sent to sign in, and then to where they wanted.
fn sign_in(browser: &mut Browser, site: &str) {
    browser.open(&format!("{site}/new"));
    assert_eq!(browser.value("location.pathname"), "/login");
    browser.fill("[name=name]", "editor");
    browser.fill("[name=password]", "wrong");
    browser.click("main button");
    assert!(browser.text().contains("do not belong together"), "{}", browser.text());
    browser.fill("[name=name]", "editor");
    browser.fill("[name=password]", "correct horse");
    browser.click("main button");
    assert_eq!(browser.value("location.pathname"), "/new");
}

/// 2. An article with a picture; what is markup in it is text. And more of them, so that there is a second page.
fn write_seven(browser: &mut Browser, site: &str, picture: &str) {
    write(
        browser,
        "The <b>Bowline</b>",
        "knots sea",
        "It holds.\n\nAnd it comes <script>document.title = 'forged'</script>undone.",
    );
    browser.choose("[name=picture]", picture);
    browser.click("main button");
    assert!(
        browser.text().contains("The <b>Bowline</b>") && browser.text().contains("<script>"),
        "{}",
        browser.text()
    );
    assert_eq!(browser.value("document.title"), "The <b>Bowline</b>");
    assert_eq!(browser.value("document.querySelectorAll('article > p').length"), 3, "author and paragraphs");
    assert!(!browser.text().contains('\u{fffd}'), "a line's end is no character: {}", browser.text());
    let width = "new Promise(done => { const it = document.querySelector('article img'); it.complete ? done(it.naturalWidth) : it.onload = () => done(it.naturalWidth) })";
    assert_eq!(browser.value(width), 8, "the picture is shown");
    for number in 1..=6 {
        browser.open(&format!("{site}/new"));
        write(
            browser,
            &format!("Rope number {number}"),
            "rope",
            "Three strands, walked backwards, 100% hemp.",
        );
        browser.click("main button");
    }
}

/// 3. Pages, search by tag and by text; a pattern is text.
fn look(browser: &mut Browser, site: &str) {
    browser.open(&format!("{site}/"));
    keep(browser, "list");
    assert!(!browser.text().contains("Bowline"), "it is on the second page");
    browser.click(".pages span:last-child a");
    assert!(browser.text().contains("The <b>Bowline</b>"), "{}", browser.text());
    browser.click("a.tag[href*=knots]");
    assert_eq!(browser.value("location.search"), "?tag=knots");
    assert_eq!(browser.value("document.querySelectorAll('.card').length"), 1);
    browser.fill("[name=q]", "bowLINE");
    browser.submit("form[role=search]");
    assert_eq!(browser.value("location.search"), "?q=bowLINE");
    assert_eq!(browser.value("document.querySelectorAll('.card').length"), 1);
    browser.open(&format!("{site}/?q=0%25+hemp"));
    assert_eq!(browser.value("document.querySelectorAll('.card').length"), 5);
    browser.open(&format!("{site}/?q=%25%25"));
    assert_eq!(browser.value("document.querySelectorAll('.card').length"), 0);
}

/// 4. Another title, and no picture.
fn edit(browser: &mut Browser, site: &str) {
    browser.open(&format!("{site}/?q=bowline"));
    browser.click(".card h2 a");
    keep(browser, "article");
    browser.click(".desk a");
    keep(browser, "form");
    browser.fill("[name=title]", "The Bowline");
    browser.value("document.querySelector('[name=remove]').click()");
    browser.click("main button");
    assert!(browser.text().contains("The Bowline"), "{}", browser.text());
    assert_eq!(browser.value("document.querySelectorAll('article img').length"), 0);
}

/// 5. It is gone, and the editor is nobody.
fn delete_and_leave(browser: &mut Browser, site: &str) {
    browser.click(".desk button");
    assert_eq!(browser.value("location.pathname"), "/");
    browser.open(&format!("{site}/?q=bowline"));
    assert_eq!(browser.value("document.querySelectorAll('.card').length"), 0);
    browser.click("nav form button");
    assert!(browser.text().contains("Sign in"), "{}", browser.text());
    browser.open(&format!("{site}/new"));
    assert_eq!(browser.value("location.pathname"), "/login");
}

/// Keeps a picture of the page, where somebody wants to look: `ARTICLES_PICTURES=folder`.
fn keep(browser: &mut Browser, name: &str) {
    if let Some(folder) = std::env::var_os("ARTICLES_PICTURES") {
        std::fs::write(Path::new(&folder).join(format!("{name}.base64")), browser.picture()).unwrap();
    }
}
