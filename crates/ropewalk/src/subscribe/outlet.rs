//! Where deliveries go: standard output, a command, or a channel of `ropewalk push`. So many at once, each within a limit: the hub that has
//! delivered waits meanwhile, and comes again if it was not taken.

use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ropewalk_hub::Delivery;
use ropewalk_reactor::sync::DeferredSemaphore;
use ropewalk_reactor::{Deferred, Failure, Outcome, Reactor};
use ropewalk_web::client::{Agent, Url};
use serde_json::json;

use super::exec;

/// Where to.
pub(super) enum Place {
    /// A line of JSON each.
    Output,
    /// A command of the shell.
    Command(String),
    /// A channel that takes it by POST, with a token if it wants one.
    Channel(Url, Option<String>),
}

/// Takes deliveries. Clones are one.
#[derive(Clone)]
pub(super) struct Outlet(Rc<Inner>);

struct Inner {
    reactor: Reactor,
    agent: Agent,
    place: Place,
    places: DeferredSemaphore,
    limit: Duration,
}

impl Outlet {
    /// `most` at once; lines are written one after the other, however many that may be.
    pub(super) fn new(agent: &Agent, place: Place, most: usize, limit: Duration) -> Outlet {
        let most = if matches!(place, Place::Output) { 1 } else { most };
        let (reactor, agent) = (agent.reactor().clone(), agent.clone());
        Outlet(Rc::new(Inner {
            places: DeferredSemaphore::new(&reactor, most),
            reactor,
            agent,
            place,
            limit,
        }))
    }

    /// Takes one; the deferred fails if it was not taken.
    pub(super) fn take(&self, delivery: Delivery) -> Deferred<()> {
        let inner = Rc::clone(&self.0);
        self.0.reactor.ensure_deferred(async move {
            let began = inner.reactor.now();
            // Who stands in line for too long is sent away, and comes again.
            let _permit = inner.places.acquire().add_timeout(inner.limit).await?;
            let left = inner.limit.saturating_sub(inner.reactor.now() - began);
            inner.put(delivery, left).await
        })
    }

    /// How many are on their way.
    pub(super) fn busy(&self) -> usize {
        self.0.places.limit() - self.0.places.tokens() + self.0.places.waiting()
    }
}

impl Inner {
    async fn put(&self, delivery: Delivery, left: Duration) -> Outcome<()> {
        match &self.place {
            Place::Output => {
                let written = self.reactor.defer_to_thread(move || {
                    let mut out = std::io::stdout().lock();
                    out.write_all(line(&delivery).as_bytes()).and_then(|()| out.flush())
                });
                // What a thread writes, it writes: nothing is said to have failed that comes to pass all the same.
                written.await?.map_err(Failure::new)
            }
            Place::Command(command) => exec::run(&self.reactor, command, delivery, left).await,
            Place::Channel(url, token) => {
                let mut request = self.agent.post(&url.to_string()).body(delivery.body).timeout(left);
                if let Some(media) = &delivery.media {
                    request = request.header("Content-Type", media);
                }
                if let Some(token) = token {
                    request = request.bearer_auth(token);
                }
                request.send().await?.success().map(drop)
            }
        }
    }
}

/// Text as text, and everything else as base64.
fn line(delivery: &Delivery) -> String {
    let (name, body) = match std::str::from_utf8(&delivery.body) {
        Ok(text) => ("body", text.to_owned()),
        Err(_) => ("body_base64", STANDARD.encode(&delivery.body)),
    };
    let mut value = json!({
        "topic": delivery.topic,
        "page": delivery.page,
        "type": delivery.media,
        "polled": delivery.polled,
    });
    value[name] = body.into();
    format!("{value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_one_line() {
        let delivery = Delivery {
            topic: "http://t/".to_owned(),
            page: "http://p/".to_owned(),
            media: None,
            body: b"one\ntwo".to_vec(),
            polled: true,
        };
        let text = line(&delivery);
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((value["body"].as_str(), value["polled"].as_bool()), (Some("one\ntwo"), Some(true)));
        let bytes = line(&Delivery { body: vec![0xff, 0], ..delivery });
        let value: serde_json::Value = serde_json::from_str(&bytes).unwrap();
        assert_eq!((value["body_base64"].as_str(), value.get("body")), (Some("/wA="), None));
    }
}
