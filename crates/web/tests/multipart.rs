//! Forms with files: streamed, collected, in every way to write a handler; their limits, each with its status; and what is left behind.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use common::{Ground, MS, SECOND, everyhow};
use ropewalk_web::extract::{Form, typed};
use ropewalk_web::handlers::{Call, RequestHandler, per_request};
use ropewalk_web::resource::{Render, Resource, Tree};
use ropewalk_web::{
    Failure, FormData, Handler, Multipart, MultipartLimits, Outcome, Rejection, Request, Router, Site, Xsrf,
};

/// A form of fields and files: name, file name, content.
fn form(parts: &[(&str, Option<&str>, &str)]) -> String {
    let mut body = String::new();
    for (name, file, content) in parts {
        let file =
            file.map(|file| format!("; filename=\"{file}\"\r\nContent-Type: text/plain")).unwrap_or_default();
        body +=
            &format!("--rope\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{content}\r\n");
    }
    body + "--rope--\r\n"
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=rope\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Names, file names and contents of a form, streamed.
async fn streamed(mut form: Multipart) -> Result<String, Rejection> {
    let mut said = String::new();
    while let Some(part) = form.next().await? {
        let (name, file) = (part.name().to_owned(), part.file_name().map(str::to_owned));
        let text = part.text(1000).await?;
        said += &format!("{name}={}:{text};", file.unwrap_or_default());
    }
    Ok(said)
}

async fn collected(form: FormData) -> Result<String, Failure> {
    let mut said: String = form.fields.iter().map(|(name, value)| format!("{name}=:{value};")).collect();
    for file in &form.files {
        let text = String::from_utf8(file.bytes().await?).unwrap();
        said += &format!("{}={}:{text};", file.name(), file.file_name().unwrap());
    }
    Ok(said)
}

struct Way;

impl RequestHandler for Way {
    async fn post(&mut self, call: &mut Call) -> Outcome<()> {
        let mut said = format!("a=:{};", call.body_argument("a")?);
        for (info, bytes) in call.files() {
            said +=
                &format!("{}={}:{};", info.name(), info.file_name().unwrap(), String::from_utf8_lossy(bytes));
        }
        call.write(said);
        Ok(())
    }

    async fn get(&mut self, call: &mut Call) -> Outcome<()> {
        call.write(call.files().count().to_string());
        Ok(())
    }
}

impl Resource for Way {
    async fn render_post(&self, request: Request) -> impl Render {
        collected(FormData::of(request).await?).await
    }
}

#[derive(serde::Deserialize)]
struct Fields {
    a: String,
}

fn site() -> Site {
    let router = Router::new()
        .post("/streamed", typed(streamed))
        .post("/collected", typed(collected))
        .any("/handler", per_request(|| Way))
        .mount("/tree", Tree::new().put_child("", Way))
        .post("/fields", typed(|Form(fields): Form<Fields>| fields.a))
        .post("/form", |request: Request| async move {
            Ok::<_, Rejection>(request.form().await?.first("a").unwrap_or_default().to_owned())
        })
        .post("/args", |request: Request| async move {
            let args = request.args().await?;
            Ok::<_, Rejection>(
                args.iter().map(|(name, value)| format!("{name}={value};")).collect::<String>(),
            )
        })
        .post("/none", |_| "not read");
    Site::new(router).server(None)
}

const PARTS: [(&str, Option<&str>, &str); 2] = [("a", None, "1"), ("f", Some("x.txt"), "hello\r\n")];

#[test]
fn a_form_is_the_same_in_every_way() {
    let said = "a=:1;f=x.txt:hello\r\n;";
    for path in ["/streamed", "/collected", "/tree/", "/handler"] {
        let answer = Ground::calm(site()).ask(post(path, &form(&PARTS)));
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(said), "{path}: {answer}");
    }
    for path in ["/fields", "/form"] {
        assert!(Ground::calm(site()).ask(post(path, &form(&PARTS))).ends_with("\r\n\r\n1"), "{path}");
    }
    let answer = Ground::calm(site()).ask(post("/args?a=0", &form(&PARTS)));
    assert!(answer.ends_with("a=0;a=1;"), "{answer}");
}

#[test]
fn it_makes_no_difference_how_it_comes() {
    for path in ["/streamed", "/collected"] {
        let said = everyhow(site, post(path, &form(&[("a", None, "1"), ("f", Some("x"), "\r\n--rop")])));
        assert!(said.text.ends_with("a=:1;f=x:\r\n--rop;"), "{said:?}");
    }
}

#[test]
fn what_is_wrong_is_refused_with_its_status() {
    let ground = Ground::calm(site());
    let good = form(&PARTS);
    for (script, status) in [
        (post("/streamed", &good).replace("; boundary=rope", ""), 400),
        (post("/streamed", &good).replace("multipart/form-data", "multipart/mixed"), 415),
        (post("/collected", &good).replace("multipart/form-data; boundary=rope", "text/plain"), 415),
        (post("/streamed", &good[..good.len() - 10]), 400),
        (post("/collected", &good.replace("; name=\"a\"", "")), 400),
        (post("/handler", &good.replace("form-data; name=\"a\"", "form-data; name=\"a\"; name=\"b\"")), 400),
        (post("/form", "no form at all"), 400),
        (post("/fields", &form(&[("b", None, "1")])), 422),
    ] {
        let answer = ground.ask(&script);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{script}: {answer}");
    }
    assert!(
        ground
            .ask("GET /handler HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n")
            .ends_with('0')
    );
    ground.is_clean();
}

/// What comes of a form by these limits, collected and streamed: the status.
fn status(limits: &MultipartLimits, body: &str) -> [u16; 2] {
    ["/collected", "/streamed"].map(|path| {
        let handler = Router::new().state(limits.clone()).fallback(site_router());
        let ground = Ground::calm(Site::new(handler));
        let answer = ground.ask(post(path, body));
        ground.is_clean();
        answer[9..12].parse().unwrap()
    })
}

fn site_router() -> impl Handler {
    Router::new().post("/collected", typed(collected)).post(
        "/streamed",
        typed(|mut form: Multipart| async move {
            while let Some(mut part) = form.next().await? {
                while part.piece().await?.is_some() {}
            }
            Ok::<_, Rejection>("read")
        }),
    )
}

#[test]
fn each_limit_holds_to_the_byte() {
    let limits = MultipartLimits::default();
    let parts = |parts_max| MultipartLimits { parts_max, ..limits.clone() };
    assert_eq!((status(&parts(2), &form(&PARTS)), status(&parts(1), &form(&PARTS))), ([200; 2], [413; 2]));
    let head = "Content-Disposition: form-data; name=\"a\"\r\n\r\n".len();
    let heads = |head_bytes_max| MultipartLimits { head_bytes_max, ..limits.clone() };
    let one = form(&PARTS[..1]);
    assert_eq!((status(&heads(head), &one), status(&heads(head - 1), &one)), ([200; 2], [400; 2]));
    let part = |bytes| MultipartLimits { part_bytes_max: Some(bytes), ..limits.clone() };
    assert_eq!((status(&part(7), &form(&PARTS)), status(&part(6), &form(&PARTS))), ([200; 2], [413; 2]));
    let field = |field_bytes_max| MultipartLimits { field_bytes_max, ..limits.clone() };
    assert_eq!((status(&field(1), &form(&PARTS)), status(&field(0), &form(&PARTS))), ([200; 2], [413, 200]));
    let bytes = form(&PARTS).len() as u64;
    let whole = |bytes| MultipartLimits { form_bytes_max: Some(bytes), ..limits.clone() };
    assert_eq!(
        (status(&whole(bytes), &form(&PARTS)), status(&whole(bytes - 1), &form(&PARTS))),
        ([200; 2], [413; 2])
    );
}

/// Sends it at the pace of whoever takes it: the disk's, here and there.
fn send(ground: &Ground, bytes: impl AsRef<[u8]>) -> ropewalk_reactor::Peer {
    let (peer, bytes) = (ground.connect(), bytes.as_ref());
    let mut sent = 0;
    for _ in 0..10_000 {
        sent += peer.write(&bytes[sent..]);
        if sent == bytes.len() {
            return peer;
        }
        ground.advance(MS);
    }
    panic!("the server reads: {sent} bytes of {}, and then none; it says {}", bytes.len(), peer.text());
}

/// A folder of its own, empty at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ropewalk-multipart-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(&self.0).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn spilling(folder: &Folder) -> MultipartLimits {
    MultipartLimits { memory_bytes_max: 1000, folder: Some(folder.0.clone()), ..MultipartLimits::default() }
}

#[test]
fn a_large_file_lies_on_the_disk_and_goes_with_the_form() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("spill");
    let seen: Rc<RefCell<Vec<(u64, u32)>>> = Rc::default();
    let looked = Rc::clone(&seen);
    let router = Router::new().state(spilling(&folder)).post(
        "/",
        typed(move |form: FormData| {
            let looked = Rc::clone(&looked);
            async move {
                for file in &form.files {
                    let mode =
                        file.path().map_or(0, |path| path.metadata().unwrap().permissions().mode() & 0o777);
                    looked.borrow_mut().push((file.len(), mode));
                }
                let large = form.file("large").unwrap();
                assert!(large.in_memory().is_none() && form.file("small").unwrap().path().is_none());
                let bytes = large.bytes().await?;
                Ok::<_, Failure>(format!("{}, {}", bytes.len(), bytes.iter().all(|&byte| byte == b'x')))
            }
        }),
    );
    let ground = Ground::of(router);
    let large = "x".repeat(600_000);
    let peer = send(&ground, post("/", &form(&[("small", Some("s"), "x"), ("large", Some("l"), &large)])));
    assert!(
        ground.simulation.run_until(10 * SECOND, || peer.text().ends_with("600000, true")),
        "{}",
        peer.text()
    );
    assert_eq!(*seen.borrow(), [(1, 0), (600_000, 0o600)]);
    ground.advance(SECOND);
    assert_eq!(folder.names(), [""; 0], "it is gone with the form");
    drop(peer);
    ground.is_clean();
}

#[test]
fn a_client_that_leaves_in_the_middle_leaves_no_file() {
    let folder = Folder::new("leave");
    let router = Router::new().state(spilling(&folder)).post("/", typed(collected));
    let ground = Ground::of(router);
    let whole = post("/", &form(&[("large", Some("l"), &"x".repeat(600_000))]));
    let peer = send(&ground, &whole[..400_000]);
    ground.advance(100 * MS);
    assert_eq!(folder.names().len(), 1, "it has begun");
    peer.reset();
    ground.advance(SECOND);
    assert_eq!(folder.names(), [""; 0]);
    ground.is_clean();
}

#[test]
fn a_file_is_kept_where_nothing_was_and_not_over_something_else() {
    let folder = Folder::new("keep");
    let place = folder.0.join("kept");
    let kept = place.clone();
    let router = Router::new().state(spilling(&folder)).post("/", move |request: Request| {
        let place = kept.clone();
        async move {
            let reactor = request.reactor().clone();
            let mut form = FormData::of(request).await?;
            let file = form.take_file("f").unwrap();
            Ok::<_, Rejection>(match file.keep(&reactor, place).await {
                Ok(()) => "kept".to_owned(),
                Err(failure) => failure.to_string(),
            })
        }
    });
    let ground = Ground::of(router);
    for (length, said) in [(10, "kept"), (10, "File exists"), (5000, "File exists")] {
        let peer = ground.send(post("/", &form(&[("f", Some("f"), &"x".repeat(length))])));
        assert!(ground.simulation.run_until(SECOND, || peer.text().contains(said)), "{}", peer.text());
    }
    assert_eq!(std::fs::read(&place).unwrap(), b"xxxxxxxxxx");
    std::fs::remove_file(&place).unwrap();
    let peer = ground.send(post("/", &form(&[("f", Some("f"), &"y".repeat(5000))])));
    assert!(ground.simulation.run_until(SECOND, || peer.text().ends_with("kept")), "{}", peer.text());
    assert_eq!(std::fs::read(&place).unwrap().len(), 5000);
    ground.advance(SECOND);
    assert_eq!(folder.names(), ["kept"]);
}

#[test]
fn a_part_that_is_not_read_stops_the_client() {
    let router = Router::new().post(
        "/",
        typed(|mut form: Multipart| async move {
            let part = form.next().await?.unwrap();
            drop(part);
            let reactor = form.request().reactor().clone();
            reactor.sleep(10 * SECOND).await;
            while form.next().await?.is_some() {}
            Ok::<_, Rejection>("done")
        }),
    );
    let ground = Ground::of(router);
    let whole = post("/", &form(&[("f", Some("f"), &"x".repeat(2_000_000))]));
    let peer = ground.connect();
    let mut sent = 0;
    for _ in 0..200 {
        sent += peer.write(&whole.as_bytes()[sent..]);
        ground.advance(MS);
    }
    assert!(sent < 1_000_000, "{sent} bytes wait in memory");
    ground.advance(10 * SECOND);
    while sent < whole.len() {
        sent += peer.write(&whole.as_bytes()[sent..]);
        ground.advance(MS);
    }
    assert!(ground.simulation.run_until(SECOND, || peer.text().ends_with("done")), "{}", peer.text());
}

#[test]
fn what_the_guard_has_looked_at_is_still_there() {
    // The field against forged requests stands in the form; the handler sees the form from its beginning.
    let ground = Ground::calm(
        Site::new(Router::new().get("/", |request: Request| request.xsrf_token()).fallback(site_router()))
            .with(Xsrf::new()),
    );
    let page = ground.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let cookie = page.split("_xsrf=").nth(1).unwrap().split(';').next().unwrap().to_owned();
    let token = page.rsplit("\r\n").next().unwrap().to_owned();
    let large = "x".repeat(200_000);
    let parts = [("_xsrf", None, token.as_str()), ("a", None, "1"), ("f", Some("f"), large.as_str())];
    let with = |body: &str| {
        post("/collected", body).replace("Host: h", &format!("Host: h\r\nCookie: _xsrf={cookie}"))
    };
    let peer = send(&ground, with(&form(&parts)));
    let whole = |peer: &ropewalk_reactor::Peer| peer.text().len() > 200_000;
    assert!(ground.simulation.run_until(10 * SECOND, || whole(&peer)), "{}", peer.text().len());
    assert!(peer.text().contains("a=:1;f=f:xxx"));
    // Behind a file it is not looked for.
    let late = [parts[2], parts[0]];
    let peer = send(&ground, with(&form(&late)));
    assert!(
        ground.simulation.run_until(SECOND, || peer.text().starts_with("HTTP/1.1 403 ")),
        "{}",
        peer.text()
    );
}
