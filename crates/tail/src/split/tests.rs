//! The splitter alone: whole, split at every byte, one byte at a time, and random.

use super::*;
use proptest::prelude::*;

/// A limit small enough that the tests reach it by hand.
const MAX: usize = 8;

type Owned = (String, bool);

fn split(pieces: &[&[u8]]) -> Vec<Owned> {
    let (mut splitter, mut lines) = (LineSplitter::with_line_bytes_max(MAX), Vec::new());
    let mut sink = |line: Line<'_>| lines.push((line.text.to_owned(), line.cut));
    for piece in pieces {
        splitter.push(piece, &mut sink);
        assert!(splitter.held_bytes() <= MAX + 1, "memory is bounded");
    }
    splitter.finish(&mut sink);
    lines
}

/// Whole, split at every byte, and one byte at a time: always the same lines.
fn check(input: &[u8], expected: &[&str]) {
    let whole = split(&[input]);
    let texts: Vec<_> =
        whole.iter().map(|(text, cut)| format!("{text}{}", if *cut { "…" } else { "" })).collect();
    assert_eq!(texts, expected, "{input:?}");
    for at in 0..=input.len() {
        assert_eq!(split(&[&input[..at], &input[at..]]), whole, "{input:?} split at {at}");
    }
    let single: Vec<_> = input.chunks(1).collect();
    assert_eq!(split(&single), whole, "{input:?} byte by byte");
}

#[test]
fn line_ends() {
    check(b"", &[]);
    check(b"\n", &[""]);
    check(b"\n\n", &["", ""]);
    check(b"a\nb\n", &["a", "b"]);
    check(b"a\r\nb\r\n", &["a", "b"]);
    check(b"a\r\r\n", &["a\r"]);
    check(b"a\rb\n", &["a\rb"]);
    check(b"\r\n", &[""]);
    check(b"half", &["half"]);
    check(b"half\r", &["half\r"]);
    check(b"a\0b\n\0\n", &["a\0b", "\0"]);
}

#[test]
fn long_lines_are_cut() {
    check(b"12345678\n", &["12345678"]);
    check(b"12345678\r\n", &["12345678"]);
    check(b"12345678", &["12345678"]);
    check(b"123456789\n", &["12345678…", "9"]);
    check(b"123456789\r\n", &["12345678…", "9"]);
    check(b"123456789", &["12345678…", "9"]);
    check(b"12345678\r", &["12345678…", "\r"]);
    check(b"12345678\rx\n", &["12345678…", "\rx"]);
    check(b"1234567890123456\n", &["12345678…", "90123456"]);
    check(b"12345678901234567890\nshort\n", &["12345678…", "90123456…", "7890", "short"]);
}

#[test]
fn a_cut_tears_no_character_apart() {
    check("1234567é\n".as_bytes(), &["1234567…", "é"]);
    check("123456é\n".as_bytes(), &["123456é"]);
    check("123456é8\n".as_bytes(), &["123456é…", "8"]);
    check("123456✓\n".as_bytes(), &["123456…", "✓"]);
    check("12345🎈\n".as_bytes(), &["12345…", "🎈"]);
    check("1234🎈\n".as_bytes(), &["1234🎈"]);
    check("✓✓✓✓\n".as_bytes(), &["✓✓…", "✓✓"]);
}

#[test]
fn what_is_not_utf8_is_replaced() {
    check(b"a\xffb\n", &["a\u{fffd}b"]);
    check(b"\xc3\n\xa9\n", &["\u{fffd}", "\u{fffd}"]);
    check(b"\xf0\x9f\x8e\n", &["\u{fffd}"]);
    check(
        b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\n",
        &["\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}…", "\u{fffd}"],
    );
    check(b"1234567\xc3X\n", &["1234567…", "\u{fffd}X"]);
    check(b"1234567\xc0\x80\n", &["1234567\u{fffd}…", "\u{fffd}"]);
}

#[test]
fn an_endless_line_at_the_real_limit() {
    let (mut splitter, mut lengths) = (LineSplitter::new(), Vec::new());
    for _ in 0..300 {
        splitter.push(&[b'x'; 1_000], &mut |line| lengths.push((line.text.len(), line.cut)));
    }
    assert_eq!(lengths, [(65_536, true); 4]);
    splitter.push(b"\n", &mut |line| lengths.push((line.text.len(), line.cut)));
    assert_eq!(lengths[4], (300_000 - 4 * 65_536, false));
    assert_eq!(splitter.held_bytes(), 0);
}

/// The lines by the plainest means there are, for input that is in one piece.
fn model(input: &[u8]) -> Vec<Owned> {
    let mut lines = Vec::new();
    let mut parts: Vec<_> = input.split(|byte| *byte == b'\n').collect();
    let half = parts.pop().filter(|half| !half.is_empty());
    let finished = parts.into_iter().map(|part| part.strip_suffix(b"\r").unwrap_or(part));
    for mut line in finished.chain(half) {
        while line.len() > MAX {
            // Some bytes of a character at the very end, which with more bytes could become one.
            let torn = (1..=3).find(|tail| {
                let end = &line[MAX - tail..MAX];
                std::str::from_utf8(end).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
            });
            let cut = MAX - torn.unwrap_or(0);
            lines.push((String::from_utf8_lossy(&line[..cut]).into_owned(), true));
            line = &line[cut..];
        }
        lines.push((String::from_utf8_lossy(line).into_owned(), false));
    }
    lines
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        Just(b'\n'),
        Just(b'\r'),
        Just(b'a'),
        Just(0u8),
        any::<u8>(),
        Just(0xc3),
        Just(0xa9),
        Just(0xf0),
        Just(0x9f),
        Just(0x8e),
        Just(0x88),
        Just(0xe2),
        Just(0x9c),
        Just(0x93),
    ];
    proptest::collection::vec(byte, 0..60)
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces(input in bytes(), sizes in proptest::collection::vec(1..20usize, 1..60)) {
        let (mut pieces, mut rest) = (Vec::new(), &input[..]);
        for size in sizes {
            let (piece, later) = rest.split_at(size.min(rest.len()));
            pieces.push(piece);
            rest = later;
        }
        pieces.push(rest);
        prop_assert_eq!(split(&pieces), model(&input));
    }

    #[test]
    fn nothing_is_lost_by_cutting(text in "[aé✓🎈\r\n]{0,60}") {
        let mut joined = String::new();
        for (line, cut) in split(&[text.as_bytes()]) {
            joined.push_str(&line);
            if !cut {
                joined.push('\n');
            }
        }
        let mut expected = text.replace("\r\n", "\n");
        if !text.is_empty() && !text.ends_with('\n') {
            expected.push('\n');
        }
        prop_assert_eq!(joined, expected);
    }
}
