//! What a hub may be told, each with its default and why. Nothing here acts.

use std::time::Duration;

use ropewalk_web::client::Url;

use crate::guard::Guard;
use crate::signature::Algorithm;

/// How a hub behaves.
///
/// ```
/// use ropewalk_hub::HubOptions;
/// let options = HubOptions { url: "https://hub.example/".to_owned(), ..HubOptions::default() };
/// assert_eq!(options.lease_usual.as_secs(), 10 * 24 * 3600);
/// ```
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// The hub's public URL, as topics name it and deliveries say it. Empty until [`Hub::set_url`](crate::Hub::set_url).
    pub url: String,
    /// Which topics may be subscribed to. All.
    pub topics: TopicPolicy,
    /// Where topics may be fetched from. Public addresses.
    pub topic_guard: Guard,
    /// Where subscribers may be. Public addresses.
    pub callback_guard: Guard,
    /// What publishers give who send contents ("fat" pings), and who looks at the hub's state. None: neither is possible.
    pub token: Option<String>,
    /// How deliveries are signed, unless a subscription says otherwise by `hub.algorithm`. SHA-256.
    pub algorithm: Algorithm,
    /// Feeds are cut to the entries that a subscriber does not have. No: everybody gets the whole topic.
    pub feed_diff: bool,
    /// The shortest lease, 5 minutes: shorter ones would make the hub knock at a third party's door as often as somebody likes.
    pub lease_min: Duration,
    /// The lease of who does not ask for any: 10 days, which the standard calls a good default.
    pub lease_usual: Duration,
    /// The longest lease, 30 days.
    pub lease_max: Duration,
    /// Bytes of a topic. 4 MiB.
    pub content_bytes_max: u64,
    /// Redirects of a topic that are followed. 5; those of callbacks never are.
    pub redirects_max: u32,
    /// For a fetch, all of it. 30 s.
    pub fetch_timeout: Duration,
    /// For a verification, all of it. 10 s.
    pub verify_timeout: Duration,
    /// For a delivery, from connecting to the head of the answer. 30 s: those who work before they answer are to be heard.
    pub deliver_timeout: Duration,
    /// Requests to one host at once. 4.
    pub per_host_max: usize,
    /// Requests to all hosts at once. 512; of these, half are for hosts that have answered last time.
    pub total_max: usize,
    /// How often a wish is verified where nobody answers. 3; any answer is the last one.
    pub verify_attempts: u32,
    /// How often a topic is fetched after a ping, where it fails. 6.
    pub fetch_attempts: u32,
    /// How often a delivery is tried. 10.
    pub deliver_attempts: u32,
    /// For how long a delivery is tried. 2 days, whatever [`HubOptions::deliver_attempts`] says.
    pub deliver_for: Duration,
    /// The wait before the second try, doubled with each, and the longest one: 10 s and 6 h. A random part of up to a half is
    /// taken off.
    pub backoff: (Duration, Duration),
    /// Failures of a host in a row after which it is tried by one at a time, after a pause. 5.
    pub breaker_failures: u32,
    /// That pause, doubled with each failure, and the longest one: 30 s and 10 minutes.
    pub breaker_pause: (Duration, Duration),
    /// Subscriptions and wishes at one callback host. 10 000.
    pub per_callback_host_max: u64,
    /// Wishes that one source may make in a minute. 60: each is a request to somebody who may not have asked for it.
    pub wishes_per_minute: u32,
    /// Bytes of contents kept in memory for deliveries on their way. 32 MiB.
    pub cache_bytes: usize,
    /// How long dead letters are kept. 14 days.
    pub letters_for: Duration,
    /// Another hub that has taken over: subscribers are sent there by 308 (WebSub section 5.1.2). None.
    pub moved_to: Option<String>,
}

impl Default for HubOptions {
    fn default() -> HubOptions {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        HubOptions {
            url: String::new(),
            topics: TopicPolicy::default(),
            topic_guard: Guard::new(),
            callback_guard: Guard::new(),
            token: None,
            algorithm: Algorithm::default(),
            feed_diff: false,
            lease_min: Duration::from_secs(300),
            lease_usual: 10 * DAY,
            lease_max: 30 * DAY,
            content_bytes_max: 4 * 1024 * 1024,
            redirects_max: 5,
            fetch_timeout: Duration::from_secs(30),
            verify_timeout: Duration::from_secs(10),
            deliver_timeout: Duration::from_secs(30),
            per_host_max: 4,
            total_max: 512,
            verify_attempts: 3,
            fetch_attempts: 6,
            deliver_attempts: 10,
            deliver_for: 2 * DAY,
            backoff: (Duration::from_secs(10), Duration::from_secs(6 * 3600)),
            breaker_failures: 5,
            breaker_pause: (Duration::from_secs(30), Duration::from_secs(600)),
            per_callback_host_max: 10_000,
            wishes_per_minute: 60,
            cache_bytes: 32 * 1024 * 1024,
            letters_for: 14 * DAY,
            moved_to: None,
        }
    }
}

impl HubOptions {
    /// The lease that somebody gets who asks for this one (H5, H22: never without an end).
    pub(crate) fn lease_s(&self, asked: Option<u64>) -> u64 {
        let (min, max) = (self.lease_min.as_secs().max(1), self.lease_max.as_secs().max(1));
        asked.unwrap_or(self.lease_usual.as_secs()).clamp(min, max.max(min))
    }

    /// The wait after so many tries have failed, with its random part.
    pub(crate) fn backoff_ms(&self, failed: u32, random: u64) -> u64 {
        let (first, most) = (millis(self.backoff.0), millis(self.backoff.1));
        let full = first.saturating_mul(1 << failed.saturating_sub(1).min(30)).min(most);
        full - random % (full / 2).max(1)
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Which topics may be subscribed to.
#[derive(Clone, Debug, Default)]
pub enum TopicPolicy {
    /// All that can be fetched.
    #[default]
    Open,
    /// Those whose URL begins with one of these: `https://example.org/` and all below. Compared as URLs, so that no other host fits.
    Below(Vec<Url>),
    /// Those that name this hub themselves, by `Link` field or in their head, as the standard has publishers do. Looked at before a
    /// subscription is verified.
    Naming,
}

impl TopicPolicy {
    /// Whether this topic may be, as far as its URL says.
    pub(crate) fn permits(&self, topic: &str) -> bool {
        let TopicPolicy::Below(list) = self else { return true };
        let Ok(topic) = topic.parse::<Url>() else { return false };
        list.iter().any(|known| {
            let rest = topic.target().strip_prefix(known.target());
            let whole =
                |rest: &str| known.target().ends_with('/') || rest.is_empty() || rest.starts_with(['/', '?']);
            known.origin() == topic.origin() && rest.is_some_and(whole)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h05_and_h22_leases_are_clamped_and_always_end() {
        let options = HubOptions::default();
        let day = 24 * 3600;
        for (asked, given) in
            [(None, 10 * day), (Some(1), 300), (Some(7_200), 7_200), (Some(u64::MAX), 30 * day)]
        {
            assert_eq!(options.lease_s(asked), given, "{asked:?}");
        }
    }

    #[test]
    fn h29_waits_double_up_to_a_bound_and_differ() {
        let options = HubOptions::default();
        assert_eq!(options.backoff_ms(1, 0), 10_000);
        assert_eq!(options.backoff_ms(1, 4_999), 5_001);
        assert_eq!(options.backoff_ms(4, 0), 80_000);
        assert_eq!(options.backoff_ms(99, 0), 6 * 3_600_000);
        assert!((1..200).all(|n| options.backoff_ms(n, n as u64 * 77_777) >= 5_000));
    }

    #[test]
    fn h11_topics_below_are_below() {
        let list = ["http://a/blog", "https://b:8443/x/"].map(|url| url.parse().unwrap());
        let policy = TopicPolicy::Below(list.to_vec());
        for (topic, permitted) in [
            ("http://a/blog", true),
            ("http://a/blog/1", true),
            ("http://a/blog?page=2", true),
            ("http://a/blogger", false),
            ("http://a/blog/../secret", false),
            ("https://a/blog", false),
            ("http://a.evil/blog", false),
            ("https://b:8443/x/y", true),
            ("https://b/x/y", false),
        ] {
            assert_eq!(policy.permits(topic), permitted, "{topic}");
        }
    }
}
