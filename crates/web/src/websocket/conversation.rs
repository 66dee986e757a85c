//! `Conversation`: the async face. Messages wait in an inbox that is bounded, for while it is full nothing is read; a function that
//! receives them runs as a task. The connection knows only the handler that feeds the inbox.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use ropewalk_reactor::{Failure, Outcome, Sleep};
use ropewalk_wire::websocket::{Message, code};

use super::connection::failed;
use super::handle::{Closed, WebSocket};
use super::handler::{Piece, WebSocketHandler};
use crate::incident::discard;

/// From so many bytes, or messages, that wait to be received, nothing more is read. With one that was larger by itself, and what the
/// system holds, that is all a peer can make wait.
const INBOX_BYTES: usize = 64 * 1024;
const INBOX_MESSAGES: usize = 64;
/// An empty inbox with room for more is freed rather than kept.
const KEEP_MESSAGES: usize = 4;

#[derive(Default)]
struct Inbox {
    waiting: VecDeque<Piece>,
    bytes: usize,
    /// Who receives.
    waker: Option<Waker>,
    /// Who runs the function that does, and must hear of the end also while that waits for something else.
    driver: Option<Waker>,
    closed: Option<Closed>,
    /// Nobody will receive any more.
    dropped: bool,
}

impl Inbox {
    fn is_full(&self) -> bool {
        self.bytes >= INBOX_BYTES || self.waiting.len() >= INBOX_MESSAGES
    }
}

type Mail = Rc<RefCell<Inbox>>;

/// A WebSocket in an async function: [`receive`](Conversation::receive), and everything that a [`WebSocket`] can do. It is also a
/// [`Stream`] of messages.
///
/// While more waits to be received than is good, 64 KiB or 64 messages, nothing is read from the peer, and its Pings are not answered.
///
/// ```
/// use ropewalk_reactor::Outcome;
/// use ropewalk_web::websocket::Conversation;
///
/// async fn shout(mut socket: Conversation) -> Outcome<()> {
///     while let Some(message) = socket.receive().await {
///         if let Some(text) = message.as_text() {
///             socket.send_text(&text.to_uppercase());
///             // As fast as it is taken, and no faster.
///             socket.drained().await;
///         }
///     }
///     Ok(())
/// }
/// # drop(shout);
/// ```
pub struct Conversation {
    socket: WebSocket,
    mail: Mail,
    /// Whether the connection ends with it: where nobody else runs it.
    closes: bool,
}

impl Conversation {
    /// A handle of it.
    #[must_use]
    pub fn handle(&self) -> WebSocket {
        self.socket.clone()
    }

    /// The next message; `None` when the peer has closed, or the connection is gone: [`WebSocket::closed`] says how. Where messages are
    /// delivered in pieces, the next piece.
    pub async fn receive(&mut self) -> Option<Message> {
        poll_fn(|context| self.poll_receive(context)).await.map(|piece| piece.data)
    }

    /// The same with whether the message ends with it.
    pub async fn receive_piece(&mut self) -> Option<Piece> {
        poll_fn(|context| self.poll_receive(context)).await
    }

    /// [`Conversation::receive_piece`] for hand-written futures.
    pub fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        let mut inbox = self.mail.borrow_mut();
        let Some(piece) = inbox.waiting.pop_front() else {
            if inbox.closed.is_some() {
                return Poll::Ready(None);
            }
            if inbox.waiting.capacity() > KEEP_MESSAGES {
                inbox.waiting = VecDeque::new();
            }
            inbox.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        inbox.bytes -= piece.data.len();
        let empty = inbox.waiting.is_empty();
        drop(inbox);
        if empty {
            // Not before: each pause and each start costs more than a message.
            self.socket.resume_reading();
        }
        Poll::Ready(Some(piece))
    }

    /// Waits until the socket is not full, or is gone.
    pub fn drained(&self) -> Drained {
        Drained(self.socket.clone())
    }
}

impl Deref for Conversation {
    type Target = WebSocket;
    fn deref(&self) -> &WebSocket {
        &self.socket
    }
}

impl Stream for Conversation {
    type Item = Message;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.poll_receive(context).map(|piece| piece.map(|piece| piece.data))
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let mut inbox = self.mail.borrow_mut();
        inbox.dropped = true;
        inbox.waker = None;
        let waiting = std::mem::take(&mut inbox.waiting);
        drop(inbox);
        drop(waiting);
        if self.closes {
            self.socket.close(code::NORMAL, "");
        }
        self.socket.resume_reading();
    }
}

impl std::fmt::Debug for Conversation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Conversation({:?})", self.socket)
    }
}

/// Waits until a socket has room; see [`Conversation::drained`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct Drained(WebSocket);

impl Future for Drained {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll_writable(context)
    }
}

type Work = Pin<Box<dyn Future<Output = Outcome<()>>>>;
type Begin = Box<dyn FnOnce(Conversation) -> Work>;

/// The handler behind a conversation: it fills the inbox.
pub(super) struct Feeder {
    mail: Mail,
    begin: Option<Begin>,
}

impl Feeder {
    /// For a conversation that somebody else holds.
    pub(super) fn new() -> Feeder {
        Feeder { mail: Mail::default(), begin: None }
    }

    /// For one that this function has.
    pub(super) fn driving<F>(handler: impl FnOnce(Conversation) -> F + 'static) -> Feeder
    where
        F: Future<Output = Outcome<()>> + 'static,
    {
        Feeder { begin: Some(Box::new(|conversation| Box::pin(handler(conversation)))), ..Feeder::new() }
    }

    /// The conversation whose inbox this fills; its connection ends with it.
    pub(super) fn conversation(&self) -> impl FnOnce(WebSocket) -> Conversation + use<> {
        let mail = Rc::clone(&self.mail);
        move |socket| Conversation { socket, mail, closes: true }
    }

    fn put(&self, socket: &WebSocket, piece: Piece) {
        let mut inbox = self.mail.borrow_mut();
        if inbox.dropped {
            return;
        }
        inbox.bytes += piece.data.len();
        inbox.waiting.push_back(piece);
        if inbox.is_full() {
            socket.pause_reading();
        }
        wake(inbox.waker.take());
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl WebSocketHandler for Feeder {
    fn open(&mut self, socket: &WebSocket) {
        let Some(begin) = self.begin.take() else { return };
        let work = begin(Conversation { socket: socket.clone(), mail: Rc::clone(&self.mail), closes: false });
        let driver =
            Driver { work: Some(work), mail: Rc::clone(&self.mail), socket: socket.clone(), grace: None };
        drop(socket.reactor().spawn_named(socket.transport().name(), driver));
    }

    fn message(&mut self, socket: &WebSocket, message: Message) {
        self.put(socket, Piece { data: message, last: true });
    }

    fn piece(&mut self, socket: &WebSocket, piece: Piece) {
        self.put(socket, piece);
    }

    fn closed(&mut self, _: &WebSocket, closed: &Closed) {
        let mut inbox = self.mail.borrow_mut();
        inbox.closed = Some(closed.clone());
        let wakers = (inbox.waker.take(), inbox.driver.take());
        drop(inbox);
        wake(wakers.0);
        wake(wakers.1);
    }
}

/// Runs the function of a conversation, and closes behind it. It ends a while after its connection at the latest.
struct Driver {
    work: Option<Work>,
    mail: Mail,
    socket: WebSocket,
    grace: Option<Pin<Box<Sleep>>>,
}

impl Future for Driver {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(work) = &mut this.work else { return Poll::Ready(()) };
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        let outcome = match polled.map_err(Failure::from_panic) {
            Ok(Poll::Pending) => return this.wait(context),
            Ok(Poll::Ready(outcome)) => outcome,
            Err(failure) => Err(failure),
        };
        discard(this.work.take());
        match outcome {
            Ok(()) => this.socket.close(code::NORMAL, ""),
            Err(failure) => failed(&this.socket, &failure),
        }
        Poll::Ready(())
    }
}

impl Driver {
    /// While the function waits: once the connection is gone, not for ever.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut inbox = self.mail.borrow_mut();
        if inbox.closed.is_none() {
            inbox.driver = Some(context.waker().clone());
            return Poll::Pending;
        }
        drop(inbox);
        let socket = &self.socket;
        let grace =
            self.grace.get_or_insert_with(|| Box::pin(socket.reactor().sleep(socket.0.options.grace)));
        if grace.as_mut().poll(context).is_ready() {
            discard(self.work.take());
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// The task was taken away, with the loop for instance.
impl Drop for Driver {
    fn drop(&mut self) {
        if self.work.is_some() {
            discard(self.work.take());
            self.socket.close(code::GOING_AWAY, "");
        }
    }
}
