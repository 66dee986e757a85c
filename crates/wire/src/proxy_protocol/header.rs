//! What a header says: values, made by the decoder and taken by the encoder.

use std::net::SocketAddr;

use super::tlv::{Ssl, Tlv, Tlvs};

/// The form that a header had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text (section 2.1).
    V1,
    /// A block of bytes (section 2.2).
    V2,
}

/// What kind of socket the client spoke to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP, or a UNIX stream.
    Stream,
    /// UDP, or UNIX datagrams.
    Datagram,
}

/// Between whom the connection is that the proxy passes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// It passes on nothing: the connection is the proxy's own, a health check. The real addresses hold.
    Local,
    /// It passes on something whose addresses it cannot say. The real addresses hold.
    Unknown,
    /// IP addresses and ports.
    Inet {
        /// Version 1 knows streams only.
        kind: Kind,
        /// The client.
        source: SocketAddr,
        /// Where the client connected to; of the same family.
        destination: SocketAddr,
    },
    /// Names of UNIX sockets, of 108 bytes at most: a path, or an abstract name that begins with NUL; empty for a socket
    /// without a name. NULs at the end are not part of it.
    Unix {
        /// Streams or datagrams.
        kind: Kind,
        /// The client's.
        source: Box<[u8]>,
        /// The one that the client connected to.
        destination: Box<[u8]>,
    },
}

/// One header, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    version: Version,
    addresses: Addresses,
    /// As they came; every one is known to be whole.
    tlvs: Box<[u8]>,
}

impl Header {
    pub(super) fn new(version: Version, addresses: Addresses, tlvs: &[u8]) -> Header {
        Header { version, addresses, tlvs: tlvs.into() }
    }

    /// The form it had.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Between whom the connection is.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The client, if it has an IP address.
    #[must_use]
    pub fn source(&self) -> Option<SocketAddr> {
        match self.addresses {
            Addresses::Inet { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Where the client connected to, if that has an IP address.
    #[must_use]
    pub fn destination(&self) -> Option<SocketAddr> {
        match self.addresses {
            Addresses::Inet { destination, .. } => Some(destination),
            _ => None,
        }
    }

    /// What else the proxy says, in its order; padding and the checksum are left out. Always empty in version 1.
    #[must_use]
    pub fn tlvs(&self) -> Tlvs<'_> {
        Tlvs::new(&self.tlvs)
    }

    /// The application's protocol that the client and the proxy agreed on, as in TLS's ALPN.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tlvs().find_map(|tlv| if let Tlv::Alpn(name) = tlv { Some(name) } else { None })
    }

    /// The host that the client asked for (TLS's server name); `None` as well if it is no UTF-8, which nobody checked.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        let name = self.tlvs().find_map(|tlv| if let Tlv::Authority(name) = tlv { Some(name) } else { None });
        name.and_then(|name| std::str::from_utf8(name).ok())
    }

    /// What the proxy calls this connection, up to 128 bytes.
    #[must_use]
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.tlvs().find_map(|tlv| if let Tlv::UniqueId(id) = tlv { Some(id) } else { None })
    }

    /// What the proxy says of the client's TLS.
    #[must_use]
    pub fn ssl(&self) -> Option<Ssl<'_>> {
        self.tlvs().find_map(|tlv| if let Tlv::Ssl(ssl) = tlv { Some(ssl) } else { None })
    }
}
