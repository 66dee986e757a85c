//! Redirects as they are followed over the wire: what goes along to the next hop, what stays behind, and where it ends.

use ropewalk_reactor::Outcome;
use ropewalk_web::Body;
use ropewalk_web::client::{ClientError, Plain, Redirects};

use crate::common::*;

fn to(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} x\r\nLocation: {location}\r\nContent-Length: 4\r\n\r\ngone")
}

#[test]
fn methods_and_bodies_follow_the_status() {
    for (status, method, then, with_body) in [
        (301, "GET", "GET", false),
        (302, "POST", "GET", false),
        (301, "POST", "GET", false),
        (303, "POST", "GET", false),
        (303, "PUT", "GET", false),
        (302, "PUT", "PUT", true),
        (307, "POST", "POST", true),
        (308, "PATCH", "PATCH", true),
        (303, "HEAD", "HEAD", false),
    ] {
        let ground = Ground::scripted(move |number, head: &str| match number {
            0 if head.starts_with("HEAD") => format!("HTTP/1.1 {status} x\r\nLocation: /next?x\r\n\r\n"),
            0 => to(status, "/next?x"),
            _ => OK.to_owned(),
        });
        let mut request = ground.agent.request(method, "http://a.example/first/?y");
        if !matches!(method, "GET" | "HEAD") {
            request = request.header("Content-Type", "text/x").body("body");
        }
        let response = ground.wait(request.send()).unwrap();
        assert_eq!((response.status(), response.redirects()), (200, 1), "{status} {method}");
        assert_eq!(response.url().to_string(), "http://a.example/next?x");
        drop(response);
        let text = ground.link(0).text();
        let (_, second) = text.rsplit_once("/first/?y").unwrap();
        assert!(second.contains(&format!("{then} /next?x HTTP/1.1\r\n")), "{status} {method}: {second}");
        let second = &second[second.find("/next").unwrap()..];
        assert_eq!(second.contains("text/x"), with_body, "{status} {method}: {second}");
        assert_eq!(second.contains("\r\n\r\nbody"), with_body, "{status} {method}: {second}");
        assert_eq!(ground.made(), 1, "the redirect's own body was thrown away");
        ground.is_clean();
    }
}

#[test]
fn credentials_do_not_leave_their_origin() {
    let ground = Ground::scripted(|number, _| match number {
        0 => to(302, "/same"),
        1 => to(302, "http://b.example/other"),
        2 => to(302, "http://a.example/back"),
        _ => OK.to_owned(),
    });
    let request = ground.agent.get("http://user:secret@a.example/");
    let request = request.header("Cookie", "c=1").header("X-Mine", "m").header("Host", "virtual.example");
    assert_eq!(ground.wait(request.send()).unwrap().status(), 200);
    let own = ground.link(0).text();
    let (first, rest) = own.split_once("GET /same").unwrap();
    assert!(
        first.contains("Authorization: Basic") && first.contains("Cookie: c=1") && first.contains("virtual")
    );
    let (same, back) = rest.split_once("GET /back").unwrap();
    assert!(
        same.contains("Authorization: Basic") && same.contains("Cookie: c=1") && same.contains("X-Mine: m")
    );
    let other = ground.link(1).text();
    for stranger in [other.as_str(), back] {
        assert!(!stranger.contains("Authorization") && !stranger.contains("Cookie"), "{stranger}");
        assert!(!stranger.contains("virtual") && stranger.contains("X-Mine: m"), "{stranger}");
    }
    ground.is_clean();
}

#[test]
fn what_every_request_of_an_agent_has_stays_at_home_as_well() {
    let ground =
        Ground::scripted(|number, _| if number == 0 { to(307, "http://b.example/") } else { OK.to_owned() });
    let agent = ground.agent.clone().with_header("Authorization", "Bearer secret");
    assert_eq!(ground.wait(agent.get("http://a.example/").send()).unwrap().status(), 200);
    assert!(ground.link(0).text().contains("secret") && !ground.link(1).text().contains("secret"));
    drop(agent);
    ground.is_clean();
}

#[test]
fn there_is_an_end() {
    let ground = Ground::scripted(|number, _| to(302, &format!("/{number}")));
    let error = ground.fails("http://a.example/");
    assert!(matches!(error, ClientError::TooManyRedirects(20)), "{error}");
    assert_eq!((ground.requests(), ground.made()), (21, 1));
    let few = ground.agent.get("http://a.example/").redirects(Redirects { most: 3, ..Redirects::default() });
    let error = client_error(ground.wait(few.send()).unwrap_err());
    assert!(matches!(error, ClientError::TooManyRedirects(3)), "{error}");
    let none = ground.agent.get("http://a.example/").redirects(Redirects::none());
    let response = ground.wait(none.send()).unwrap();
    assert_eq!((response.status(), response.redirects()), (302, 0));
    assert_eq!(ground.wait(response.text()).unwrap(), "gone");
    ground.is_clean();
}

#[test]
fn some_lead_nowhere() {
    for location in
        ["ftp://a.example/", "http://", "javascript:x", "http://a.example:99999/", "http://x@y@z/"]
    {
        let ground = Ground::scripted(move |_, _| to(302, location));
        assert!(matches!(ground.fails("http://a.example/"), ClientError::Redirect(_)), "{location}");
        ground.is_clean();
    }
    let ground = Ground::scripted(|_, _| to(302, "https://a.example/"));
    let agent = ground.agent.clone().with_connector(Plain);
    let refused = ground.wait(agent.get("http://a.example/").send()).map(drop).unwrap_err();
    assert!(matches!(client_error(refused), ClientError::NeedsTls));
    drop(agent);
    ground.is_clean();
    let ground = Ground::scripted(|_, _| "HTTP/1.1 302 x\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(
        ground.get("http://a.example/").unwrap(),
        (302, "ok".into()),
        "without a Location it is the answer"
    );
    ground.is_clean();
}

#[test]
fn a_stream_cannot_be_sent_to_the_next_hop() {
    struct Once(bool);
    impl futures_core::Stream for Once {
        type Item = Outcome<Vec<u8>>;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            let first = !std::mem::replace(&mut self.0, true);
            std::task::Poll::Ready(first.then(|| Ok(b"x".to_vec())))
        }
    }
    for (status, reached) in [(307, false), (303, true)] {
        let ground =
            Ground::scripted(move |number, _| if number == 0 { to(status, "/next") } else { OK.to_owned() });
        let request = ground.agent.post("http://a.example/").body(Body::stream(Once(false)));
        let outcome = ground.wait(request.send());
        assert_eq!(outcome.is_ok(), reached, "{status}: {outcome:?}");
        drop(outcome);
        ground.is_clean();
    }
}
