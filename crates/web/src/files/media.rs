//! Content types, by the ending of a file's name. What is inside of a file is never looked at, and the client is told not to
//! either (`nosniff`).

use std::borrow::Cow;

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

/// The type of a file with this name.
pub(super) fn content_type(name: &[u8]) -> Cow<'static, str> {
    let name = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
    let ending = name.iter().rposition(|&byte| byte == b'.').map_or(&b""[..], |dot| &name[dot + 1..]);
    let guess = std::str::from_utf8(ending).ok().and_then(|ending| mime_guess::from_ext(ending).first_raw());
    let Some(plain) = guess else { return Cow::Borrowed("application/octet-stream") };
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
}
