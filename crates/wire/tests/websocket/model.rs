//! A model of an encoder that is simple enough to be believed, and everything that a decoder says of an input. No test of its own.

use ropewalk_wire::websocket::{Decoder, Event, Limits, Pool, Role, Violation};

pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame, bit by bit.
#[derive(Clone)]
pub(crate) struct Frame<'a> {
    pub(crate) fin: bool,
    pub(crate) rsv: u8,
    pub(crate) opcode: u8,
    pub(crate) key: Option<[u8; 4]>,
    pub(crate) payload: &'a [u8],
    /// Bytes of the length's form: 0, 2 or 8 behind the first; the shortest if none is said.
    pub(crate) form: Option<u8>,
}

impl<'a> Frame<'a> {
    /// A frame for a decoder of this role.
    pub(crate) fn new(to: Role, opcode: u8, payload: &'a [u8]) -> Frame<'a> {
        let key = (to == Role::Server).then_some(KEY);
        Frame { fin: true, rsv: 0, opcode, key, payload, form: None }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let length = self.payload.len();
        let form = self.form.unwrap_or(match length {
            0..126 => 0,
            126..65_536 => 2,
            _ => 8,
        });
        let mut out = vec![u8::from(self.fin) << 7 | self.rsv << 4 | self.opcode];
        let mask = u8::from(self.key.is_some()) << 7;
        match form {
            0 => out.push(mask | length as u8),
            2 => {
                out.push(mask | 126);
                out.extend((length as u16).to_be_bytes());
            }
            _ => {
                out.push(mask | 127);
                out.extend((length as u64).to_be_bytes());
            }
        }
        out.extend(self.key.iter().flatten());
        let key = self.key.unwrap_or_default();
        out.extend(self.payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
        out
    }
}

/// What came of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Event>,
    pub(crate) violation: Option<Violation>,
}

pub(crate) fn decode<'a>(
    mut decoder: Decoder,
    limits: &Limits,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Outcome {
    let mut pool = Pool::default();
    let mut events = Vec::new();
    for mut piece in pieces {
        loop {
            match decoder.next(&mut piece, limits, &mut pool) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => {
                    assert!(piece.is_empty(), "all of it is taken");
                    break;
                }
                Err(violation) => {
                    let again = decoder.next(&mut piece, limits, &mut pool);
                    assert_eq!(again, Err(violation), "and again");
                    return Outcome { events, violation: Some(violation) };
                }
            }
        }
    }
    Outcome { events, violation: None }
}

/// The outcome of an input that is fed whole, split at every byte, and byte by byte: the same each time.
pub(crate) fn everyhow(make: impl Fn() -> Decoder, limits: &Limits, input: &[u8]) -> Outcome {
    let whole = decode(make(), limits, [input].into_iter());
    for at in 1..input.len() {
        let split = decode(make(), limits, [&input[..at], &input[at..]].into_iter());
        assert_eq!(split, whole, "split at {at}");
    }
    assert_eq!(decode(make(), limits, input.chunks(1)), whole, "one byte at a time");
    whole
}
