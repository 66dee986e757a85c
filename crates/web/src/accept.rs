//! What a client would rather have: the weighted lists of `Accept` and `Accept-Encoding` (RFC 9110 section 12.4.2). It only reads;
//! what is chosen is the business of those who have the choice.

use ropewalk_wire::http1::Head;

/// More entries than this are not looked at.
const ENTRIES_MAX: usize = 64;

/// A list with weights, in thousandths.
pub(crate) struct Preference<'a> {
    entries: Vec<(&'a str, u16)>,
    /// The field was there.
    pub(crate) said: bool,
}

impl<'a> Preference<'a> {
    /// What the request says in this field.
    pub(crate) fn of(head: &'a Head, name: &'a str) -> Preference<'a> {
        let mut preference = Preference { entries: Vec::new(), said: false };
        for value in head.fields_named(name) {
            preference.said = true;
            let Ok(value) = std::str::from_utf8(value) else { continue };
            let room = ENTRIES_MAX - preference.entries.len();
            preference.entries.extend(value.split(',').filter_map(entry).take(room));
        }
        preference
    }

    /// The weight of exactly this name.
    pub(crate) fn weight(&self, name: &str) -> Option<u16> {
        self.entries.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, weight)| *weight)
    }
}

/// A name and its weight; none for what is no entry.
fn entry(text: &str) -> Option<(&str, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let mut weight = 1_000;
    for part in parts {
        if let Some(("q" | "Q", value)) = part.split_once('=') {
            weight = thousandths(value.trim())?;
        }
    }
    Some((name, weight))
}

/// `qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`
fn thousandths(text: &str) -> Option<u16> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    if rest.len() > 3 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let rest: u16 = format!("{rest:0<3}").parse().ok()?;
    match whole {
        "0" => Some(rest),
        "1" if rest == 0 => Some(1_000),
        _ => None,
    }
}

/// The weight of a media type: what is said of it by name, of its kind, or of all; the most specific counts.
pub(crate) fn media(preference: &Preference<'_>, media: &str) -> u16 {
    let kind = media.split('/').next().unwrap_or_default();
    let named = preference.weight(media).or_else(|| preference.weight(&format!("{kind}/*")));
    named.or_else(|| preference.weight("*/*")).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk_wire::http1::HeadLimits;

    fn weigh(field: &str, name: &str) -> Option<u16> {
        let mut head = Head::new();
        let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{field}\r\n");
        head.feed(text.as_bytes(), &HeadLimits::default()).unwrap();
        Preference::of(&head, "Accept").weight(name)
    }

    #[test]
    fn weights_are_read_as_the_grammar_has_them() {
        let field = "Accept: a;q=0.5, B ; Q=1.000,c;level=1;q=0,, d;q=2, e;q=0.1234, f;q=-1, g;q=x\r\nAccept: h;q=.5, i;q=1.\r\n";
        for (name, weight) in [("A", Some(500)), ("b", Some(1_000)), ("c", Some(0)), ("i", Some(1_000))] {
            assert_eq!(weigh(field, name), weight, "{name}");
        }
        for name in ["d", "e", "f", "g", "h", ""] {
            assert_eq!(weigh(field, name), None, "{name}");
        }
    }

    #[test]
    fn the_most_specific_counts_and_floods_are_cut() {
        let mut head = Head::new();
        let text = "GET / HTTP/1.1\r\nHost: x\r\nAccept: text/*;q=0.3, text/html, */*;q=0.1\r\n\r\n";
        head.feed(text.as_bytes(), &HeadLimits::default()).unwrap();
        let preference = Preference::of(&head, "Accept");
        let weigh = |name| media(&preference, name);
        assert_eq!((weigh("text/html"), weigh("text/plain"), weigh("application/json")), (1_000, 300, 100));
        assert_eq!(weigh_many(), None);
    }

    fn weigh_many() -> Option<u16> {
        weigh(&format!("Accept: {}last\r\n", "x, ".repeat(500)), "last")
    }
}
