//! The publisher's side (WebSub sections 4 and 6): a page that names its hubs, and pings to all of them when it has changed. The pages are
//! somebody else's.

use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::{Deferred, Failure, Outcome};
use ropewalk_web::client::{Agent, ClientError};
use ropewalk_web::{Escaped, Middleware, Next, Request, middleware};

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
        let hubs = self.hubs.iter().map(|hub| Link::new(hub.as_str(), "hub").to_string());
        let links: Vec<String> = hubs.chain([Link::new(topic, "self").to_string()]).collect();
        links.join(", ")
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
        let (publisher, base) = (self.clone(), base.trim_end_matches('/').to_owned());
        middleware(move |request: Request, next: Next| {
            let (publisher, topic) = (publisher.clone(), format!("{base}{}", request.target()));
            let wanted = matches!(request.method(), "GET" | "HEAD");
            next.handle(request).map(move |response| {
                let named = response.field("Link").is_some_and(|link| link.contains("hub"));
                if wanted && response.code() == 200 && !named {
                    response.header("Link", publisher.link(&topic))
                } else {
                    response
                }
            })
        })
    }
}

async fn ping(agent: Agent, hub: String, topic: String) -> Pinged {
    let mut outcome = Ok(());
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            agent.reactor().sleep(PAUSE * (1 << (attempt - 1))).await;
        }
        // Both names: hubs of old know the one, those after Switchboard the other.
        let form = [("hub.mode", "publish"), ("hub.url", topic.as_str()), ("hub.topic", topic.as_str())];
        let sent = agent.post(&hub).form(&form).timeout(LIMIT).send().await;
        outcome = sent.and_then(|response| response.success().map(drop));
        let definite = outcome.as_ref().err().is_some_and(is_definite);
        if outcome.is_ok() || definite {
            break;
        }
    }
    Pinged { hub, outcome }
}

/// What the hub refuses it refuses again.
fn is_definite(failure: &Failure) -> bool {
    let Some(ClientError::Status(status)) = failure.check::<ClientError>() else { return false };
    (400..500).contains(status) && !matches!(status, 408 | 425 | 429)
}
