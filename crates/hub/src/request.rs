//! What callers ask of a hub, read out of a form and judged (WebSub section 5.1, PubSubHubbub 0.3 and 0.4). It decides what is
//! malformed; what is allowed here is the hub's business.

use std::fmt;
use std::sync::Arc;

use ropewalk_web::Arguments;
use ropewalk_web::client::Url;

use crate::signature::{Algorithm, SECRET_BYTES_MAX, Secret};

/// Bytes of a topic's or a callback's URL: what most servers take.
const URL_BYTES_MAX: usize = 2_048;
/// URLs in one ping. More are refused aloud; a hub that drops some in silence is a riddle.
const PINGS_MAX: usize = 100;
/// Bytes of `hub.verify_token`, which is sent back.
const TOKEN_BYTES_MAX: usize = 1_024;

/// Why a hub refuses a request: a line for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError(pub(crate) String);

impl RequestError {
    fn new(why: impl Into<String>) -> RequestError {
        RequestError(why.into())
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RequestError {}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Subscribe(Wish),
    Unsubscribe(Wish),
    /// The topics that have changed.
    Publish(Vec<Arc<str>>),
}

/// A subscription that somebody wants, or does not want any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) topic: Arc<str>,
    /// The topic as it was written: what the subscriber compares with.
    pub(crate) said: String,
    pub(crate) callback: Arc<str>,
    pub(crate) secret: Option<Secret>,
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) lease_s: Option<u64>,
    /// `hub.verify_token` of 0.3.
    pub(crate) token: Option<String>,
    /// `hub.verify=sync` of 0.3: the answer is to say how the verification went.
    pub(crate) waits: bool,
}

/// Reads a form. Parameters that are not known are passed over (H3).
pub(crate) fn read(form: &Arguments) -> Result<Call, RequestError> {
    match form.first("hub.mode") {
        Some("subscribe") => wish(form, true).map(Call::Subscribe),
        Some("unsubscribe") => wish(form, false).map(Call::Unsubscribe),
        Some("publish") => topics(form).map(Call::Publish),
        Some(other) => Err(RequestError::new(format!(
            "hub.mode is {:?}: write subscribe, unsubscribe or publish",
            other.chars().take(40).collect::<String>()
        ))),
        None => Err(RequestError::new("hub.mode is missing: write subscribe, unsubscribe or publish")),
    }
}

fn wish(form: &Arguments, subscribes: bool) -> Result<Wish, RequestError> {
    let said = required(form, "hub.topic")?;
    let secret = match form.first("hub.secret") {
        None | Some("") => None,
        Some(text) => Some(Secret::new(text).ok_or_else(|| {
            RequestError::new(format!("hub.secret has more than {SECRET_BYTES_MAX} bytes"))
        })?),
    };
    let token = form.first("hub.verify_token").filter(|token| !token.is_empty());
    if token.is_some_and(|token| token.len() > TOKEN_BYTES_MAX) {
        return Err(RequestError::new("hub.verify_token is too long"));
    }
    Ok(Wish {
        topic: topic_url("hub.topic", said)?,
        said: said.to_owned(),
        callback: callback_url(required(form, "hub.callback")?)?,
        secret: secret.filter(|_| subscribes),
        // Not of the standard, so what is no method's name means something else.
        algorithm: form.first("hub.algorithm").and_then(|name| name.parse().ok()),
        // H4: it means nothing where a subscription ends.
        lease_s: if subscribes { lease(form)? } else { None },
        token: token.map(str::to_owned),
        waits: waits(form),
    })
}

/// PubSubHubbub 0.3, section 6.1: the keywords of `hub.verify` stand in the order of preference, and what is no keyword is passed over. Who
/// says nothing speaks WebSub, where nobody waits.
fn waits(form: &Arguments) -> bool {
    let mut keywords = form.all("hub.verify").flat_map(|value| value.split(',')).map(str::trim);
    let first = keywords.find(|word| ["sync", "async"].iter().any(|known| word.eq_ignore_ascii_case(known)));
    first.is_some_and(|word| word.eq_ignore_ascii_case("sync"))
}

fn required<'a>(form: &'a Arguments, name: &str) -> Result<&'a str, RequestError> {
    let value = form.first(name).map(str::trim).filter(|value| !value.is_empty());
    value.ok_or_else(|| RequestError::new(format!("{name} is missing")))
}

/// An empty one asks for a subscription without an end in 0.3; it gets the usual lease.
fn lease(form: &Arguments) -> Result<Option<u64>, RequestError> {
    match form.first("hub.lease_seconds").map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            // Whatever number that is, the hub's own maximum is smaller.
            Ok(Some(text.parse().unwrap_or(u64::MAX)).filter(|seconds| *seconds > 0))
        }
        Some(_) => Err(RequestError::new("hub.lease_seconds is no number of seconds")),
    }
}

/// `hub.url` is what publishers of old send, `hub.topic` what those after Switchboard do; repeated, with `[]`, or with commas.
fn topics(form: &Arguments) -> Result<Vec<Arc<str>>, RequestError> {
    let named = form
        .iter()
        .filter(|(name, _)| matches!(*name, "hub.url" | "hub.topic" | "hub.url[]" | "hub.topic[]"));
    let mut topics: Vec<Arc<str>> = Vec::new();
    for (_, value) in named {
        for url in listed(value) {
            let topic = topic_url("hub.url", url)?;
            if !topics.contains(&topic) {
                topics.push(topic);
            }
        }
    }
    match topics.len() {
        0 => Err(RequestError::new("hub.url is missing: name the topic that has changed")),
        1..=PINGS_MAX => Ok(topics),
        count => Err(RequestError::new(format!("{count} topics in one request; {PINGS_MAX} are the most"))),
    }
}

/// A comma stands between URLs only where another URL follows.
fn listed(text: &str) -> Vec<&str> {
    let (mut found, mut from) = (Vec::new(), 0);
    for (at, _) in text.match_indices(',') {
        let rest = text[at + 1..].trim_start();
        if rest.starts_with("http://") || rest.starts_with("https://") {
            found.push(text[from..at].trim());
            from = at + 1;
        }
    }
    found.push(text[from..].trim());
    found.retain(|url| !url.is_empty());
    found
}

/// The key of a topic: its URL without needless percent-encoding (H8).
pub(crate) fn topic_url(name: &str, text: &str) -> Result<Arc<str>, RequestError> {
    check(name, text)?;
    Ok(plain(text).into())
}

fn callback_url(text: &str) -> Result<Arc<str>, RequestError> {
    check("hub.callback", text)?;
    Ok(plain(text).into())
}

fn check(name: &str, text: &str) -> Result<(), RequestError> {
    let wrong = |why: &str| Err(RequestError::new(format!("{name}: {why}")));
    if text.len() > URL_BYTES_MAX {
        return wrong("a URL of more than 2048 bytes");
    }
    // PubSubHubbub 0.3, section 6.1.1, and no sense in sending one.
    if text.contains('#') {
        return wrong("a URL with a fragment");
    }
    if text.contains(|sign: char| sign.is_whitespace() || sign.is_control()) {
        return wrong("a URL with a space or a control character");
    }
    let Ok(url) = text.parse::<Url>() else { return wrong("no http or https URL that can be contacted") };
    if authority(text).contains('@') {
        return wrong("a URL with credentials");
    }
    if url.host().is_empty() { wrong("a URL without a host") } else { Ok(()) }
}

fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

/// Decodes what RFC 3986 section 2.3 says means the same decoded: letters, digits, `-._~`. All else stays as it is.
pub(crate) fn plain(url: &str) -> String {
    let (bytes, mut out, mut from) = (url.as_bytes(), String::with_capacity(url.len()), 0);
    for at in 0..bytes.len() {
        let code = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%' && at >= from);
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(byte) = code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else { continue };
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push_str(&url[from..at]);
            out.push(char::from(byte));
            from = at + 3;
        }
    }
    out.push_str(&url[from..]);
    out
}

/// The host of a URL that was checked, with its port: what shares a queue.
pub(crate) fn host(url: &str) -> String {
    match url.parse::<Url>() {
        Ok(url) => url.origin().authority(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Call, RequestError> {
        read(&Arguments::read(text.as_bytes()))
    }

    #[test]
    fn h08_unreserved_characters_are_decoded_and_no_others() {
        for (url, expected) in [
            ("http://a/%7Eb", "http://a/~b"),
            ("http://a/%41%2f%2E", "http://a/A%2f."),
            ("http://a/%2541", "http://a/%2541"),
            ("http://a/%", "http://a/%"),
            ("http://a/%4", "http://a/%4"),
            ("http://a/?b=%26c%3D", "http://a/?b=%26c%3D"),
            ("http://a/é%C3%A9", "http://a/é%C3%A9"),
        ] {
            assert_eq!(plain(url), expected);
        }
    }

    #[test]
    fn h03_and_h04_what_is_not_understood_means_nothing() {
        let base = "hub.callback=http://c/&hub.topic=http://t/&foo=bar&hub.foo=hub.bar&hub.verify=sync";
        let Ok(Call::Subscribe(wish)) = read_text(&format!("hub.mode=subscribe&{base}")) else { panic!() };
        assert_eq!((&*wish.topic, &*wish.callback, wish.lease_s), ("http://t/", "http://c/", None));
        let text = format!("hub.mode=unsubscribe&{base}&hub.lease_seconds=nonsense");
        let Ok(Call::Unsubscribe(wish)) = read_text(&text) else { panic!() };
        assert_eq!(wish.lease_s, None);
    }

    #[test]
    fn h14_what_is_wrong_is_said() {
        let good = "hub.mode=subscribe&hub.callback=http://c/&hub.topic=http://t/";
        let long = "x".repeat(200);
        for (text, part) in [
            ("", "hub.mode"),
            ("hub.mode=dance", "dance"),
            ("hub.mode=subscribe&hub.topic=http://t/", "hub.callback"),
            ("hub.mode=subscribe&hub.callback=http://c/", "hub.topic"),
            ("hub.mode=subscribe&hub.callback=ftp://c/&hub.topic=http://t/", "hub.callback"),
            ("hub.mode=subscribe&hub.callback=http://c/%23f&hub.topic=http://t/", "fragment"),
            ("hub.mode=subscribe&hub.callback=http://u:p@c/&hub.topic=http://t/", "credentials"),
            ("hub.mode=subscribe&hub.callback=http://c/+x&hub.topic=http://t/", "space"),
            ("hub.mode=subscribe&hub.callback=http:///&hub.topic=http://t/", "hub.callback"),
            (&format!("{good}&hub.lease_seconds=-1"), "lease"),
            (&format!("{good}&hub.lease_seconds=ten"), "lease"),
            (&format!("{good}&hub.secret={long}"), "199"),
            ("hub.mode=publish", "hub.url"),
            ("hub.mode=publish&hub.url=file:///etc/passwd", "hub.url"),
        ] {
            let error = read_text(text).expect_err(text);
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn h23_pings_of_every_custom() {
        for (text, expected) in [
            ("hub.url=http://a/", vec!["http://a/"]),
            ("hub.topic=http://a/", vec!["http://a/"]),
            ("hub.url=http://a/&hub.url=http://b/&hub.url=http://a/", vec!["http://a/", "http://b/"]),
            ("hub.url[]=http://a/&hub.url[]=http://b/", vec!["http://a/", "http://b/"]),
            ("hub.url=http://a/x,y,http://b/", vec!["http://a/x,y", "http://b/"]),
        ] {
            let Ok(Call::Publish(topics)) = read_text(&format!("hub.mode=publish&{text}")) else { panic!() };
            assert_eq!(topics.iter().map(|topic| &**topic).collect::<Vec<_>>(), expected);
        }
        let many: String = (0..101).map(|n| format!("&hub.url=http://a/{n}")).collect();
        assert!(read_text(&format!("hub.mode=publish{many}")).unwrap_err().0.contains("101"));
    }

    #[test]
    fn h05_leases_are_numbers_and_large_ones_do_not_overflow() {
        let good = "hub.mode=subscribe&hub.callback=http://c/&hub.topic=http://t/&hub.lease_seconds=";
        for (text, expected) in
            [("", None), ("0", None), ("60", Some(60)), ("99999999999999999999999", Some(u64::MAX))]
        {
            let Ok(Call::Subscribe(wish)) = read_text(&format!("{good}{text}")) else { panic!() };
            assert_eq!(wish.lease_s, expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_form_breaks_it(
            mode in "(subscribe|unsubscribe|publish)",
            topic in "(http://|https://|%|7E|a|é|@|#|,|/|:|\\[|\\]|\\?){0,12}",
            rest in "\\PC{0,40}",
        ) {
            let form = form_urlencoded::Serializer::new(String::new())
                .extend_pairs([("hub.mode", mode.as_str()), ("hub.topic", &topic), ("hub.callback", "http://c/")])
                .extend_pairs([("hub.lease_seconds", rest.as_str()), ("hub.secret", &rest), ("hub.url", &rest)])
                .finish();
            if let Ok(Call::Subscribe(wish)) = read_text(&form) {
                // What was taken can be sent: a key is a URL, and its own key.
                proptest::prop_assert_eq!(plain(&wish.callback), &*wish.callback);
                proptest::prop_assert!(wish.topic.parse::<Url>().is_ok());
            }
        }
    }
}
