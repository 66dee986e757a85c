//! From a request's path to the name of a file below the root, and from such a name to a `Location`. Pure text: whether the
//! file is there, and that nothing leaves the root, is the business of `root`, which the kernel does a second time.

use std::borrow::Cow;

use percent_encoding::{CONTROLS, percent_encode, utf8_percent_encode};

use crate::router::PATH;

/// The one name with a dot that is meant for strangers: RFC 8615.
const WELL_KNOWN: &[u8] = b".well-known";

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    /// Segments joined by single slashes: none empty, none `.` or `..`. Empty for the root itself.
    pub(super) name: Cow<'a, [u8]>,
    /// It was asked for with a slash behind it.
    pub(super) folder: bool,
}

/// Reads a path; `None` is for what never names a file.
///
/// A path without escapes and detours is borrowed, not copied.
pub(super) fn asked<'a>(path: &'a str, prefix: &[u8], hidden: bool) -> Option<Asked<'a>> {
    let asked = match decode(path.as_bytes())? {
        Cow::Borrowed(bytes) => normal(bytes.strip_prefix(prefix)?)?,
        Cow::Owned(bytes) => {
            let Asked { name, folder } = normal(bytes.strip_prefix(prefix)?)?;
            Asked { name: Cow::Owned(name.into_owned()), folder }
        }
    };
    (hidden || !is_hidden(&asked.name)).then_some(asked)
}

/// Decodes once (RFC 3986 2.4: MUST NOT more than once, or `%252e` becomes a dot).
fn decode(path: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !path.contains(&b'%') {
        return Some(Cow::Borrowed(path));
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.iter();
    while let Some(&byte) = rest.next() {
        decoded.push(match byte {
            b'%' => match hexadecimal(*rest.next()?)? << 4 | hexadecimal(*rest.next()?)? {
                // A slash that was hidden from whoever looked at the path before would change its segments; no file
                // has a NUL in its name.
                b'/' | 0 => return None,
                byte => byte,
            },
            byte => byte,
        });
    }
    Some(Cow::Owned(decoded))
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Removes what leads nowhere: empty segments and dots (RFC 3986 5.2.4, but one `..` too many is not forgiven).
fn normal(path: &[u8]) -> Option<Asked<'_>> {
    let Some(path) = path.strip_prefix(b"/") else {
        // The prefix alone, or something that only begins like it.
        return path.is_empty().then_some(Asked { name: Cow::Borrowed(path), folder: false });
    };
    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let folder = matches!(last, b"" | b"." | b"..");
    let name = path.strip_suffix(b"/").unwrap_or(path);
    let detour = |segment: &[u8]| matches!(segment, b"" | b"." | b"..");
    if name.is_empty() || !segments(name).any(detour) {
        return Some(Asked { name: Cow::Borrowed(name), folder });
    }
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in segments(name) {
        match segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()?),
            segment => kept.push(segment),
        }
    }
    Some(Asked { name: Cow::Owned(kept.join(&b'/')), folder })
}

fn is_hidden(name: &[u8]) -> bool {
    segments(name)
        .enumerate()
        .any(|(index, name)| name.first() == Some(&b'.') && (index > 0 || name != WELL_KNOWN))
}

fn segments(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.split(|&byte| byte == b'/')
}

/// A prefix as `asked` compares it: decoded, with a slash in front of every segment and none behind the last.
pub(super) fn prefix(text: &str) -> Vec<u8> {
    let mut prefix = Vec::new();
    for segment in segments(text.as_bytes()).filter(|segment| !segment.is_empty()) {
        prefix.push(b'/');
        prefix.extend_from_slice(segment);
    }
    prefix
}

/// The address of what has this name, which is a normal one.
pub(super) fn address(prefix: &[u8], name: &[u8]) -> String {
    let mut address = String::with_capacity(prefix.len() + name.len() + 2);
    address.extend(percent_encode(prefix, PATH));
    address.push('/');
    address.extend(percent_encode(name, PATH));
    address
}

/// A name that the program gives, as `asked` would have it; none if it does not name a file in the folder.
pub(super) fn given(name: &str) -> Option<Vec<u8>> {
    let path = format!("/{name}");
    let Asked { name, folder } = normal(path.as_bytes())?;
    (!folder && !name.contains(&0)).then(|| name.into_owned())
}

/// The address of a folder, with the slash behind it and the query as it came.
///
/// It is made of the decoded name, never of what was sent: it begins with exactly one slash and holds no backslash, so no
/// browser takes its first segment for a host.
pub(super) fn location(prefix: &[u8], name: &[u8], query: Option<&str>) -> String {
    let mut location = address(prefix, name);
    if !name.is_empty() {
        location.push('/');
    }
    if let Some(query) = query {
        location.push('?');
        location.extend(utf8_percent_encode(query, CONTROLS));
    }
    location
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<(String, bool)> {
        let asked = asked(path, b"", false)?;
        Some((String::from_utf8_lossy(&asked.name).into_owned(), asked.folder))
    }

    #[test]
    fn paths_that_name_something() {
        for (path, name, folder) in [
            ("/", "", true),
            ("//", "", true),
            ("/a", "a", false),
            ("/a/", "a", true),
            ("/a/b.txt", "a/b.txt", false),
            ("//etc/passwd", "etc/passwd", false),
            ("/a//b///", "a/b", true),
            ("/./a", "a", false),
            ("/a/.", "a", true),
            ("/a/..", "", true),
            ("/a/../b", "b", false),
            ("/a/b/../../c/", "c", true),
            ("/a/%2e%2E/b", "b", false),
            ("/a%20b", "a b", false),
            ("/%c3%bc", "ü", false),
            ("/a%5c..%5cb", "a\\..\\b", false),
            ("/%252e%252e/x", "%2e%2e/x", false),
            ("/a%3fb", "a?b", false),
            ("/.well-known/acme", ".well-known/acme", false),
        ] {
            assert_eq!(read(path), Some((name.to_owned(), folder)), "{path}");
        }
    }

    #[test]
    fn paths_that_never_do() {
        for path in [
            "*",
            "a",
            "/..",
            "/../",
            "/../x",
            "/a/../../x",
            "/%2e%2e/x",
            "/.%2e/x",
            "/a%2fb",
            "/..%2fx",
            "/%2F",
            "/a%00",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%+1",
            "/.env",
            "/.git/config",
            "/a/.b",
            "/%2eenv",
            "/a/.well-known/x",
            "/.well-known/.x",
            "/...",
        ] {
            assert_eq!(read(path), None, "{path}");
        }
    }

    #[test]
    fn plain_paths_are_borrowed() {
        let asked = asked("/static/a/b.css", b"/static", false).expect("a plain path");
        assert!(matches!(asked.name, Cow::Borrowed(b"a/b.css")));
    }

    #[test]
    fn bytes_that_are_not_text_stay_as_they_are() {
        let asked = asked("/%ff%fe", b"", false).expect("a file may have that name");
        assert_eq!(&*asked.name, b"\xff\xfe");
    }

    #[test]
    fn prefixes_end_with_a_segment() {
        assert_eq!(prefix("/static/"), b"/static");
        assert_eq!(prefix("a//b"), b"/a/b");
        assert_eq!(prefix("/"), b"");
        let read = |path| asked(path, b"/static", false).map(|asked| (asked.name.into_owned(), asked.folder));
        assert_eq!(read("/static"), Some((vec![], false)));
        assert_eq!(read("/static/"), Some((vec![], true)));
        assert_eq!(read("/static/x"), Some((b"x".to_vec(), false)));
        assert_eq!(read("/staticx"), None);
        assert_eq!(read("/static/../x"), None);
        assert_eq!(read("/x/../static/y"), None);
        assert_eq!(read("/%73tatic/x"), Some((b"x".to_vec(), false)));
    }

    #[test]
    fn names_that_a_program_gives() {
        for (text, name) in [
            ("style.css", Some(&b"style.css"[..])),
            ("/a//b", Some(b"a/b")),
            ("100%25", Some(b"100%25")),
            ("a/../b", Some(b"b")),
            ("../b", None),
            ("", None),
            ("a/", None),
            ("a\0", None),
        ] {
            assert_eq!(given(text).as_deref(), name, "{text}");
        }
        assert_eq!(address(b"/static", b"a b/%.css"), "/static/a%20b/%25.css");
    }

    #[test]
    fn locations_stay_on_this_host() {
        assert_eq!(location(b"", b"evil.org", None), "/evil.org/");
        assert_eq!(location(b"", b"\\evil.org", None), "/%5Cevil.org/");
        assert_eq!(location(b"/static", b"", Some("")), "/static/?");
        assert_eq!(
            location(b"", "a b/ü\r\n".as_bytes(), Some("x=1&y=ü")),
            "/a%20b/%C3%BC%0D%0A/?x=1&y=%C3%BC"
        );
    }
}
