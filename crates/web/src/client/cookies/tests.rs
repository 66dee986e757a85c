//! What a jar takes, and to whom it gives it.

use std::time::Duration;

use super::*;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn url(text: &str) -> Url {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What `asks` is sent after `from` has set this.
fn sent(from: &str, set: &str, asks: &str) -> Option<String> {
    let cookies = Cookies::new();
    cookies.store(&url(from), set, NOW);
    cookies.header(&url(asks), NOW)
}

#[test]
fn who_gets_a_cookie() {
    for (from, set, asks, gets) in [
        ("http://a.org/", "x=1", "http://a.org/", true),
        ("http://a.org/", "x=1", "http://a.org:8080/", true),
        ("http://a.org/", "x=1", "http://b.a.org/", false),
        ("http://b.a.org/", "x=1", "http://a.org/", false),
        ("http://b.a.org/", "x=1; domain=a.org", "http://a.org/", true),
        ("http://b.a.org/", "x=1; Domain=.A.org", "http://c.a.org/", true),
        ("http://b.a.org/", "x=1; domain=a.org", "http://ba.org/", false),
        ("http://b.a.org/", "x=1; domain=c.a.org", "http://c.a.org/", false),
        ("http://b.a.org/", "x=1; domain=", "http://b.a.org/", true),
        ("http://a.org/", "x=1; domain=org", "http://a.org/", false),
        ("http://a.co.uk/", "x=1; domain=co.uk", "http://b.co.uk/", false),
        ("http://a.co.uk/", "x=1; domain=a.co.uk", "http://b.a.co.uk/", true),
        ("http://localhost/", "x=1; domain=localhost", "http://localhost/", true),
        ("http://localhost/", "x=1; domain=localhost", "http://a.localhost/", false),
        ("http://127.0.0.1/", "x=1", "http://127.0.0.1/", true),
        ("http://127.0.0.1/", "x=1; domain=0.0.1", "http://1.0.0.1/", false),
        ("http://a.org/b/c", "x=1", "http://a.org/b/d", true),
        ("http://a.org/b/c", "x=1", "http://a.org/b", true),
        ("http://a.org/b/c", "x=1", "http://a.org/bb", false),
        ("http://a.org/b/c", "x=1", "http://a.org/", false),
        ("http://a.org/", "x=1; path=/b/", "http://a.org/b/c", true),
        ("http://a.org/", "x=1; path=/b/", "http://a.org/b", false),
        ("http://a.org/b/c", "x=1; path=nonsense", "http://a.org/b/", true),
        ("https://a.org/", "x=1; secure", "https://a.org/", true),
        ("https://a.org/", "x=1; secure", "http://a.org/", false),
        ("http://a.org/", "x=1; secure", "https://a.org/", false),
        ("https://a.org/", "__Secure-x=1", "https://a.org/", false),
        ("https://a.org/", "__Secure-x=1; secure", "https://a.org/", true),
        ("https://a.org/", "__Host-x=1; secure; path=/", "https://a.org/", true),
        ("https://a.org/", "__Host-x=1; secure; path=/; domain=a.org", "https://a.org/", false),
        ("https://a.org/b/", "__Host-x=1; secure", "https://a.org/b/", false),
        ("http://a.org/", "x=1\r\nSet-Cookie: y=2", "http://a.org/", false),
        ("http://a.org/", "x=a\0b", "http://a.org/", false),
        ("http://a.org/", "", "http://a.org/", false),
        ("http://a.org/", "=", "http://a.org/", false),
        ("http://a.org/", "x=1; max-age=0", "http://a.org/", false),
        ("http://a.org/", "x=1; expires=Thu, 01 Jan 1970 00:00:00 GMT", "http://a.org/", false),
        ("http://a.org/", "x=1; max-age=9; expires=Thu, 01 Jan 1970 00:00:00 GMT", "http://a.org/", true),
    ] {
        assert_eq!(sent(from, set, asks).is_some(), gets, "{from} {set} {asks}");
    }
}

#[test]
fn a_cookie_is_replaced_outlived_and_taken_away() {
    let (cookies, a) = (Cookies::new(), url("http://a.org/"));
    cookies.store(&a, "x=1; max-age=10", NOW);
    cookies.store(&a, "y=\"2 3\"", NOW);
    cookies.store(&a, "x=3; max-age=10", NOW);
    cookies.store(&a, "z=4; path=/deep", NOW);
    assert_eq!(cookies.header(&a, NOW).as_deref(), Some("x=3; y=\"2 3\""));
    assert_eq!(cookies.header(&url("http://a.org/deep/er"), NOW).as_deref(), Some("z=4; x=3; y=\"2 3\""));
    assert_eq!(cookies.header(&a, NOW + Duration::from_secs(10)).as_deref(), Some("y=\"2 3\""));
    assert_eq!(cookies.list().len(), 2, "what is over is not kept");
    cookies.store(&a, "y=; max-age=-1", NOW);
    assert_eq!(cookies.header(&a, NOW), None);
    cookies.clear();
    assert!(cookies.list().is_empty());
}

#[test]
fn what_tls_has_set_is_not_overwritten_without() {
    let cookies = Cookies::new();
    cookies.store(&url("https://a.org/"), "x=1; secure", NOW);
    cookies.store(&url("http://a.org/"), "x=evil", NOW);
    assert_eq!(cookies.header(&url("https://a.org/"), NOW).as_deref(), Some("x=1"));
}

#[test]
fn a_jar_is_bounded() {
    let cookies = Cookies::new();
    for number in 0..150 {
        cookies.store(&url("http://a.org/"), &format!("n{number}=1"), NOW);
    }
    assert_eq!(cookies.list().len(), PER_HOST_MAX);
    assert_eq!(cookies.list()[0].name, "n50", "the oldest went");
    for number in 0..4000 {
        cookies.store(&url(&format!("http://h{number}.org/")), "x=1", NOW);
    }
    assert_eq!(cookies.list().len(), TOTAL_MAX);
    cookies.clear();
    cookies.store(&url("http://a.org/"), &format!("x={}", "y".repeat(5000)), NOW);
    assert!(cookies.list().is_empty());
}

#[test]
fn a_list_of_suffixes_goes_before_the_guess() {
    let cookies = Cookies::with_suffixes(|domain| domain == "github.io");
    cookies.store(&url("http://a.github.io/"), "x=1; domain=github.io", NOW);
    assert!(cookies.list().is_empty());
    cookies.store(&url("http://a.co.uk/"), "x=1; domain=co.uk", NOW);
    assert_eq!(cookies.list().len(), 1);
}
