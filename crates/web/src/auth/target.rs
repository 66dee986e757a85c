//! Where a redirect may lead that somebody else has named: nowhere but here.

/// A path of this site with its query, if that is what this is: for a `next` that came with a request. Everything that a browser would take for
/// another site is nothing: `//evil.example`, `/\evil.example`, `https:…`, `javascript:…`, and these with tabs and line breaks in
/// them, which browsers leave out (WHATWG URL section 4.4).
///
/// ```
/// use ropewalk_web::local_target;
/// assert_eq!(local_target("/news?page=2#7"), Some("/news?page=2#7"));
/// assert_eq!(local_target("//evil.example/"), None);
/// assert_eq!(local_target("https://evil.example/"), None);
/// ```
#[must_use]
pub fn local_target(text: &str) -> Option<&str> {
    /// Longer ones are refused by this very server.
    const BYTES_MAX: usize = 4096;
    let path = text.strip_prefix('/')?;
    let visible = text.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && byte != b'\\');
    (visible && text.len() <= BYTES_MAX && !path.starts_with('/')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_elsewhere() {
        for fine in ["/", "/a", "/a/b?c=d&e=%2F%2F#f", "/a//b", "/@evil.example", "/?next=//evil.example"] {
            assert_eq!(local_target(fine), Some(fine));
        }
        for evil in [
            "",
            "a",
            "//",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "\t//evil.example",
            " //evil.example",
            "http://evil.example",
            "https:evil.example",
            "javascript:alert(1)",
            "/a\\b",
            "/a\r\nSet-Cookie: x",
            "/\u{202E}",
            "/a b",
            ".",
            "?x",
            "@evil.example",
        ] {
            assert_eq!(local_target(evil), None, "{evil:?}");
        }
        assert_eq!(local_target(&format!("/{}", "a".repeat(5000))), None);
    }
}
