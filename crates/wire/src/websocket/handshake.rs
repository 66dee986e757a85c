//! The opening handshake (RFC 6455 section 4), both sides: what a request and an answer must have, and the key that shows that each has
//! understood the other. HTTP itself is `http1`'s; whether the origin is welcome is a question for the floors above.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::extension::{Deflate, DeflateOptions, Extension, parse_extensions, read_deflate};
use crate::http1;

/// RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The one version there is.
pub const VERSION: &str = "13";
/// More would be no choice but a load.
const SUBPROTOCOLS_MAX: usize = 64;

/// What a server answers to a key (RFC 6455 section 4.2.2).
///
/// ```
/// use ropewalk_wire::websocket::accept_key;
/// assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
#[must_use]
pub fn accept_key(key: &str) -> String {
    let digest = Sha1::new().chain_update(key.as_bytes()).chain_update(GUID).finalize();
    STANDARD.encode(digest)
}

/// A client's key from 16 bytes that nobody can guess (RFC 6455 section 4.1).
#[must_use]
pub fn key(nonce: [u8; 16]) -> String {
    STANDARD.encode(nonce)
}

/// What a client asks for in its handshake.
///
/// ```
/// use ropewalk_wire::websocket::{Asked, Unfit};
/// let fields = [
///     ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==".as_slice()),
///     ("Sec-WebSocket-Version", b"13"),
///     ("Sec-WebSocket-Protocol", b"chat, superchat"),
/// ];
/// let asked = Asked::read("GET", Some("websocket"), fields.into_iter())?;
/// assert_eq!(asked.choose(["superchat"]), Some("superchat"));
/// assert_eq!(Asked::read("GET", None, fields.into_iter()).unwrap_err().status(), 426);
/// # Ok::<(), Unfit>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// `Sec-WebSocket-Key`, as sent.
    pub key: &'a str,
    /// The subprotocols that it offers, the one that it likes best first.
    pub subprotocols: Vec<&'a str>,
    /// The extensions that it offers.
    pub extensions: Vec<Extension<'a>>,
}

/// Why a request is no handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// It is a handshake for another version of WebSocket, or none for WebSocket at all: 426.
    Upgrade(&'static str),
    /// It is malformed: 400.
    Malformed(&'static str),
}

impl Unfit {
    /// The status that it is answered with, beside `Sec-WebSocket-Version`.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Unfit::Upgrade(_) => 426,
            Unfit::Malformed(_) => 400,
        }
    }

    /// Why, in a line.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Unfit::Upgrade(why) | Unfit::Malformed(why) => why,
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Unfit {}

impl<'a> Asked<'a> {
    /// Reads a request (RFC 6455 section 4.2.1). `upgrade` is its Upgrade field where that counts: HTTP/1.1, and named by Connection.
    ///
    /// # Errors
    /// It is no handshake for WebSocket of version 13.
    pub fn read(
        method: &str,
        upgrade: Option<&str>,
        fields: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Asked<'a>, Unfit> {
        let mut known = Known::default();
        for (name, value) in fields {
            known.note(name, value)?;
        }
        if !upgrade.is_some_and(names_websocket) {
            return Err(Unfit::Upgrade("this address speaks WebSocket only"));
        }
        if method != "GET" {
            return Err(Unfit::Malformed("the handshake of WebSocket is a GET"));
        }
        match known.version {
            Some(VERSION) => {}
            Some(_) => return Err(Unfit::Upgrade("this address speaks version 13 of WebSocket")),
            None => return Err(Unfit::Malformed("Sec-WebSocket-Version is missing")),
        }
        let key = known.key.ok_or(Unfit::Malformed("Sec-WebSocket-Key is missing"))?;
        // RFC 6455 section 4.2.1: a value that decodes to 16 bytes.
        if !STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16) {
            return Err(Unfit::Malformed("Sec-WebSocket-Key is not 16 bytes in base64"));
        }
        Ok(Asked { key, subprotocols: known.subprotocols, extensions: known.extensions })
    }

    /// The first of ours that the client offers as well: the server's taste decides.
    #[must_use]
    pub fn choose<'s>(&self, ours: impl IntoIterator<Item = &'s str>) -> Option<&'s str> {
        ours.into_iter().find(|name| self.subprotocols.contains(name))
    }
}

fn names_websocket(upgrade: &str) -> bool {
    upgrade.split(',').any(|name| name.trim().eq_ignore_ascii_case("websocket"))
}

/// The fields of a request that matter here.
#[derive(Default)]
struct Known<'a> {
    version: Option<&'a str>,
    key: Option<&'a str>,
    subprotocols: Vec<&'a str>,
    extensions: Vec<Extension<'a>>,
}

impl<'a> Known<'a> {
    fn note(&mut self, name: &str, value: &'a [u8]) -> Result<(), Unfit> {
        let Some(("", rest)) = split_ignoring_case(name, "sec-websocket-") else { return Ok(()) };
        let value = std::str::from_utf8(value)
            .map_err(|_| Unfit::Malformed("a field of the handshake is not ASCII"))?
            .trim_matches([' ', '\t']);
        if rest.eq_ignore_ascii_case("version") {
            once(&mut self.version, value, "Sec-WebSocket-Version stands there twice")
        } else if rest.eq_ignore_ascii_case("key") {
            once(&mut self.key, value, "Sec-WebSocket-Key stands there twice")
        } else if rest.eq_ignore_ascii_case("protocol") {
            self.offers(value)
        } else if rest.eq_ignore_ascii_case("extensions") {
            let extensions = parse_extensions(value);
            self.extensions
                .extend(extensions.ok_or(Unfit::Malformed("Sec-WebSocket-Extensions is malformed"))?);
            Ok(())
        } else {
            Ok(())
        }
    }

    fn offers(&mut self, value: &'a str) -> Result<(), Unfit> {
        for name in value.split(',').map(|name| name.trim_matches([' ', '\t'])) {
            if name.is_empty() || !name.bytes().all(http1::is_token_byte) {
                return Err(Unfit::Malformed("Sec-WebSocket-Protocol is malformed"));
            }
            if self.subprotocols.len() == SUBPROTOCOLS_MAX {
                return Err(Unfit::Malformed("Sec-WebSocket-Protocol offers too many"));
            }
            self.subprotocols.push(name);
        }
        Ok(())
    }
}

fn split_ignoring_case<'n>(name: &'n str, prefix: &str) -> Option<(&'static str, &'n str)> {
    let begin = name.get(..prefix.len())?;
    begin.eq_ignore_ascii_case(prefix).then(|| ("", &name[prefix.len()..]))
}

fn once<'a>(place: &mut Option<&'a str>, value: &'a str, twice: &'static str) -> Result<(), Unfit> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Unfit::Malformed(twice)),
    }
}

/// What a client's handshake has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The subprotocol that the server has chosen.
    pub subprotocol: Option<String>,
    /// What was agreed about compression.
    pub deflate: Option<Deflate>,
}

/// What a client has asked for, to compare the answer with.
///
/// ```
/// use ropewalk_wire::websocket::{Accepted, Offered};
/// let offered = Offered { key: "dGhlIHNhbXBsZSBub25jZQ==", subprotocols: &[], deflate: None };
/// let fields = [
///     ("Upgrade", b"websocket".as_slice()),
///     ("Connection", b"Upgrade"),
///     ("Sec-WebSocket-Accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
/// ];
/// assert_eq!(offered.check(101, fields.into_iter()), Ok(Accepted { subprotocol: None, deflate: None }));
/// assert!(offered.check(200, fields.into_iter()).is_err());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Offered<'a> {
    /// The key that was sent.
    pub key: &'a str,
    /// The subprotocols that were offered.
    pub subprotocols: &'a [String],
    /// The compression that was offered.
    pub deflate: Option<&'a DeflateOptions>,
}

impl Offered<'_> {
    /// Reads a server's answer (RFC 6455 section 4.1).
    ///
    /// # Errors
    /// It does not complete the handshake: the text says why. The connection is then to be closed.
    pub fn check<'f>(
        &self,
        status: u16,
        fields: impl Iterator<Item = (&'f str, &'f [u8])>,
    ) -> Result<Accepted, &'static str> {
        if status != 101 {
            return Err("the status is not 101");
        }
        let mut accepted = Accepted { subprotocol: None, deflate: None };
        let (mut upgrade, mut connection, mut key) = (false, false, None);
        for (name, value) in fields {
            let Ok(value) = std::str::from_utf8(value) else { continue };
            let value = value.trim_matches([' ', '\t']);
            if name.eq_ignore_ascii_case("upgrade") {
                upgrade = value.eq_ignore_ascii_case("websocket");
            } else if name.eq_ignore_ascii_case("connection") {
                connection |= value.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
            } else if name.eq_ignore_ascii_case("sec-websocket-accept") {
                if key.replace(value).is_some() {
                    return Err("Sec-WebSocket-Accept stands there twice");
                }
            } else if name.eq_ignore_ascii_case("sec-websocket-protocol") {
                self.chosen(&mut accepted, value)?;
            } else if name.eq_ignore_ascii_case("sec-websocket-extensions") {
                self.extended(&mut accepted, value)?;
            }
        }
        match key {
            _ if !upgrade || !connection => Err("the answer does not say that it changes to WebSocket"),
            Some(key) if key == accept_key(self.key) => Ok(accepted),
            _ => Err("Sec-WebSocket-Accept does not belong to the key that was sent"),
        }
    }

    fn chosen(&self, accepted: &mut Accepted, value: &str) -> Result<(), &'static str> {
        if !self.subprotocols.iter().any(|known| known == value) {
            return Err("the server chose a subprotocol that was not offered");
        }
        match accepted.subprotocol.replace(value.to_owned()) {
            None => Ok(()),
            Some(_) => Err("the server chose two subprotocols"),
        }
    }

    fn extended(&self, accepted: &mut Accepted, value: &str) -> Result<(), &'static str> {
        for extension in parse_extensions(value).ok_or("Sec-WebSocket-Extensions is malformed")? {
            let wants = self.deflate.filter(|_| extension.name == "permessage-deflate");
            let wants = wants.ok_or("the server uses an extension that was not offered")?;
            if accepted.deflate.replace(read_deflate(&extension, wants)?).is_some() {
                return Err("the server uses an extension twice");
            }
        }
        Ok(())
    }
}
