//! A body that is a file: it waits among the transport's output, which sends it without this side's doing, and tells when the last
//! byte is out. Until then the answer is being sent, and the next request waits. The connection calls it where it would pump a
//! stream.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use ropewalk_net::{FileSender, Lost, Transport};
use ropewalk_reactor::{Deferred, Outcome};

use super::HttpConnection;
use crate::exchange::Exchange;

/// A file on its way out.
pub(super) struct Sending {
    /// Fires with its length, or with nothing when the connection is lost.
    told: Pin<Box<Deferred<Option<u64>>>>,
    length: u64,
    /// Bytes that the connection sends before its first one.
    before: u64,
}

impl Sending {
    /// How much of it was handed to the system.
    fn sent(&self, transport: &Transport) -> u64 {
        let (_, sent) = transport.traffic();
        sent.saturating_sub(self.before).min(self.length)
    }
}

impl HttpConnection {
    pub(super) fn send_file(&mut self, transport: &Transport, exchange: &Rc<Exchange>, file: FileSender) {
        let (_, sent) = transport.traffic();
        let (length, before) = (file.len(), sent + transport.buffered() as u64);
        // That the connection was lost, and why, is told to it anyway.
        let told = file.send(transport).add_both(|outcome: Outcome<u64>| outcome.ok());
        self.flight().sending = Some(Sending { told: Box::pin(told), length, before });
        self.poll_file(transport, exchange);
    }

    /// Completes the answer if all of its file is sent; else asks to be woken.
    pub(super) fn poll_file(&mut self, transport: &Transport, exchange: &Exchange) {
        let Some(flight) = &mut self.flight else { return };
        let Some(sending) = &mut flight.sending else { return };
        let waker = flight.waker.get_or_insert_with(|| transport.waker());
        if let Poll::Ready(told) = sending.told.as_mut().poll(&mut Context::from_waker(waker)) {
            let bytes = told.unwrap_or_default();
            flight.sending = None;
            if let Some(bytes) = bytes {
                exchange.file_sent(bytes);
            }
        }
    }

    /// The connection was lost with a file on its way: what went out of it counts.
    pub(super) fn file_lost(&self, transport: &Transport, exchange: &Exchange, lost: &Lost) {
        if let Some(sending) = self.flight.as_ref().and_then(|flight| flight.sending.as_ref()) {
            exchange.sent.set(sending.sent(transport));
        }
        if let Lost::File(_) = lost {
            tracing::error!(path = exchange.head.path(), "an answer was broken off: {lost}");
        }
    }
}
