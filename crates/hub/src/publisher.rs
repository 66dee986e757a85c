//! The publisher's side (WebSub sections 4 and 6): a page that names its hubs, and pings to all of them when it has changed. The pages are
//! somebody else's. Pings that wait for hubs which are away are the `herald`'s.

use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::{Deferred, Failure, Outcome};
use ropewalk_web::client::{Agent, ClientError};
use ropewalk_web::{Escaped, Middleware, Next, Request, Response, middleware};

use crate::folder::{canonical, is_page};
use crate::link::Link;

/// How often a hub is pinged that does not take it.
const ATTEMPTS: u32 = 4;
/// The wait before the second ping, doubled with each.
const PAUSE: Duration = Duration::from_secs(5);
/// For one ping.
const LIMIT: Duration = Duration::from_secs(20);

/// Who tells hubs of changes. A cheap clone.
///
/// ```
/// use ropewalk_hub::Publisher;
/// use ropewalk_web::{Handler, Router, client::Agent};
/// let simulation = ropewalk_reactor::Simulation::new(1);
/// let publisher = Publisher::new(&Agent::new(simulation.reactor()), ["https://hub.example/"]);
/// assert_eq!(
///     publisher.link("https://example.org/feed"),
///     "<https://hub.example/>; rel=\"hub\", <https://example.org/feed>; rel=\"self\""
/// );
/// let site = Router::new().get("/feed", |_| "news").with(publisher.advertise("https://example.org"));
/// # drop(site);
/// ```
#[derive(Clone)]
pub struct Publisher {
    agent: Agent,
    hubs: Rc<[String]>,
}

/// What became of the ping to one hub.
#[derive(Clone, Debug)]
pub struct Pinged {
    /// The hub.
    pub hub: String,
    /// Whether it has taken it; if not, why the last try has failed.
    pub outcome: Outcome<()>,
}

impl Publisher {
    /// A publisher with these hubs.
    #[must_use]
    pub fn new<S: Into<String>>(agent: &Agent, hubs: impl IntoIterator<Item = S>) -> Publisher {
        Publisher { agent: agent.clone(), hubs: hubs.into_iter().map(Into::into).collect() }
    }

    /// Its hubs.
    #[must_use]
    pub fn hubs(&self) -> &[String] {
        &self.hubs
    }

    /// Tells every hub that this topic has changed (P5). The deferred fires when each has taken it, or was asked four times.
    #[track_caller]
    pub fn changed(&self, topic: &str) -> Deferred<Vec<Pinged>> {
        let (publisher, topic) = (self.clone(), topic.to_owned());
        let reactor = self.agent.reactor().clone();
        // All at once: one hub that is slow delays no other.
        let pings: Vec<_> = publisher
            .hubs
            .iter()
            .map(|hub| {
                let ping = ping(publisher.agent.clone(), hub.clone(), topic.clone());
                reactor.ensure_deferred(async move { Ok(ping.await) })
            })
            .collect();
        self.agent.reactor().ensure_deferred(async move {
            let mut pinged = Vec::new();
            for ping in pings {
                pinged.push(ping.await?);
            }
            Ok(pinged)
        })
    }

    /// The value of a `Link` field: every hub, and the topic as the page's own URL (P2).
    #[must_use]
    pub fn link(&self, topic: &str) -> String {
        link(&self.hubs, topic)
    }

    /// The same as elements of an Atom feed; in RSS with the prefix `atom:` (P3).
    #[must_use]
    pub fn feed_links(&self, topic: &str, prefix: &str) -> String {
        self.elements(topic, |rel, href| format!("<{prefix}link rel=\"{rel}\" href=\"{href}\"/>"))
    }

    /// The same as elements of an HTML page's head (P3).
    #[must_use]
    pub fn html_links(&self, topic: &str) -> String {
        self.elements(topic, |rel, href| format!("<link rel=\"{rel}\" href=\"{href}\">"))
    }

    fn elements(&self, topic: &str, write: impl Fn(&str, &str) -> String) -> String {
        let escape = |text: &str| Escaped(text).to_string();
        let hubs = self.hubs.iter().map(|hub| write("hub", &escape(hub)));
        hubs.chain([write("self", &escape(topic))]).collect()
    }

    /// A middleware by which every page that is found names the hubs and itself. `base` is the site's public address without a
    /// path, such as `https://example.org`; a page's URL is that and its path. Answers that have a `Link` to a hub stay as they are.
    #[must_use]
    pub fn advertise(&self, base: &str) -> impl Middleware + use<> {
        let base = base.trim_end_matches('/').to_owned();
        let topic = move |request: &Request| Some(format!("{base}{}", request.target()));
        advertise(Rc::clone(&self.hubs), topic, |_| true)
    }
}

/// A middleware for a folder of files: every page and feed in it names the hubs and itself, pictures and such do not. `base` says the
/// URL of the folder, as it is known now; before it is, nothing is named. A page's own URL is that and its path, without a query, which
/// files do not heed, and with one spelling for all that a client may write (P4). Of a file that is served alone, whatever the path, it
/// is the base.
///
/// ```no_run
/// use ropewalk_web::{Files, Handler, Site};
/// let hubs = vec!["https://hub.example/".to_owned()];
/// let files = Files::new("public")?.with(ropewalk_hub::advertise_pages(hubs, false, || Some("https://example.org/".to_owned())));
/// let site = Site::new(files);
/// # drop(site);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn advertise_pages(
    hubs: Vec<String>,
    alone: bool,
    base: impl Fn() -> Option<String> + 'static,
) -> impl Middleware {
    let topic = move |request: &Request| {
        let path = if alone { "/".to_owned() } else { canonical(request.path()) };
        Some(format!("{}{path}", base()?.trim_end_matches('/')))
    };
    advertise(hubs.into(), topic, |response| response.media_type().is_some_and(is_page))
}

fn advertise(
    hubs: Rc<[String]>,
    topic: impl Fn(&Request) -> Option<String> + 'static,
    wanted: fn(&Response) -> bool,
) -> impl Middleware {
    middleware(move |request: Request, next: Next| {
        let asked = matches!(request.method(), "GET" | "HEAD");
        let (hubs, topic) = (Rc::clone(&hubs), topic(&request).filter(|_| asked));
        next.handle(request).map(move |response| {
            let named = response.field("Link").is_some_and(|link| link.contains("hub"));
            match topic {
                Some(topic) if response.code() == 200 && !named && wanted(&response) => {
                    response.header("Link", link(&hubs, &topic))
                }
                _ => response,
            }
        })
    })
}

/// Every hub, and the topic as the page's own URL (P2).
fn link(hubs: &[String], topic: &str) -> String {
    let hubs = hubs.iter().map(|hub| Link::new(hub.as_str(), "hub").to_string());
    let links: Vec<String> = hubs.chain([Link::new(topic, "self").to_string()]).collect();
    links.join(", ")
}

async fn ping(agent: Agent, hub: String, topic: String) -> Pinged {
    let mut outcome = Ok(());
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            agent.reactor().sleep(PAUSE * (1 << (attempt - 1))).await;
        }
        outcome = ping_once(&agent, &hub, &topic).await;
        if !outcome.as_ref().is_err_and(|failure| !is_definite(failure)) {
            break;
        }
    }
    Pinged { hub, outcome }
}

/// One ping.
pub(crate) async fn ping_once(agent: &Agent, hub: &str, topic: &str) -> Outcome<()> {
    // Both names: hubs of old know the one, those after Switchboard the other.
    let form = [("hub.mode", "publish"), ("hub.url", topic), ("hub.topic", topic)];
    let sent = agent.post(hub).form(&form).timeout(LIMIT).send().await;
    sent.and_then(|response| response.success().map(drop))
}

/// What the hub refuses it refuses again.
pub(crate) fn is_definite(failure: &Failure) -> bool {
    let Some(ClientError::Status(status)) = failure.check::<ClientError>() else { return false };
    (400..500).contains(status) && !matches!(status, 408 | 425 | 429)
}
