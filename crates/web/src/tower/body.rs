//! A request's body as a service reads it: `Incoming` may go to any thread, `Pump` stays on the loop and moves what the one asks for,
//! and no more than a bound beyond that: a service that does not read stops its client.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};

use crate::inbound::BodyError;
use crate::request::Request;

/// Bytes that wait for the service; then the client waits.
const BUFFER_BYTES: usize = 64 * 1024;

/// The body of a request, for a service. It is `Send`, and fed while the request is served: also while a task of the service reads it
/// for an answer that has begun. What is left of it when the answer is over fails as [`BodyError::Lost`].
pub struct Incoming(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    pieces: VecDeque<Bytes>,
    buffered: usize,
    /// The service has asked for it. Before, not a byte is read, and no `100 Continue` said.
    wanted: bool,
    end: Option<Result<Option<HeaderMap>, BodyError>>,
    /// What is left of it, if that is known.
    left: Option<u64>,
    reader: Option<Waker>,
    pump: Option<Waker>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing of another's runs under the lock but a waker's clone.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The loop's side.
pub(super) struct Pump {
    request: Request,
    state: Arc<Mutex<State>>,
    /// Everything was moved, or there is nothing to move.
    done: bool,
}

pub(super) fn pair(request: Request) -> (Incoming, Pump) {
    let has_body = request.has_body();
    let mut state = State { left: request.body_length(), ..State::default() };
    if !has_body {
        state.end = Some(Ok(None));
        state.left = Some(0);
    }
    let state = Arc::new(Mutex::new(state));
    let pump = Pump { request, state: Arc::clone(&state), done: !has_body };
    (Incoming(state), pump)
}

impl Pump {
    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    /// Moves what there is, as long as the service wants it.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) {
        while !self.done {
            let mut state = lock(&self.state);
            if !state.wanted || state.buffered >= BUFFER_BYTES {
                state.pump = Some(context.waker().clone());
                return;
            }
            drop(state);
            let Poll::Ready(piece) = self.request.poll_piece(context) else {
                // Two may wake it: the connection, and who takes the last of what is buffered.
                lock(&self.state).pump = Some(context.waker().clone());
                return;
            };
            let end = match piece {
                Ok(Some(piece)) => {
                    self.push(piece);
                    continue;
                }
                Ok(None) => Ok(trailers(&self.request)),
                Err(error) => Err(error),
            };
            self.end(end);
        }
    }

    fn push(&self, piece: Vec<u8>) {
        let mut state = lock(&self.state);
        state.buffered += piece.len();
        state.pieces.push_back(piece.into());
        wake(state, |state| &mut state.reader);
    }

    fn end(&mut self, end: Result<Option<HeaderMap>, BodyError>) {
        self.done = true;
        let mut state = lock(&self.state);
        state.end.get_or_insert(end);
        wake(state, |state| &mut state.reader);
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if !self.done {
            self.end(Err(BodyError::Lost));
        }
    }
}

/// Wakes whoever waits, outside of the lock.
fn wake(mut state: MutexGuard<'_, State>, whom: impl FnOnce(&mut State) -> &mut Option<Waker>) {
    let waker = whom(&mut state).take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn trailers(request: &Request) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in request.trailers() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(&value)) {
            map.append(name, value);
        }
    }
    (!map.is_empty()).then_some(map)
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = lock(&self.0);
        if let Some(piece) = state.pieces.pop_front() {
            let was_full = state.buffered >= BUFFER_BYTES;
            state.buffered -= piece.len();
            state.left = state.left.map(|left| left.saturating_sub(piece.len() as u64));
            if was_full && state.buffered < BUFFER_BYTES {
                wake(state, |state| &mut state.pump);
            }
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match &mut state.end {
            Some(Ok(trailers)) => Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
            Some(Err(error)) => Poll::Ready(Some(Err(error.clone()))),
            None => {
                state.reader = Some(context.waker().clone());
                if !std::mem::replace(&mut state.wanted, true) {
                    wake(state, |state| &mut state.pump);
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = lock(&self.0);
        state.pieces.is_empty() && matches!(state.end, Some(Ok(None)))
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("left", &lock(&self.0).left).finish_non_exhaustive()
    }
}
