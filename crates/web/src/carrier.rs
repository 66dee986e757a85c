//! What carries one exchange: HTTP/1.1, on its connection. The exchange says what is sent; here is how it is written, what holds it back, how
//! the client's bytes go on coming, and how it is broken off. `server` makes it; nothing above knows how many exchanges a connection
//! has at a time, or which bytes stand between two of them.
//!
//! HTTP/2 is another way of this type, beside the connection that reads its frames: a number that the client has chosen in place of the
//! turn, a window in place of high water, RST_STREAM in place of the abort (RFC 9113 sections 5.1.1, 5.2, 6.4).

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll};

use ropewalk_net::{Lost, Transport};
use ropewalk_reactor::{Failure, Key, Reactor};
use ropewalk_wire::http1::{self, BadBody, BodyEncoder, Length};

use crate::exchange::Exchange;
use crate::heads::{Heads, encode_own_type};
use crate::response::Response;

/// Which exchange: of which connection, and its number there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExchangeId {
    connection: Key,
    number: u32,
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}.{}", self.connection, self.number)
    }
}

pub(crate) struct Carrier {
    connection: Transport,
    number: u32,
    /// How the body is framed, while it is being sent.
    framing: RefCell<Option<BodyEncoder>>,
}

impl Carrier {
    /// For the exchange of this number, from 1.
    pub(crate) fn new(connection: &Transport, number: u32) -> Carrier {
        Carrier { connection: connection.clone(), number, framing: RefCell::new(None) }
    }

    pub(crate) fn id(&self) -> ExchangeId {
        ExchangeId { connection: self.connection.id(), number: self.number }
    }

    /// What its exchanges share: who the other end is, what was agreed upon with it, the listener's name.
    pub(crate) fn connection(&self) -> &Transport {
        &self.connection
    }

    pub(crate) fn reactor(&self) -> &Reactor {
        self.connection.reactor()
    }

    /// Has the connection look at the exchange again.
    pub(crate) fn wake(&self) {
        self.connection.wake();
    }

    // To the client.

    /// Writes the head of a plain answer (see [`Heads::encode_plain`]) and its body.
    #[inline]
    pub(crate) fn send_plain(&self, heads: &Heads, content_type: Option<&'static str>, whole: &[u8]) {
        self.connection.write_with(|out| {
            heads.encode_plain(out, self.reactor(), content_type, whole.len() as u64);
            out.extend_from_slice(whole);
        });
    }

    /// Writes any head and the body that comes with it, or nothing at all if a field cannot be sent: a mistake of the
    /// program, and the end of every header injection.
    pub(crate) fn send_head(
        &self,
        exchange: &Exchange,
        response: &Response,
        length: Length,
        whole: &[u8],
    ) -> Result<(), Failure> {
        if exchange.owes_continue() {
            // The client may or may not send its body now. This side would have to guess.
            exchange.close.set(true);
        }
        let mut outcome = Ok(());
        self.connection.write_with(|out| {
            let before = out.len();
            outcome = self.encode_head(out, exchange, response, length);
            match outcome {
                Ok(()) => out.extend_from_slice(whole),
                Err(_) => out.truncate(before),
            }
        });
        outcome.map_err(bad_field)
    }

    fn encode_head<'a>(
        &self,
        out: &mut Vec<u8>,
        exchange: &Exchange,
        response: &'a Response,
        length: Length,
    ) -> Result<(), &'a str> {
        let heads = &exchange.site().heads;
        heads.encode_beginning(out, self.reactor(), response.status, response.reason.as_deref());
        match &response.content_type {
            Some(Cow::Borrowed(content_type)) => encode_own_type(out, content_type),
            Some(Cow::Owned(content_type)) => {
                http1::encode_content_type(out, content_type).map_err(|_| "Content-Type")?;
            }
            None => {}
        }
        for (name, value) in &response.fields {
            // Framing is this side's own business.
            let framing =
                name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding");
            if name.eq_ignore_ascii_case("connection") && response.status != 101 {
                // So is the connection; what the program may ask for is its end.
                let options = value.split(',').map(str::trim);
                if options.into_iter().any(|option| option.eq_ignore_ascii_case("close")) {
                    exchange.close.set(true);
                }
            } else if framing || http1::encode_field(out, name, value.as_bytes()).is_err() {
                return Err(name);
            }
        }
        if response.status != 101 {
            http1::encode_connection(out, exchange.head.version(), !exchange.closes());
        }
        http1::encode_length(out, length);
        http1::encode_end(out);
        Ok(())
    }

    /// The head is sent, and a body of this length follows in pieces.
    pub(crate) fn open_body(&self, length: Length) {
        self.framing.replace(Some(BodyEncoder::new(length)));
    }

    /// Sends a piece of the body; false if there is none any more.
    pub(crate) fn send(&self, data: &[u8]) -> Result<bool, BadBody> {
        let Some(mut framing) = self.framing.take() else { return Ok(false) };
        let mut outcome = Ok(());
        self.connection.write_with(|out| outcome = framing.data(out, data));
        outcome?;
        self.framing.replace(Some(framing));
        Ok(true)
    }

    /// Sends a whole body, of which there is one for many.
    pub(crate) fn send_shared(&self, body: &Rc<[u8]>) {
        self.connection.write_shared(body);
    }

    /// Ends the body; false if there is none any more.
    pub(crate) fn finish(&self, trailers: &[(&str, &[u8])]) -> Result<bool, BadBody> {
        let Some(framing) = self.framing.take() else { return Ok(false) };
        let mut outcome = Ok(());
        self.connection.write_with(|out| outcome = framing.finish(out, trailers));
        outcome.map(|()| true)
    }

    /// Breaks the exchange off in the middle: nothing of its answer may be taken for the whole, and nobody shall complete it.
    pub(crate) fn reset(&self) {
        self.framing.take();
        self.connection.abort(Lost::Aborted);
    }

    /// Whether more waits to be sent than is good.
    pub(crate) fn is_full(&self) -> bool {
        self.connection.is_full()
    }

    /// Waits until the client has taken most of it, or is gone.
    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.connection.poll_writable(context)
    }

    // From the client.

    /// Bids it send the body that it has announced (RFC 9110 section 10.1.1).
    pub(crate) fn invite(&self) {
        self.connection.write_with(|out| {
            http1::encode_status(out, 100, None);
            http1::encode_end(out);
        });
    }

    /// What came of the body was taken: more may come.
    pub(crate) fn take_more(&self) {
        self.connection.resume_reading();
    }
}

#[cold]
fn bad_field(name: &str) -> Failure {
    Failure::new(format!("a field of the answer cannot be sent: {name:?}"))
}
