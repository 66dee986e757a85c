//! Protocols of lines: `LineReceiver` cuts what arrives into lines for a `LineHandler`, and leaves lines alone while the handler
//! wants raw bytes. It is a `Protocol` like any other, for listening and connecting; it decodes no text and answers nothing by
//! itself.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Deref;

use memchr::{memchr, memmem};

use crate::protocol::{Frozen, Lost, Protocol};
use crate::receivers::{Cut, receive, settle};
use crate::transport::Transport;

/// Bytes in a line without its delimiter, unless another limit is set: Twisted's.
pub const MAX_LENGTH: usize = 16_384;

/// The delimiter of the Internet's line protocols.
const CRLF: &[u8] = b"\r\n";

/// What a line protocol does. See [`LineReceiver`].
pub trait LineHandler: 'static {
    /// A line has arrived, without its delimiter.
    fn line_received(&mut self, transport: &LineTransport<'_>, line: &[u8]);

    /// Bytes have arrived in raw mode.
    fn raw_data_received(&mut self, transport: &LineTransport<'_>, data: &[u8]) {
        let _ = (transport, data);
    }

    /// A line is longer than the limit; `line` is what there is of it. Unless overridden, the connection is closed. If it
    /// is not, the rest of the line is skipped: a tail that a peer chose is never taken for a line of its own.
    fn line_length_exceeded(&mut self, transport: &LineTransport<'_>, line: &[u8]) {
        let _ = line;
        transport.lose_connection();
    }

    /// As [`Protocol::connection_made`].
    fn connection_made(&mut self, transport: &LineTransport<'_>) {
        let _ = transport;
    }

    /// As [`Protocol::read_ended`]. A last line without delimiter was not handed over.
    fn read_ended(&mut self, transport: &LineTransport<'_>) {
        transport.lose_connection();
    }

    /// As [`Protocol::connection_lost`].
    fn connection_lost(&mut self, transport: &LineTransport<'_>, lost: &Lost) {
        let _ = (transport, lost);
    }

    /// As [`Protocol::timed_out`].
    fn timed_out(&mut self, transport: &LineTransport<'_>) {
        transport.abort(Lost::TimedOut("idle"));
    }

    /// As [`Protocol::stopping`].
    fn stopping(&mut self, transport: &LineTransport<'_>) {
        transport.lose_connection();
    }

    /// As [`Protocol::woken`].
    fn woken(&mut self, transport: &LineTransport<'_>) {
        let _ = transport;
    }

    /// As [`Protocol::freezable`].
    fn freezable(&self) -> bool {
        false
    }

    /// As [`Protocol::freeze`]. The beginning of a line travels by itself; a connection in raw mode stays where it is.
    fn freeze(&mut self, transport: &LineTransport<'_>) -> Option<Frozen> {
        let _ = transport;
        None
    }

    /// As [`Protocol::thawed`].
    fn thawed(&mut self, transport: &LineTransport<'_>) {
        let _ = transport;
    }
}

/// The transport as a [`LineHandler`] sees it: everything a [`Transport`] can do, and the mode.
pub struct LineTransport<'a> {
    transport: &'a Transport,
    delimiter: &'a [u8],
    raw: &'a Cell<bool>,
    /// How much of the end of the raw bytes was handed back.
    rest: &'a Cell<usize>,
}

impl LineTransport<'_> {
    /// Sends a line: these bytes and the delimiter.
    pub fn send_line(&self, line: &[u8]) {
        self.transport.write_sequence([line, self.delimiter]);
    }

    /// From the next byte on, whatever arrives goes to [`LineHandler::raw_data_received`]: the rest of what arrived with this
    /// line first, as soon as the callback has returned.
    pub fn set_raw_mode(&self) {
        self.raw.set(true);
    }

    /// From `rest` on there are lines again: the tail of the bytes that [`LineHandler::raw_data_received`] was given, as
    /// much of it as is not its own. Elsewhere it is empty.
    pub fn set_line_mode(&self, rest: &[u8]) {
        self.raw.set(false);
        self.rest.set(rest.len());
    }

    /// Whether bytes are handed over raw.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        self.raw.get()
    }
}

impl Deref for LineTransport<'_> {
    type Target = Transport;
    fn deref(&self) -> &Transport {
        self.transport
    }
}

/// The protocol that cuts lines.
///
/// A handler that pauses reading, or switches to another protocol, in the middle of what arrived at once gets (or the next
/// protocol gets) the rest later: it goes back to the transport.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_net::{Address, LineHandler, LineReceiver, LineTransport, listen};
/// use ropewalk_reactor::Simulation;
///
/// struct Shout;
/// impl LineHandler for Shout {
///     fn line_received(&mut self, transport: &LineTransport<'_>, line: &[u8]) {
///         transport.send_line(&line.to_ascii_uppercase());
///     }
/// }
///
/// let simulation = Simulation::new(1);
/// let port = listen(simulation.reactor(), &"tcp:7:interface=127.0.0.1".parse()?, || LineReceiver::new(Shout))?;
/// # let Address::Inet(address) = *port.address() else { unreachable!() };
/// let peer = simulation.network().connect(address);
/// simulation.advance(Duration::from_millis(10));
/// peer.write(b"hemp\r\nja");
/// peer.write(b"te\r\n");
/// simulation.advance(Duration::from_millis(10));
/// assert_eq!(peer.text(), "HEMP\r\nJATE\r\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LineReceiver<H> {
    handler: H,
    delimiter: Cow<'static, [u8]>,
    /// A `\n` ends a line as well as a `\r\n`.
    any_ending: bool,
    max_length: usize,
    raw: Cell<bool>,
    rest: Cell<usize>,
    /// The beginning of a line. Empty, and without memory, between lines.
    partial: Vec<u8>,
    /// How much of it was searched in vain.
    searched: usize,
    /// The line was too long: everything up to the delimiter is dropped.
    skipping: bool,
}

impl<H: LineHandler> LineReceiver<H> {
    /// Lines that end in `\r\n` and have at most [`MAX_LENGTH`] bytes.
    pub fn new(handler: H) -> LineReceiver<H> {
        LineReceiver {
            handler,
            delimiter: Cow::Borrowed(CRLF),
            any_ending: false,
            max_length: MAX_LENGTH,
            raw: Cell::new(false),
            rest: Cell::new(0),
            partial: Vec::new(),
            searched: 0,
            skipping: false,
        }
    }

    /// Another delimiter.
    ///
    /// # Panics
    /// If it is empty.
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: impl Into<Cow<'static, [u8]>>) -> LineReceiver<H> {
        self.delimiter = delimiter.into();
        self.any_ending = false;
        assert!(!self.delimiter.is_empty(), "an empty delimiter ends every line before it begins");
        self
    }

    /// Lines that end in `\r\n` or in `\n`, each as its peer likes: people at terminals, and programs. One `\r` in front of
    /// the `\n` is never part of the line. What is sent ends in `\r\n`.
    ///
    /// Not for protocols whose framing must mean the same to everybody on the way, as SMTP's and HTTP's: an ending that one
    /// side sees and the other does not is how messages are smuggled.
    #[must_use]
    pub fn with_any_ending(mut self) -> LineReceiver<H> {
        self.delimiter = Cow::Borrowed(CRLF);
        self.any_ending = true;
        self
    }

    /// Another limit, in bytes without the delimiter.
    #[must_use]
    pub fn with_max_length(mut self, max_length: usize) -> LineReceiver<H> {
        self.max_length = max_length;
        self
    }

    /// Raw from the first byte on.
    #[must_use]
    pub fn in_raw_mode(self) -> LineReceiver<H> {
        self.raw.set(true);
        self
    }

    fn call(&mut self, transport: &Transport, call: impl FnOnce(&mut H, &LineTransport<'_>)) {
        let transport =
            LineTransport { transport, delimiter: &self.delimiter, raw: &self.raw, rest: &self.rest };
        call(&mut self.handler, &transport);
    }

    /// A callback that brings no bytes, but may switch, or want bytes raw of which the beginning of a line was kept.
    fn tell(&mut self, transport: &Transport, call: impl FnOnce(&mut H, &LineTransport<'_>)) {
        self.call(transport, call);
        settle(self, transport);
    }

    /// The first delimiter: where it begins, and where the next line does.
    fn find(&self, data: &[u8]) -> Option<(usize, usize)> {
        let unsearched = &data[self.searched..];
        if self.any_ending {
            let at = self.searched + memchr(b'\n', unsearched)?;
            return Some((at - usize::from(data[..at].ends_with(b"\r")), at + 1));
        }
        let at = self.searched + memmem::find(unsearched, &self.delimiter)?;
        Some((at, at + self.delimiter.len()))
    }

    /// How much of the beginning of a line is certain to be no part of its end.
    fn certain(&self, data: &[u8]) -> usize {
        if self.any_ending {
            return data.len() - usize::from(data.ends_with(b"\r"));
        }
        data.len().saturating_sub(self.delimiter.len() - 1)
    }

    fn step_raw(&mut self, transport: &Transport, data: &[u8]) -> Option<usize> {
        if data.is_empty() {
            return None;
        }
        self.rest.set(0);
        self.call(transport, |handler, transport| handler.raw_data_received(transport, data));
        // Only a change to lines hands anything back.
        let rest = if self.raw.get() { 0 } else { self.rest.take() };
        Some(data.len().saturating_sub(rest))
    }

    /// What begins a line must not grow for ever: answers how much of it is dropped.
    fn check_length(&mut self, transport: &Transport, data: &[u8]) -> Option<usize> {
        let certain = self.certain(data).max(self.searched);
        self.searched = certain;
        if !self.skipping && certain <= self.max_length {
            return None;
        }
        self.searched = 0;
        if !std::mem::replace(&mut self.skipping, true) {
            self.call(transport, |handler, transport| {
                handler.line_length_exceeded(transport, &data[..certain]);
            });
        }
        (certain > 0).then_some(certain)
    }
}

impl<H: LineHandler> Cut for LineReceiver<H> {
    fn step(&mut self, transport: &Transport, data: &[u8]) -> Option<usize> {
        if self.raw.get() {
            return self.step_raw(transport, data);
        }
        let Some((end, next)) = self.find(data) else {
            return self.check_length(transport, data);
        };
        self.searched = 0;
        let line = &data[..end];
        if std::mem::take(&mut self.skipping) {
            // The end of a line of which the handler has heard already.
        } else if end > self.max_length {
            self.call(transport, |handler, transport| handler.line_length_exceeded(transport, line));
        } else {
            self.call(transport, |handler, transport| handler.line_received(transport, line));
        }
        Some(next)
    }

    fn partial(&mut self) -> &mut Vec<u8> {
        &mut self.partial
    }

    fn rewound(&mut self) {
        self.searched = 0;
    }

    fn wants_rest(&self) -> bool {
        self.raw.get()
    }
}

impl<H: LineHandler> Protocol for LineReceiver<H> {
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

    fn freezable(&self) -> bool {
        !self.raw.get() && self.handler.freezable()
    }

    fn freeze(&mut self, transport: &Transport) -> Option<Frozen> {
        // The rest of a line of which the handler has heard already would be a line of its own over there.
        if self.raw.get() || self.skipping {
            return None;
        }
        let mut frozen = None;
        self.call(transport, |handler, transport| frozen = handler.freeze(transport));
        if frozen.is_some() {
            transport.unread(&std::mem::take(&mut self.partial));
            self.rewound();
        }
        frozen
    }

    fn thawed(&mut self, transport: &Transport) {
        self.tell(transport, |handler, transport| handler.thawed(transport));
    }

    fn woken(&mut self, transport: &Transport) {
        self.tell(transport, |handler, transport| handler.woken(transport));
    }
}
