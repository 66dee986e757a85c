//! Attacks on sites with visitors, one sentence each. What a session or a token keeps out is told at length in `sessions` and `people`.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

use ropewalk_web::extract::typed;
use ropewalk_web::{
    BasicAuth, CombinedLog, Cookie, Decompression, FormData, Handler, Keys, MemorySessions, Multipart,
    MultipartLimits, Rejection, Request, Response, Router, Sessions, Site, Xsrf, handler, local_target,
};

use crate::common::{Ground, MS, SECOND, errors};

fn form(parts: impl IntoIterator<Item = String>) -> String {
    let parts: String =
        parts.into_iter().map(|part| format!("--x\r\nContent-Disposition: form-data; {part}\r\n")).collect();
    parts + "--x--\r\n"
}

fn upload(fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=x\r\n{fields}Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Sends it as fast as it is taken, and answers what comes back.
fn push(ground: &Ground, bytes: &[u8]) -> String {
    let (peer, mut sent) = (ground.connect(), 0);
    for _ in 0..20_000 {
        sent += peer.write(&bytes[sent..]);
        ground.advance(MS);
        if peer.is_ended() || (sent == bytes.len() && !peer.text().is_empty()) {
            break;
        }
    }
    peer.text()
}

#[test]
fn the_name_of_an_upload_is_no_path() {
    let router = Router::new().post(
        "/",
        typed(|form: FormData| async move {
            let names = form.files.iter().map(|file| file.safe_file_name().unwrap_or_else(|| "-".to_owned()));
            names.collect::<Vec<_>>().join(" ")
        }),
    );
    let ground = Ground::of(router);
    let names = [
        "../../etc/passwd",
        "/etc/shadow",
        r"..\\..\\boot.ini",
        "..",
        ".",
        ".bashrc",
        "a/../../b",
        "con",
        "",
        "x:stream",
    ];
    let body = form(names.map(|name| format!("name=\"f\"; filename=\"{name}\"\r\n\r\nx\r\n")));
    let answer = push(&ground, &upload("", body.as_bytes()));
    assert!(answer.ends_with("\r\n\r\npasswd shadow boot.ini - - bashrc b _con - x_stream"), "{answer}");
}

#[test]
fn a_line_break_in_an_uploads_name_reaches_no_field_and_no_second_line_of_the_log() {
    // RFC 8187 lets a name have any byte: filename*=UTF-8''a%0D%0ASet-Cookie…
    let lines: Rc<RefCell<Vec<u8>>> = Rc::default();
    let sink = Rc::clone(&lines);
    let router = Router::new().post(
        "/",
        typed(|form: FormData| async move {
            let name = form.files[0].file_name().unwrap_or_default().to_owned();
            assert!(name.contains("\r\n"), "it came as it was sent");
            Response::text("kept").header("X-Kept", name)
        }),
    );
    let site = Site::new(router)
        .observe(Rc::new(CombinedLog::new(move |line| sink.borrow_mut().extend_from_slice(line))));
    let ground = Ground::calm(site);
    let body = form(["name=f; filename*=UTF-8''a%0D%0ASet-Cookie:%20id=1\r\n\r\nx\r\n".to_owned()]);
    let mut answer = String::new();
    let logged =
        errors(|| answer = push(&ground, &upload("User-Agent: a\" 200 0\tb\\n\r\n", body.as_bytes())));
    assert!(answer.starts_with("HTTP/1.1 500 ") && !answer.contains("Set-Cookie"), "{answer}");
    assert!(logged.iter().all(|line| !line.contains("\r\n")), "{logged:?}");
    let lines = String::from_utf8(lines.take()).unwrap();
    assert!(lines.lines().count() == 1 && lines.matches('"').count() == 6, "{lines}");
}

#[test]
fn nothing_that_is_put_into_a_cookie_becomes_an_attribute_a_field_or_another_cookie() {
    let evils = ["x; Domain=evil.example", "x\r\nSet-Cookie: y=z", "x, y=z", "x\0", "\"x", "x;", "x\n"];
    let router = Router::new().post("/", |request: Request| async move {
        let evil = String::from_utf8(request.bytes().await.unwrap()).unwrap();
        Response::text("set").cookie(Cookie::new("a", evil))
    });
    let signed = Router::new().post("/", move |request: Request| async move {
        let cookie = |evil: &str| request.sign_cookie("a", evil).unwrap();
        let cookies: Vec<Cookie> = evils.iter().map(|evil| cookie(evil)).collect();
        cookies.into_iter().fold(Response::text("set"), Response::cookie)
    });
    let (plain, signed) = (Ground::of(router), Ground::calm(Site::new(signed).with(Keys::random())));
    for evil in evils {
        let length = evil.len();
        let answer =
            plain.ask(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{evil}"));
        assert!(answer.starts_with("HTTP/1.1 500 ") && !answer.contains("Set-Cookie"), "{evil:?}: {answer}");
    }
    let answer = signed.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    let lines: Vec<&str> = answer.lines().filter(|line| line.starts_with("Set-Cookie: ")).collect();
    assert_eq!(lines.len(), evils.len());
    assert!(
        lines.iter().all(|line| line.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax")),
        "{answer}"
    );
    assert!(!answer.contains("evil.example"), "{answer}");
}

#[test]
fn who_signs_in_is_sent_nowhere_but_to_this_site() {
    let router = Router::new().post("/", |request: Request| async move {
        let form = request.form().await?;
        let next = form.first("next").and_then(local_target).unwrap_or("/home").to_owned();
        Ok::<_, Rejection>(Response::redirect(303, next))
    });
    let ground = Ground::of(router);
    let media = "Content-Type: application/x-www-form-urlencoded";
    let ask = |next: &str| {
        let body = format!("next={next}");
        let length = body.len();
        ground.ask(format!("POST / HTTP/1.1\r\nHost: h\r\n{media}\r\nContent-Length: {length}\r\n\r\n{body}"))
    };
    assert!(ask("%2Fdiary%3Fpage%3D2").contains("\r\nLocation: /diary?page=2\r\n"));
    for evil in [
        "https://evil.example",
        "//evil.example",
        "%2F%2Fevil.example",
        "/%5Cevil.example",
        "%09//evil.example",
        "/%09/evil.example",
        "/%0A/evil.example",
        "javascript:alert(1)",
        "%5C%5Cevil.example",
        "/a%0D%0ASet-Cookie:x=y",
        "",
    ] {
        assert!(ask(evil).contains("\r\nLocation: /home\r\n"), "{evil}");
    }
}

#[test]
fn a_form_that_unpacks_to_gigabytes_ends_at_its_bound() {
    let part = "name=\"f\"; filename=\"f\"\r\n\r\n".to_owned() + &"0".repeat(8_000_000) + "\r\n";
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(form([part]).as_bytes()).unwrap();
    let bomb = upload("Content-Encoding: gzip\r\n", &packed.finish().unwrap());
    assert!(bomb.len() < 100_000);
    for limits in [
        MultipartLimits { form_bytes_max: Some(1_000_000), ..MultipartLimits::default() },
        MultipartLimits {
            part_bytes_max: Some(1_000_000),
            form_bytes_max: Some(u64::MAX),
            ..MultipartLimits::default()
        },
    ] {
        let router = Router::new()
            .state(limits)
            .post("/", typed(|form: FormData| async move { form.files.len().to_string() }));
        let ground = Ground::of(router.with(Decompression::new().ratio_max(u32::MAX)));
        let answer = push(&ground, &bomb);
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        ground.is_clean();
    }
}

#[test]
fn a_flood_of_parts_or_of_heads_ends_at_once() {
    let router = || {
        Router::new().post(
            "/",
            typed(|mut form: Multipart| async move {
                while form.next().await?.is_some() {}
                Ok::<_, Rejection>("read")
            }),
        )
    };
    let many = form((0..50_000).map(|number| format!("name=\"{number}\"\r\n\r\n\r\n")));
    let long = form([format!("name=\"{}\"\r\n\r\n\r\n", "x".repeat(1_000_000))]);
    let fields = format!("--x\r\n{}", "A: b\r\n".repeat(200_000));
    let preamble = "-".repeat(1_000_000);
    for (body, status) in [(many, "413"), (long, "400"), (fields, "400"), (preamble, "400")] {
        let ground = Ground::of(router());
        let answer = push(&ground, &upload("", body.as_bytes()));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{}: {answer}", &body[..40]);
        ground.is_clean();
    }
}

#[test]
fn a_foreign_page_cannot_make_a_visitors_browser_change_anything() {
    // What a form on evil.example sends, with and without a token that its owner has got for themselves.
    let router = Router::new().get("/", |request: Request| request.xsrf_token()).post("/", |_| "changed");
    let ground =
        Ground::calm(Site::new(router).with(Sessions::new(MemorySessions::new(9))).with(Xsrf::new()));
    let page = ground.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let token = page.rsplit("\r\n").next().unwrap();
    let victim = ground.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let cookie = victim.split("_xsrf=").nth(1).unwrap().split(';').next().unwrap();
    for browser in [
        "Sec-Fetch-Site: cross-site\r\nOrigin: https://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: https://evil.example\r\n",
        "",
    ] {
        for body in [String::new(), format!("_xsrf={token}"), format!("_xsrf={}", "0".repeat(32))] {
            let length = body.len();
            let fields = format!(
                "Cookie: _xsrf={cookie}\r\n{browser}Content-Type: application/x-www-form-urlencoded\r\n"
            );
            let answer = ground
                .ask(format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}Content-Length: {length}\r\n\r\n{body}"));
            assert!(answer.starts_with("HTTP/1.1 403 "), "{fields}{body}: {answer}");
        }
    }
}

#[test]
fn a_wrong_user_and_a_wrong_password_are_the_same_answer_after_the_same_work() {
    // Of the time only the structure: both halves of every entry are compared, and what is said is the same to the byte.
    let users = (0..1_000).map(|number| (format!("user{number}"), "secret"));
    let guarded = handler(|_| "inside").with(BasicAuth::users("place", users).guesses(1_000, SECOND));
    let ground = Ground::of(Router::new().route("GET", "/", guarded));
    let ask =
        |text: &str| ground.ask(format!("GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic {text}\r\n\r\n"));
    assert!(ask("dXNlcjk5OTpzZWNyZXQ=").ends_with("inside"), "user999:secret");
    // user0:wrong, user0:secret2, nobody:secret, and nothing at all.
    let answers = ["dXNlcjA6d3Jvbmc=", "dXNlcjA6c2VjcmV0Mg==", "bm9ib2R5OnNlY3JldA==", "Og=="].map(ask);
    assert!(
        answers.iter().all(|answer| *answer == answers[0] && answer.starts_with("HTTP/1.1 401 ")),
        "{answers:?}"
    );
}
