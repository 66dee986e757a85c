//! The state tables of the decoders, as they answer from outside: at each place of a message, what each byte does.
//!
//! The tables are checked in under `tests/tables`, so that a change of the grammar shows in review as a changed line.
//! Run with `BLESS=1` to write them anew.

mod common;

use std::fmt::Write as _;
use std::path::Path;

use common::{Read, decode_pieces, read_pieces};
use ropewalk_wire::http1::{BodyLimits, Framing, Head, HeadLimits};

const HEAD_PLACES: &[(&str, &str)] = &[
    ("before", ""),
    ("before LF", "\r"),
    ("method", "GET"),
    ("target start", "GET "),
    ("target start of CONNECT", "CONNECT "),
    ("path", "GET /a"),
    ("query", "GET /a?b"),
    ("version start", "GET /a "),
    ("version major", "GET /a HTTP/"),
    ("version dot", "GET /a HTTP/1"),
    ("version minor", "GET /a HTTP/1."),
    ("version end", "GET /a HTTP/1.1"),
    ("request line LF", "GET /a HTTP/1.1\r"),
    ("line start", "GET /a HTTP/1.0\r\n"),
    ("field name", "GET /a HTTP/1.0\r\nA"),
    ("value start", "GET /a HTTP/1.0\r\nA:"),
    ("value", "GET /a HTTP/1.0\r\nA: b"),
    ("value LF", "GET /a HTTP/1.0\r\nA: b\r"),
    ("line start after a field", "GET /a HTTP/1.0\r\nA: b\r\n"),
    ("end LF", "GET /a HTTP/1.0\r\nA: b\r\n\r"),
];

const BODY_PLACES: &[(&str, &str)] = &[
    ("chunk-size start", ""),
    ("chunk-size", "5"),
    ("chunk-size full", "0000000000000005"),
    ("chunk-ext", "5;"),
    ("chunk-size LF", "5\r"),
    ("chunk-data", "1\r\n"),
    ("chunk-data CR", "1\r\nx"),
    ("chunk-data LF", "1\r\nx\r"),
    ("next chunk-size start", "1\r\nx\r\n"),
    ("last-chunk", "0"),
    ("trailer-section start", "0\r\n"),
    ("trailer name", "0\r\nA"),
    ("trailer value", "0\r\nA:"),
    ("trailer LF", "0\r\nA:\r"),
    ("trailer line start", "0\r\nA:\r\n"),
    ("end LF", "0\r\n\r"),
];

/// One line per run of bytes with the same outcome.
fn table(places: &[(&str, &str)], outcome: impl Fn(&[u8]) -> String) -> String {
    let mut table = String::new();
    for (place, prefix) in places {
        writeln!(table, "{place}: {prefix:?}").expect("a string takes all");
        let outcomes: Vec<String> =
            (0..=255u8).map(|byte| outcome(&[prefix.as_bytes(), &[byte]].concat())).collect();
        let mut first = 0;
        for run in outcomes.chunk_by(|one, next| one == next) {
            let last = first + run.len() - 1;
            let bytes = |byte: usize| match byte {
                0x20 => "SP".to_owned(),
                _ => (byte as u8).escape_ascii().to_string(),
            };
            let range =
                if first == last { bytes(first) } else { format!("{}..={}", bytes(first), bytes(last)) };
            writeln!(table, "    {range:<16} {}", run[0]).expect("a string takes all");
            first = last + 1;
        }
    }
    table
}

fn check(name: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tables").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, table).expect("the table can be written");
    }
    let kept = std::fs::read_to_string(&path).expect("the table is checked in");
    for (number, (now, before)) in table.lines().zip(kept.lines()).enumerate() {
        assert_eq!(now, before, "{name}:{}: run with BLESS=1 if this is meant", number + 1);
    }
    assert_eq!(table.len(), kept.len(), "{name}: run with BLESS=1 if this is meant");
}

#[test]
fn head() {
    let outcome = |bytes: &[u8]| match read_pieces(&mut Head::new(), [bytes], &HeadLimits::default()) {
        Read::Complete { .. } => "Complete".to_owned(),
        Read::Incomplete => "goes on".to_owned(),
        Read::Refused(refusal) => format!("{refusal:?} {}", refusal.status()),
    };
    check("head.txt", &table(HEAD_PLACES, outcome));
}

#[test]
fn chunked() {
    let outcome = |bytes: &[u8]| {
        let body = decode_pieces(Framing::Chunked, [bytes], &BodyLimits::default());
        match body.end {
            Ok(Some(_)) => "End".to_owned(),
            Ok(None) if bytes.ends_with(&body.data) && body.data.len() == 1 => "goes on, data".to_owned(),
            Ok(None) => "goes on".to_owned(),
            Err(refusal) => format!("{refusal:?} {}", refusal.status()),
        }
    };
    check("chunked.txt", &table(BODY_PLACES, outcome));
}
