//! Standard input as a stream of pieces. A thread reads it, because it may be a terminal, a pipe or a file; it hands over one
//! piece and waits until the loop has taken it, so that a fast writer is held back by its pipe and nothing is buffered here.
//! The server's task reads from it; nobody else does.

use std::future::poll_fn;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1024;

#[derive(Default)]
struct Slot {
    piece: Option<Vec<u8>>,
    ended: bool,
    /// The reader is gone: the thread is to end as soon as it can.
    abandoned: bool,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Shared {
    slot: Mutex<Slot>,
    taken: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread's side: waits until there is room; false when nobody reads any more.
    fn put(&self, piece: Option<Vec<u8>>) -> bool {
        let mut slot = self.lock();
        while slot.piece.is_some() && !slot.abandoned {
            slot = self.taken.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
        slot.ended |= piece.is_none();
        slot.piece = piece;
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
        !slot.abandoned
    }
}

/// Pieces of standard input.
pub(crate) struct Input(Arc<Shared>);

impl Input {
    /// Begins to read. A read that waits for a terminal ends only with the process.
    pub(crate) fn open() -> io::Result<Input> {
        let shared = Arc::new(Shared::default());
        let hands = Arc::clone(&shared);
        std::thread::Builder::new().name("standard input".to_owned()).spawn(move || pump(&hands))?;
        Ok(Input(shared))
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn piece(&mut self) -> Option<Vec<u8>> {
        poll_fn(|context| {
            let mut slot = self.0.lock();
            match slot.piece.take() {
                Some(piece) => {
                    self.0.taken.notify_one();
                    Poll::Ready(Some(piece))
                }
                None if slot.ended => Poll::Ready(None),
                None => {
                    slot.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.0.lock().abandoned = true;
        self.0.taken.notify_one();
    }
}

fn pump(shared: &Shared) {
    let mut input = io::stdin().lock();
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if !shared.put(Some(buffer[..count].to_vec())) {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::error!("standard input: {error}");
                break;
            }
        }
    }
    shared.put(None);
}
