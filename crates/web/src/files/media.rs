//! Content types, by the ending of a file's name. What is inside of a file is never looked at, and the client is told not to
//! either (`nosniff`).

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Types whose text is UTF-8 unless it says otherwise, as they are sent; the rest of `text/` is put together when needed.
const TEXTS: [(&str, &str); 9] = [
    ("text/html", "text/html; charset=utf-8"),
    ("text/css", "text/css; charset=utf-8"),
    ("text/javascript", "text/javascript; charset=utf-8"),
    ("text/plain", "text/plain; charset=utf-8"),
    ("application/javascript", "application/javascript; charset=utf-8"),
    ("application/json", "application/json; charset=utf-8"),
    ("text/xml", "text/xml; charset=utf-8"),
    ("text/markdown", "text/markdown; charset=utf-8"),
    ("text/csv", "text/csv; charset=utf-8"),
];

const UNKNOWN: &str = "application/octet-stream";

/// The types of a folder's files: what is known of endings, and what whoever serves it says of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Types {
    /// By endings in small letters, without their first dot.
    own: BTreeMap<Vec<u8>, Cow<'static, str>>,
    /// What has no ending, or an unknown one.
    other: Option<Cow<'static, str>>,
}

impl Types {
    /// Files with this ending are of this type.
    pub(super) fn set(&mut self, ending: &str, media: String) {
        let ending = ending.strip_prefix('.').unwrap_or(ending);
        self.own.insert(ending.to_ascii_lowercase().into_bytes(), media.into());
    }

    /// All the others are of this one.
    pub(super) fn set_other(&mut self, media: String) {
        self.other = Some(media.into());
    }

    /// The type of a file with this name.
    pub(super) fn of(&self, name: &[u8]) -> Cow<'static, str> {
        if let Some(own) = self.own(name) {
            return own.clone();
        }
        let known = content_type(name);
        match &self.other {
            Some(other) if known == UNKNOWN => other.clone(),
            _ => known,
        }
    }

    /// What was said of the longest ending: `.tar.gz` comes before `.gz`.
    fn own(&self, name: &[u8]) -> Option<&Cow<'static, str>> {
        if self.own.is_empty() {
            return None;
        }
        let name = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name).to_ascii_lowercase();
        let dots = name.iter().enumerate().filter(|(_, byte)| **byte == b'.');
        dots.into_iter().find_map(|(dot, _)| self.own.get(&name[dot + 1..]))
    }
}

/// The type of a file with this name, as everybody knows it by its ending; what nobody knows is `application/octet-stream`. What
/// [`Files`](crate::Files) says of it, unless it was told otherwise.
///
/// ```
/// assert_eq!(ropewalk_web::content_type(b"news/feed.atom"), "application/atom+xml");
/// ```
#[must_use]
pub fn content_type(name: &[u8]) -> Cow<'static, str> {
    let name = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
    let ending = name.iter().rposition(|&byte| byte == b'.').map_or(&b""[..], |dot| &name[dot + 1..]);
    let guess = std::str::from_utf8(ending).ok().and_then(|ending| mime_guess::from_ext(ending).first_raw());
    let Some(plain) = guess else { return Cow::Borrowed(UNKNOWN) };
    match TEXTS.iter().find(|(known, _)| *known == plain) {
        Some((_, with_charset)) => Cow::Borrowed(with_charset),
        None if plain.starts_with("text/") => Cow::Owned(format!("{plain}; charset=utf-8")),
        None => Cow::Borrowed(plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_by_ending() {
        for (name, expected) in [
            (&b"index.html"[..], "text/html; charset=utf-8"),
            (b"a.b/c.CSS", "text/css; charset=utf-8"),
            (b"x.js", "text/javascript; charset=utf-8"),
            (b"x.json", "application/json; charset=utf-8"),
            (b"x.txt", "text/plain; charset=utf-8"),
            (b"x.vcf", "text/x-vcard; charset=utf-8"),
            (b"x.png", "image/png"),
            (b"x.svg", "image/svg+xml"),
            (b"x.wasm", "application/wasm"),
            (b"x.tar.gz", "application/gzip"),
            (b"html", "application/octet-stream"),
            (b"a.html/b", "application/octet-stream"),
            (b"x.nobody-knows", "application/octet-stream"),
            (b"x.\xff", "application/octet-stream"),
            (b"x.", "application/octet-stream"),
            (b"", "application/octet-stream"),
        ] {
            assert_eq!(content_type(name), expected, "{}", String::from_utf8_lossy(name));
        }
    }

    #[test]
    fn what_is_said_of_endings_comes_first() {
        let mut types = Types::default();
        assert_eq!(types.of(b"a.js"), "text/javascript; charset=utf-8");
        types.set(".JS", "text/x-own".into());
        types.set("tar.gz", "application/x-tar+gzip".into());
        types.set_other("text/plain".into());
        for (name, expected) in [
            (&b"a.js"[..], "text/x-own"),
            (b"a.b.Js", "text/x-own"),
            (b"x/a.tar.gz", "application/x-tar+gzip"),
            (b"a.gz", "application/gzip"),
            (b"LICENSE", "text/plain"),
            (b"js", "text/plain"),
            (b"x.js/README", "text/plain"),
            (b"a.css", "text/css; charset=utf-8"),
        ] {
            assert_eq!(types.of(name), expected, "{}", String::from_utf8_lossy(name));
        }
    }
}
