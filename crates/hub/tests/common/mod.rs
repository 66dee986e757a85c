//! What the tests share: a simulated world with a hub, a publisher and subscribers, each at an address of its own. No test is here.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it, as a module of its own")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_hub::store::{List, Listing, MemoryStore, Page, Store};
use ropewalk_hub::{Hub, HubOptions};
use ropewalk_net::{Port, listen};
use ropewalk_reactor::{Outcome, Simulation};
use ropewalk_web::client::{Agent, Redirects};
use ropewalk_web::{Arguments, Request, Response, Site, handler};

pub const SECOND: Duration = Duration::from_secs(1);
pub const DAY: Duration = Duration::from_secs(24 * 3600);
pub const HUB: &str = "http://hub.test/hub";
pub const TOPIC: &str = "http://pub.test/news";
pub const CALLBACK: &str = "http://s1.test/cb";

/// A request as a subscriber or a publisher has seen it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Duration,
    pub method: String,
    pub target: String,
    pub query: Arguments,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn fields(&self, name: &str) -> Vec<&str> {
        let found = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).collect()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

type Answer = Rc<dyn Fn(&Seen) -> Response>;

/// A server that remembers what it was asked, and answers as it was told.
#[derive(Clone)]
pub struct Host {
    seen: Rc<RefCell<Vec<Seen>>>,
    answer: Rc<RefCell<Answer>>,
    /// Seconds that it thinks before each answer.
    pub slow: Rc<Cell<u64>>,
    port: Rc<RefCell<Option<Port>>>,
}

impl Host {
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    pub fn deliveries(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.method == "POST").collect()
    }

    pub fn verifications(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.method == "GET").collect()
    }

    pub fn answer(&self, answer: impl Fn(&Seen) -> Response + 'static) {
        *self.answer.borrow_mut() = Rc::new(answer);
    }
}

/// A subscriber that agrees to everything.
pub fn willing(seen: &Seen) -> Response {
    match seen.query.first("hub.challenge") {
        Some(challenge) => Response::text(challenge.to_owned()),
        None => Response::empty(204),
    }
}

pub struct World {
    pub simulation: Simulation,
    pub agent: Agent,
    pub store: MemoryStore,
    pub hub: RefCell<Hub>,
    pub options: HubOptions,
    pub publisher: Host,
    pub contents: Rc<RefCell<BTreeMap<String, (String, String)>>>,
    hub_port: RefCell<Option<Port>>,
}

impl World {
    pub fn new(seed: u64) -> World {
        World::with(seed, HubOptions::default())
    }

    pub fn with(seed: u64, options: HubOptions) -> World {
        let simulation = Simulation::new(seed);
        let reactor = simulation.reactor().clone();
        let store = MemoryStore::new(&reactor);
        let options = HubOptions { url: HUB.to_owned(), token: Some("token".to_owned()), ..options };
        let hub = Hub::new(&reactor, Rc::new(store.clone()), options.clone());
        let contents: Rc<RefCell<BTreeMap<String, (String, String)>>> = Rc::default();
        let publisher = host(&simulation, "pub.test", "11.0.0.1", willing);
        let served = Rc::clone(&contents);
        publisher.answer(move |seen| serve(&served.borrow(), seen));
        let world = World {
            agent: Agent::new(&reactor).with_redirects(Redirects::none()),
            hub: RefCell::new(hub),
            hub_port: RefCell::default(),
            simulation,
            store,
            options,
            publisher,
            contents,
        };
        world.open();
        world
    }

    fn open(&self) {
        let address: IpAddr = "11.0.0.2".parse().unwrap();
        self.simulation.network().set_host("hub.test", &[address]);
        let site = Site::new(self.hub.borrow().handler());
        let port = listen(self.simulation.reactor(), &"tcp:80:interface=11.0.0.2".parse().unwrap(), site);
        *self.hub_port.borrow_mut() = Some(port.unwrap());
    }

    /// Kills the hub and starts another one over what it has written down.
    pub fn restart(&self) {
        self.hub.borrow().close();
        if let Some(port) = self.hub_port.take() {
            port.stop_listening();
        }
        *self.hub.borrow_mut() =
            Hub::new(self.simulation.reactor(), Rc::new(self.store.clone()), self.options.clone());
        self.open();
    }

    /// Subscriber number `number`, at `sNUMBER.test`.
    pub fn subscriber(&self, number: u16) -> Host {
        let address = format!("11.1.{}.{}", number >> 8, number & 0xff);
        host(&self.simulation, &format!("s{number}.test"), &address, willing)
    }

    pub fn publish(&self, path: &str, media: &str, text: &str) {
        self.contents.borrow_mut().insert(path.to_owned(), (media.to_owned(), text.to_owned()));
    }

    /// Posts a form to the hub; status and text of the answer.
    pub fn post(&self, form: &[(&str, &str)]) -> (u16, String) {
        let request = self.agent.post(HUB).form(form);
        self.wait(async move {
            let response = request.send().await?;
            let status = response.status();
            Ok((status, response.text().await?))
        })
    }

    /// What a future comes to, as time passes.
    pub fn wait<T: 'static>(&self, future: impl Future<Output = Outcome<T>> + 'static) -> T {
        let end = Rc::new(RefCell::new(None));
        let tell = Rc::clone(&end);
        self.simulation.reactor().spawn(async move {
            let outcome = future.await;
            *tell.borrow_mut() = Some(outcome);
        });
        assert!(self.simulation.run_until(60 * SECOND, || end.borrow().is_some()), "no answer");
        end.take().unwrap().unwrap()
    }

    pub fn subscribe(&self, more: &[(&str, &str)]) {
        self.wish("subscribe", more);
    }

    pub fn wish(&self, mode: &str, more: &[(&str, &str)]) {
        let mut form = vec![("hub.mode", mode)];
        form.extend(
            [("hub.topic", TOPIC), ("hub.callback", CALLBACK)]
                .iter()
                .filter(|(name, _)| !more.iter().any(|(known, _)| known == name)),
        );
        form.extend(more);
        let (status, text) = self.post(&form);
        assert_eq!(status, 202, "{text}");
        self.settle();
    }

    pub fn ping(&self) {
        assert_eq!(self.post(&[("hub.mode", "publish"), ("hub.url", TOPIC)]).0, 204);
        self.settle();
    }

    /// Lets everything happen that happens at once.
    pub fn settle(&self) {
        self.simulation.advance(SECOND);
    }

    pub fn list(&self, of: List) -> Page {
        let listed = self.store.list(Listing { of, after: String::new(), limit: 1_000 });
        self.wait(listed)
    }

    pub fn subscriptions(&self) -> Page {
        self.list(List::Subscriptions)
    }
}

/// A server of this name at this address.
pub fn host(
    simulation: &Simulation,
    name: &str,
    address: &str,
    answer: impl Fn(&Seen) -> Response + 'static,
) -> Host {
    simulation.network().set_host(name, &[address.parse().unwrap()]);
    let host = Host {
        seen: Rc::default(),
        answer: Rc::new(RefCell::new(Rc::new(answer))),
        slow: Rc::default(),
        port: Rc::default(),
    };
    let (inner, network) = (host.clone(), simulation.network().clone());
    // The site is of the host: the port is kept apart, so that they do not keep each other.
    let shown = Host { port: Rc::default(), ..inner };
    let site = Site::new(handler(move |request: Request| {
        let (host, network) = (shown.clone(), network.clone());
        async move {
            let fields = request
                .headers()
                .map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into_owned()));
            let mut seen = Seen {
                at: network.now().since(ropewalk_reactor::Time::START),
                method: request.method().to_owned(),
                target: request.target().to_owned(),
                query: request.arguments(),
                fields: fields.collect(),
                body: Vec::new(),
            };
            let reactor = request.reactor().clone();
            request.set_body_bytes_max(100 * 1024 * 1024);
            seen.body = request.bytes().await.unwrap_or_default();
            host.seen.borrow_mut().push(seen.clone());
            let slow = host.slow.get();
            if slow > 0 {
                reactor.sleep(Duration::from_secs(slow)).await;
            }
            let answer = Rc::clone(&host.answer.borrow());
            answer(&seen)
        }
    }));
    let endpoint = format!("tcp:80:interface={address}").parse().unwrap();
    *host.port.borrow_mut() = Some(listen(simulation.reactor(), &endpoint, site).unwrap());
    host
}

fn serve(contents: &BTreeMap<String, (String, String)>, seen: &Seen) -> Response {
    let path = seen.target.split('?').next().unwrap();
    let Some((media, text)) = contents.get(path) else { return Response::empty(404) };
    let tag = format!("\"{}-{}\"", text.len(), text.bytes().map(u64::from).sum::<u64>());
    if seen.field("if-none-match") == Some(&tag) {
        return Response::empty(304).header("ETag", tag);
    }
    Response::new(text.clone()).content_type(media.clone()).header("ETag", tag)
}
