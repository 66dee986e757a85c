//! What waits to be sent on one connection: bytes in a pooled buffer, shared pieces that many connections send, and parts of
//! files. An idle connection has none of it. The transport owns an `Outbox` from the first write until everything is drained.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;

use ropewalk_reactor::io::Socket;

use super::part::{self, FilePart, Step, Transform};
use crate::protocol::Lost;

/// Outboxes kept for the next write; more are freed.
pub(super) const POOL_MAX: usize = 32;
/// A buffer that has grown beyond this is freed rather than kept.
const KEEP_BYTES_MAX: usize = 64 * 1024;
/// Likewise a queue of more pieces than this.
const KEEP_PIECES_MAX: usize = 256;
/// What a fresh buffer holds: a head and a small body.
const FRESH_BYTES: usize = 1024;
/// Shared pieces smaller than this are copied: cheaper than a vector entry of their own.
const COPY_BYTES_MAX: usize = 256;
/// Pieces handed to one `writev`.
const PIECES_MAX: usize = 16;

enum Piece {
    Owned(Vec<u8>),
    Shared(Rc<[u8]>),
    File(Box<FilePart>),
}

impl Piece {
    /// What is in memory of it; a file is not.
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Piece::Owned(bytes) => Some(bytes),
            Piece::Shared(bytes) => Some(bytes),
            Piece::File(_) => None,
        }
    }
}

/// Bytes in the order in which they were written: `first`, then `rest`.
#[derive(Default)]
pub(super) struct Outbox {
    first: Vec<u8>,
    rest: VecDeque<Piece>,
    /// How much of the very first piece is sent.
    sent: usize,
    len: u64,
}

/// What one attempt to send came to.
#[derive(Debug)]
pub(super) enum Sent {
    /// Everything is handed to the system.
    All(u64),
    /// The system takes no more for now.
    Blocked(u64),
    /// A file is next, and there is another reason to wait.
    Paused(u64, Pause),
    Failed(io::Error),
    /// A file could not be read.
    Unreadable(io::Error),
}

/// Why a file is not sent any further now, although the peer takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// It was much for one turn.
    Turn,
    /// Its next bytes are not here yet.
    Disk,
}

#[allow(clippy::vec_box, reason = "the box is what an idle connection does without: it is kept, too")]
mod pool {
    use super::{Outbox, RefCell};

    thread_local! {
        pub(super) static POOL: RefCell<Vec<Box<Outbox>>> = const { RefCell::new(Vec::new()) };
    }
}

impl Outbox {
    #[inline]
    pub(super) fn take() -> Box<Outbox> {
        let pooled = pool::POOL.with(|pool| pool.borrow_mut().pop());
        pooled.unwrap_or_else(Outbox::fresh)
    }

    #[cold]
    fn fresh() -> Box<Outbox> {
        let first = Vec::with_capacity(FRESH_BYTES);
        Box::new(Outbox { first, ..Outbox::default() })
    }

    /// Gives an outbox back; what it still holds is dropped.
    #[inline]
    pub(super) fn give_back(mut self: Box<Self>) {
        if self.first.capacity() > KEEP_BYTES_MAX || self.rest.capacity() > KEEP_PIECES_MAX {
            return;
        }
        self.forget();
        pool::POOL.with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < POOL_MAX {
                pool.push(self);
            }
        });
    }

    /// The same, aside: for what happens rarely.
    #[cold]
    pub(super) fn put_away(self: Box<Self>) {
        self.give_back();
    }

    /// Drops all that it holds.
    #[inline]
    fn forget(&mut self) {
        self.first.clear();
        if !self.rest.is_empty() {
            self.rest.clear();
        }
        (self.sent, self.len) = (0, 0);
    }

    /// All that waits, in one piece; `None` if a file is among it.
    pub(super) fn into_bytes(self: Box<Self>) -> Option<Vec<u8>> {
        let bytes = self.to_bytes()?;
        self.give_back();
        Some(bytes)
    }

    /// A copy of all that waits; `None` if a file is among it.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = self.first[self.sent.min(self.first.len())..].to_vec();
        let mut skip = self.sent.saturating_sub(self.first.len());
        for piece in &self.rest {
            bytes.extend_from_slice(&piece.bytes()?[std::mem::take(&mut skip)..]);
        }
        Some(bytes)
    }

    /// Gives it back because nothing of it will be sent any more: whoever waits for a file is told why.
    pub(super) fn discard(mut self: Box<Self>, lost: &Lost) {
        for piece in &mut self.rest {
            if let Piece::File(part) = piece {
                part.fail(lost);
            }
        }
        self.give_back();
    }

    /// Bytes that wait, those of files included.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn write(&mut self, data: &[u8]) {
        self.write_with(|out| out.extend_from_slice(data));
    }

    /// Lets an encoder append. It may only append.
    pub(super) fn write_with(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let out = match self.rest.back_mut() {
            None => &mut self.first,
            Some(Piece::Owned(bytes)) => bytes,
            Some(Piece::Shared(_) | Piece::File(_)) => {
                self.rest.push_back(Piece::Owned(Vec::new()));
                match self.rest.back_mut() {
                    Some(Piece::Owned(bytes)) => bytes,
                    _ => return,
                }
            }
        };
        let before = out.len();
        encode(out);
        debug_assert!(out.len() >= before, "an encoder only appends");
        self.len += (out.len() - before) as u64;
    }

    pub(super) fn write_shared(&mut self, data: &Rc<[u8]>, from: usize) {
        if data.len() - from <= COPY_BYTES_MAX {
            return self.write(&data[from..]);
        }
        if from > 0 {
            // The beginning of a shared piece was sent directly: only a first piece can be partly sent.
            debug_assert!(self.len == 0, "pieces in front are sent first");
            self.sent = from;
        }
        self.len += (data.len() - from) as u64;
        self.rest.push_back(Piece::Shared(Rc::clone(data)));
    }

    /// Sends what the socket takes.
    #[inline(always)]
    pub(super) fn send(&mut self, socket: &Socket) -> Sent {
        if self.len == 0 || !self.rest.is_empty() {
            return self.send_pieces(socket);
        }
        // One buffer, as nearly always.
        match socket.write(&self.first[self.sent..]) {
            Ok(count) if count as u64 == self.len => {
                self.forget();
                Sent::All(count as u64)
            }
            Ok(count) => {
                self.advance(count);
                Sent::Blocked(count as u64)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => Sent::Blocked(0),
                io::ErrorKind::Interrupted => self.send_pieces(socket),
                _ => Sent::Failed(error),
            },
        }
    }

    #[inline(never)]
    fn send_pieces(&mut self, socket: &Socket) -> Sent {
        let (mut total, mut of_files) = (0, 0);
        while self.len > 0 {
            if self.front_file().is_some() {
                match self.send_front_file(socket, of_files) {
                    Step::Sent(count) => {
                        total += count;
                        of_files += count.max(part::STEP_BYTES_MIN);
                        continue;
                    }
                    Step::Blocked => return Sent::Blocked(total),
                    Step::Enough => return Sent::Paused(total, Pause::Turn),
                    Step::Hungry => return Sent::Paused(total, Pause::Disk),
                    Step::Failed(error) => return Sent::Failed(error),
                    Step::Unreadable(error) => return Sent::Unreadable(error),
                }
            }
            let (attempted, outcome) = self.send_once(socket);
            match outcome {
                Ok(count) => {
                    total += count as u64;
                    self.advance(count);
                    if count < attempted {
                        return Sent::Blocked(total);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Sent::Blocked(total),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Sent::Failed(error),
            }
        }
        Sent::All(total)
    }

    fn send_once(&self, socket: &Socket) -> (usize, io::Result<usize>) {
        if self.rest.is_empty() {
            let bytes = &self.first[self.sent..];
            return (bytes.len(), socket.write(bytes));
        }
        let mut slices = [IoSlice::new(&[]); PIECES_MAX];
        let mut count = 0;
        let mut attempted = 0;
        let mut skip = self.sent;
        let first = (!self.first.is_empty()).then_some(self.first.as_slice());
        for bytes in first.into_iter().chain(self.rest.iter().map_while(Piece::bytes)).take(PIECES_MAX) {
            let bytes = &bytes[std::mem::take(&mut skip)..];
            slices[count] = IoSlice::new(bytes);
            count += 1;
            attempted += bytes.len();
        }
        let outcome =
            if count == 1 { socket.write(&slices[0]) } else { socket.write_vectored(&slices[..count]) };
        (attempted, outcome)
    }

    fn advance(&mut self, count: usize) {
        self.len -= count as u64;
        self.sent += count;
        if !self.first.is_empty() {
            if self.sent < self.first.len() {
                return forget_sent(&mut self.first, &mut self.sent);
            }
            self.sent -= self.first.len();
            self.first.clear();
        }
        while let Some(piece) = self.rest.front_mut() {
            let Some(len) = piece.bytes().map(<[u8]>::len) else { return };
            if self.sent < len {
                if let Piece::Owned(bytes) = piece {
                    forget_sent(bytes, &mut self.sent);
                }
                return;
            }
            self.sent -= len;
            self.rest.pop_front();
        }
    }
}

/// Files among the rest.
impl Outbox {
    pub(super) fn push_file(&mut self, part: FilePart) {
        self.len += part.len();
        self.rest.push_back(Piece::File(Box::new(part)));
    }

    /// Bytes that are still in files.
    pub(super) fn in_files(&self) -> u64 {
        let parts = self.rest.iter().filter_map(|piece| match piece {
            Piece::File(part) => Some(part.in_file()),
            Piece::Owned(_) | Piece::Shared(_) => None,
        });
        parts.sum()
    }

    /// The file that is to be sent next, if it is one.
    pub(super) fn front_file(&mut self) -> Option<&mut FilePart> {
        match self.rest.front_mut() {
            Some(Piece::File(part)) if self.first.is_empty() => Some(part),
            _ => None,
        }
    }

    /// An errand for the file at the front is done.
    pub(super) fn feed(&mut self, length: u64, bytes: Vec<u8>, transform: Option<Transform>) {
        if let Some(part) = self.front_file() {
            let before = part.len();
            part.feed(length, bytes, transform);
            let after = part.len();
            // A transform may have made more of it, or less.
            self.len = self.len - before + after;
            self.finish_front_file();
        }
    }

    /// Lets the file at the front go if nothing is left of it.
    fn finish_front_file(&mut self) {
        if let Some(part) = self.front_file()
            && part.len() == 0
        {
            part.finish();
            self.rest.pop_front();
        }
    }

    /// Sends of the file at the front what may still go in this turn, in which so many bytes of files went already.
    fn send_front_file(&mut self, socket: &Socket, of_files: u64) -> Step {
        let allowance = part::BYTES_PER_TURN.saturating_sub(of_files);
        let Some(part) = self.front_file() else { return Step::Sent(0) };
        let step = part.send(socket, allowance);
        if let Step::Sent(count) = step {
            self.len -= count;
            self.finish_front_file();
        }
        step
    }
}

/// Drops the sent beginning of a buffer once it is the greater half: a writer that always keeps a little unsent would
/// otherwise grow it for ever. Each byte that is moved was paid for by one that was sent.
fn forget_sent(bytes: &mut Vec<u8>, sent: &mut usize) {
    if *sent >= FRESH_BYTES && *sent * 2 >= bytes.len() {
        bytes.drain(..*sent);
        *sent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while outbox.len() > 0 {
            let mut skip = outbox.sent;
            let all: Vec<u8> = std::iter::once(outbox.first.as_slice())
                .filter(|first| !first.is_empty())
                .chain(outbox.rest.iter().map_while(Piece::bytes))
                .flat_map(|piece| piece[std::mem::take(&mut skip)..].to_vec())
                .collect();
            assert_eq!(all.len() as u64, outbox.len());
            let count = step.min(all.len());
            out.extend_from_slice(&all[..count]);
            outbox.advance(count);
        }
        out
    }

    #[test]
    fn order_is_kept_whatever_the_pieces_and_however_they_are_sent() {
        let shared: Rc<[u8]> = vec![b's'; 1000].into();
        let small: Rc<[u8]> = b"small".to_vec().into();
        for step in [1, 7, 999, 1000, 1001, 5000] {
            let mut outbox = Outbox::take();
            let mut expected = Vec::new();
            for round in 0..3u8 {
                outbox.write(b"head");
                outbox.write_shared(&shared, 0);
                outbox.write_shared(&small, 0);
                outbox.write(&[round; 3]);
                for piece in [b"head".as_slice(), &shared, &small, &[round; 3]] {
                    expected.extend_from_slice(piece);
                }
            }
            assert_eq!(drain(&mut outbox, step), expected, "in steps of {step}");
            outbox.give_back();
        }
    }

    /// A reader that is always a little behind: 1 KiB unsent, 64 MiB in all.
    #[test]
    fn a_buffer_that_is_never_quite_drained_does_not_grow() {
        for shared_first in [false, true] {
            let mut outbox = Outbox::take();
            if shared_first {
                outbox.write_shared(&vec![0; 1000].into(), 0);
            }
            outbox.write(&[0; 1024]);
            for _ in 0..64 * 1024 {
                outbox.write(&[1; 1024]);
                outbox.advance(1024);
            }
            let held = |bytes: &Vec<u8>| bytes.capacity();
            let rest: usize = outbox.rest.iter().filter_map(Piece::bytes).map(<[u8]>::len).sum();
            assert!(held(&outbox.first) + rest < KEEP_BYTES_MAX, "{} and {rest}", held(&outbox.first));
        }
    }

    #[test]
    fn a_shared_piece_may_begin_in_its_middle() {
        let shared: Rc<[u8]> = (0..=255).cycle().take(2000).collect::<Vec<u8>>().into();
        let mut outbox = Outbox::take();
        outbox.write_shared(&shared, 700);
        outbox.write(b"tail");
        assert_eq!(drain(&mut outbox, 333), [&shared[700..], b"tail"].concat());
    }
}
