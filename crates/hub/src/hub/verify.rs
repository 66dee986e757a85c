//! Verification of intent (WebSub section 5.3), and telling of a denial (section 5.2): a GET to the callback. It changes nothing unless
//! the subscriber says so.

use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use ropewalk_reactor::{Failure, Outcome};

use super::lanes::Health;
use super::options::TopicPolicy;
use super::{Ended, Inner, fetch};
use crate::guard::Refused;
use crate::request::host;
use crate::store::{Change, Intent, Mode};

/// Bytes of an answer: a challenge has 32, and what is longer is none.
const ANSWER_BYTES_MAX: u64 = 4_096;
/// The wait before another try, times the square of the tries so far: a callback that is not there is soon, or not at all.
const PAUSE_MS: u64 = 5_000;

pub(super) async fn verify(hub: &Rc<Inner>, intent: Intent) -> Outcome<Ended> {
    if intent.mode == Mode::Subscribe
        && let Some(reason) = unfit(hub, &intent).await
    {
        let change = Change::Deny { pair: intent.pair, reason, now_ms: hub.now_ms() };
        hub.commit(vec![change]).await?;
        hub.waiting.tell(intent.serial, false);
        return Ok(Ended::well(Health::Unknown));
    }
    let now_ms = hub.now_ms();
    match ask(hub, &intent).await {
        Ok(confirmed) => {
            settle(hub, &intent, confirmed && intent.mode != Mode::Denied, now_ms).await?;
            Ok(Ended::well(Health::Good))
        }
        Err(failure) => {
            // The failure of a guard says nothing about the host, and is the same next time.
            let refused = failure.is::<Refused>();
            tracing::info!(callback = %host(&intent.pair.callback), "a wish is not verified: {failure}");
            let last = intent.attempts + 1 >= hub.options.verify_attempts || hub.waiting.has(intent.serial);
            if refused || last {
                settle(hub, &intent, false, now_ms).await?;
            } else {
                let tries = u64::from(intent.attempts + 1);
                let due_ms = hub.now_ms() + PAUSE_MS * tries * tries;
                let (pair, serial) = (intent.pair, intent.serial);
                hub.commit(vec![Change::VerifyLater { pair, serial, due_ms }]).await?;
            }
            Ok(Ended::well(if refused { Health::Unknown } else { Health::Bad }))
        }
    }
}

/// Why this topic cannot be subscribed to, where publishers decide that (H11, H17).
async fn unfit(hub: &Rc<Inner>, intent: &Intent) -> Option<String> {
    if !matches!(hub.options.topics, TopicPolicy::Naming) {
        return None;
    }
    match fetch::naming(hub, &intent.pair.topic).await {
        Ok(true) => None,
        Ok(false) => Some("the topic does not name this hub".to_owned()),
        // In full it is for the log: the caller may not learn what is behind a name.
        Err(failure) => {
            tracing::info!(topic = %intent.pair.topic, "a topic cannot be looked at: {failure}");
            Some("the topic cannot be fetched".to_owned())
        }
    }
}

/// Asks the subscriber; whether it has confirmed. A failure is that nobody has answered.
async fn ask(hub: &Rc<Inner>, intent: &Intent) -> Outcome<bool> {
    // H9, H32: the callback as it is, its own query first.
    let mut request = hub.callbacks.get(&intent.pair.callback);
    request = request.query("hub.mode", intent.mode.name()).query("hub.topic", &intent.said);
    let challenge = challenge()?;
    match intent.mode {
        Mode::Denied => request = request.query("hub.reason", &intent.reason),
        Mode::Subscribe => {
            let lease = intent.lease_s.to_string();
            request = request.query("hub.challenge", &challenge).query("hub.lease_seconds", &lease);
        }
        Mode::Unsubscribe => request = request.query("hub.challenge", &challenge),
    }
    if let Some(token) = intent.token.as_ref().filter(|_| intent.mode != Mode::Denied) {
        request = request.query("hub.verify_token", token);
    }
    let limit: Duration = hub.options.verify_timeout;
    let response = request.timeout(limit).send().await?.with_bytes_max(ANSWER_BYTES_MAX);
    // H21: everything but 2xx with the challenge is a no.
    if !(200..300).contains(&response.status()) {
        return Ok(false);
    }
    match response.bytes().await {
        Ok(body) => Ok(ropewalk_web::constant_time_eq(&body, challenge.as_bytes())),
        // Whatever was wrong with it, it was an answer.
        Err(_) => Ok(false),
    }
}

/// H33: random, and of use once.
fn challenge() -> Outcome<String> {
    let mut bytes = [0; 24];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Failure::new("the system gives no randomness"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

async fn settle(hub: &Rc<Inner>, intent: &Intent, confirmed: bool, asked_ms: u64) -> Outcome<()> {
    let (pair, serial) = (intent.pair.clone(), intent.serial);
    let change = if intent.mode == Mode::Denied || !confirmed {
        if intent.mode != Mode::Denied {
            hub.count(|statistics| statistics.unverified += 1);
        }
        Change::Unverified { pair, serial }
    } else {
        hub.count(|statistics| statistics.verified += 1);
        // H20: the lease counts from the request.
        let lease_end_ms = asked_ms.saturating_add(intent.lease_s.saturating_mul(1_000));
        Change::Verified { pair, serial, now_ms: hub.now_ms(), lease_end_ms }
    };
    let work = hub.store.commit(vec![change]).await?;
    // What comes due by it is the newer wish of the pair, if there is one: then this one has changed nothing.
    let counts = work.is_empty();
    hub.put(work);
    // Whoever waits hears what is written down.
    hub.waiting.tell(serial, confirmed && counts);
    Ok(())
}
