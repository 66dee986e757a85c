//! A blog that pushes: a post is written into a folder of files, hubs are told that its feed has changed, a subscriber gets it, keeps it in
//! a file of its own, and the reader's open page shows it at once. They are one program here, and would be four as well:
//! `ropewalk web --hub`, `ropewalk hub`, `ropewalk subscribe --push` and `ropewalk push`.
//!
//! Run: `cargo run --example websub_blog`, open http://127.0.0.1:8080/reader and, beside it, http://127.0.0.1:8080/; write something there,
//! and the reader has it in a second (`curl -d 'text=Hello, rope!' http://127.0.0.1:8080/write` does, too).

mod blog;
mod reader;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use ropewalk::channel::Retention;
use ropewalk::hub::store::MemoryStore;
use ropewalk::hub::{
    FolderOptions, FolderPublisher, Guard, Herald, Hub, HubOptions, MemoryLedger, Subscriber,
    SubscriberOptions,
};
use ropewalk::net::Networks;
use ropewalk::web::client::Agent;
use ropewalk::web::push::{self, Feed};
use ropewalk::web::{Answer, Handler, Request, Response, Router, Site, handler};
use ropewalk::{Address, Outcome, Reactor, listen, react};

fn main() -> Outcome<()> {
    ropewalk::app::log_to_stderr();
    let folder = std::env::temp_dir().join("ropewalk-blog");
    let told = |url: &str| tracing::info!("the blog is {url}/, and its reader {url}/reader");
    react(|reactor| async move { serve(&reactor, "tcp:8080:interface=127.0.0.1", &folder, told).await })
}

/// Serves everything, tells where, and does not end.
pub async fn serve(reactor: &Reactor, endpoint: &str, folder: &Path, told: impl FnOnce(&str)) -> Outcome<()> {
    let site = folder.join("site");
    let (place, kept) = (site.clone(), folder.join("kept.jsonl"));
    reactor.defer_to_thread(move || blog::begin(&place)).await??;

    // Everybody is on this machine: without the lists the hub would contact public addresses only.
    let here = Guard::allowing(Networks::loopback());
    let options = HubOptions { topic_guard: here.clone(), callback_guard: here, ..HubOptions::default() };
    let hub = Hub::new(reactor, Rc::new(MemoryStore::new(reactor)), options);
    let news = Feed::in_memory(reactor, Retention::default());
    let (door, callbacks) = Door::new();
    // Where all of it is, is known when the port is bound.
    let base: Rc<RefCell<Option<String>>> = Rc::default();
    let router = Router::new()
        .get("/reader", |_| Response::html(include_str!("reader.html")))
        .route("GET", "/news", push::sse(&news, 10))
        .route("POST", "/hub", hub.endpoint())
        .route("*", "/callbacks/{id}", callbacks)
        .route("POST", "/write", blog::write(reactor, &site))
        .fallback(blog::pages(&site, &base)?);
    let url = bind(reactor, endpoint, Site::new(router))?;
    hub.set_url(&format!("{url}/hub"));
    *base.borrow_mut() = Some(url.clone());

    let agent = Agent::new(reactor);
    let options = FolderOptions { url: url.clone(), ..FolderOptions::default() };
    let herald = Herald::new(&agent, [hub.url()]);
    let _publisher = FolderPublisher::start(reactor, herald, site, options);

    let options = SubscriberOptions { url: format!("{url}/callbacks"), ..SubscriberOptions::default() };
    let ledger = Rc::new(MemoryLedger::new(reactor));
    let subscriber = Subscriber::new(&agent, ledger, options, reader::taking(reactor, &news, kept));
    door.open(subscriber.handler());
    subscriber.keep([format!("{url}/feed.json")]);
    told(&url);
    std::future::pending().await
}

fn bind(reactor: &Reactor, endpoint: &str, site: Site) -> Outcome<String> {
    let port = listen(reactor, &endpoint.parse()?, site)?;
    match port.address() {
        Address::Inet(address) => Ok(format!("http://{address}")),
        _ => Err(ropewalk::Failure::new("this example wants TCP")),
    }
}

/// The place of the callbacks, which is bound before there is a subscriber to answer them.
struct Door(Rc<RefCell<Option<Rc<dyn Handler>>>>);

impl Door {
    fn new() -> (Door, impl Handler) {
        let inner: Rc<RefCell<Option<Rc<dyn Handler>>>> = Rc::default();
        let answering = Rc::clone(&inner);
        let closed = || Answer::Now(Response::empty(503));
        let answer = move |request: Request| {
            answering.borrow().clone().map_or_else(closed, |handler| handler.handle(request))
        };
        (Door(inner), handler(answer))
    }

    fn open(&self, handler: impl Handler) {
        *self.0.borrow_mut() = Some(Rc::new(handler));
    }
}
