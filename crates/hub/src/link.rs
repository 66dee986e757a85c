//! The `Link` field (RFC 8288), read for discovery and written into deliveries and pages. No other links are known here.

use std::fmt;

/// One link of a `Link` field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it leads, as it stands there: perhaps relative.
    pub target: String,
    /// Its relations, in lower case.
    pub rels: Vec<String>,
}

impl Link {
    /// A link with one relation.
    #[must_use]
    pub fn new(target: impl Into<String>, rel: &str) -> Link {
        Link { target: target.into(), rels: vec![rel.to_owned()] }
    }

    /// Whether it has this relation.
    #[must_use]
    pub fn is(&self, rel: &str) -> bool {
        self.rels.iter().any(|known| known == rel)
    }
}

/// As in the field: `<http://hub/>; rel="hub"`. What no URL has in it as it is (RFC 3986 section 2) is percent-encoded: a target cannot
/// end its own brackets.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<")?;
        for byte in self.target.bytes() {
            if byte.is_ascii_graphic() && !b"<>\"\\^`{|}".contains(&byte) {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        write!(f, ">; rel=\"{}\"", self.rels.join(" "))
    }
}

/// The links of one `Link` field. What is malformed is passed over, up to the next comma outside of quotes and brackets.
///
/// ```
/// let links = ropewalk_hub::parse_links("<http://hub/>; rel=hub, </self,x>; title=\"a, b\"; rel=\"self first\"");
/// assert_eq!(links.len(), 2);
/// assert!(links[0].is("hub") && links[1].is("self"));
/// assert_eq!(links[1].target, "/self,x");
/// ```
#[must_use]
pub fn parse_links(field: &str) -> Vec<Link> {
    pieces(field, ',').into_iter().filter_map(parse).collect()
}

fn parse(text: &str) -> Option<Link> {
    let (target, parameters) = text.trim().strip_prefix('<')?.split_once('>')?;
    let mut rels = None;
    for parameter in pieces(parameters, ';') {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        // RFC 8288 section 3.3: only the first rel counts.
        if name.trim().eq_ignore_ascii_case("rel") && rels.is_none() {
            let value = value.trim().trim_matches('"').to_ascii_lowercase();
            rels = Some(value.split_ascii_whitespace().map(str::to_owned).collect());
        }
    }
    Some(Link { target: target.trim().to_owned(), rels: rels.unwrap_or_default() })
}

/// Splits at a sign that stands neither in quotes nor between `<` and `>`.
fn pieces(text: &str, at: char) -> Vec<&str> {
    let (mut quoted, mut within, mut escaped, mut from) = (false, false, false, 0);
    let mut found = Vec::new();
    for (index, sign) in text.char_indices() {
        match sign {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if !within => quoted = !quoted,
            '<' if !quoted => within = true,
            '>' if !quoted => within = false,
            _ if sign == at && !quoted && !within => {
                found.push(&text[from..index]);
                from = index + sign.len_utf8();
            }
            _ => {}
        }
    }
    found.push(&text[from..]);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_stays_within_its_brackets() {
        let link = Link::new("http://a/y>;rel=\"self\",<http://evil/>;rel=\"hub\",<z/\u{e9}?a=%20&b", "self");
        let field = link.to_string();
        assert_eq!(
            field,
            "<http://a/y%3E;rel=%22self%22,%3Chttp://evil/%3E;rel=%22hub%22,%3Cz/%C3%A9?a=%20&b>; rel=\"self\""
        );
        assert_eq!(parse_links(&field).len(), 1);
    }

    #[test]
    fn links_as_servers_write_them() {
        let read = |text: &str| -> Vec<(String, String)> {
            parse_links(text).into_iter().map(|link| (link.target, link.rels.join(" "))).collect()
        };
        for (text, expected) in [
            ("<a>; rel=hub", vec![("a", "hub")]),
            ("<a>;rel=\"HUB\" ;x=y", vec![("a", "hub")]),
            ("<a>; rel=\"hub self\"", vec![("a", "hub self")]),
            ("<a>; rel=hub; rel=self", vec![("a", "hub")]),
            ("<a;b,c>; rel=hub,<d>; rel=self", vec![("a;b,c", "hub"), ("d", "self")]),
            ("<a>; title=\"x\\\",<y>\"; rel=hub", vec![("a", "hub")]),
            ("nonsense, <a>; rel=hub", vec![("a", "hub")]),
            ("<a>", vec![("a", "")]),
            ("<a", vec![]),
            ("", vec![]),
        ] {
            let expected: Vec<_> =
                expected.into_iter().map(|(target, rel)| (target.to_owned(), rel.to_owned())).collect();
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let link = Link::new("http://hub/?a=b,c", "hub");
        assert_eq!(parse_links(&link.to_string()), [link]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(text in "(<|>|;|,|rel|=|\"|hub|é| |\\\\){0,24}") {
            let _ = parse_links(&text);
        }
    }
}
