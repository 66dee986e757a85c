//! Discovery (WebSub section 4): which hubs a page names, and how it calls itself. `Link` fields first; what stands in the page itself,
//! HTML or a feed, only where they name no hub (S1).

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use ropewalk_reactor::Outcome;
use ropewalk_web::client::{Response, Url};

use crate::link::{Link, parse_links};

/// Bytes of a page that are looked at: the head of one, or the beginning of a feed.
const PAGE_BYTES_MAX: usize = 512 * 1024;

/// What a page says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// Its hubs, absolute, in its order.
    pub hubs: Vec<String>,
    /// Its own URL: the topic to subscribe to (S3).
    pub topic: Option<String>,
}

/// What this answer says. Its body is read only where its head names no hub, and only as far as that takes.
pub(crate) async fn read(mut response: Response) -> Outcome<Discovery> {
    let fields = response.headers().filter(|(name, _)| name.eq_ignore_ascii_case("Link"));
    let fields = fields.filter_map(|(_, value)| std::str::from_utf8(value).ok());
    let links: Vec<Link> = fields.flat_map(parse_links).collect();
    let url = response.url().clone();
    let found = discover(&url, &links);
    if !found.hubs.is_empty() {
        return Ok(found);
    }
    let mut body = Vec::new();
    while let Some(piece) = response.piece().await? {
        body.extend_from_slice(&piece);
        if body.len() >= PAGE_BYTES_MAX {
            break;
        }
    }
    let within = discover(&url, &embedded(&body));
    // A head that says only what the page is called still does.
    Ok(Discovery { topic: within.topic.or(found.topic), hubs: within.hubs })
}

/// The hubs and the topic among these links of a page.
///
/// ```
/// use ropewalk_hub::{discover, parse_links};
/// let found = discover(&"http://a/b".parse()?, &parse_links("</hub>; rel=hub, <c>; rel=self"));
/// assert_eq!(found.hubs, ["http://a/hub"]);
/// assert_eq!(found.topic.as_deref(), Some("http://a/c"));
/// # Ok::<(), ropewalk_web::client::UrlError>(())
/// ```
#[must_use]
pub fn discover(page: &Url, links: &[Link]) -> Discovery {
    let absolute = |link: &Link| -> Option<String> {
        // What is absolute already stays as it is written: hubs compare bytes.
        let is_absolute = link.target.contains("://");
        let joined = page.join(&link.target).ok()?;
        Some(if is_absolute { link.target.clone() } else { joined.to_string() })
    };
    let mut hubs: Vec<String> = Vec::new();
    for hub in links.iter().filter(|link| link.is("hub")).filter_map(absolute) {
        if !hubs.contains(&hub) {
            hubs.push(hub);
        }
    }
    let topic = links.iter().find(|link| link.is("self")).and_then(absolute);
    Discovery { hubs, topic }
}

/// The links in a page: those of a feed, or those in the head of an HTML page. By its bytes and not by its type, which is wrong as often
/// as not: a feed is well-formed and begins with a feed's element.
#[must_use]
pub fn embedded(body: &[u8]) -> Vec<Link> {
    let text = String::from_utf8_lossy(body);
    feed_links(&text).unwrap_or_else(|| html_links(&text))
}

/// `None` if it is no feed. One that ends early, or is malformed further down, has said what it has said.
fn feed_links(text: &str) -> Option<Vec<Link>> {
    let mut reader = Reader::from_str(text);
    let (mut path, mut links): (Vec<Vec<u8>>, Vec<Link>) = (Vec::new(), Vec::new());
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Start(tag) => {
                links.extend(link(&tag, &path));
                path.push(tag.local_name().as_ref().to_ascii_lowercase());
            }
            Event::Empty(tag) => links.extend(link(&tag, &path)),
            Event::End(_) => drop(path.pop()),
            Event::Eof => break,
            _ => {}
        }
        if path.first().is_some_and(|root| !is_root(root)) {
            return None;
        }
    }
    // Whether anything was open at all: text without an element is no feed.
    (!links.is_empty() || path.first().is_some_and(|root| is_root(root))).then_some(links)
}

fn is_root(name: &[u8]) -> bool {
    matches!(name, b"feed" | b"rss" | b"rdf")
}

/// A link of the feed itself, and not one of an entry's.
fn link(tag: &BytesStart<'_>, path: &[Vec<u8>]) -> Option<Link> {
    let of_feed = match path {
        [root] => root == b"feed",
        [_, channel] => channel == b"channel",
        _ => false,
    };
    if !of_feed || tag.local_name().as_ref() != b"link" {
        return None;
    }
    let value = |name: &[u8]| -> Option<String> {
        let attribute = tag.attributes().flatten().find(|attribute| attribute.key.as_ref() == name)?;
        Some(unescape(&String::from_utf8_lossy(&attribute.value)))
    };
    let rels = value(b"rel")?.to_ascii_lowercase();
    Some(Link { target: value(b"href")?, rels: rels.split_ascii_whitespace().map(str::to_owned).collect() })
}

/// The `link` elements of a page, up to its body (WebSub section 8.1: what users write there is not the publisher's word).
fn html_links(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let name: String =
            rest.chars().take_while(|sign| sign.is_ascii_alphanumeric() || *sign == '/').collect();
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "body" | "/head" => break,
            "script" | "style" | "template" | "noscript" | "title" | "textarea" => {
                rest = behind(rest, &format!("</{name}"));
            }
            "link" | "link/" => {
                let (link, after) = html_link(&rest[4..]);
                links.extend(link);
                rest = after;
            }
            _ => {}
        }
    }
    links
}

fn behind<'a>(text: &'a str, end: &str) -> &'a str {
    // Of the same length: ASCII letters only change their case.
    text.to_ascii_lowercase().find(end).map_or("", |at| &text[at + end.len()..])
}

/// The attributes of one element, up to its `>`.
fn html_link(text: &str) -> (Option<Link>, &str) {
    let (mut href, mut rel) = (None, None);
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|sign: char| sign.is_ascii_whitespace() || sign == '/');
        if rest.is_empty() || rest.starts_with('>') {
            break;
        }
        let end = rest
            .find(|sign: char| sign.is_ascii_whitespace() || matches!(sign, '=' | '>' | '/'))
            .unwrap_or(rest.len());
        // A name has at least one character, whatever that is.
        let end = end.max(rest.chars().next().map_or(0, char::len_utf8));
        let name = rest[..end].to_ascii_lowercase();
        rest = rest[end..].trim_start();
        let Some(after) = rest.strip_prefix('=') else { continue };
        let after = after.trim_start();
        let (value, after) = match after.chars().next() {
            Some(quote @ ('"' | '\'')) => after[1..].split_once(quote).unwrap_or((&after[1..], "")),
            _ => {
                let end = after.find(|sign: char| sign.is_ascii_whitespace() || sign == '>');
                after.split_at(end.unwrap_or(after.len()))
            }
        };
        rest = after;
        match name.as_str() {
            "href" if href.is_none() => href = Some(unescape(value)),
            "rel" if rel.is_none() => rel = Some(unescape(value).to_ascii_lowercase()),
            _ => {}
        }
    }
    let rels = |rel: String| rel.split_ascii_whitespace().map(str::to_owned).collect();
    let link = href.zip(rel).map(|(href, rel)| Link { target: href.trim().to_owned(), rels: rels(rel) });
    (link, rest)
}

/// The references that stand in URLs.
fn unescape(text: &str) -> String {
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&apos;", "'")];
    let numbered = [("&#38;", "&amp;"), ("&#x26;", "&amp;"), ("&#x2F;", "/"), ("&#47;", "/")];
    let text = named.iter().chain(&numbered).fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    // The last: what it makes is not a reference again.
    text.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(body: &str) -> Discovery {
        discover(&"http://a/x/y".parse().unwrap(), &embedded(body.as_bytes()))
    }

    fn expect(hubs: &[&str], topic: Option<&str>) -> Discovery {
        Discovery {
            hubs: hubs.iter().map(|hub| (*hub).to_owned()).collect(),
            topic: topic.map(str::to_owned),
        }
    }

    #[test]
    fn s01_links_of_an_html_head() {
        let page = "<!DOCTYPE html><HTML><head><title><link rel=hub href=http://evil/></title><!-- <link rel=hub \
                    href=http://old/> --><script>'<link rel=\"hub\" href=\"http://script/\">'</script>\
                    <LINK Rel='hub' HREF='/hub?a=1&amp;b=2'><link href=http://b/ rel=\"x hub\" />\
                    <link rel=self href=\"z\"></head><body><link rel=hub href=http://comment/></body></html>";
        assert_eq!(found(page), expect(&["http://a/hub?a=1&b=2", "http://b/"], Some("http://a/x/z")));
    }

    #[test]
    fn s01_links_of_feeds_and_not_of_their_entries() {
        let atom = "<?xml version=\"1.0\"?><feed xmlns=\"http://www.w3.org/2005/Atom\"><link rel=\"hub\" \
                    href=\"http://h/?a=1&amp;b=2\"/><link rel=\"self\" href=\"http://s/\"></link>\
                    <entry><link rel=\"hub\" href=\"http://evil/\"/></entry></feed>";
        assert_eq!(found(atom), expect(&["http://h/?a=1&b=2"], Some("http://s/")));
        let rss = "<rss xmlns:atom=\"http://www.w3.org/2005/Atom\"><channel><link>http://page/</link>\
                   <atom:link rel=\"hub\" href=\"http://h/\"/><atom:link rel=\"self\" href=\"http://s/\"/>\
                   <item><atom:link rel=\"hub\" href=\"http://evil/\"/></item></channel></rss>";
        assert_eq!(found(rss), expect(&["http://h/"], Some("http://s/")));
    }

    #[test]
    fn a_page_that_breaks_off_has_said_what_it_has_said() {
        assert_eq!(
            found("<feed><link rel=\"hub\" href=\"http://h/\"/><entry><"),
            expect(&["http://h/"], None)
        );
        for page in
            ["", "<", "<link", "<link rel", "<link rel=", "<link rel='", "<link =>", "<link é=é>", "<!--"]
        {
            assert_eq!(found(page), expect(&[], None), "{page}");
        }
        assert_eq!(found("<head><link rel=hub href=/h"), expect(&["http://a/h"], None));
    }

    #[test]
    fn every_prefix_of_a_page_can_be_read() {
        let page = "<html><head><!-- é --><link rel='hub' href=\"/ü&amp;\"><style>a</style><link rel=self href=x></head>";
        for end in (0..page.len()).filter(|end| page.is_char_boundary(*end)) {
            let _ = found(&page[..end]);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_break_it(text in "(<link|<feed|<rss|<channel|<head|<body|<!--|-->|<script|</script|rel=|href=|hub|'|\"|>|/>| |é|&amp;|<|\u{0}){0,24}") {
            let _ = embedded(text.as_bytes());
        }

        #[test]
        fn no_page_breaks_it(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = embedded(&bytes);
        }
    }
}
