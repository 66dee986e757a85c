//! Runs a codec over bytes cut in every way, and tells whether the outcome stays the same.
//!
//! Not a test itself; the test files of this crate call it.
#![allow(dead_code, reason = "each test file is a crate of its own and uses a part")]

use ropewalk_wire::http1::{BodyDecoder, BodyEvent, BodyLimits, Fed, Framing, Head, HeadLimits, Refusal};

/// What came of bytes that were fed to a [`Head`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Read {
    Complete { consumed: usize, told: Told },
    Incomplete,
    Refused(Refusal),
}

/// Everything that a head tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Told {
    pub(crate) line: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
    pub(crate) upgrade: Option<String>,
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) raw: Vec<u8>,
}

pub(crate) fn told(head: &Head) -> Told {
    Told {
        line: format!("{} {} {:?}", head.method(), head.target(), head.version()),
        path: head.path().to_owned(),
        query: head.query().map(str::to_owned),
        host: head.host().map(str::to_owned),
        framing: head.framing(),
        keep_alive: head.keep_alive(),
        expects_continue: head.expects_continue(),
        upgrade: head.upgrade().map(str::to_owned),
        fields: head.fields().map(|(name, value)| (name.to_owned(), value.to_vec())).collect(),
        raw: head.raw().to_vec(),
    }
}

/// Feeds the pieces until the head is complete or refused.
pub(crate) fn read_pieces<'a>(
    head: &mut Head,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limits: &HeadLimits,
) -> Read {
    let mut fed = 0;
    for piece in pieces {
        match head.feed(piece, limits) {
            Ok(Fed::NeedMore) => fed += piece.len(),
            Ok(Fed::Complete { consumed }) => {
                return Read::Complete { consumed: fed + consumed, told: told(head) };
            }
            Err(refusal) => {
                assert_eq!(head.feed(b"GET", limits), Err(refusal), "a refusal is final");
                return Read::Refused(refusal);
            }
        }
    }
    Read::Incomplete
}

/// Reads one head whole, split at every byte and byte by byte, in a reused `Head`, and asserts that it makes no difference.
pub(crate) fn read_with(bytes: &[u8], limits: &HeadLimits) -> Read {
    let mut head = Head::new();
    let whole = read_pieces(&mut head, [bytes], limits);
    for at in 0..=bytes.len() {
        head.clear();
        assert!(head.is_empty() && head.raw().is_empty() && head.fields().len() == 0);
        let split = read_pieces(&mut head, [&bytes[..at], &bytes[at..]], limits);
        assert_eq!(split, whole, "split at {at}: {}", bytes.escape_ascii());
    }
    head.clear();
    let bytewise = read_pieces(&mut head, bytes.chunks(1), limits);
    assert_eq!(bytewise, whole, "byte by byte: {}", bytes.escape_ascii());
    whole
}

pub(crate) fn read(bytes: impl AsRef<[u8]>) -> Read {
    read_with(bytes.as_ref(), &HeadLimits::default())
}

/// Reads a head that must be complete.
pub(crate) fn accepted(bytes: impl AsRef<[u8]>) -> Told {
    match read(bytes.as_ref()) {
        Read::Complete { told, .. } => told,
        other => panic!("{other:?}: {}", bytes.as_ref().escape_ascii()),
    }
}

/// Reads a head that must be refused.
pub(crate) fn refused(bytes: impl AsRef<[u8]>) -> Refusal {
    match read(bytes.as_ref()) {
        Read::Refused(refusal) => refusal,
        other => panic!("{other:?}: {}", bytes.as_ref().escape_ascii()),
    }
}

/// What came of bytes that were fed to a [`BodyDecoder`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Body {
    pub(crate) data: Vec<u8>,
    /// How many bytes belong to the body if it ended, `None` if it did not.
    pub(crate) end: Result<Option<usize>, Refusal>,
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
}

pub(crate) fn decode_pieces<'a>(
    framing: Framing,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limits: &BodyLimits,
) -> Body {
    let mut decoder = BodyDecoder::new(framing);
    let (mut data, mut fed) = (Vec::new(), 0);
    for mut rest in pieces {
        loop {
            match decoder.decode(rest, limits) {
                Ok((consumed, event)) => {
                    fed += consumed;
                    rest = &rest[consumed..];
                    match event {
                        BodyEvent::Data(bytes) => {
                            assert!(!bytes.is_empty());
                            data.extend_from_slice(bytes);
                        }
                        BodyEvent::NeedMore => {
                            assert!(rest.is_empty(), "all of the input is consumed");
                            break;
                        }
                        BodyEvent::End => {
                            assert!(decoder.is_ended());
                            return Body { data, end: Ok(Some(fed)), trailers: decoder.take_trailers() };
                        }
                    }
                }
                Err(refusal) => {
                    assert_eq!(decoder.decode(b"0\r\n\r\n", limits), Err(refusal), "a refusal is final");
                    assert!(decoder.take_trailers().is_empty());
                    return Body { data, end: Err(refusal), trailers: Vec::new() };
                }
            }
        }
    }
    assert!(!decoder.is_ended());
    Body { data, end: Ok(None), trailers: decoder.take_trailers() }
}

/// Decodes one body whole, split at every byte and byte by byte, and asserts that it makes no difference.
pub(crate) fn decode_with(framing: Framing, bytes: &[u8], limits: &BodyLimits) -> Body {
    let whole = decode_pieces(framing, [bytes], limits);
    for at in 0..=bytes.len() {
        let split = decode_pieces(framing, [&bytes[..at], &bytes[at..]], limits);
        assert_eq!(split, whole, "split at {at}: {}", bytes.escape_ascii());
    }
    let bytewise = decode_pieces(framing, bytes.chunks(1), limits);
    assert_eq!(bytewise, whole, "byte by byte: {}", bytes.escape_ascii());
    whole
}

pub(crate) fn decode_chunked(bytes: impl AsRef<[u8]>) -> Body {
    decode_with(Framing::Chunked, bytes.as_ref(), &BodyLimits::default())
}
