//! Properties that hold for any bytes: cuts make no difference, `httparse` has no stricter opinion, chunks roundtrip.
//!
//! Not a fuzzer: the inputs are pieces of HTTP put together in bad ways, a few hundred at a time.

mod common;

use common::{Read, decode_pieces, read, read_pieces};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use ropewalk_wire::http1::*;

/// What heads and their abuses are made of.
const HEAD_PIECES: &[&[u8]] = &[
    b"GET",
    b"POST",
    b"OPTIONS",
    b"CONNECT",
    b"PRI",
    b" ",
    b"  ",
    b"\t",
    b"/",
    b"/a?b",
    b"*",
    b"http://h/",
    b"h:80",
    b"#",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"Host: h",
    b"Host:",
    b"host: a b",
    b":",
    b"A: b",
    b"A",
    b"Content-Length: 5",
    b"Content-Length: 5,5",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip",
    b"Connection: close, upgrade",
    b"Upgrade: x",
    b"Expect: 100-continue",
    b"\0",
    b"\x7f",
    b"\xff",
    b"x",
    b"5",
    b",",
    b";",
];

const BODY_PIECES: &[&[u8]] = &[
    b"0",
    b"1",
    b"2",
    b"a",
    b"F",
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b";",
    b"x=y",
    b" ",
    b"0\r\n\r\n",
    b"1\r\nx\r\n",
    b"A: b\r\n",
    b"Host: h\r\n",
    b":",
    b"\0",
    b"ffffffff",
    b"-",
    b"0x",
];

fn pieces(of: &'static [&'static [u8]], most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(select(of), 0..most).prop_map(|pieces| pieces.concat())
}

/// Heads that are good but for a byte that may have been changed, left out or put in.
fn nearly_good_head() -> impl Strategy<Value = Vec<u8>> {
    let line = (select(&["GET", "POST", "X-y"][..]), "/[a-z?=&%20]{0,8}", select(&["1.0", "1.1"][..]));
    let fields = prop::collection::vec(("[A-Za-z-]{1,12}", "[ -~\t\u{e9}]{0,24}"), 0..6);
    (line, fields, any::<Option<(Index, u8, u8)>>()).prop_map(
        |((method, target, version), fields, change)| {
            let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let mut head = format!("{method} {target} HTTP/{version}\r\nHost: h\r\n{lines}\r\n").into_bytes();
            if let Some((at, byte, how)) = change {
                let at = at.index(head.len());
                match how % 3 {
                    0 => head[at] = byte,
                    1 => head.insert(at, byte),
                    _ => drop(head.remove(at)),
                }
            }
            head
        },
    )
}

fn any_head() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => pieces(HEAD_PIECES, 16),
        4 => nearly_good_head(),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        2 => pieces(HEAD_PIECES, 10).prop_map(|rest| [b"GET / HTTP/1.1\r\nHost: h\r\n", &rest[..]].concat()),
    ]
}

fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// The request line in our words, and the fields.
type Seen = (String, Vec<(String, Vec<u8>)>);

/// The fields as `httparse` sees them, or that it refuses; `None` when it wants more.
fn second_opinion(bytes: &[u8]) -> Option<Result<Seen, httparse::Error>> {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => None,
        Err(error) => Some(Err(error)),
        Ok(httparse::Status::Complete(_)) => {
            let line = format!(
                "{} {} Http1{}",
                request.method.unwrap_or_default(),
                request.path.unwrap_or_default(),
                request.version.unwrap_or_default()
            );
            let own = |field: &httparse::Header<'_>| (field.name.to_owned(), field.value.to_vec());
            Some(Ok((line, request.headers.iter().map(own).collect())))
        }
    }
}

/// Ours must refuse all that `httparse` refuses. No exception was needed: it lets `"<>\^{|}` and '`' pass in targets too.
fn agrees(bytes: &[u8]) -> Result<(), TestCaseError> {
    match (read_pieces(&mut Head::new(), [bytes], &HeadLimits::default()), second_opinion(bytes)) {
        (Read::Complete { told, .. }, Some(Ok((line, fields)))) => {
            prop_assert_eq!(&told.line, &line);
            prop_assert_eq!(&told.fields, &fields);
        }
        (Read::Complete { .. }, other) => prop_assert!(false, "accepted here only: {:?}", other),
        (Read::Incomplete, Some(other)) => prop_assert!(false, "incomplete here only: {:?}", other),
        (Read::Incomplete, None) | (Read::Refused(_), _) => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cuts_make_no_difference_to_a_head(bytes in any_head(), cuts in any::<[Index; 4]>()) {
        let whole = read(&bytes);
        let cut = read_pieces(&mut Head::new(), cut(&bytes, &cuts), &HeadLimits::default());
        prop_assert_eq!(cut, whole);
    }

    #[test]
    fn cuts_make_no_difference_under_tight_limits(
        bytes in any_head(),
        (request_line_bytes_max, head_bytes_max, fields_max) in (0..30usize, 0..80usize, 0..4usize),
    ) {
        common::read_with(&bytes, &HeadLimits { request_line_bytes_max, head_bytes_max, fields_max });
    }

    #[test]
    fn cuts_make_no_difference_to_a_body(
        bytes in pieces(BODY_PIECES, 20),
        length in prop::option::of(0..30u64),
        (body_bytes_max, chunk_line_bytes_max) in (0..40u64, 0..8usize),
        (trailer_bytes_max, trailer_fields_max) in (0..20usize, 0..3usize),
    ) {
        let limits = BodyLimits { body_bytes_max, chunk_line_bytes_max, trailer_bytes_max, trailer_fields_max };
        let framing = length.map_or(Framing::Chunked, Framing::Length);
        if !bytes.is_empty() {
            common::decode_with(framing, &bytes, &limits);
            common::decode_with(framing, &bytes, &BodyLimits::default());
        }
    }

    #[test]
    fn nothing_is_accepted_that_httparse_refuses(bytes in any_head()) {
        agrees(&bytes)?;
    }

    #[test]
    fn chunks_roundtrip(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        trailers in prop::collection::vec(("[A-Z]{1,4}", "[!-~]{0,6}"), 0..3),
        rest in prop::collection::vec(any::<u8>(), 0..8),
        cuts in any::<[Index; 5]>(),
    ) {
        let mut out = Vec::new();
        chunks.iter().for_each(|chunk| encode_chunk(&mut out, chunk));
        let borrowed: Vec<_> = trailers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        prop_assume!(!trailers.iter().any(|(name, _)| name == "HOST"));
        encode_last_chunk(&mut out, &borrowed).expect("the trailers are fields");
        let length = out.len();
        out.extend_from_slice(&rest);
        let body = decode_pieces(Framing::Chunked, cut(&out, &cuts), &BodyLimits::default());
        let trailers: Vec<_> = trailers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
        prop_assert_eq!((body.data, body.end, body.trailers), (chunks.concat(), Ok(Some(length)), trailers));
    }

    #[test]
    fn what_is_encoded_is_one_field_of_one_head(name in ".{0,6}", value in prop::collection::vec(any::<u8>(), 0..20)) {
        let mut out = b"GET / HTTP/1.1\r\nHost: h\r\n".to_vec();
        let written = encode_field(&mut out, &name, &value).is_ok();
        encode_end(&mut out);
        prop_assume!(!["Host", "Expect"].iter().any(|known| name.eq_ignore_ascii_case(known)));
        match read_pieces(&mut Head::new(), [&out[..]], &HeadLimits::default()) {
            Read::Complete { consumed, told } => {
                prop_assert_eq!(consumed, out.len());
                prop_assert_eq!(told.fields.len(), 1 + usize::from(written));
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

#[test]
fn every_byte_at_every_place_has_the_same_outcome_in_httparse_or_is_refused() {
    let good = b"GET /a?b HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n";
    for at in 0..good.len() {
        for byte in 0..=255 {
            let mut bytes = good.to_vec();
            bytes[at] = byte;
            agrees(&bytes).unwrap_or_else(|error| panic!("{}: {error}", bytes.escape_ascii()));
        }
    }
}

proptest! {
    /// A head that remembers the one before gives what a new one gives, whatever came before and however it is cut.
    #[test]
    fn remembering_changes_nothing(
        picks in proptest::collection::vec((0usize..6, 0usize..60), 1..12),
        cut in 0usize..400,
    ) {
        const HEADS: [&str; 6] = [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: ab\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        ];
        let limits = HeadLimits::default();
        let mut used = Head::new();
        for (pick, noise) in picks {
            let mut text = HEADS[pick].as_bytes().to_vec();
            if noise < text.len() && noise % 3 == 0 {
                text[noise] ^= 1;
            }
            text.extend_from_slice(b"GET /next");
            let cut = cut.min(text.len());
            let mut fresh = Head::new();
            let feed = |head: &mut Head| match head.feed(&text[..cut], &limits) {
                Ok(Fed::NeedMore) => head.feed(&text[cut..], &limits),
                done => done,
            };
            prop_assert_eq!(feed(&mut used), feed(&mut fresh));
            prop_assert_eq!(used.raw(), fresh.raw());
            prop_assert_eq!((used.method(), used.path(), used.framing()), (fresh.method(), fresh.path(), fresh.framing()));
            prop_assert_eq!((used.host(), used.keep_alive()), (fresh.host(), fresh.keep_alive()));
            prop_assert!(used.fields().eq(fresh.fields()));
            used.clear();
            prop_assert!(used.is_empty() && used.raw().is_empty() && used.method().is_empty());
        }
    }
}
