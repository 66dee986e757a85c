//! Headers, written: by a client that passes connections on, and by tests.

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::block::{BLOCK_BYTES_MAX, FIXED_BYTES, SIGNATURE, UNIX_BYTES};
use super::crc32c::crc32c;
use super::header::{Addresses, Kind};
use super::tlv::{self, Tlv, code};

/// What is to be written fits into no header: a UNIX name of more than 108 bytes, a unique id of more than 128, inner TLVs
/// that are not whole, or more TLVs than the decoder here takes. Nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit;

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it does not fit into a PROXY header")
    }
}

impl std::error::Error for Unfit {}

/// Appends version 1's line. It can say only IP addresses of streams; all else is `UNKNOWN`. Addresses of two families are
/// both written as IPv6.
///
/// ```
/// use ropewalk_wire::proxy_protocol::{Addresses, Kind, encode_line};
/// let (source, destination) = ("192.168.0.1:56324".parse()?, "192.168.0.11:443".parse()?);
/// let mut out = Vec::new();
/// encode_line(&mut out, &Addresses::Inet { kind: Kind::Stream, source, destination });
/// assert_eq!(out, b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub fn encode_line(out: &mut Vec<u8>, addresses: &Addresses) {
    let Addresses::Inet { kind: Kind::Stream, source, destination } = addresses else {
        return out.extend_from_slice(b"PROXY UNKNOWN\r\n");
    };
    let (source, destination) = same_family(*source, *destination);
    let family = if source.is_ipv4() { 4 } else { 6 };
    let (from, to) = (source.ip(), destination.ip());
    let (from_port, to_port) = (source.port(), destination.port());
    write!(out, "PROXY TCP{family} {from} {to} {from_port} {to_port}\r\n").expect("a vector takes all bytes");
}

/// Appends version 2's block, with a checksum if asked for. With LOCAL or unknown addresses it has no TLVs: no reader knows
/// where they would begin.
///
/// ```
/// use ropewalk_wire::proxy_protocol::{Addresses, encode};
/// let mut out = Vec::new();
/// encode(&mut out, &Addresses::Local, &[], false)?;
/// assert_eq!(out, b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00");
/// # Ok::<(), ropewalk_wire::proxy_protocol::Unfit>(())
/// ```
///
/// # Errors
/// What does not fit; nothing was appended then.
pub fn encode(
    out: &mut Vec<u8>,
    addresses: &Addresses,
    tlvs: &[Tlv<'_>],
    checksum: bool,
) -> Result<(), Unfit> {
    let begin = out.len();
    let outcome = encode_block(out, addresses, tlvs, checksum);
    if outcome.is_err() {
        out.truncate(begin);
    }
    outcome
}

fn encode_block(
    out: &mut Vec<u8>,
    addresses: &Addresses,
    tlvs: &[Tlv<'_>],
    checksum: bool,
) -> Result<(), Unfit> {
    let begin = out.len();
    let command = if *addresses == Addresses::Local { 0x20 } else { 0x21 };
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[command, 0, 0, 0]);
    out[begin + 13] = encode_addresses(out, addresses)?;
    let mut sum_at = None;
    if out[begin + 13] != 0 {
        for tlv in tlvs {
            encode_known(out, tlv)?;
        }
        if checksum {
            encode_tlv(out, code::CRC32C, &[0; 4])?;
            sum_at = Some(out.len() - 4);
        }
    }
    let length = out.len() - begin - FIXED_BYTES;
    if length > BLOCK_BYTES_MAX {
        return Err(Unfit);
    }
    let length = u16::try_from(length).map_err(|_| Unfit)?;
    out[begin + 14..begin + FIXED_BYTES].copy_from_slice(&length.to_be_bytes());
    if let Some(at) = sum_at {
        let sum = crc32c(&out[begin..]);
        out[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    }
    Ok(())
}

/// Appends one TLV: for the inner ones of [`super::Ssl`].
///
/// # Errors
/// A value of more than 65,535 bytes, or of a length that its type does not have.
pub fn encode_tlv(out: &mut Vec<u8>, kind: u8, value: &[u8]) -> Result<(), Unfit> {
    let length = u16::try_from(value.len()).map_err(|_| Unfit)?;
    tlv::check_length(kind, value.len()).map_err(|_| Unfit)?;
    out.push(kind);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}

fn encode_known(out: &mut Vec<u8>, tlv: &Tlv<'_>) -> Result<(), Unfit> {
    match tlv {
        Tlv::Alpn(value) => encode_tlv(out, code::ALPN, value),
        Tlv::Authority(value) => encode_tlv(out, code::AUTHORITY, value),
        Tlv::UniqueId(value) => encode_tlv(out, code::UNIQUE_ID, value),
        Tlv::Netns(value) => encode_tlv(out, code::NETNS, value),
        Tlv::Other(kind, value) => encode_tlv(out, *kind, value),
        Tlv::Ssl(ssl) => {
            let value = [&[ssl.client][..], &ssl.verify.to_be_bytes(), ssl.inner].concat();
            tlv::check_ssl(&value).map_err(|_| Unfit)?;
            encode_tlv(out, code::SSL, &value)
        }
    }
}

/// Appends the addresses and gives the byte of their family and protocol.
fn encode_addresses(out: &mut Vec<u8>, addresses: &Addresses) -> Result<u8, Unfit> {
    let protocol = |kind: &Kind| if *kind == Kind::Stream { 1 } else { 2 };
    match addresses {
        Addresses::Local | Addresses::Unknown => Ok(0),
        Addresses::Inet { kind, source, destination } => {
            let (source, destination) = same_family(*source, *destination);
            for address in [source, destination] {
                match address.ip() {
                    IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
                    IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
                }
            }
            out.extend_from_slice(&source.port().to_be_bytes());
            out.extend_from_slice(&destination.port().to_be_bytes());
            Ok(if source.is_ipv4() { 0x10 } else { 0x20 } | protocol(kind))
        }
        Addresses::Unix { kind, source, destination } => {
            for name in [source, destination] {
                let padding = UNIX_BYTES.checked_sub(name.len()).ok_or(Unfit)?;
                out.extend_from_slice(name);
                out.resize(out.len() + padding, 0);
            }
            Ok(0x30 | protocol(kind))
        }
    }
}

/// One header has one family: an IPv4 address beside an IPv6 one is written as a mapped one.
fn same_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), address.port()),
        IpAddr::V6(_) => address,
    };
    if source.is_ipv4() == destination.is_ipv4() {
        (source, destination)
    } else {
        (mapped(source), mapped(destination))
    }
}
