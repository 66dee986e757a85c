//! How a string is framed: a netstring (`5:hello,`, D. J. Bernstein, 1997), or a length of one, two or four bytes in network
//! order in front of it. Reads and writes heads; knows no connection and keeps nothing. `string` asks it.

use std::fmt;

/// Digits of a length that fit 64 bits whatever they are.
const DIGITS_MAX: usize = 19;

/// How strings are framed. It is implemented by [`Netstring`], [`Int8`], [`Int16`] and [`Int32`], and by nothing else.
pub trait Framing: Sealed + 'static {}

/// `LENGTH:STRING,` with a length in decimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Netstring;
/// A length of one byte: strings of at most 255 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Int8;
/// A length of two bytes, the higher one first: strings of at most 65,535 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Int16;
/// A length of four bytes, the highest one first.
#[derive(Clone, Copy, Debug)]
pub struct Int32;

/// What the four framings are to the receiver.
pub trait Sealed {
    #[doc(hidden)]
    const KIND: Kind;
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Netstring,
    /// So many bytes of length.
    Int(usize),
}

macro_rules! framings {
    ($($name:ident $kind:expr;)*) => {
        $(impl Sealed for $name {
            const KIND: Kind = $kind;
        }
        impl Framing for $name {})*
    };
}

framings! {
    Netstring Kind::Netstring;
    Int8 Kind::Int(1);
    Int16 Kind::Int(2);
    Int32 Kind::Int(4);
}

/// Why what a peer sent is no netstring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetstringError {
    /// A length that begins with a zero and goes on: `05:`. Only the empty string's is `0`.
    LeadingZero,
    /// This byte instead of the first digit: a sign, a space, a colon without a number.
    NoDigit(u8),
    /// This byte instead of a further digit or the colon.
    NoColon(u8),
    /// This byte instead of the comma behind the string.
    NoComma(u8),
    /// More digits than any length has.
    Endless,
}

impl fmt::Display for NetstringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let byte = |byte: &u8| [*byte].escape_ascii().to_string();
        match self {
            NetstringError::LeadingZero => f.write_str("a length with a leading zero"),
            NetstringError::NoDigit(found) => write!(f, "'{}' where a length begins", byte(found)),
            NetstringError::NoColon(found) => write!(f, "'{}' within a length", byte(found)),
            NetstringError::NoComma(found) => write!(f, "'{}' where a string's comma belongs", byte(found)),
            NetstringError::Endless => f.write_str("a length without an end"),
        }
    }
}

impl std::error::Error for NetstringError {}

/// A string is longer than its framing can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringTooLong {
    /// Bytes of the string.
    pub length: usize,
    /// Bytes that the framing can say.
    pub length_max: usize,
}

impl fmt::Display for StringTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string of {} bytes where at most {} fit", self.length, self.length_max)
    }
}

impl std::error::Error for StringTooLong {}

/// What the beginning of some bytes is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// A head of so many bytes, that announces so many.
    Whole { head: usize, length: u64 },
    /// The beginning of a head. The length is at least this already.
    Part { at_least: u64 },
    /// None.
    Bad(NetstringError),
}

impl Kind {
    /// Reads a head. Whatever more there is may be cut anywhere: a part is read again when it has grown, which is a matter of
    /// twenty bytes.
    pub(super) fn read(self, data: &[u8]) -> Head {
        match self {
            Kind::Netstring => read_netstring(data),
            Kind::Int(width) => match data.get(..width) {
                Some(head) => {
                    let length = head.iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
                    Head::Whole { head: width, length }
                }
                None => Head::Part { at_least: 0 },
            },
        }
    }

    /// What stands behind every string.
    pub(super) fn tail(self) -> &'static [u8] {
        match self {
            Kind::Netstring => b",",
            Kind::Int(_) => b"",
        }
    }

    /// Appends a framed string.
    pub(super) fn write(self, out: &mut Vec<u8>, string: &[u8]) {
        match self {
            Kind::Netstring => {
                out.extend_from_slice(string.len().to_string().as_bytes());
                out.push(b':');
            }
            Kind::Int(width) => {
                let length = (string.len() as u64).to_be_bytes();
                out.extend_from_slice(&length[length.len() - width..]);
            }
        }
        out.extend_from_slice(string);
        out.extend_from_slice(self.tail());
    }

    /// The longest string that can be framed.
    pub(super) fn length_max(self) -> usize {
        match self {
            Kind::Netstring => usize::MAX,
            Kind::Int(width) => usize::try_from(u64::MAX >> (64 - 8 * width)).unwrap_or(usize::MAX),
        }
    }
}

fn read_netstring(data: &[u8]) -> Head {
    let mut length = 0;
    for (at, byte) in data.iter().enumerate() {
        match byte {
            b'0'..=b'9' if at > 0 && length == 0 => return Head::Bad(NetstringError::LeadingZero),
            b'0'..=b'9' if at >= DIGITS_MAX => return Head::Bad(NetstringError::Endless),
            b'0'..=b'9' => length = length * 10 + u64::from(byte - b'0'),
            b':' if at > 0 => return Head::Whole { head: at + 1, length },
            _ if at == 0 => return Head::Bad(NetstringError::NoDigit(*byte)),
            _ => return Head::Bad(NetstringError::NoColon(*byte)),
        }
    }
    Head::Part { at_least: length }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_netstring_is_refused_at_its_first_impossible_byte() {
        let read = |text: &str| Kind::Netstring.read(text.as_bytes());
        assert_eq!(read("0:,"), Head::Whole { head: 2, length: 0 });
        assert_eq!(read("12:hello world!,"), Head::Whole { head: 3, length: 12 });
        assert_eq!(read(""), Head::Part { at_least: 0 });
        assert_eq!(read("12"), Head::Part { at_least: 12 });
        for (text, error) in [
            ("00", NetstringError::LeadingZero),
            ("05", NetstringError::LeadingZero),
            (":", NetstringError::NoDigit(b':')),
            ("+", NetstringError::NoDigit(b'+')),
            ("-", NetstringError::NoDigit(b'-')),
            (" ", NetstringError::NoDigit(b' ')),
            ("5 ", NetstringError::NoColon(b' ')),
            ("5;", NetstringError::NoColon(b';')),
            ("1\u{0}", NetstringError::NoColon(0)),
            ("12345678901234567890", NetstringError::Endless),
        ] {
            assert_eq!(read(text), Head::Bad(error), "{text}");
            assert!(matches!(read(&text[..text.len() - 1]), Head::Part { .. }), "{text}: not before");
        }
        assert_eq!(read("9999999999999999999"), Head::Part { at_least: 9_999_999_999_999_999_999 });
    }

    #[test]
    fn lengths_are_in_network_order() {
        for (width, string, framed) in [
            (1, b"abc".as_slice(), b"\x03abc".as_slice()),
            (2, b"abc", b"\x00\x03abc"),
            (4, b"abc", b"\x00\x00\x00\x03abc"),
            (1, b"", b"\x00"),
        ] {
            let mut out = Vec::new();
            Kind::Int(width).write(&mut out, string);
            assert_eq!(out, framed);
            let length = string.len() as u64;
            assert_eq!(Kind::Int(width).read(&out), Head::Whole { head: width, length });
        }
        assert_eq!(Kind::Int(2).read(b"\x01\x02"), Head::Whole { head: 2, length: 258 });
        assert_eq!(
            Kind::Int(4).read(b"\xff\xff\xff\xff"),
            Head::Whole { head: 4, length: u64::from(u32::MAX) }
        );
        assert_eq!(Kind::Int(4).read(b"\xff\xff\xff"), Head::Part { at_least: 0 });
        let most = [1, 2, 4].map(|width| Kind::Int(width).length_max());
        assert_eq!(most, [255, 65_535, 4_294_967_295]);
    }
}
