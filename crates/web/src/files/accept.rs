//! What a client would rather have (RFC 9110 12.5): weights of lists such as `br;q=1, *;q=0`, and what they say here: which
//! coded copy of a file to look for, whether a list of files is wanted as JSON, and whether somebody is navigating to a page.

/// What a field of preferences says, in thousandths; 0 is "not acceptable" (RFC 9110 12.4.2).
type Weight = u16;

const FULL: Weight = 1000;

/// A coding that a copy of a file beside it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Zstandard,
    Gzip,
}

/// In the order in which we choose where the client has no preference: by what they make of text.
const CODINGS: [Coding; 3] = [Coding::Brotli, Coding::Zstandard, Coding::Gzip];

impl Coding {
    /// What stands in `Content-Encoding`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstandard => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    /// What such a copy's name ends with.
    pub(super) fn ending(self) -> &'static [u8] {
        match self {
            Coding::Brotli => b".br",
            Coding::Zstandard => b".zst",
            Coding::Gzip => b".gz",
        }
    }

    fn is(self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(self.name().as_bytes())
            // RFC 9110 8.4.1.3: a recipient SHOULD take it for the same.
            || self == Coding::Gzip && name.eq_ignore_ascii_case(b"x-gzip")
    }
}

/// The codings to look for, the most wanted first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Codings([Option<Coding>; 3]);

impl Codings {
    /// What `Accept-Encoding` allows, and would not rather have without a coding.
    ///
    /// A client that sends no such field gets the file itself, although RFC 9110 12.5.3 would allow anything. One that forbids
    /// the file itself (`identity;q=0`) still gets it where there is nothing better: 12.4.1 lets us disregard the wish instead
    /// of sending nothing.
    pub(super) fn read<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Codings {
        let mut weights: [Option<Weight>; 3] = [None; 3];
        let (mut identity, mut others) = (None, None);
        for (name, weight) in preferences(fields, "accept-encoding") {
            if let Some(at) = CODINGS.iter().position(|coding| coding.is(name)) {
                weights[at].get_or_insert(weight);
            } else if name.eq_ignore_ascii_case(b"identity") {
                identity.get_or_insert(weight);
            } else if name == b"*" {
                others.get_or_insert(weight);
            }
        }
        let least = identity.unwrap_or(0).max(1);
        let weight = |at: usize| weights[at].or(others).unwrap_or(0);
        let mut wanted: Vec<usize> = (0..CODINGS.len()).filter(|&at| weight(at) >= least).collect();
        wanted.sort_by_key(|&at| FULL.saturating_sub(weight(at)));
        let mut codings = Codings::default();
        for (place, at) in codings.0.iter_mut().zip(wanted) {
            *place = Some(CODINGS[at]);
        }
        codings
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Coding> {
        self.0.into_iter().flatten()
    }
}

/// Whether JSON is asked for by name, and HTML is not wanted as much.
pub(super) fn prefers_json<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> bool {
    let (mut json, mut html) = (0, 0);
    for (media, weight) in preferences(fields, "accept") {
        if media.eq_ignore_ascii_case(b"application/json") {
            json = json.max(weight);
        } else if media.eq_ignore_ascii_case(b"text/html") {
            html = html.max(weight);
        }
    }
    json > html
}

/// Whether somebody goes to a page, rather than a page fetching what it needs: as the browser says (`Sec-Fetch-Mode`), or else
/// by asking for HTML by name.
pub(super) fn navigates<'a>(mode: Option<&str>, fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> bool {
    match mode {
        Some(mode) => mode == "navigate",
        None => preferences(fields, "accept")
            .any(|(media, weight)| weight > 0 && media.eq_ignore_ascii_case(b"text/html")),
    }
}

/// The elements of all fields of this name, without their other parameters. One whose weight is malformed says nothing.
fn preferences<'a>(
    fields: impl Iterator<Item = (&'a str, &'a [u8])>,
    name: &str,
) -> impl Iterator<Item = (&'a [u8], Weight)> {
    fields
        .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
        .flat_map(|(_, value)| value.split(|&byte| byte == b','))
        .filter_map(|element| {
            let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let what = parts.next().filter(|what| !what.is_empty())?;
            let mut weights = parts.filter_map(|part| match part {
                [b'q' | b'Q', b'=', digits @ ..] => Some(digits),
                _ => None,
            });
            Some((what, weights.next().map_or(Some(FULL), weight)?))
        })
}

/// RFC 9110 12.4.2: from 0 to 1 with up to three digits behind the point.
fn weight(text: &[u8]) -> Option<Weight> {
    let (whole, behind) = match text {
        [whole, b'.', behind @ ..] => (whole, behind),
        [whole] => (whole, &[][..]),
        _ => return None,
    };
    let mut weight = match whole {
        b'0' => 0,
        b'1' => FULL,
        _ => return None,
    };
    if behind.len() > 3 {
        return None;
    }
    for (digit, unit) in behind.iter().zip([100, 10, 1]) {
        weight += digit.is_ascii_digit().then(|| Weight::from(digit - b'0') * unit)?;
    }
    (weight <= FULL).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<'a>(name: &'a str, lines: &'a [&'a str]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        lines.iter().map(move |line| (name, line.as_bytes()))
    }

    #[test]
    fn codings_by_weight() {
        for (lines, expected) in [
            (&[][..], ""),
            (&[""], ""),
            (&["gzip"], "gzip"),
            (&["gzip, deflate, br, zstd"], "br zstd gzip"),
            (&["GZIP;q=1.0, br;q=0.5"], "gzip br"),
            (&["x-gzip"], "gzip"),
            (&["br;q=0, gzip"], "gzip"),
            (&["*"], "br zstd gzip"),
            (&["*;q=0, gzip"], "gzip"),
            (&["*, br;q=0"], "zstd gzip"),
            (&["identity;q=0"], ""),
            (&["identity;q=0, gzip;q=0.001"], "gzip"),
            (&["identity, gzip;q=0.9"], ""),
            (&["identity;q=0.5, gzip;q=0.5, br;q=0.4"], "gzip"),
            (&["gzip;q=0.2", "br;q=0.3"], "br gzip"),
            (&["gzip;q=2, br;q=0.1234, zstd;q=x"], ""),
            (&["gzip;q=1.001"], ""),
            (&["gzip;q="], ""),
            (&[",,gzip ; Q=0.7 ,,"], "gzip"),
            (&["gzip;level=9"], "gzip"),
            (&["gzip;q=0, gzip"], ""),
        ] {
            let codings = Codings::read(fields("Accept-Encoding", lines));
            let names: Vec<_> = codings.iter().map(Coding::name).collect();
            assert_eq!(names.join(" "), expected, "{lines:?}");
        }
    }

    #[test]
    fn json_by_name_only() {
        for (line, expected) in [
            ("application/json", true),
            ("application/json, text/plain, */*", true),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
            ("text/html;q=0.5, application/json", true),
            ("text/html, application/json", false),
            ("application/json;q=0", false),
            ("*/*", false),
        ] {
            assert_eq!(prefers_json(fields("accept", &[line])), expected, "{line}");
        }
    }

    #[test]
    fn a_navigation_says_so() {
        let asks = |mode, accept| navigates(mode, fields("Accept", &[accept]));
        assert!(asks(Some("navigate"), "*/*"));
        assert!(!asks(Some("cors"), "text/html") && !asks(Some("no-cors"), "text/html"));
        assert!(asks(None, "text/html,*/*;q=0.8"));
        assert!(!asks(None, "*/*") && !asks(None, "text/html;q=0"));
        assert!(!navigates(None, fields("X", &["text/html"])));
    }
}
