//! The blog that pushes in Chromium: a post that is written in one page is seen in another one, which is open and not reloaded; and the
//! pages of the hub. With `ROPEWALK_PICTURES=FOLDER` pictures of them are put there.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

#[path = "articles/browser.rs"]
#[allow(dead_code, reason = "another test chooses files and submits forms")]
mod browser;
mod support;

use std::path::Path;

use base64::Engine;
use browser::Browser;
use support::*;

/// Starts the example, at a free port.
#[allow(dead_code, unreachable_pub, reason = "an example is a program, here it is a module")]
#[path = "../examples/websub_blog/main.rs"]
mod websub_blog;

/// The example on a thread, and its URL.
fn blog(folder: &Path) -> (Server<()>, String) {
    let (folder, (tell, told)) = (folder.to_owned(), std::sync::mpsc::channel());
    let server = Server::start(move |reactor| {
        let handle = reactor.clone();
        reactor.spawn(async move {
            let told = |url: &str| tell.send(url.to_owned()).unwrap();
            let serving = websub_blog::serve(&handle, "tcp:0:interface=127.0.0.1", &folder, told);
            panic!("{}", serving.await.unwrap_err());
        });
    });
    let url = told.recv_timeout(PATIENCE).expect("it listens, or its thread has said why not");
    (server, url)
}

fn picture(browser: &mut Browser, name: &str) {
    if let Some(folder) = std::env::var_os("ROPEWALK_PICTURES") {
        let bytes = base64::engine::general_purpose::STANDARD.decode(browser.picture()).unwrap();
        std::fs::write(Path::new(&folder).join(name), bytes).unwrap();
    }
}

#[test]
fn a_post_of_one_page_is_seen_in_another_one_that_is_open() {
    let Some(program) = ropewalk_testkit::require("chromium") else { return };
    let folder = Folder::new();
    let (_server, site) = blog(folder.path());
    // 1. The reader opens its page, and leaves it open.
    let mut reader = Browser::start(&program);
    reader.open(&format!("{site}/reader"));
    eventually("it listens", || reader.text().contains("listening"));
    reader.value("window.sameDocument = true");
    // 2. The writer writes; what is markup in a post is text.
    let mut writer = Browser::start(&program);
    writer.open(&format!("{site}/"));
    for text in ["The first post", "A <b>second</b> one, with an \"é\" & more"] {
        writer.fill("[name=text]", text);
        writer.click("form button");
        assert!(writer.text().contains(text), "{}", writer.text());
        // 3. The folder is looked at, the hub pinged, the feed fetched, delivered, written down in a thread, and shown.
        eventually("it is seen", || reader.text().contains(text));
    }
    assert_eq!(reader.value("window.sameDocument"), true, "nobody has reloaded it");
    let items = "[...document.querySelectorAll('li')].map(item => item.textContent).join('|')";
    let shown = "A <b>second</b> one, with an \"é\" & more|The first post";
    assert_eq!(reader.value(items), shown, "the newest first, each once");
    let kept = std::fs::read_to_string(folder.name("kept.jsonl")).unwrap();
    assert_eq!(kept.lines().count(), 2, "{kept}");
    picture(&mut writer, "blog.png");
    picture(&mut reader, "reader.png");
    // 4. A reader that comes later sees what was there.
    writer.open(&format!("{site}/reader"));
    eventually("the history is there", || writer.value(items) == shown);
}

#[test]
fn the_pages_of_the_hub_are_of_use() {
    let Some(program) = ropewalk_testkit::require("chromium") else { return };
    let folder = Folder::new();
    let hub = Program::start(
        &["hub", "--listen", "tcp:0", "--store", &folder.name("hub"), "--token", "t"]
            .into_iter()
            .chain(["--allow-topics", "127.0.0.0/8", "--allow-callbacks", "127.0.0.0/8"])
            .collect::<Vec<_>>(),
        1,
    );
    std::fs::create_dir(folder.path().join("site")).unwrap();
    folder.write("site/feed.atom", "<feed>one</feed>");
    let url = format!("http://127.0.0.1:{}", hub.port("hub"));
    let (site, hub_url) = (folder.name("site"), format!("{url}/hub"));
    let web = Program::start(&["web", &site, "--listen", "tcp:0", "--hub", &hub_url], 1);
    let topic = format!("http://127.0.0.1:{}/feed.atom", web.port("web"));
    let store = folder.name("subscriber");
    let words = ["subscribe", &topic, "--listen", "tcp:0", "--store", &store, "--exec", "exit 1"];
    let _subscriber = Program::start(&words, 1);

    let mut browser = Browser::start(&program);
    browser.open(&format!("{url}/"));
    assert!(browser.text().contains(&hub_url), "{}", browser.text());
    picture(&mut browser, "hub.png");
    // The form of the page does what it says.
    browser.fill("[name='hub.topic']", &topic);
    browser.fill("[name='hub.callback']", &format!("{url}/nowhere"));
    browser.click("form button");
    assert!(browser.text().contains("accepted"), "{}", browser.text());
    // Its state is for who knows the token, which a browser sends as a password.
    let credentials = base64::engine::general_purpose::STANDARD.encode("x:t");
    browser.command("Network.enable", serde_json::json!({}));
    let fields = serde_json::json!({ "headers": { "Authorization": format!("Basic {credentials}") } });
    browser.command("Network.setExtraHTTPHeaders", fields);
    let state = format!("{url}/state");
    eventually("the subscription is shown", || {
        browser.open(&state);
        browser.text().contains(&topic)
    });
    folder.write("site/feed.atom", "<feed>one and two</feed>");
    eventually("a failed delivery is shown", || {
        browser.open(&state);
        browser.text().contains("500")
    });
    picture(&mut browser, "state.png");
    browser.value("scrollTo(0, 9999)");
    picture(&mut browser, "state-below.png");
    for width in [1100, 400] {
        let sizes =
            serde_json::json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        browser.command("Emulation.setDeviceMetricsOverride", sizes);
        assert_eq!(browser.value("document.documentElement.scrollWidth <= innerWidth"), true, "at {width}");
    }
    browser.value("scrollTo(0, 0)");
    picture(&mut browser, "state-narrow.png");
}
