//! What the transport calls while a stream has it: it wakes the reader, keeps the reason of the end, and watches for the end
//! while nobody reads. The reading itself is in `read`.
//!
//! The task of a connection that was made for one lives here, and is polled where the connection is called: an event needs no
//! waker and no second turn in the ready work to reach it. It outlives the connection as a task like any other.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use ropewalk_reactor::Failure;

use super::buffer::Buffer;
use super::{Stream, StreamError};
use crate::protocol::{Lost, Protocol};
use crate::transport::Transport;

type OnClose = Box<dyn FnOnce(&Lost)>;

/// What the stream and its stand-in in the transport have in common.
pub(super) struct Shared {
    pub(super) transport: Transport,
    pub(super) buffer: RefCell<Buffer>,
    /// Reads since the reader last waited; see `read`.
    pub(super) reads: Cell<u32>,
    /// Somebody waits for something to read.
    reading: Cell<bool>,
    /// Who, if it is not the connection's own task.
    reader: RefCell<Option<Waker>>,
    /// The connection's own task, until it has ended. It has this through its stream: whoever leaves the connection takes it out.
    work: Cell<Option<Work>>,
    /// What wakes that task, once it was polled.
    own: OnceCell<Waker>,
    lost: RefCell<Option<Lost>>,
    on_close: RefCell<Option<OnClose>>,
}

/// What one look at the socket came to.
pub(super) enum Filled {
    Some,
    /// Drained: the next readiness wakes.
    Nothing,
}

impl Shared {
    pub(super) fn new(transport: &Transport) -> Shared {
        Shared {
            transport: transport.clone(),
            buffer: RefCell::default(),
            reads: Cell::new(0),
            reading: Cell::new(false),
            reader: RefCell::new(None),
            work: Cell::new(None),
            own: OnceCell::new(),
            lost: RefCell::new(None),
            on_close: RefCell::new(None),
        }
    }

    #[inline]
    pub(super) fn is_lost(&self) -> bool {
        self.lost.borrow().is_some()
    }

    #[inline]
    pub(super) fn lost(&self) -> Option<Lost> {
        if self.is_lost() { self.lost.borrow().clone() } else { None }
    }

    #[inline]
    pub(super) fn set_reader(&self, waker: &Waker) {
        self.reading.set(true);
        if !self.own.get().is_some_and(|own| own.will_wake(waker)) {
            *self.reader.borrow_mut() = Some(waker.clone());
        }
    }

    #[inline]
    pub(super) fn remove_reader(&self) {
        if self.reading.replace(false) {
            self.reader.borrow_mut().take();
        }
    }

    pub(super) fn set_on_close(&self, callback: OnClose) {
        match self.lost() {
            Some(lost) => {
                self.transport.reactor().call_soon_named(self.transport.name(), move || callback(&lost))
            }
            None => {
                *self.on_close.borrow_mut() = Some(callback);
                self.watch_later();
            }
        }
    }

    /// Reads what is there into the buffer, which may grow to `len_max` bytes. It is one read of the loop's buffer.
    pub(super) fn fill(&self, len_max: usize) -> Result<Filled, StreamError> {
        let transport = &self.transport;
        let room = len_max.saturating_sub(self.buffer.borrow().len());
        let reactor = transport.reactor();
        let mut buffer = reactor.take_read_buffer();
        let most = room.min(buffer.len());
        let outcome = self.read(&mut buffer[..most]);
        if let Ok(Some(count)) = outcome {
            self.buffer.borrow_mut().append(&buffer[..count]);
        }
        reactor.put_read_buffer(buffer);
        outcome.map(|count| count.map_or(Filled::Nothing, |_| Filled::Some))
    }

    /// Reads from the socket; `None` if it has nothing now.
    pub(super) fn read(&self, into: &mut [u8]) -> Result<Option<usize>, StreamError> {
        if let Some(lost) = self.lost() {
            return Err(StreamError::Closed(lost));
        }
        if self.transport.is_closing() {
            return Err(StreamError::Closed(Lost::Closed));
        }
        loop {
            match self.transport.read(into) {
                Ok(0) => {
                    self.tell(&Lost::Ended);
                    return Err(StreamError::Closed(Lost::Ended));
                }
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let lost = Lost::Broken(Arc::new(error));
                    self.transport.abort(lost.clone());
                    return Err(StreamError::Closed(lost));
                }
            }
        }
    }

    /// Looks for the peer's end as soon as the callback or task that runs has returned.
    pub(super) fn watch_later(&self) {
        if self.on_close.borrow().is_some() {
            self.transport.wake();
        }
    }

    /// Nobody reads, and somebody wants to know of the end: the bytes before it have to be taken off the socket.
    fn watch(&self) {
        while self.on_close.borrow().is_some() && self.buffer.borrow().len() == 0 {
            // What failed is told by `tell`, or by `connection_lost`.
            if !matches!(self.fill(usize::MAX), Ok(Filled::Some)) {
                break;
            }
        }
    }

    fn tell(&self, lost: &Lost) {
        let callback = self.on_close.borrow_mut().take();
        if let Some(callback) = callback {
            callback(lost);
        }
    }

    /// Whether there was one. The connection's own task is polled by who calls this.
    fn wake_reader(&self) -> bool {
        let read = self.reading.replace(false);
        if read {
            let reader = self.reader.borrow_mut().take();
            reader.into_iter().for_each(Waker::wake);
        }
        read
    }
}

/// The task of a connection.
pub(super) type Work = Pin<Box<dyn Future<Output = ()>>>;

impl Shared {
    /// Gives the connection its task, which is polled when its stand-in is told of the connection.
    pub(super) fn give_work(&self, work: Work) {
        self.work.set(Some(work));
        if self.is_lost() {
            // It was handed on already.
            self.work_on();
        }
    }

    /// Polls the task. One that panics has lost its connection: its stream, dropped by the panic, sees to that.
    #[inline]
    fn work(&self) {
        let Some(mut work) = self.work.take() else { return };
        let transport = &self.transport;
        let waker = self.own.get_or_init(|| transport.waker());
        let poll = AssertUnwindSafe(|| work.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        match catch_unwind(poll) {
            Ok(true) => self.work.set(Some(work)),
            Ok(false) => {}
            Err(payload) => {
                tracing::error!(task = %transport.name(), "{}", Failure::from_panic(payload));
            }
        }
    }

    /// Without its connection the task is one like any other.
    fn work_on(&self) {
        if let Some(work) = self.work.take() {
            self.transport.reactor().spawn_named(self.transport.name(), work);
        }
    }
}

/// The stream's stand-in in the transport.
pub(super) struct Attached(pub(super) Rc<Shared>);

impl Protocol for Attached {
    fn connection_made(&mut self, _transport: &Transport) {
        self.0.work();
    }

    fn data_received(&mut self, _transport: &Transport, data: &[u8]) {
        // The loop does not read for a stream; if it ever did, nothing would be lost.
        self.0.buffer.borrow_mut().append(data);
        self.0.wake_reader();
        self.0.work();
    }

    fn read_ended(&mut self, _transport: &Transport) {
        self.0.wake_reader();
        self.0.work();
    }

    fn connection_lost(&mut self, _transport: &Transport, lost: &Lost) {
        *self.0.lost.borrow_mut() = Some(lost.clone());
        self.0.wake_reader();
        // A loop that has ended polls nothing any more: the task goes with the connection. Both before a callback that may panic.
        let _over = matches!(lost, Lost::Stopped).then(|| self.0.work.take());
        self.0.work_on();
        self.0.tell(lost);
    }

    fn woken(&mut self, _transport: &Transport) {
        let read = self.0.wake_reader();
        self.0.work();
        if !read {
            self.0.watch();
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Another protocol has taken the connection away from under the stream: for the stream that is its end.
        let mut lost = self.0.lost.borrow_mut();
        if lost.is_none() {
            *lost = Some(Lost::Closed);
            drop(lost);
            self.0.wake_reader();
            self.0.work_on();
        }
    }
}

/// The protocol of a connection that is being made for [`Stream::connect`].
pub(super) struct Opening(pub(super) Rc<Cell<Option<Stream>>>);

impl Protocol for Opening {
    fn connection_made(&mut self, transport: &Transport) {
        self.0.set(Some(Stream::attach(transport)));
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {
        // Never called: it has switched before anything was read.
    }
}
