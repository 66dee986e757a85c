//! Servers that mean no good: each attack ends in a failure, within bounds of memory and time, and poisons no other request.

use std::cell::Cell;
use std::rc::Rc;

use ropewalk_web::client::{ClientError, Deadlines, Phase};
use ropewalk_wire::http1::Refusal;

use crate::common::*;

/// How the answer to a GET is refused, whole and one byte at a time, on networks of many seeds.
fn refused(answer: &'static str) -> ClientError {
    let mut found: Option<ClientError> = None;
    for seed in 0..20 {
        let ground = Ground::seeded(seed, move |_, _| answer);
        ground.simulation.network().set_conditions(|conditions| {
            conditions.segment_bytes_max = if seed % 2 == 0 { 1 } else { 4000 };
        });
        let error = ground.fails("http://a.example/");
        ground.advance(SECOND);
        assert!(ground.link(0).is_lost(), "seed {seed}: the connection is not kept");
        if let Some(found) = &found {
            assert_eq!(error.to_string(), found.to_string(), "seed {seed}");
        }
        found = Some(error);
        ground.is_clean();
    }
    found.unwrap()
}

#[test]
fn answers_that_could_be_read_in_two_ways() {
    for (answer, refusal) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refusal::LengthAndCoding,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
            Refusal::RepeatedContentLength,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", Refusal::BadContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Refusal::BadContentLength),
        ("HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n\r\n", Refusal::FoldedLine),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", Refusal::BareLf),
        ("HTTP/1.1 101 Switching\r\nUpgrade: evil\r\n\r\n", Refusal::UnaskedUpgrade),
        ("HTTP/3 200 OK\r\n\r\n", Refusal::BadStatusLine),
        ("220 mail.example ESMTP\r\n", Refusal::BadStatusLine),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n", Refusal::BadChunkEnd),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", Refusal::BadChunkSize),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n", Refusal::BadChunkSize),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
            Refusal::ForbiddenTrailer,
        ),
    ] {
        match refused(answer) {
            ClientError::Answer(found) => assert_eq!(found, refusal, "{answer}"),
            other => panic!("{answer}: {other}"),
        }
    }
}

#[test]
fn an_answer_that_is_cut_is_no_answer() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nContent-",
    ] {
        let ground = Ground::scripted(move |_, _| Reply::Last(answer.into()));
        let error = ground.fails("http://a.example/");
        assert!(matches!(error, ClientError::Truncated(_)), "{answer}: {error}");
        ground.is_clean();
    }
    let whole = Ground::scripted(|_, _| Reply::Last(b"HTTP/1.1 200 OK\r\n\r\nto the end".to_vec()));
    assert_eq!(whole.get("http://a.example/").unwrap().1, "to the end");
    whole.is_clean();
}

/// A server that sends one thing for ever, and how much of it was taken.
fn endless(start: &'static str, piece: &'static str) -> (ClientError, u64) {
    let ground = Ground::scripted(move |_, _| start);
    let (links, reactor) = (ground.links.clone(), ground.reactor().clone());
    let sent = Rc::new(Cell::new(0));
    let count = Rc::clone(&sent);
    ground.reactor().spawn(async move {
        let block = piece.repeat(4000 / piece.len());
        loop {
            reactor.sleep(MS).await;
            let links = links.borrow();
            let Some(link) = links.first() else { continue };
            if link.is_lost() {
                break;
            }
            if let Some(transport) = &*link.transport.borrow() {
                count.set(transport.traffic().1);
                if !transport.is_full() && !link.text().is_empty() {
                    transport.write(block.as_bytes());
                }
            }
        }
    });
    let error = ground.fails("http://a.example/");
    ground.advance(SECOND);
    ground.is_clean();
    (error, sent.get())
}

#[test]
fn an_endless_head() {
    for (start, piece, refusal) in [
        ("HTTP/1.1 200 OK\r\n", "X: yyyyyyyy\r\n", Refusal::TooManyFields),
        ("HTTP/1.1 200 OK\r\nX: ", "yyyyyyyyyy", Refusal::HeadTooLarge),
        ("HTTP/1.1 200 ", "OOOOOOOOOO", Refusal::StatusLineTooLong),
        ("", "HTTP/1.1 103 Hints\r\nX: y\r\n\r\n", Refusal::TooManyInterim),
    ] {
        let (error, sent) = endless(start, piece);
        assert!(matches!(error, ClientError::Answer(found) if found == refusal), "{start}: {error}");
        assert!(sent < 400_000, "{sent}");
    }
}

#[test]
fn an_endless_body() {
    for start in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"] {
        let (error, sent) = endless(start, "xxxxxxxxxx");
        assert!(matches!(error, ClientError::TooLarge { bytes_max: 16_777_216 }), "{error}");
        assert!(sent < 18_000_000, "{sent}");
    }
    let (error, _) = endless(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "1;xxxxxxxxxxxxxxxxxxxxxxx\r\ny\r\n",
    );
    assert!(matches!(error, ClientError::Answer(Refusal::TooManyChunkExtensions)), "{error}");
}

#[test]
fn four_gigabytes_are_announced() {
    let ground = Ground::scripted(|_, _| "HTTP/1.1 200 OK\r\nContent-Length: 4294967296\r\n\r\nx");
    let began = ground.reactor().now();
    assert!(matches!(ground.fails("http://a.example/"), ClientError::TooLarge { .. }));
    assert!(ground.reactor().now().since(began) < SECOND, "nothing of it is waited for");
    // Piece by piece it may be read as far as it comes.
    let mut response = ground.wait(ground.agent.get("http://a.example/").send()).unwrap();
    assert_eq!(response.content_length(), Some(4_294_967_296));
    let piece = ground.wait(async move { response.piece().await }).unwrap();
    assert_eq!(piece.unwrap(), b"x");
    ground.is_clean();
}

#[test]
fn a_drip_is_no_answer() {
    let ground = Ground::scripted(|_, _| "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n");
    let (links, reactor) = (ground.links.clone(), ground.reactor().clone());
    ground.reactor().spawn(async move {
        while !links.borrow().first().is_some_and(|link| link.is_lost()) {
            reactor.sleep(30 * SECOND).await;
            links.borrow().first().inspect(|link| link.write("x"));
        }
    });
    let request = ground.agent.get("http://a.example/").deadlines(Deadlines::default());
    let outcome = ground.wait(async move { request.send().await?.bytes().await });
    assert_eq!(phase(outcome), Phase::Rate);
    ground.advance(60 * SECOND);
    ground.is_clean();
}

#[test]
fn an_answer_that_holds_another_splits_nothing() {
    // The second answer lies in the first one's body, and behind it.
    let inner = ok("evil");
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{inner}{inner}", inner.len());
    for seed in 0..50 {
        let answer = answer.clone();
        let ground =
            Ground::seeded(seed, move |number, _| if number == 0 { answer.clone() } else { ok("good") });
        ground.simulation.network().set_conditions(|conditions| conditions.segment_bytes_max = 30);
        assert_eq!(ground.get("http://a.example/").unwrap().1, inner, "seed {seed}");
        ground.advance(SECOND);
        assert_eq!(ground.get("http://a.example/").unwrap().1, "good", "seed {seed}");
        assert_eq!(ground.made(), 2, "seed {seed}");
        ground.is_clean();
    }
    // A HEAD with a body, a 204 with one, a 304 with one.
    for (method, head) in [("HEAD", "200 OK"), ("GET", "204 None"), ("GET", "304 Same")] {
        let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{inner}", inner.len());
        let ground = Ground::scripted(move |number, _| if number == 0 { answer.clone() } else { ok("good") });
        let request = ground.agent.request(method, "http://a.example/");
        let body = ground.wait(async move { request.send().await?.bytes().await }).unwrap();
        assert!(body.is_empty());
        ground.advance(SECOND);
        assert_eq!(ground.get("http://a.example/").unwrap().1, "good", "{head}");
        ground.is_clean();
    }
}

#[test]
fn a_server_that_speaks_first_is_not_believed() {
    for seed in 0..50 {
        let ground = Ground::seeded(seed, |_, _| Reply::Nothing);
        let links = ground.links.clone();
        let reactor = ground.reactor().clone();
        ground.reactor().spawn(async move {
            // As soon as the connection is there: before the request can have come.
            for _ in 0..10_000 {
                reactor.sleep(MS / 1000).await;
                if let Some(link) = links.borrow().iter().find(|link| link.transport.borrow().is_some()) {
                    link.write(ok("evil"));
                    break;
                }
            }
        });
        let deadlines = Deadlines { first_byte: Some(SECOND), ..Deadlines::default() };
        let request = ground.agent.get("http://a.example/").deadlines(deadlines);
        // Nothing can be told of it if it is late enough; but it is never kept for the next one.
        let outcome = ground.wait(async move { request.send().await?.text().await });
        assert!(outcome.is_err() || outcome.is_ok_and(|text| text == "evil"), "seed {seed}");
        ground.is_clean();
    }
}

#[test]
fn a_refusal_in_the_middle_of_an_upload_is_heard() {
    let ground = Ground::scripted(|_, _| "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!");
    let request = ground.agent.post("http://a.example/").body(ropewalk_web::Body::stream(Forever));
    let response = ground.wait(request.send()).unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(ground.wait(response.text()).unwrap(), "no!");
    ground.advance(SECOND);
    assert_eq!(ground.agent.statistics().open, 0, "where its body ends nobody knows");
    ground.is_clean();
}

struct Forever;

impl futures_core::Stream for Forever {
    type Item = ropewalk_reactor::Outcome<Vec<u8>>;
    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(Some(Ok(vec![b'x'; 1000])))
    }
}

#[test]
fn a_body_of_the_program_that_fails_or_panics_costs_its_own_request() {
    struct Bad(u8);
    impl futures_core::Stream for Bad {
        type Item = ropewalk_reactor::Outcome<Vec<u8>>;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            self.0 += 1;
            match self.0 {
                2 => {
                    context.waker().wake_by_ref();
                    std::task::Poll::Pending
                }
                5 => std::task::Poll::Ready(Some(Err("the disk is gone".into()))),
                _ => std::task::Poll::Ready(Some(Ok(vec![b'x'; 10]))),
            }
        }
    }
    let ground = Ground::scripted(|_, _| Reply::Nothing);
    let request = ground.agent.put("http://a.example/").body(ropewalk_web::Body::stream(Bad(0)));
    let error = client_error(ground.wait(request.send()).unwrap_err());
    assert!(
        matches!(&error, ClientError::Body(failure) if failure.to_string() == "the disk is gone"),
        "{error}"
    );
    // More than was promised, and less.
    for length in [25, 3] {
        let stream = ropewalk_web::Body::stream(Bad(2));
        let ropewalk_web::Body::Stream(stream, _) = stream else { unreachable!() };
        let request =
            ground.agent.put("http://a.example/").body(ropewalk_web::Body::Stream(stream, Some(length)));
        assert!(
            matches!(client_error(ground.wait(request.send()).unwrap_err()), ClientError::Body(_)),
            "{length}"
        );
    }
    ground.is_clean();
}
