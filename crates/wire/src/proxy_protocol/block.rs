//! Version 2: a block of bytes (section 2.2), judged in the order in which it arrives. The decoder keeps the bytes, asks how
//! many are wanted next, and calls it when they are there.

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;

use super::crc32c::crc32c;
use super::header::{Addresses, Header, Kind, Version};
use super::malformed::Malformed;
use super::tlv::{self, Raw, code};

/// Chosen so that no server of another protocol takes it for anything (section 5).
pub(super) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length.
pub(super) const FIXED_BYTES: usize = 16;
/// UNIX names take this many bytes each.
pub(super) const UNIX_BYTES: usize = 108;
/// The most that is taken beside the addresses. The specification wants a header to fit into one segment of 536 bytes; a
/// server name (255), a unique id (128) and a client's certificate name and ciphers fit many times. The length field
/// alone would let a peer have 64 KiB.
pub const TLV_BYTES_MAX: usize = 4096;
/// The most that may follow the first 16 bytes: two UNIX names and the TLVs.
pub const BLOCK_BYTES_MAX: usize = 2 * UNIX_BYTES + TLV_BYTES_MAX;

const LOCAL: u8 = 0;
const PROXY: u8 = 1;

#[derive(Debug, PartialEq)]
enum Stage {
    /// Byte by byte, the length included.
    Fixed,
    Addresses,
    /// The type and the length's first byte of the TLV that begins here.
    Type(usize),
    /// Its length.
    Length(usize),
    /// Its value, to the place where the next begins.
    Value(usize, usize),
    /// Skipped by its length.
    Rest,
}

/// How far a block has come.
#[derive(Debug)]
pub(super) struct Block {
    stage: Stage,
    /// How many bytes must be there before the next step.
    pub(super) wanted: usize,
    /// Where the header ends.
    end: usize,
    /// Where the checksum's value stands.
    checksum: Option<usize>,
}

impl Block {
    pub(super) fn new() -> Block {
        Block { stage: Stage::Fixed, wanted: 1, end: 0, checksum: None }
    }

    /// Judges what is there, which is as much as was wanted; the header once it is whole.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<Option<Header>, Malformed> {
        let flow = match self.stage {
            Stage::Fixed => self.fixed(bytes)?,
            Stage::Addresses => {
                self.tlv_at(address_bytes(bytes).map_or(bytes.len(), |count| FIXED_BYTES + count))?
            }
            Stage::Type(at) => self.tlv_length(bytes, at)?,
            Stage::Length(at) => self.tlv_value(bytes, at)?,
            Stage::Value(at, next) => self.tlv_done(bytes, at, next)?,
            Stage::Rest => ControlFlow::Break(()),
        };
        match flow {
            ControlFlow::Continue(()) => Ok(None),
            ControlFlow::Break(()) => self.finish(bytes).map(Some),
        }
    }

    fn want(&mut self, stage: Stage, wanted: usize) -> ControlFlow<()> {
        (self.stage, self.wanted) = (stage, wanted);
        ControlFlow::Continue(())
    }

    fn fixed(&mut self, bytes: &[u8]) -> Result<ControlFlow<()>, Malformed> {
        let byte = bytes.last().copied().unwrap_or_default();
        match bytes.len() {
            count @ 0..=12 if !SIGNATURE.starts_with(&bytes[..count]) => return Err(Malformed::Signature),
            // "The receiver must only accept this value."
            13 if byte >> 4 != 2 => return Err(Malformed::Version),
            13 if byte & 0xF > PROXY => return Err(Malformed::Command),
            // Of LOCAL "the family … is ignored"; other values "must be rejected as invalid by receivers".
            14 if bytes[12] & 0xF == PROXY && (byte >> 4 > 3 || byte & 0xF > 2) => {
                return Err(Malformed::Family);
            }
            15 if usize::from(byte) << 8 > BLOCK_BYTES_MAX => return Err(Malformed::TooLong),
            FIXED_BYTES => return self.length(bytes),
            _ => {}
        }
        Ok(self.want(Stage::Fixed, bytes.len() + 1))
    }

    fn length(&mut self, bytes: &[u8]) -> Result<ControlFlow<()>, Malformed> {
        let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
        if length > BLOCK_BYTES_MAX {
            return Err(Malformed::TooLong);
        }
        self.end = FIXED_BYTES + length;
        match address_bytes(bytes) {
            // What a LOCAL or an unspecified block holds is nobody's business: where its TLVs would begin is not said.
            None => Ok(self.want(Stage::Rest, self.end)),
            Some(count) if count > length => Err(Malformed::TooShort),
            Some(count) => Ok(self.want(Stage::Addresses, FIXED_BYTES + count)),
        }
    }

    fn tlv_at(&mut self, at: usize) -> Result<ControlFlow<()>, Malformed> {
        match self.end - at {
            0 => Ok(ControlFlow::Break(())),
            1 | 2 => Err(Malformed::Tlv),
            _ => Ok(self.want(Stage::Type(at), at + 2)),
        }
    }

    fn tlv_length(&mut self, bytes: &[u8], at: usize) -> Result<ControlFlow<()>, Malformed> {
        let least = usize::from(bytes[at + 1]) << 8;
        if at + tlv::HEAD_BYTES + least > self.end {
            return Err(Malformed::Tlv);
        }
        Ok(self.want(Stage::Length(at), at + tlv::HEAD_BYTES))
    }

    fn tlv_value(&mut self, bytes: &[u8], at: usize) -> Result<ControlFlow<()>, Malformed> {
        let length = usize::from(u16::from_be_bytes([bytes[at + 1], bytes[at + 2]]));
        let next = at + tlv::HEAD_BYTES + length;
        if next > self.end {
            return Err(Malformed::Tlv);
        }
        tlv::check_length(bytes[at], length)?;
        Ok(self.want(Stage::Value(at, next), next))
    }

    fn tlv_done(&mut self, bytes: &[u8], at: usize, next: usize) -> Result<ControlFlow<()>, Malformed> {
        let value = at + tlv::HEAD_BYTES;
        match bytes[at] {
            code::SSL => tlv::check_ssl(&bytes[value..next])?,
            // The second would have to be summed as it came or as zeroes: nobody says which.
            code::CRC32C if self.checksum.replace(value).is_some() => return Err(Malformed::Checksum),
            _ => {}
        }
        self.tlv_at(next)
    }

    fn finish(&self, bytes: &[u8]) -> Result<Header, Malformed> {
        let Some(addresses) = address_bytes(bytes) else {
            let local = bytes[12] & 0xF == LOCAL;
            let addresses = if local { Addresses::Local } else { Addresses::Unknown };
            return Ok(Header::new(Version::V2, addresses, &[]));
        };
        if let Some(at) = self.checksum {
            let mut zeroed = bytes[..self.end].to_vec();
            zeroed[at..at + 4].fill(0);
            if crc32c(&zeroed).to_be_bytes() != bytes[at..at + 4] {
                return Err(Malformed::Checksum);
            }
        }
        let (addresses, tlvs) = bytes[FIXED_BYTES..self.end].split_at(addresses);
        debug_assert!(Raw(tlvs).map(|(_, value)| value.len() + tlv::HEAD_BYTES).sum::<usize>() == tlvs.len());
        Ok(Header::new(Version::V2, addresses_of(bytes[13], addresses), tlvs))
    }
}

/// How many bytes the addresses take; `None` where they are to be ignored.
fn address_bytes(bytes: &[u8]) -> Option<usize> {
    let (command, family) = (bytes[12] & 0xF, bytes[13]);
    match (command, family >> 4, family & 0xF) {
        (LOCAL, ..) | (_, 0, _) | (_, _, 0) => None,
        (_, 1, _) => Some(2 * 4 + 2 * 2),
        (_, 2, _) => Some(2 * 16 + 2 * 2),
        _ => Some(2 * UNIX_BYTES),
    }
}

fn addresses_of(family: u8, block: &[u8]) -> Addresses {
    let kind = if family & 0xF == 1 { Kind::Stream } else { Kind::Datagram };
    match (family >> 4, inet::<4>(block), inet::<16>(block)) {
        (1, Some((source, destination)), _) | (2, _, Some((source, destination))) => {
            Addresses::Inet { kind, source, destination }
        }
        _ => {
            let (source, destination) = block.split_at(block.len() / 2);
            Addresses::Unix { kind, source: unix(source), destination: unix(destination) }
        }
    }
}

/// Two addresses and then two ports.
fn inet<const N: usize>(block: &[u8]) -> Option<(SocketAddr, SocketAddr)>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = block.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let &[a, b, c, d] = rest else { return None };
    let address = |ip: &[u8; N], port| SocketAddr::new(IpAddr::from(*ip), u16::from_be_bytes(port));
    Some((address(source, [a, b]), address(destination, [c, d])))
}

/// A path ends at its first NUL; an abstract name, which begins with one, before the last ones.
fn unix(name: &[u8]) -> Box<[u8]> {
    let end = match name {
        [0, ..] => name.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1),
        path => path.iter().position(|&byte| byte == 0).unwrap_or(path.len()),
    };
    name[..end].into()
}
