//! What a client does on a good day: methods, bodies both ways, text, JSON, compression, cookies; against the server of this crate,
//! over networks of many seeds.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write;
use std::rc::Rc;
use std::task::{Context, Poll};

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_core::Stream;
use ropewalk_reactor::{Failure, Outcome};
use ropewalk_web::client::{ClientError, ClientLimits, Cookies, Plain, get_page};
use ropewalk_web::{Body, Request, Response, Router, Site};

use crate::common::*;

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index ^ (index >> 8) ^ (index >> 16)) as u8).collect()
}

/// Pieces of a stream, one at each poll, each second poll pending.
struct Pieces(std::vec::IntoIter<Vec<u8>>, bool);

fn pieces(pieces: Vec<Vec<u8>>) -> Pieces {
    Pieces(pieces.into_iter(), false)
}

impl Stream for Pieces {
    type Item = Result<Vec<u8>, Failure>;
    fn poll_next(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.1 = !self.1;
        if self.1 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.0.next().map(Ok))
    }
}

fn site() -> Site {
    let router = Router::new()
        .get("/", |_| "hello")
        .get("/empty", |_| Response::empty(204))
        .get("/large", |_| Response::new(pattern(300_000)))
        .get("/chunked", |_| {
            Response::new(Body::stream(pieces(pattern(100_000).chunks(7000).map(<[u8]>::to_vec).collect())))
        })
        .get("/query", |request: Request| request.argument("a").unwrap_or_default())
        .get("/headers", |request: Request| {
            let lines = request
                .headers()
                .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value)));
            lines.collect::<String>()
        })
        .get("/latin", |_| Response::new(b"caf\xe9".to_vec()).content_type("text/plain; charset=ISO-8859-1"))
        .post("/echo", |request: Request| async move {
            let kind = request.header("content-type").unwrap_or("none").to_owned();
            request.bytes().await.map(|bytes| Response::new(bytes).content_type(kind))
        })
        .post("/mirror", |mut request: Request| {
            // Both ways at once: what comes goes back piece by piece.
            let stream = Mirror(std::future::poll_fn(move |context| request.poll_piece(context)));
            Response::new(Body::stream(stream))
        });
    Site::new(router)
}

struct Mirror<F>(F);

impl<F> Stream for Mirror<F>
where
    F: Future<Output = Result<Option<Vec<u8>>, ropewalk_web::BodyError>> + Unpin,
{
    type Item = Result<Vec<u8>, Failure>;
    fn poll_next(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = std::pin::Pin::new(&mut self.0).poll(context);
        polled.map(|piece| piece.map_err(Failure::new).transpose())
    }
}

#[test]
fn a_good_day_over_a_hundred_networks() {
    for seed in 0..100 {
        let ground = Ground::of(seed, site());
        ground.simulation.network().set_conditions(|conditions| {
            conditions.window_bytes = 3000 + seed as usize * 100;
            conditions.segment_bytes_max = 50 + seed as usize * 40;
        });
        let agent = ground.agent.clone();
        ground
            .wait(async move {
                let response = agent.get("http://localhost/").send().await?;
                assert_eq!((response.status(), response.reason(), response.is_http11()), (200, "OK", true));
                assert_eq!(response.content_length(), Some(5));
                assert_eq!(response.text().await?, "hello");
                let empty = agent.get("http://localhost/empty").send().await?;
                assert_eq!((empty.status(), empty.bytes().await?.len()), (204, 0));
                let head = agent.head("http://localhost/large").send().await?;
                assert_eq!((head.header("content-length"), head.content_length()), (Some("300000"), Some(0)));
                assert!(head.bytes().await?.is_empty());
                assert_eq!(
                    agent.get("http://localhost/large").send().await?.bytes().await?,
                    pattern(300_000)
                );
                let mut chunked = agent.get("http://localhost/chunked").send().await?;
                let mut whole = Vec::new();
                while let Some(piece) = chunked.piece().await? {
                    whole.extend(piece);
                }
                assert_eq!(whole, pattern(100_000));
                let query = agent.get("http://localhost/query").query("a", "b & c\u{e9}").send().await?;
                assert_eq!(query.text().await?, "b & c\u{e9}");
                let latin = agent.get("http://localhost/latin").send().await?;
                assert_eq!(latin.text().await?, "caf\u{e9}");
                let missing = agent.get("http://localhost/missing").send().await?;
                assert_eq!(
                    client_error(missing.success().unwrap_err()).to_string(),
                    "the server answers 404 Not Found"
                );
                Outcome::Ok(())
            })
            .unwrap_or_else(|failure| panic!("seed {seed}: {failure:?}"));
        assert_eq!(ground.agent.statistics().made, 1, "seed {seed}: one connection is enough");
        ground.is_clean();
    }
}

#[test]
fn bodies_of_every_kind_are_sent() {
    for seed in 0..30 {
        let ground = Ground::of(seed, site());
        let agent = ground.agent.clone();
        ground
            .wait(async move {
                let post = || agent.post("http://localhost/echo");
                assert_eq!(post().send().await?.text().await?, "");
                assert_eq!(post().body("text").send().await?.text().await?, "text");
                assert_eq!(post().body(pattern(200_000)).send().await?.bytes().await?, pattern(200_000));
                let shared: Rc<[u8]> = pattern(70_000).into();
                assert_eq!(post().body(shared).send().await?.bytes().await?, pattern(70_000));
                let parts: Vec<Vec<u8>> = pattern(150_000).chunks(9000).map(<[u8]>::to_vec).collect();
                let stream = Body::stream(pieces(parts.clone()));
                assert_eq!(post().body(stream).send().await?.bytes().await?, pattern(150_000));
                let order = BTreeMap::from([("rope".to_owned(), 7)]);
                let response = post().json(&order).send().await?;
                assert_eq!(response.header("content-type"), Some("application/json"));
                assert_eq!(response.json::<BTreeMap<String, u32>>().await?, order);
                let form = post().form(&[("a", "b c"), ("d", "&")]).send().await?;
                assert_eq!(form.header("content-type"), Some("application/x-www-form-urlencoded"));
                assert_eq!(form.text().await?, "a=b+c&d=%26");
                let expect = post().body("after the 100").expect_continue().send().await?;
                assert_eq!(expect.text().await?, "after the 100");
                Outcome::Ok(())
            })
            .unwrap_or_else(|failure| panic!("seed {seed}: {failure:?}"));
        ground.is_clean();
    }
}

#[test]
fn a_body_goes_out_while_the_answer_comes_in() {
    let ground = Ground::of(3, site());
    let agent = ground.agent.clone();
    let sent = Rc::new(Cell::new(0usize));
    let counted = Rc::clone(&sent);
    let (firing, more) = ropewalk_reactor::Deferred::<()>::new(ground.reactor());
    ground
        .wait(async move {
            // The second half waits until the first has come back.
            let mut more = Some(Box::pin(more));
            let stream = Mirror(std::future::poll_fn(move |context| {
                match counted.get() {
                    0 => {}
                    1 => {
                        let waiting = more.as_mut().expect("it is awaited once");
                        std::task::ready!(waiting.as_mut().poll(context)).expect("it fires");
                        more = None;
                    }
                    _ => return Poll::Ready(Ok(None)),
                }
                counted.set(counted.get() + 1);
                Poll::Ready(Ok(Some(vec![b'a'; 1000])))
            }));
            let mut response =
                agent.post("http://localhost/mirror").body(Body::stream(stream)).send().await?;
            let mut got = 0;
            while got < 1000 {
                got += response.piece().await?.expect("half of it comes").len();
            }
            assert_eq!((got, sent.get()), (1000, 1));
            firing.callback(()).unwrap();
            while let Some(piece) = response.piece().await? {
                got += piece.len();
            }
            assert_eq!((got, sent.get()), (2000, 2));
            Outcome::Ok(())
        })
        .unwrap();
    ground.is_clean();
}

#[test]
fn the_head_says_what_is_meant() {
    let ground = Ground::of(1, site());
    let agent = ground.agent.clone().with_header("X-All", "1").with_header("User-Agent", "all");
    let show = |request: ropewalk_web::client::RequestBuilder| {
        ground.wait(async move { request.send().await?.text().await }).unwrap()
    };
    let url = "http://me:secret@localhost/headers";
    assert_eq!(
        show(agent.get(url)),
        "Host: localhost\nAccept: */*\nAccept-Encoding: gzip, deflate, br\nAuthorization: Basic bWU6c2VjcmV0\nX-All: 1\nUser-Agent: all\n"
    );
    let own = agent
        .get("http://localhost:80/headers")
        .header("user-agent", "own")
        .header("Host", "else")
        .bearer_auth("t")
        .raw();
    assert_eq!(show(own), "Host: else\nAccept: */*\nuser-agent: own\nAuthorization: Bearer t\nX-All: 1\n");
    for (name, value) in [
        ("X", "a\r\nY: b"),
        ("X", "\0"),
        ("X Y", "a"),
        ("", "a"),
        ("X:", "a"),
        ("Content-Length", "5"),
        ("transfer-encoding", "chunked"),
        ("Connection", "close"),
        ("Host", "a\r\n"),
    ] {
        let error = ground.wait(agent.get(url).header(name, value).send()).map(drop).unwrap_err();
        assert!(matches!(client_error(error), ClientError::Misuse(_)), "{name}: {value}");
    }
    for method in ["CONNECT", "G T", "GET\r\nX:", ""] {
        let error = ground.wait(agent.request(method.to_owned(), url).send()).map(drop).unwrap_err();
        assert!(matches!(client_error(error), ClientError::Misuse(_)), "{method:?}");
    }
    let plain = agent.clone().with_connector(Plain);
    let refused = ground.wait(plain.get("https://localhost/").send()).map(drop).unwrap_err();
    assert!(matches!(client_error(refused), ClientError::NeedsTls));
    assert!(matches!(ground.fails("gopher://localhost/"), ClientError::Url(_)));
    drop(agent);
    ground.is_clean();
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_compressed_body_is_unpacked_and_a_bomb_is_not() {
    let router = Router::new()
        .get("/page", |_| Response::new(gzip(&pattern(200_000))).header("Content-Encoding", "gzip"))
        .get("/bomb", |_| Response::new(gzip(&vec![0; 100_000_000])).header("Content-Encoding", "gzip"))
        .get("/cut", |_| Response::new(gzip(b"whole")[..12].to_vec()).header("Content-Encoding", "gzip"))
        .get("/odd", |_| Response::new("as it is").header("Content-Encoding", "compress"));
    let ground = Ground::of(5, Site::new(router));
    let agent = ground.agent.clone();
    ground
        .wait(async move {
            let page = agent.get("http://localhost/page").send().await?;
            assert!(page.is_unpacked());
            assert_eq!(page.bytes().await?, pattern(200_000));
            let raw = agent.get("http://localhost/page").raw().send().await?;
            assert_eq!(raw.bytes().await?, gzip(&pattern(200_000)));
            let asked = agent.get("http://localhost/page").header("Accept-Encoding", "gzip").send().await?;
            assert!(!asked.is_unpacked(), "who asks for it gets it");
            let odd = agent.get("http://localhost/odd").send().await?;
            assert_eq!(odd.text().await?, "as it is");
            for (path, part) in [("bomb", "far more"), ("cut", "ends in the middle")] {
                let mut response = agent.get(&format!("http://localhost/{path}")).send().await?;
                let mut unpacked = 0;
                let failure = loop {
                    match response.piece().await {
                        Ok(piece) => unpacked += piece.expect("it fails before its end").len(),
                        Err(failure) => break failure,
                    }
                };
                assert!(failure.to_string().contains(part), "{failure}");
                assert!(response.piece().await.is_err(), "it does not go on behind a failure");
                assert!(unpacked < 40_000_000, "{unpacked}");
            }
            let small = ClientLimits { collect_bytes_max: 1000, ..ClientLimits::default() };
            let failure = agent
                .with_limits(small)
                .get("http://localhost/page")
                .send()
                .await?
                .bytes()
                .await
                .unwrap_err();
            assert!(matches!(client_error(failure), ClientError::TooLarge { bytes_max: 1000 }));
            Outcome::Ok(())
        })
        .unwrap();
    ground.is_clean();
}

#[test]
fn a_jar_takes_and_sends_cookies() {
    let router = Router::new()
        .get("/in", |_| {
            Response::redirect(303, "/me")
                .header("Set-Cookie", "id=7; Path=/")
                .header("Set-Cookie", "x=y; Path=/else")
        })
        .get("/me", |request: Request| request.header("cookie").unwrap_or("none").to_owned())
        .get("/out", |_| Response::text("").header("Set-Cookie", "id=; Max-Age=0; Path=/"));
    let ground = Ground::of(5, Site::new(router));
    let plain = ground.get("http://a.example/in").unwrap();
    assert_eq!(plain, (200, "none".into()), "without a jar there are none");
    let jar = Cookies::new();
    let agent = ground.agent.clone().with_cookies(jar.clone());
    let ask = |url: &'static str| {
        let agent = agent.clone();
        ground.wait(async move { agent.get(url).send().await?.text().await }).unwrap()
    };
    assert_eq!(ask("http://a.example/in"), "id=7");
    assert_eq!(ask("http://b.example/me"), "none");
    assert_eq!(ask("http://a.example/me"), "id=7");
    assert_eq!(jar.list().len(), 2);
    ask("http://a.example/out");
    assert_eq!(ask("http://a.example/me"), "none");
    drop(agent);
    ground.is_clean();
}

#[test]
fn a_page_is_got_in_one_call() {
    let ground = Ground::of(1, site());
    assert_eq!(ground.wait(get_page(ground.reactor(), "http://localhost/")).unwrap(), "hello");
    let failure = ground.wait(get_page(ground.reactor(), "http://localhost/missing")).unwrap_err();
    assert!(matches!(client_error(failure), ClientError::Status(404)));
    assert!(ground.wait(get_page(ground.reactor(), "http://nowhere/")).is_err());
    ground.is_clean();
}

#[test]
fn callbacks_work_as_well() {
    let ground = Ground::of(1, site());
    let page = ground.agent.get("http://localhost/").send();
    let length = page.add_callback(ropewalk_web::client::Response::text).add_callback(|text| text.len());
    assert_eq!(ground.wait(length).unwrap(), 5);
    let copied = Rc::new(Cell::new(0));
    let sum = Rc::clone(&copied);
    let copy = ground.agent.get("http://localhost/large").send().add_callback(move |response| {
        response.copy_to(move |piece| {
            sum.set(sum.get() + piece.len());
            Ok(())
        })
    });
    assert_eq!((ground.wait(copy).unwrap(), copied.get()), (300_000, 300_000));
    ground.is_clean();
}
