//! Version 1: one line of text (section 2.1), read byte by byte. The decoder keeps the bytes and calls it for each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::header::{Addresses, Kind};
use super::malformed::Malformed;
use super::text;

/// The longest line with its CRLF (section 2.1, the worst case).
pub const LINE_BYTES_MAX: usize = 107;

const TCP4: &[u8] = b"PROXY TCP4 ";
const TCP6: &[u8] = b"PROXY TCP6 ";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN";
/// From here on a mismatch is about the family.
const NAME_BYTES: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Field {
    Name,
    /// Directly behind `UNKNOWN`.
    Unknown,
    /// "The receiver must ignore anything presented before the CRLF is found."
    Ignored,
    Source,
    Destination,
    SourcePort,
    DestinationPort,
    LineFeed,
}

/// How far a line has come.
#[derive(Debug)]
pub(super) struct Line {
    field: Field,
    /// Where the field begins.
    start: usize,
    source: IpAddr,
    destination: IpAddr,
    source_port: u16,
    addresses: Addresses,
}

impl Line {
    pub(super) fn new() -> Line {
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Line {
            field: Field::Name,
            start: 0,
            source: nowhere,
            destination: nowhere,
            source_port: 0,
            addresses: Addresses::Unknown,
        }
    }

    /// Judges the last byte of what is there of the line; the addresses once it is whole.
    pub(super) fn step(&mut self, line: &[u8]) -> Result<Option<Addresses>, Malformed> {
        let Some(&byte) = line.last() else { return Ok(None) };
        match self.field {
            Field::Name => self.name(line)?,
            Field::Unknown | Field::Ignored => match byte {
                b'\r' => self.field = Field::LineFeed,
                b' ' if self.field == Field::Unknown => self.field = Field::Ignored,
                _ if self.field == Field::Unknown => return Err(Malformed::Family),
                b'\n' => return Err(Malformed::LineEnd),
                _ => {}
            },
            Field::Source | Field::Destination => self.address(line, byte)?,
            Field::SourcePort | Field::DestinationPort => self.port(line, byte)?,
            Field::LineFeed if byte == b'\n' => {
                return Ok(Some(std::mem::replace(&mut self.addresses, Addresses::Unknown)));
            }
            Field::LineFeed => return Err(Malformed::LineEnd),
        }
        let missing = if self.field == Field::LineFeed { 1 } else { 2 };
        if line.len() + missing > LINE_BYTES_MAX { Err(Malformed::TooLong) } else { Ok(None) }
    }

    fn name(&mut self, line: &[u8]) -> Result<(), Malformed> {
        if ![TCP4, TCP6, UNKNOWN].iter().any(|name| name.starts_with(line)) {
            return Err(if line.len() <= NAME_BYTES { Malformed::Signature } else { Malformed::Family });
        }
        if line == UNKNOWN {
            self.field = Field::Unknown;
        } else if line == TCP4 || line == TCP6 {
            if line == TCP6 {
                self.source = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            }
            self.begin(Field::Source, line);
        }
        Ok(())
    }

    fn begin(&mut self, field: Field, line: &[u8]) {
        self.field = field;
        self.start = line.len();
    }

    fn address(&mut self, line: &[u8], byte: u8) -> Result<(), Malformed> {
        let v6 = self.source.is_ipv6();
        if byte != b' ' {
            let text = &line[self.start..];
            let good = if v6 { text::may_become_v6(text) } else { text::may_become_v4(text) };
            return if good { Ok(()) } else { Err(Malformed::Address) };
        }
        let text = std::str::from_utf8(&line[self.start..line.len() - 1]).map_err(|_| Malformed::Address)?;
        let address = if v6 { text.parse().map(IpAddr::V6) } else { text.parse().map(IpAddr::V4) };
        let address = address.map_err(|_| Malformed::Address)?;
        if self.field == Field::Source {
            self.source = address;
            self.begin(Field::Destination, line);
        } else {
            self.destination = address;
            self.begin(Field::SourcePort, line);
        }
        Ok(())
    }

    fn port(&mut self, line: &[u8], byte: u8) -> Result<(), Malformed> {
        let end = if self.field == Field::SourcePort { b' ' } else { b'\r' };
        if byte != end {
            let good = text::may_become_port(&line[self.start..]);
            return if good { Ok(()) } else { Err(Malformed::Port) };
        }
        let text = std::str::from_utf8(&line[self.start..line.len() - 1]).map_err(|_| Malformed::Port)?;
        let port = text.parse().map_err(|_| Malformed::Port)?;
        if self.field == Field::SourcePort {
            self.source_port = port;
            self.begin(Field::DestinationPort, line);
        } else {
            self.addresses = Addresses::Inet {
                kind: Kind::Stream,
                source: SocketAddr::new(self.source, self.source_port),
                destination: SocketAddr::new(self.destination, port),
            };
            self.begin(Field::LineFeed, line);
        }
        Ok(())
    }
}
