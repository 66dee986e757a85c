//! One field out of a body that somebody else will read: what is looked at is put back in front of it. Called by the middleware alone.

use ropewalk_wire::multipart::{Boundary, Decoder, Event, Limits};

use crate::inbound::BodyError;
use crate::request::{Arguments, Request};

/// Bytes of a body that are looked at.
const LOOKED_AT_MAX: usize = 64 * 1024;

/// The first value of this name, in a form of either type; the request can be read again from its beginning.
pub(super) async fn field(request: &mut Request, name: &str) -> Result<Option<String>, BodyError> {
    let boundary = request.header("content-type").and_then(|media| Boundary::of(media.as_bytes()));
    let mut search = match boundary {
        Some(boundary) => Search::Parts(Box::new(Decoder::new(&boundary)), None),
        None if request.has_type("application/x-www-form-urlencoded") => Search::Pairs(0),
        None => return Ok(None),
    };
    let mut seen = Vec::new();
    let found = loop {
        let Some(piece) = request.piece().await? else { break search.at_end(&seen, name) };
        let before = seen.len();
        seen.extend_from_slice(&piece);
        match search.look(&seen, before, name) {
            Some(found) => break found,
            None if seen.len() >= LOOKED_AT_MAX => break None,
            None => {}
        }
    };
    request.exchange().replay(seen);
    Ok(found)
}

enum Search {
    /// So many bytes of pairs are behind; none is read twice, however small the pieces are.
    Pairs(usize),
    /// The value, as far as it has come, in the part of this name.
    Parts(Box<Decoder>, Option<Vec<u8>>),
}

impl Search {
    /// The value, or none and it is known that there is none, or nothing is known yet.
    fn look(&mut self, seen: &[u8], before: usize, name: &str) -> Option<Option<String>> {
        match self {
            Search::Pairs(done) => {
                // The last pair may go on.
                let end = before + seen[before..].iter().rposition(|&byte| byte == b'&')?;
                let pairs = &seen[*done..end];
                *done = end + 1;
                first(pairs, name).map(Some)
            }
            Search::Parts(decoder, value) => parts(decoder, value, &seen[before..], name),
        }
    }

    fn at_end(self, seen: &[u8], name: &str) -> Option<String> {
        match self {
            Search::Pairs(done) => first(&seen[done..], name),
            Search::Parts(..) => None,
        }
    }
}

fn first(text: &[u8], name: &str) -> Option<String> {
    Arguments::read(text).first(name).map(str::to_owned)
}

fn parts(
    decoder: &mut Decoder,
    value: &mut Option<Vec<u8>>,
    piece: &[u8],
    name: &str,
) -> Option<Option<String>> {
    let mut rest = piece;
    loop {
        // What is malformed is said to whoever reads the form itself.
        let Ok((consumed, event)) = decoder.decode(rest, &Limits::default()) else { return Some(None) };
        match event {
            Event::NeedMore => return None,
            Event::End => return Some(None),
            Event::Part(head) => {
                let Ok(disposition) = head.disposition() else { return Some(None) };
                if disposition.file_name.is_some() {
                    // Files may be large, and the field stands in front of them.
                    return Some(None);
                }
                *value = (disposition.name.as_deref() == Some(name)).then(Vec::new);
            }
            Event::Data(data) => value.iter_mut().for_each(|value| value.extend_from_slice(data)),
            Event::PartEnd => {
                if let Some(value) = value.take() {
                    return Some(String::from_utf8(value).ok());
                }
            }
        }
        rest = &rest[consumed..];
    }
}
