//! `StringReceiver`: strings with their length in front, for a `StringHandler`: netstrings, or lengths of 8, 16 or 32 bits. A
//! `Protocol` like any other, for listening and connecting; a string is bytes and is decoded by nobody.

use std::marker::PhantomData;
use std::ops::Deref;

use super::framing::{Framing, Head, Int8, Int16, Int32, Kind, Netstring, NetstringError, StringTooLong};
use super::{Cut, receive, settle};
use crate::protocol::{Lost, Protocol};
use crate::transport::Transport;

/// Bytes in a string, unless another limit is set: Twisted's, for netstrings and for lengths of any width.
pub const STRING_LENGTH_MAX: usize = 99_999;

/// What a protocol of strings does. See [`StringReceiver`].
pub trait StringHandler: 'static {
    /// A string has arrived, without its frame.
    fn string_received(&mut self, transport: &StringTransport<'_>, string: &[u8]);

    /// A string is announced that is longer than the limit: of `length` bytes, or in a netstring of at least so many, because
    /// it is refused at the first digit too many. Unless overridden, the connection is closed. If it is not, the string is
    /// skipped, however long it is, and nothing of it is kept.
    fn length_limit_exceeded(&mut self, transport: &StringTransport<'_>, length: u64) {
        let _ = length;
        transport.lose_connection();
    }

    /// What has arrived is no netstring. The connection closes once all output is sent, whatever this does: nobody knows
    /// where the next string would begin.
    fn netstring_refused(&mut self, transport: &StringTransport<'_>, error: NetstringError) {
        let _ = (transport, error);
    }

    /// As [`Protocol::connection_made`].
    fn connection_made(&mut self, transport: &StringTransport<'_>) {
        let _ = transport;
    }

    /// As [`Protocol::read_ended`]. The beginning of a last string was not handed over.
    fn read_ended(&mut self, transport: &StringTransport<'_>) {
        transport.lose_connection();
    }

    /// As [`Protocol::connection_lost`].
    fn connection_lost(&mut self, transport: &StringTransport<'_>, lost: &Lost) {
        let _ = (transport, lost);
    }

    /// As [`Protocol::timed_out`].
    fn timed_out(&mut self, transport: &StringTransport<'_>) {
        transport.abort(Lost::TimedOut("idle"));
    }

    /// As [`Protocol::stopping`].
    fn stopping(&mut self, transport: &StringTransport<'_>) {
        transport.lose_connection();
    }

    /// As [`Protocol::woken`].
    fn woken(&mut self, transport: &StringTransport<'_>) {
        let _ = transport;
    }
}

/// The transport as a [`StringHandler`] sees it: everything a [`Transport`] can do, and the frame.
pub struct StringTransport<'a> {
    transport: &'a Transport,
    kind: Kind,
}

impl StringTransport<'_> {
    /// Sends a string in its frame. The limit of the receiver is for what arrives, and not for this.
    ///
    /// # Errors
    /// It is longer than the frame can say: 255 bytes, 65,535 or 4,294,967,295. Nothing is sent then.
    pub fn send_string(&self, string: &[u8]) -> Result<(), StringTooLong> {
        let length_max = self.kind.length_max();
        if string.len() > length_max {
            return Err(StringTooLong { length: string.len(), length_max });
        }
        self.transport.write_with(|out| self.kind.write(out, string));
        Ok(())
    }
}

impl Deref for StringTransport<'_> {
    type Target = Transport;
    fn deref(&self) -> &Transport {
        self.transport
    }
}

/// Strings as netstrings: `5:hello,`. See [`StringReceiver`].
pub type NetstringReceiver<H> = StringReceiver<H, Netstring>;
/// Strings behind a length of one byte. See [`StringReceiver`].
pub type Int8Receiver<H> = StringReceiver<H, Int8>;
/// Strings behind a length of two bytes. See [`StringReceiver`].
pub type Int16Receiver<H> = StringReceiver<H, Int16>;
/// Strings behind a length of four bytes. See [`StringReceiver`].
pub type Int32Receiver<H> = StringReceiver<H, Int32>;

/// The protocol that cuts strings with their length in front; its four names are [`NetstringReceiver`], [`Int8Receiver`],
/// [`Int16Receiver`] and [`Int32Receiver`].
///
/// A connection holds the beginning of one string at the most, as much of it as has arrived: a peer that announces 4 GiB, and
/// one that never ends a string, cost [`STRING_LENGTH_MAX`] bytes or none at all. A handler that pauses reading, or switches
/// to another protocol, in the middle of what arrived at once gets (or the next protocol gets) the rest later.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_net::{Address, NetstringReceiver, StringHandler, StringTransport, listen};
/// use ropewalk_reactor::Simulation;
///
/// struct Shout;
/// impl StringHandler for Shout {
///     fn string_received(&mut self, transport: &StringTransport<'_>, string: &[u8]) {
///         let _ = transport.send_string(&string.to_ascii_uppercase());
///     }
/// }
///
/// let simulation = Simulation::new(1);
/// let port =
///     listen(simulation.reactor(), &"tcp:7:interface=127.0.0.1".parse()?, || NetstringReceiver::new(Shout))?;
/// # let Address::Inet(address) = *port.address() else { unreachable!() };
/// let peer = simulation.network().connect(address);
/// simulation.advance(Duration::from_millis(10));
/// peer.write(b"4:hemp,4:ju");
/// peer.write(b"te,");
/// simulation.advance(Duration::from_millis(10));
/// assert_eq!(peer.text(), "4:HEMP,4:JUTE,");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StringReceiver<H, F> {
    handler: H,
    length_max: usize,
    stage: Stage,
    partial: Vec<u8>,
    framing: PhantomData<F>,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A string of which the handler has not heard.
    String,
    /// The head of one that is too long, as the handler knows.
    HeadTooLong,
    /// So much of one that is too long, and then its comma.
    Skipping(u64),
}

impl<H: StringHandler, F: Framing> StringReceiver<H, F> {
    /// Strings of at most [`STRING_LENGTH_MAX`] bytes.
    pub fn new(handler: H) -> StringReceiver<H, F> {
        StringReceiver {
            handler,
            length_max: STRING_LENGTH_MAX,
            stage: Stage::String,
            partial: Vec::new(),
            framing: PhantomData,
        }
    }

    /// Another limit, in bytes without the frame.
    #[must_use]
    pub fn with_length_max(mut self, length_max: usize) -> StringReceiver<H, F> {
        self.length_max = length_max;
        self
    }

    fn call(&mut self, transport: &Transport, call: impl FnOnce(&mut H, &StringTransport<'_>)) {
        call(&mut self.handler, &StringTransport { transport, kind: F::KIND });
    }

    /// A callback that brings no bytes, but may switch.
    fn tell(&mut self, transport: &Transport, call: impl FnOnce(&mut H, &StringTransport<'_>)) {
        self.call(transport, call);
        settle(self, transport);
    }

    fn refuse(&mut self, transport: &Transport, error: NetstringError) -> Option<usize> {
        self.call(transport, |handler, transport| handler.netstring_refused(transport, error));
        transport.lose_connection();
        None
    }

    /// Tells the handler, once.
    fn exceed(&mut self, transport: &Transport, length: u64) {
        self.stage = Stage::HeadTooLong;
        self.call(transport, |handler, transport| handler.length_limit_exceeded(transport, length));
    }

    /// Something from the beginning of a head on.
    fn step_string(&mut self, transport: &Transport, data: &[u8]) -> Option<usize> {
        let limit = self.length_max as u64;
        match F::KIND.read(data) {
            Head::Bad(error) => self.refuse(transport, error),
            Head::Part { at_least } => {
                if at_least > limit && self.stage == Stage::String {
                    self.exceed(transport, at_least);
                }
                None
            }
            Head::Whole { head, length } if length > limit => {
                if self.stage == Stage::String {
                    self.exceed(transport, length);
                }
                if transport.is_switched() {
                    // What the handler was asked about belongs to the next protocol, head and all.
                    return None;
                }
                self.stage = Stage::Skipping(length);
                Some(head)
            }
            Head::Whole { head, length } => {
                let length = usize::try_from(length).expect("not above the limit, which is a usize");
                let rest = &data[head..];
                let tail = F::KIND.tail();
                if rest.len().checked_sub(length).is_none_or(|behind| behind < tail.len()) {
                    return None;
                }
                if let Some(found) = wrong_tail(tail, &rest[length..]) {
                    return self.refuse(transport, NetstringError::NoComma(found));
                }
                self.call(transport, |handler, transport| {
                    handler.string_received(transport, &rest[..length]);
                });
                Some(head + length + tail.len())
            }
        }
    }

    /// Something of a string that nobody wants.
    fn step_skipping(&mut self, transport: &Transport, left: u64, data: &[u8]) -> Option<usize> {
        if left > 0 {
            let count = usize::try_from(left).map_or(data.len(), |left| left.min(data.len()));
            self.stage = Stage::Skipping(left - count as u64);
            return (count > 0).then_some(count);
        }
        let tail = F::KIND.tail();
        if data.len() < tail.len() {
            return None;
        }
        if let Some(found) = wrong_tail(tail, data) {
            return self.refuse(transport, NetstringError::NoComma(found));
        }
        self.stage = Stage::String;
        Some(tail.len())
    }
}

/// The byte that stands where the tail belongs.
fn wrong_tail(tail: &[u8], data: &[u8]) -> Option<u8> {
    tail.iter().zip(data).find(|(tail, found)| tail != found).map(|(_, found)| *found)
}

impl<H: StringHandler, F: Framing> Cut for StringReceiver<H, F> {
    fn step(&mut self, transport: &Transport, data: &[u8]) -> Option<usize> {
        match self.stage {
            Stage::Skipping(left) => self.step_skipping(transport, left, data),
            Stage::String | Stage::HeadTooLong => self.step_string(transport, data),
        }
    }

    fn partial(&mut self) -> &mut Vec<u8> {
        &mut self.partial
    }
}

impl<H: StringHandler, F: Framing> Protocol for StringReceiver<H, F> {
    fn connection_made(&mut self, transport: &Transport) {
        self.call(transport, |handler, transport| handler.connection_made(transport));
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        receive(self, transport, data);
    }

    fn read_ended(&mut self, transport: &Transport) {
        self.tell(transport, |handler, transport| handler.read_ended(transport));
    }

    fn connection_lost(&mut self, transport: &Transport, lost: &Lost) {
        self.call(transport, |handler, transport| handler.connection_lost(transport, lost));
    }

    fn timed_out(&mut self, transport: &Transport) {
        self.tell(transport, |handler, transport| handler.timed_out(transport));
    }

    fn stopping(&mut self, transport: &Transport) {
        self.tell(transport, |handler, transport| handler.stopping(transport));
    }

    fn woken(&mut self, transport: &Transport) {
        self.tell(transport, |handler, transport| handler.woken(transport));
    }
}
