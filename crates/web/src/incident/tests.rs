//! Escaping, and who gets a page. What is sent is tested with the server.

use ropewalk_wire::http1::{Head, HeadLimits};

use super::accepts_html;
use super::page::Escaped;

fn asks(fields: &str) -> bool {
    let mut head = Head::new();
    let text = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    head.feed(text.as_bytes(), &HeadLimits::default()).expect("it is HTTP");
    accepts_html(&head)
}

#[test]
fn a_page_is_for_those_who_name_html() {
    for fields in [
        "Accept: text/html\r\n",
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n",
        "accept: application/json, Text/HTML;level=1 ; q=0.1\r\n",
        "Accept: image/png\r\nAccept: text/html\r\n",
        "Accept: text/html;q=1\r\n",
    ] {
        assert!(asks(fields), "{fields}");
    }
    for fields in [
        "",
        "Accept: */*\r\n",
        "Accept: text/plain\r\n",
        "Accept: text/html;q=0\r\n",
        "Accept: text/html; Q=0.000, */*\r\n",
        "Accept: text/html2\r\n",
        "Accept: \r\n",
        "X-Accept: text/html\r\n",
    ] {
        assert!(!asks(fields), "{fields}");
    }
}

#[test]
fn nothing_is_left_of_markup() {
    let hostile = "</title><script>alert('1')</script>\" onload=\"x & y\u{0}\u{1b}[31m\u{202e}\r\n\tend";
    assert_eq!(
        Escaped(hostile).to_string(),
        "&lt;/title&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; onload=&quot;x &amp; y\u{FFFD}\u{FFFD}[31m\
         \u{FFFD}\u{FFFD}\n\tend"
    );
    assert_eq!(Escaped("grün ± 😀").to_string(), "grün ± 😀");
}
