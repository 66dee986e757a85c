//! `Sec-WebSocket-Extensions` (RFC 6455 section 9.1), and the one extension there is: what two sides agree on about permessage-deflate
//! (RFC 7692 section 7.1). The handshake calls it; the work is done in `deflate`.

use std::borrow::Cow;
use std::fmt::Write;

use super::deflate::{BITS_MAX, BITS_MIN, Direction};
use crate::http1;

const NAME: &str = "permessage-deflate";
const SERVER_NO_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_BITS: &str = "server_max_window_bits";
const CLIENT_BITS: &str = "client_max_window_bits";

/// One extension with its parameters, as offered or accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Its name.
    pub name: &'a str,
    /// The parameters in their order, with their values.
    pub parameters: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

/// Reads a field's value; `None` if it is malformed.
///
/// ```
/// use ropewalk_wire::websocket::parse_extensions;
/// let offers = parse_extensions("permessage-deflate; client_max_window_bits, x; a=\"1\"").expect("it is well formed");
/// assert_eq!(offers[0].parameters, [("client_max_window_bits", None)]);
/// assert_eq!(offers[1].parameters, [("a", Some("1".into()))]);
/// assert!(parse_extensions("a b").is_none());
/// ```
#[must_use]
pub fn parse_extensions(value: &str) -> Option<Vec<Extension<'_>>> {
    let mut extensions = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(extensions);
        }
        let name = token(&mut rest)?;
        let mut parameters = Vec::new();
        while skip(&mut rest, ';') {
            parameters.push(parameter(&mut rest)?);
        }
        extensions.push(Extension { name, parameters });
        rest = rest.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

fn parameter<'a>(rest: &mut &'a str) -> Option<(&'a str, Option<Cow<'a, str>>)> {
    let name = token(rest)?;
    if !skip(rest, '=') {
        return Some((name, None));
    }
    *rest = rest.trim_start_matches([' ', '\t']);
    let value = if rest.starts_with('"') { Cow::Owned(quoted(rest)?) } else { Cow::Borrowed(token(rest)?) };
    Some((name, Some(value)))
}

/// Takes this character, with whitespace in front.
fn skip(rest: &mut &str, what: char) -> bool {
    let after = rest.trim_start_matches([' ', '\t']).strip_prefix(what);
    *rest = after.unwrap_or(rest);
    after.is_some()
}

fn token<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let text = rest.trim_start_matches([' ', '\t']);
    let end = text.bytes().position(|byte| !http1::is_token_byte(byte)).unwrap_or(text.len());
    let (token, after) = text.split_at(end);
    *rest = after;
    (!token.is_empty()).then_some(token)
}

/// A quoted string. What is in the quotes must make a token (RFC 6455 section 9.1).
fn quoted(rest: &mut &str) -> Option<String> {
    let mut value = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                *rest = &rest[at + 1..];
                return (!value.is_empty() && value.bytes().all(http1::is_token_byte)).then_some(value);
            }
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// What one side wants of permessage-deflate.
///
/// ```
/// use ropewalk_wire::websocket::DeflateOptions;
/// // Small messages that resemble each other gain from what was said before; each connection then holds the memory for it.
/// let chatty = DeflateOptions { own_takeover: true, own_bits: 11, ..DeflateOptions::default() };
/// # drop(chatty);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateOptions {
    /// Whether this side's messages may refer to those before. No: each connection would hold a compressor, a quarter of a megabyte.
    pub own_takeover: bool,
    /// Whether the peer's may. No: each connection would hold a decompressor, 48 KiB.
    pub peer_takeover: bool,
    /// This side's window, 8 to 15: 2 to the power of so many bytes. 15.
    pub own_bits: u8,
    /// The peer's, as far as it lets itself be told. 15.
    pub peer_bits: u8,
}

impl Default for DeflateOptions {
    fn default() -> DeflateOptions {
        DeflateOptions { own_takeover: false, peer_takeover: false, own_bits: BITS_MAX, peer_bits: BITS_MAX }
    }
}

/// What was agreed about permessage-deflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// This side's messages.
    pub ours: Direction,
    /// The peer's.
    pub theirs: Direction,
}

/// The parameters of one permessage-deflate, each at most once.
#[derive(Default)]
struct Parameters {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_bits: Option<u8>,
    /// Without a value: the client takes any.
    client_bits: Option<Option<u8>>,
}

impl Parameters {
    /// None if it is not for us, has parameters that are not defined, one twice, or a value that is none (RFC 7692 section 7.1: decline).
    fn read(extension: &Extension<'_>) -> Option<Parameters> {
        if extension.name != NAME {
            return None;
        }
        let mut read = Parameters::default();
        for (name, value) in &extension.parameters {
            let value = value.as_deref();
            let fresh = match *name {
                SERVER_NO_TAKEOVER if value.is_none() => {
                    !std::mem::replace(&mut read.server_no_takeover, true)
                }
                CLIENT_NO_TAKEOVER if value.is_none() => {
                    !std::mem::replace(&mut read.client_no_takeover, true)
                }
                SERVER_BITS => read.server_bits.replace(bits(value?)?).is_none(),
                CLIENT_BITS => {
                    let value = match value {
                        Some(value) => Some(bits(value)?),
                        None => None,
                    };
                    read.client_bits.replace(value).is_none()
                }
                _ => return None,
            };
            if !fresh {
                return None;
            }
        }
        Some(read)
    }
}

/// RFC 7692 section 7.1.2: a decimal integer without leading zeros, 8 to 15.
fn bits(value: &str) -> Option<u8> {
    let digits = !value.starts_with('0') && value.bytes().all(|byte| byte.is_ascii_digit());
    let bits = value.parse().ok().filter(|_| digits)?;
    (BITS_MIN..=BITS_MAX).contains(&bits).then_some(bits)
}

/// A server's choice among what a client offers: the first that it can do, and what it answers.
///
/// ```
/// use ropewalk_wire::websocket::{DeflateOptions, accept_deflate, parse_extensions};
/// let offers = parse_extensions("permessage-deflate; server_max_window_bits=10").expect("it is well formed");
/// let (agreed, answer) = accept_deflate(&offers, &DeflateOptions::default()).expect("it can do that");
/// assert_eq!((agreed.ours.bits, agreed.ours.takeover), (10, false));
/// assert_eq!(
///     answer,
///     "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10"
/// );
/// ```
#[must_use]
pub fn accept_deflate(offers: &[Extension<'_>], wants: &DeflateOptions) -> Option<(Deflate, String)> {
    let offer = offers.iter().find_map(Parameters::read)?;
    let ours = Direction {
        takeover: wants.own_takeover && !offer.server_no_takeover,
        bits: wants.own_bits.min(offer.server_bits.unwrap_or(BITS_MAX)).clamp(BITS_MIN, BITS_MAX),
    };
    // RFC 7692 section 7.1.2.2: a client that says nothing of it cannot be told.
    let theirs_bits = offer.client_bits.map(|bits| wants.peer_bits.min(bits.unwrap_or(BITS_MAX)));
    let theirs = Direction {
        takeover: wants.peer_takeover && !offer.client_no_takeover,
        bits: theirs_bits.unwrap_or(BITS_MAX).clamp(BITS_MIN, BITS_MAX),
    };
    let mut answer = NAME.to_owned();
    say(&mut answer, SERVER_NO_TAKEOVER, !ours.takeover);
    say(&mut answer, CLIENT_NO_TAKEOVER, !theirs.takeover);
    say_bits(&mut answer, SERVER_BITS, ours.bits, offer.server_bits.is_some());
    say_bits(&mut answer, CLIENT_BITS, theirs.bits, false);
    // A compressor without the window that a context would need begins anew with each message.
    Some((Deflate { ours: without_tiny_context(ours), theirs }, answer))
}

/// What a client offers.
#[must_use]
pub fn offer_deflate(wants: &DeflateOptions) -> String {
    let mut offer = NAME.to_owned();
    say(&mut offer, SERVER_NO_TAKEOVER, !wants.peer_takeover);
    say(&mut offer, CLIENT_NO_TAKEOVER, !wants.own_takeover);
    say_bits(&mut offer, SERVER_BITS, wants.peer_bits.clamp(BITS_MIN, BITS_MAX), false);
    if wants.own_bits < BITS_MAX {
        say_bits(&mut offer, CLIENT_BITS, wants.own_bits.clamp(BITS_MIN, BITS_MAX), false);
    } else {
        // Without a value: this side lets itself be told any.
        say(&mut offer, CLIENT_BITS, true);
    }
    offer
}

/// What a server's answer to [`offer_deflate`] comes to; an error if it is no answer to it.
pub(super) fn read_deflate(answer: &Extension<'_>, wants: &DeflateOptions) -> Result<Deflate, &'static str> {
    const WRONG: &str = "permessage-deflate was answered with parameters that were not offered";
    let answer = Parameters::read(answer).ok_or(WRONG)?;
    // RFC 7692 sections 7.1.1.1 and 7.1.2.1: what was asked of the server, it accepts by saying it.
    let too_wide = wants.peer_bits < answer.server_bits.unwrap_or(BITS_MAX);
    if !wants.peer_takeover && !answer.server_no_takeover || too_wide || answer.client_bits == Some(None) {
        return Err(WRONG);
    }
    let ours = Direction {
        takeover: wants.own_takeover && !answer.client_no_takeover,
        bits: wants.own_bits.min(answer.client_bits.flatten().unwrap_or(BITS_MAX)),
    };
    let theirs =
        Direction { takeover: !answer.server_no_takeover, bits: answer.server_bits.unwrap_or(BITS_MAX) };
    Ok(Deflate { ours: without_tiny_context(ours), theirs })
}

/// A context in a window of 256 bytes is more than compressors of zlib's family can do. To use none is always allowed.
fn without_tiny_context(ours: Direction) -> Direction {
    Direction { takeover: ours.takeover && ours.bits > BITS_MIN, ..ours }
}

fn say(out: &mut String, name: &str, whether: bool) {
    if whether {
        // Writing to a string does not fail.
        let _ = write!(out, "; {name}");
    }
}

fn say_bits(out: &mut String, name: &str, bits: u8, always: bool) {
    if always || bits < BITS_MAX {
        let _ = write!(out, "; {name}={bits}");
    }
}
