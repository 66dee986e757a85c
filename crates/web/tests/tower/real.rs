//! What needs a real loop, because tokio's time is the system's: its timers, tasks and files in a service's hands.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body::{Body as _, Frame};
use ropewalk_net::{Address, listen};
use ropewalk_reactor::{Outcome, SideRuntime, react};
use ropewalk_web::client::Agent;
use ropewalk_web::tower::{Incoming, mount};
use ropewalk_web::{Handler, Site};
use tokio::sync::mpsc;

const TICK: Duration = Duration::from_millis(1);

/// Serves while a client of this crate asks.
fn with<T: Future<Output = Outcome<()>> + 'static>(
    handler: impl Handler,
    ask: impl FnOnce(Agent, String) -> T + 'static,
) {
    react(move |reactor| async move {
        let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse()?, Site::new(handler))?;
        let asked = ask(Agent::new(&reactor), format!("http://{}", port.address())).await;
        port.stop_listening();
        asked
    })
    .unwrap();
}

#[test]
fn tokios_timers_tasks_and_files_work() {
    let router = axum::Router::new()
        .route(
            "/sleep",
            get(|| async {
                tokio::time::sleep(TICK).await;
                "slept"
            }),
        )
        .route(
            "/timeout",
            get(|| async {
                match tokio::time::timeout(TICK, std::future::pending::<()>()).await {
                    Ok(()) => "never",
                    Err(_) => "timed out",
                }
            }),
        )
        .route(
            "/spawn",
            get(|| async {
                let here = std::thread::current().id();
                let there = tokio::spawn(async { std::thread::current().id() }).await.unwrap();
                if here == there { "the same thread" } else { "another thread" }
            }),
        )
        .route("/blocking", get(|| async { tokio::task::spawn_blocking(|| "blocked").await.unwrap() }))
        // It waits before it reads: the client sends its body all the same.
        .route(
            "/late",
            post(|request: http::Request<Body>| async move {
                tokio::time::sleep(TICK).await;
                let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
                body.len().to_string()
            }),
        )
        .route("/file", get(|| async { tokio::fs::read("Cargo.toml").await.unwrap() }));
    with(mount(router), |agent, base| async move {
        let expected = [
            ("/sleep", "slept"),
            ("/timeout", "timed out"),
            ("/spawn", "another thread"),
            ("/blocking", "blocked"),
        ];
        for (path, text) in expected {
            assert_eq!(agent.get(&format!("{base}{path}")).send().await?.text().await?, text);
        }
        let file = agent.get(&format!("{base}/file")).send().await?.text().await?;
        assert!(file.contains("ropewalk-web"));
        let late = agent.post(&format!("{base}/late")).body(vec![7; 500_000]).send().await?;
        assert_eq!(late.text().await?, "500000");
        Ok(())
    });
}

/// A body of what a task sends.
struct Received(mpsc::Receiver<Bytes>);

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[test]
fn a_task_in_another_thread_reads_the_body_for_an_answer_that_has_begun() {
    async fn echo(request: http::Request<Body>) -> Body {
        let (sender, receiver) = mpsc::channel(4);
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) =
                std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await
            {
                if let Ok(data) = frame.into_data() {
                    sender.send(data).await.unwrap();
                }
            }
        });
        Body::new(Received(receiver))
    }
    with(
        mount(axum::Router::new().route("/", post(echo).layer(axum::extract::DefaultBodyLimit::disable()))),
        |agent, base| async move {
            let sent: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
            for _ in 0..3 {
                let back = agent.post(&base).body(sent.clone()).send().await?.bytes().await?;
                assert!(back == sent);
            }
            Ok(())
        },
    );
}

#[test]
fn events_come_one_by_one_and_end_with_their_client() {
    struct Numbers(tokio::time::Interval, u32, mpsc::UnboundedSender<()>);
    impl futures_core::Stream for Numbers {
        type Item = Result<Event, std::convert::Infallible>;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            self.0.poll_tick(context).map(|_| {
                self.1 += 1;
                Some(Ok(Event::default().id(self.1.to_string()).data("tick")))
            })
        }
    }
    impl Drop for Numbers {
        fn drop(&mut self) {
            // A runtime's own things are let go of inside of it.
            tokio::spawn(async {});
            let _ = self.2.send(());
        }
    }
    let (sender, mut dropped) = mpsc::unbounded_channel();
    let router = axum::Router::new().route(
        "/",
        get(move || {
            let numbers = Numbers(tokio::time::interval(TICK), 0, sender.clone());
            async { Sse::new(numbers).keep_alive(KeepAlive::default()) }
        }),
    );
    with(mount(router), |agent, base| async move {
        let mut response = agent.get(&base).send().await?;
        assert_eq!(response.header("content-type"), Some("text/event-stream"));
        let mut text = String::new();
        while !text.contains("id: 5\n") {
            text += std::str::from_utf8(&response.piece().await?.expect("it has no end"))?;
        }
        assert!(text.starts_with("id: 1\ndata: tick\n\n"), "{text}");
        drop(response);
        agent.close();
        dropped.recv().await.expect("the service is told");
        Ok(())
    });
}

#[test]
fn axums_connect_info_and_a_runtime_of_ones_own() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&seen);
    let peer =
        |ConnectInfo(address): ConnectInfo<std::net::SocketAddr>| async move { address.ip().to_string() };
    react(move |reactor| async move {
        let runtime = SideRuntime::new(&reactor)?;
        let id = runtime.handle().id();
        let router = axum::Router::new().route("/", get(peer)).route(
            "/runtime",
            get(move || async move { (tokio::runtime::Handle::current().id() == id).to_string() }),
        );
        let service = mount(router).beside(&runtime).prepare(move |request, extensions| {
            noted.borrow_mut().push(request.path().to_owned());
            if let Address::Inet(address) = request.peer() {
                extensions.insert(ConnectInfo(address));
            }
        });
        let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse()?, Site::new(service))?;
        let (agent, base) = (Agent::new(&reactor), format!("http://{}", port.address()));
        assert_eq!(agent.get(&base).send().await?.text().await?, "127.0.0.1");
        assert_eq!(agent.get(&format!("{base}/runtime")).send().await?.text().await?, "true");
        Outcome::Ok(())
    })
    .unwrap();
    assert_eq!(*seen.borrow(), ["/", "/runtime"]);
}

/// It may go where it is needed.
const _: fn() = || {
    fn is_send<T: Send + 'static>() {}
    is_send::<Incoming>();
};
