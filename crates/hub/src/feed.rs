//! Feeds (Atom, RSS 1 and 2) as bytes: which entries there are, and the feed without some of them. What stays is not touched: a
//! feed's own elements, its entries, and the spaces between are byte for byte the publisher's (PubSubHubbub 0.3 section 7.3).

use std::ops::Range;

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use ring::digest::{SHA256, digest};

/// Entries that are looked at; a feed with more is not cut.
const ENTRIES_MAX: usize = 10_000;
/// `rss/channel/item` is where entries lie deepest.
const DEPTH_MAX: usize = 3;

/// An entry of a feed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// `atom:id`, `guid`, the link, or `rdf:about`: as it is written.
    pub(crate) id: String,
    /// A part of the hash of its bytes.
    pub(crate) hash: u64,
    range: Range<usize>,
}

/// The entries of a feed, in its order; `None` if it is no feed in UTF-8, or one whose entries cannot be told apart.
pub(crate) fn entries(body: &[u8]) -> Option<Vec<Found>> {
    let text = std::str::from_utf8(body).ok()?;
    let mut reader = Reader::from_str(text);
    let mut scan = Scan::default();
    let mut found: Vec<Found> = Vec::new();
    loop {
        let begin = position(&reader);
        match reader.read_event().ok()? {
            Event::Start(tag) => scan.open(&tag, begin, position(&reader)),
            Event::Empty(tag) => {
                scan.open(&tag, begin, position(&reader));
                found.extend(scan.close(text, position(&reader), position(&reader))?);
            }
            Event::End(_) => found.extend(scan.close(text, begin, position(&reader))?),
            Event::Eof => break,
            _ => {}
        }
        if found.len() > ENTRIES_MAX {
            return None;
        }
    }
    (scan.depth == 0 && scan.is_feed).then_some(found)
}

/// The feed without the entries that are known.
pub(crate) fn without(body: &[u8], known: impl Fn(&str) -> bool) -> Option<Vec<u8>> {
    let mut rest = Vec::with_capacity(body.len());
    let mut from = 0;
    for entry in entries(body)?.iter().filter(|entry| known(&entry.id)) {
        rest.extend_from_slice(body.get(from..entry.range.start)?);
        from = entry.range.end;
    }
    rest.extend_from_slice(body.get(from..)?);
    Some(rest)
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

#[derive(Default)]
struct Scan {
    depth: usize,
    is_feed: bool,
    /// The entry that is open: its depth, where it begins, and what it is known by so far.
    entry: Option<(usize, usize, Option<String>)>,
    /// A child of it that may name it: how well, and where its text begins.
    naming: Option<(u8, usize)>,
    named: u8,
}

impl Scan {
    fn open(&mut self, tag: &BytesStart<'_>, begin: usize, end: usize) {
        self.depth += 1;
        let name = tag.local_name();
        match (&self.entry, name.as_ref()) {
            (None, b"feed" | b"rss" | b"RDF") if self.depth == 1 => self.is_feed = true,
            (None, b"entry" | b"item") if self.depth <= DEPTH_MAX => {
                let about =
                    tag.attributes().flatten().find(|attribute| attribute.key.as_ref() == b"rdf:about");
                let about = about.and_then(|about| String::from_utf8(about.value.into_owned()).ok());
                self.named = u8::from(about.is_some());
                self.entry = Some((self.depth, begin, about));
            }
            (Some((depth, ..)), name) if self.depth == depth + 1 => {
                let rank = match name {
                    b"id" | b"guid" => 3,
                    b"link" => 2,
                    _ => 0,
                };
                self.naming = (rank > self.named).then_some((rank, end));
            }
            _ => {}
        }
    }

    /// An element ends; `Some(None)` goes on, `None` gives up.
    fn close(&mut self, text: &str, begin: usize, end: usize) -> Option<Option<Found>> {
        let depth = self.depth;
        self.depth = depth.checked_sub(1)?;
        let Some((at, from, id)) = &mut self.entry else { return Some(None) };
        if depth == *at + 1
            && let Some((rank, start)) = self.naming.take()
        {
            let value = text.get(start..begin).unwrap_or_default().trim();
            if !value.is_empty() {
                *id = Some(value.to_owned());
                self.named = rank;
            }
        }
        if depth != *at {
            return Some(None);
        }
        let range = *from..end;
        // An entry without a name: nobody can say whether it is new.
        let id = id.take()?;
        self.entry = None;
        let hash = digest(&SHA256, text.get(range.clone())?.as_bytes());
        let hash = hash.as_ref().iter().take(8).fold(0, |hash, byte| (hash << 8) | u64::from(*byte));
        Some(Some(Found { id, hash, range }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATOM: &str = "<?xml version=\"1.0\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\"><title>a &amp; b</title>\
        <id>feed</id>\n<entry><id>one&amp;1</id><title>1</title><source><id>other</id></source></entry>\n\
        <entry><title>2</title><link href=\"x\"/><id>two</id></entry>\n<!-- <entry> --></feed>\n";

    fn ids(text: &str) -> Option<Vec<String>> {
        Some(entries(text.as_bytes())?.into_iter().map(|entry| entry.id).collect())
    }

    #[test]
    fn entries_of_every_kind_of_feed() {
        assert_eq!(ids(ATOM).unwrap(), ["one&amp;1", "two"]);
        let rss = "<rss><channel><title>t</title><item><link>l</link><guid>g1</guid></item>\
                   <item><link>l2</link></item></channel></rss>";
        assert_eq!(ids(rss).unwrap(), ["g1", "l2"]);
        let rdf = "<rdf:RDF><channel/><item rdf:about=\"a1\"><title/></item></rdf:RDF>";
        assert_eq!(ids(rdf).unwrap(), ["a1"]);
        assert_eq!(ids("<feed/>").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_feed_is_not_cut() {
        for text in [
            "",
            "hello",
            "<html><item><id>x</id></item></html>",
            "<feed><entry></feed>",
            "<feed><entry/></feed>",
            "<feed>",
        ] {
            assert_eq!(ids(text), None, "{text}");
        }
        assert_eq!(entries(b"<feed>\xff</feed>"), None);
    }

    #[test]
    fn h25_a_cut_feed_is_byte_for_byte_the_rest() {
        let cut = without(ATOM.as_bytes(), |id| id == "two").unwrap();
        let expected = ATOM.replace("<entry><title>2</title><link href=\"x\"/><id>two</id></entry>", "");
        assert_eq!(String::from_utf8(cut).unwrap(), expected);
        assert_eq!(without(ATOM.as_bytes(), |_| false).unwrap(), ATOM.as_bytes());
        let none = without(ATOM.as_bytes(), |_| true).unwrap();
        assert_eq!(ids(std::str::from_utf8(&none).unwrap()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_changed_entry_has_another_hash() {
        let before = entries(ATOM.as_bytes()).unwrap();
        let after = entries(ATOM.replace("<title>2</title>", "<title>3</title>").as_bytes()).unwrap();
        assert_eq!(before[0].hash, after[0].hash);
        assert_ne!(before[1].hash, after[1].hash);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_break_it(text in "(<feed>|<rss>|<channel>|<entry>|<item>|<id>|</id>|</entry>|</item>|</feed>|a|&|é|<!--|<b/>|<|>|]]>){0,24}") {
            if let Some(found) = entries(text.as_bytes()) {
                let all = without(text.as_bytes(), |_| false);
                proptest::prop_assert_eq!(all.as_deref(), Some(text.as_bytes()));
                let none = without(text.as_bytes(), |_| true).unwrap();
                let cut: usize = found.iter().map(|entry| entry.range.len()).sum();
                proptest::prop_assert_eq!(none.len() + cut, text.len());
            }
        }
    }
}
