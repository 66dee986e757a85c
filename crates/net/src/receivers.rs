//! Protocols of messages: what arrives is cut into lines ([`crate::LineReceiver`]), into strings with their length in front
//! (`string`, whose two framings are in `framing`), or into blocks of a length that the protocol's state asks for (`stateful`).
//! Here is what they share: how bytes are kept until a message is whole, and what becomes of the rest when the protocol
//! pauses, closes or switches in the middle. It answers nothing by itself.
//!
//! A receiver keeps the beginning of one message at the most, in a buffer that grows with what has arrived, never with what
//! was announced, and that is given back as soon as nothing is left in it.

pub(crate) mod framing;
pub(crate) mod stateful;
pub(crate) mod string;
#[cfg(test)]
mod tests;

use crate::transport::Transport;

/// A receiver: it takes one message at a time.
pub(crate) trait Cut {
    /// Hands over one message from the beginning of `data`, and answers how many bytes that was; `None` if no whole one is
    /// there.
    fn step(&mut self, transport: &Transport, data: &[u8]) -> Option<usize>;

    /// Where the beginning of a message waits for the rest of it. Empty, and without memory, between messages.
    fn partial(&mut self) -> &mut Vec<u8>;

    /// The bytes of `partial` are gone; they come again later.
    fn rewound(&mut self) {}

    /// Whether bytes that wait in `partial` are due as they are, without any more.
    fn wants_rest(&self) -> bool {
        false
    }
}

/// Whether the protocol wants nothing more of what is here.
pub(crate) fn is_held(transport: &Transport) -> bool {
    transport.is_reading_paused() || transport.is_closing() || transport.is_switched()
}

/// Takes in what has arrived.
pub(crate) fn receive(receiver: &mut impl Cut, transport: &Transport, data: &[u8]) {
    let mut partial = std::mem::take(receiver.partial());
    if partial.is_empty() {
        let done = cut(receiver, transport, data);
        // What the transport gave out itself is handed back as the slice that it is: it need not be copied.
        if !is_handed_back(receiver, transport, &data[done..]) {
            *receiver.partial() = data[done..].to_vec();
        }
        return;
    }
    partial.extend_from_slice(data);
    let done = cut(receiver, transport, &partial);
    if !is_handed_back(receiver, transport, &partial[done..]) {
        // Only a buffer in which nothing was whole grows on: that is what makes single bytes linear.
        *receiver.partial() = if done == 0 { partial } else { partial.split_off(done) };
    }
}

/// Cuts up `data`; answers how much of it was handed over.
fn cut(receiver: &mut impl Cut, transport: &Transport, data: &[u8]) -> usize {
    let mut done = 0;
    while !is_held(transport) {
        match receiver.step(transport, &data[done..]) {
            Some(count) => done += count,
            None => break,
        }
    }
    done
}

/// Gives the rest back to the transport if the protocol takes no more now, and answers whether it was given back.
fn is_handed_back(receiver: &mut impl Cut, transport: &Transport, rest: &[u8]) -> bool {
    if !is_held(transport) {
        return false;
    }
    // It comes again, and is searched again: at most once per pause.
    receiver.rewound();
    if !transport.is_closing() {
        transport.unread(rest);
    }
    true
}

/// After a callback that brought no bytes: if it has switched to another protocol or changed what bytes are for, those that
/// wait here are due.
pub(crate) fn settle(receiver: &mut impl Cut, transport: &Transport) {
    if transport.is_switched() || receiver.wants_rest() {
        let rest = std::mem::take(receiver.partial());
        receiver.rewound();
        transport.unread(&rest);
    }
}
