//! Why a header is refused. All of it is the sender's doing; the connection cannot be used.

use std::fmt;

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// No header that is accepted begins so.
    Signature,
    /// Version 2's signature, and then another version.
    Version,
    /// A command that is neither LOCAL nor PROXY.
    Command,
    /// A family or a transport protocol that the specification does not name.
    Family,
    /// An address that is none, or not of the family that was announced.
    Address,
    /// A port that is no number from 0 to 65535, or is written with zeroes in front.
    Port,
    /// The line does not end in CRLF.
    LineEnd,
    /// A line beyond 107 bytes, or a block beyond [`super::BLOCK_BYTES_MAX`].
    TooLong,
    /// A block that is too short for its addresses.
    TooShort,
    /// A TLV that runs out of the block, or whose length contradicts its type.
    Tlv,
    /// The checksum is another one, or there are two.
    Checksum,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::Signature => "it begins with no PROXY header",
            Malformed::Version => "the PROXY header's version is unknown",
            Malformed::Command => "the PROXY header's command is unknown",
            Malformed::Family => "the PROXY header's address family is unknown",
            Malformed::Address => "an address in the PROXY header is malformed",
            Malformed::Port => "a port in the PROXY header is malformed",
            Malformed::LineEnd => "the PROXY line does not end in CRLF",
            Malformed::TooLong => "the PROXY header is too long",
            Malformed::TooShort => "the PROXY header is too short for its addresses",
            Malformed::Tlv => "a TLV of the PROXY header is malformed",
            Malformed::Checksum => "the PROXY header's checksum is wrong",
        })
    }
}

impl std::error::Error for Malformed {}
