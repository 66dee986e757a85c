//! Type, length, value: what version 2 says beside the addresses (sections 2.2.1 to 2.2.8). Views of bytes that the decoder
//! has checked; nothing is copied.

use super::malformed::Malformed;

pub(super) mod code {
    pub(crate) const ALPN: u8 = 0x01;
    pub(crate) const AUTHORITY: u8 = 0x02;
    pub(crate) const CRC32C: u8 = 0x03;
    pub(crate) const NOOP: u8 = 0x04;
    pub(crate) const UNIQUE_ID: u8 = 0x05;
    pub(crate) const SSL: u8 = 0x20;
    pub(crate) const SSL_VERSION: u8 = 0x21;
    pub(crate) const SSL_CN: u8 = 0x22;
    pub(crate) const SSL_CIPHER: u8 = 0x23;
    pub(crate) const SSL_SIG_ALG: u8 = 0x24;
    pub(crate) const SSL_KEY_ALG: u8 = 0x25;
    pub(crate) const NETNS: u8 = 0x30;
}

/// Type and length.
pub(super) const HEAD_BYTES: usize = 3;
/// The client's bits and the outcome of the verification come before the inner TLVs (section 2.2.6).
const SSL_HEAD_BYTES: usize = 5;
/// Section 2.2.5.
const UNIQUE_ID_BYTES_MAX: usize = 128;

const CLIENT_SSL: u8 = 0x01;
const CLIENT_CERT_CONN: u8 = 0x02;
const CLIENT_CERT_SESS: u8 = 0x04;

/// One thing that a proxy says. Texts are bytes: nobody has checked them, and some are the client's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tlv<'a> {
    /// The protocol that was agreed on, as in TLS's ALPN.
    Alpn(&'a [u8]),
    /// The host that the client asked for, in UTF-8.
    Authority(&'a [u8]),
    /// What the proxy calls the connection; up to 128 bytes.
    UniqueId(&'a [u8]),
    /// The client's TLS.
    Ssl(Ssl<'a>),
    /// The network namespace, in ASCII.
    Netns(&'a [u8]),
    /// Any other type (those of a vendor are 0xE0 to 0xEF), and its value.
    Other(u8, &'a [u8]),
}

/// What a proxy says of the client's TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ssl<'a> {
    /// The bits of section 2.2.6.
    pub client: u8,
    /// Zero if the client presented a certificate and it was verified.
    pub verify: u32,
    /// The inner TLVs as bytes; see [`Ssl::tlvs`], and [`super::encode_tlv`] for writing them.
    pub inner: &'a [u8],
}

/// A detail of the client's TLS, in ASCII or UTF-8 that nobody has checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SslTlv<'a> {
    /// Such as `TLSv1.3`.
    Version(&'a [u8]),
    /// The Common Name of the client's certificate.
    CommonName(&'a [u8]),
    /// Such as `ECDHE-RSA-AES128-GCM-SHA256`.
    Cipher(&'a [u8]),
    /// What the proxy's certificate was signed with, such as `SHA256`.
    SignatureAlgorithm(&'a [u8]),
    /// The key of the proxy's certificate, such as `RSA2048`.
    KeyAlgorithm(&'a [u8]),
    /// Any other type, and its value.
    Other(u8, &'a [u8]),
}

impl<'a> Ssl<'a> {
    /// Whether the client came over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.client & CLIENT_SSL != 0
    }

    /// Whether the client presented a certificate, on this connection or earlier in its session, and it was verified.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.client & (CLIENT_CERT_CONN | CLIENT_CERT_SESS) != 0 && self.verify == 0
    }

    /// The details.
    #[must_use]
    pub fn tlvs(&self) -> SslTlvs<'a> {
        SslTlvs(Raw(self.inner))
    }

    fn of(value: &'a [u8]) -> Option<Ssl<'a>> {
        let (&client, rest) = value.split_first()?;
        let (verify, inner) = rest.split_first_chunk()?;
        Some(Ssl { client, verify: u32::from_be_bytes(*verify), inner })
    }
}

/// The TLVs of a header, one after the other.
#[derive(Clone, Debug)]
pub struct Tlvs<'a>(Raw<'a>);

impl<'a> Tlvs<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Tlvs<'a> {
        Tlvs(Raw(bytes))
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Tlv<'a>;

    fn next(&mut self) -> Option<Tlv<'a>> {
        self.0.find_map(|(kind, value)| match kind {
            code::NOOP | code::CRC32C => None,
            code::ALPN => Some(Tlv::Alpn(value)),
            code::AUTHORITY => Some(Tlv::Authority(value)),
            code::UNIQUE_ID => Some(Tlv::UniqueId(value)),
            code::SSL => Ssl::of(value).map(Tlv::Ssl),
            code::NETNS => Some(Tlv::Netns(value)),
            other => Some(Tlv::Other(other, value)),
        })
    }
}

/// The details of the client's TLS, one after the other.
#[derive(Clone, Debug)]
pub struct SslTlvs<'a>(Raw<'a>);

impl<'a> Iterator for SslTlvs<'a> {
    type Item = SslTlv<'a>;

    fn next(&mut self) -> Option<SslTlv<'a>> {
        self.0.next().map(|(kind, value)| match kind {
            code::SSL_VERSION => SslTlv::Version(value),
            code::SSL_CN => SslTlv::CommonName(value),
            code::SSL_CIPHER => SslTlv::Cipher(value),
            code::SSL_SIG_ALG => SslTlv::SignatureAlgorithm(value),
            code::SSL_KEY_ALG => SslTlv::KeyAlgorithm(value),
            other => SslTlv::Other(other, value),
        })
    }
}

/// Types and values; ends at the first that is not whole.
#[derive(Clone, Debug)]
pub(super) struct Raw<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Raw<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[kind, high, low], rest) = self.0.split_first_chunk::<HEAD_BYTES>()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        self.0 = rest;
        Some((kind, value))
    }
}

/// Whether a value of this length contradicts its type.
pub(super) fn check_length(kind: u8, length: usize) -> Result<(), Malformed> {
    let fits = match kind {
        code::CRC32C => length == 4,
        code::UNIQUE_ID => length <= UNIQUE_ID_BYTES_MAX,
        code::SSL => length >= SSL_HEAD_BYTES,
        _ => true,
    };
    if fits { Ok(()) } else { Err(Malformed::Tlv) }
}

/// Whether the inner TLVs of a TLS value are whole.
pub(super) fn check_ssl(value: &[u8]) -> Result<(), Malformed> {
    let mut inner = Raw(value.get(SSL_HEAD_BYTES..).ok_or(Malformed::Tlv)?);
    inner.by_ref().for_each(drop);
    if inner.0.is_empty() { Ok(()) } else { Err(Malformed::Tlv) }
}
