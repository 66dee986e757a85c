//! A blog that pushes: a post is published, a hub tells its subscribers, and a reader's open page shows it at once. Blog, hub, subscriber
//! and reader's page are one program here, and would be four as well.
//!
//! Run: `cargo run --example websub_blog`, open http://127.0.0.1:8080/, and then from another terminal:
//!
//! `curl -d 'text=Hello, rope!' http://127.0.0.1:8080/write` (the page shows it without being reloaded).

use std::cell::RefCell;
use std::rc::Rc;

use ropewalk::channel::Retention;
use ropewalk::hub::store::MemoryStore;
use ropewalk::hub::{
    Guard, Hub, HubOptions, MemoryLedger, Publisher, Subscriber, SubscriberOptions, into_channel,
};
use ropewalk::net::Networks;
use ropewalk::web::client::Agent;
use ropewalk::web::push::{self, Feed};
use ropewalk::web::{Handler, Request, Response, Router, Site};
use ropewalk::{Address, Outcome, Reactor, listen, react};

const PAGE: &str = "<!DOCTYPE html><title>Reader</title><h1>News</h1><ul id=news></ul><script>\
    new EventSource('/news').onmessage = e => {\
    const item = document.createElement('li'); item.textContent = e.data; news.prepend(item) }</script>";

fn main() -> Outcome<()> {
    ropewalk::app::log_to_stderr();
    react(|reactor| async move { serve(&reactor, "tcp:8080:interface=127.0.0.1").await })
}

/// Serves everything, and does not end.
pub async fn serve(reactor: &Reactor, endpoint: &str) -> Outcome<()> {
    let agent = Agent::new(reactor);
    // Everybody is on this machine: without the lists the hub would contact public addresses only.
    let here = Guard::allowing(Networks::loopback());
    let options = HubOptions { topic_guard: here.clone(), callback_guard: here, ..HubOptions::default() };
    let hub = Hub::new(reactor, Rc::new(MemoryStore::new(reactor)), options);

    // Known when the port is bound: who publishes where, and who subscribes.
    let place: Rc<RefCell<Option<(String, Publisher)>>> = Rc::default();
    let news = Feed::in_memory(reactor, Retention::default());
    let (posts, written) = (Rc::new(RefCell::new(String::from("Welcome."))), Rc::clone(&place));
    let (read, named) = (Rc::clone(&posts), Rc::clone(&place));
    let blog = Router::new()
        .get("/blog", move |_: Request| {
            let page = Response::text(read.borrow().clone());
            match &*named.borrow() {
                Some((base, publisher)) => page.header("Link", publisher.link(&format!("{base}/blog"))),
                None => page,
            }
        })
        .post("/write", move |request: Request| {
            let (posts, place) = (Rc::clone(&posts), Rc::clone(&written));
            async move {
                let form = request.form().await?;
                *posts.borrow_mut() = form.first("text").unwrap_or_default().to_owned();
                if let Some((base, publisher)) = &*place.borrow() {
                    publisher.changed(&format!("{base}/blog")).detach();
                }
                Ok::<_, ropewalk::web::Rejection>("published\n")
            }
        })
        .get("/", |_| Response::html(PAGE))
        .route("GET", "/news", push::sse(&news, 10))
        .route("POST", "/hub", hub.endpoint());

    // The callbacks' place is bound first, on a port of its own, since the subscriber's options name it.
    let callbacks: Rc<RefCell<Option<Rc<dyn Handler>>>> = Rc::default();
    let answered = Rc::clone(&callbacks);
    let door = ropewalk::web::handler(move |request: Request| match &*answered.borrow() {
        Some(handler) => handler.handle(request),
        None => ropewalk::web::Answer::Now(Response::empty(503)),
    });
    let base = bind(reactor, endpoint, Site::new(blog))?;
    let own = bind(reactor, "tcp:0:interface=127.0.0.1", Site::new(door))?;
    hub.set_url(&format!("{base}/hub"));
    *place.borrow_mut() = Some((base.clone(), Publisher::new(&agent, [hub.url()])));

    let options = SubscriberOptions { url: own, ..SubscriberOptions::default() };
    let ledger = Rc::new(MemoryLedger::new(reactor));
    let subscriber = Subscriber::new(&agent, ledger, options, into_channel(&news));
    *callbacks.borrow_mut() = Some(Rc::new(subscriber.handler()));
    subscriber.follow(&format!("{base}/blog")).await?;
    tracing::info!("the reader's page: {base}/");
    std::future::pending().await
}

fn bind(reactor: &Reactor, endpoint: &str, site: Site) -> Outcome<String> {
    let port = listen(reactor, &endpoint.parse()?, site)?;
    match port.address() {
        Address::Inet(address) => Ok(format!("http://{address}")),
        _ => Err(ropewalk::Failure::new("this example wants TCP")),
    }
}
