//! One data connection: bytes in, bytes out, a file out, and its end. `DataProtocol` is what the transport calls, `Data` what a
//! transfer holds. Dropped before its end, it is broken off, so that nobody takes a part for the whole. How an upload takes what comes
//! is in `incoming`.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ropewalk_net::{FileSender, Lost, Protocol, Transport};

/// Why a data connection is no use any more.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Nothing moved for too long.
    Stalled,
    /// The file could not be read.
    File,
    /// The client has ended it, or the network.
    Lost,
}

impl From<&Lost> for Broken {
    fn from(lost: &Lost) -> Broken {
        match lost {
            Lost::TimedOut(_) => Broken::Stalled,
            Lost::File(_) => Broken::File,
            _ => Broken::Lost,
        }
    }
}

#[derive(Default)]
struct Shared {
    lost: RefCell<Option<Lost>>,
    reader: RefCell<Option<Waker>>,
    stall: Cell<Option<Duration>>,
    /// TLS has begun.
    private: Cell<bool>,
}

impl Shared {
    fn wake(&self) {
        let reader = self.reader.borrow_mut().take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn broken(&self) -> Option<Broken> {
        self.lost.borrow().as_ref().map(Broken::from)
    }

    /// Puts the deadline off: something has moved.
    fn moved(&self, transport: &Transport) {
        transport.set_deadline(self.stall.get().map(|stall| transport.reactor().now() + stall));
    }
}

/// A data connection that stands.
pub(crate) struct Data {
    transport: Transport,
    shared: Rc<Shared>,
    finished: bool,
}

impl Data {
    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(super) fn is_lost(&self) -> bool {
        self.shared.lost.borrow().is_some()
    }

    /// How long nothing may come while somebody waits for it.
    pub(super) fn set_stall(&self, stall: Duration) {
        self.shared.stall.set(Some(stall));
    }

    /// TLS has begun on it.
    pub(super) fn set_private(&self) {
        self.shared.private.set(true);
        self.transport.notify_tls();
    }

    /// Waits for the handshake of TLS: before it there is no connection that could be ended in good order.
    async fn secured(&self) -> Result<(), Broken> {
        if self.shared.private.get() {
            poll_fn(|context| {
                if self.transport.tls().is_some() || self.standing().is_err() {
                    return Poll::Ready(());
                }
                self.wait(context);
                Poll::Pending
            })
            .await;
        }
        self.standing()
    }

    /// From now on it is read.
    pub(super) fn begin_reading(&self) {
        self.transport.read_by_hand();
        self.transport.resume_reading();
    }

    /// Somebody waits for the peer from now on.
    pub(super) fn expect(&self) {
        self.shared.moved(&self.transport);
    }

    /// What `read` gets of the transport, 0 at the end.
    ///
    /// # Errors
    /// `WouldBlock` is the caller's; by others the connection is lost.
    pub(super) fn read(
        &self,
        mut read: impl FnMut(&Transport) -> io::Result<usize>,
    ) -> Result<io::Result<usize>, Broken> {
        self.standing()?;
        loop {
            match read(&self.transport).map_err(|error| (error.kind(), error)) {
                Ok(count) => return Ok(Ok(count)),
                Err((io::ErrorKind::Interrupted, _)) => {}
                Err((io::ErrorKind::WouldBlock, error)) => return Ok(Err(error)),
                Err((_, error)) => {
                    self.transport.abort(Lost::Broken(Arc::new(error)));
                    return Err(Broken::Lost);
                }
            }
        }
    }

    /// Whoever waits is woken when there may be more.
    pub(super) fn wait(&self, context: &Context<'_>) {
        *self.shared.reader.borrow_mut() = Some(context.waker().clone());
    }

    /// Sends bytes, and waits for room.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Result<(), Broken> {
        self.transport.write(bytes);
        poll_fn(|context| self.transport.poll_writable(context)).await;
        self.standing()
    }

    /// Sends a file, and waits until the system has all of it.
    pub(crate) async fn send_file(&self, file: FileSender) -> Result<(), Broken> {
        // Its end sends the rest. Failing changes nothing but the segments.
        let _ = self.transport.set_cork(true);
        match file.send(&self.transport).await {
            Ok(_) => Ok(()),
            Err(failure) => Err(failure.check::<Lost>().map_or(Broken::Lost, Broken::from)),
        }
    }

    /// Ends it: everything that was sent is the peer's.
    pub(crate) async fn finish(mut self) -> Result<(), Broken> {
        self.secured().await?;
        poll_fn(|context| self.transport.poll_drained(context)).await;
        self.standing()?;
        self.finished = true;
        // What the peer still sends, a farewell of TLS, must not reset the connection under what it has not read yet.
        self.transport.lose_connection_lingering();
        Ok(())
    }

    /// Ends it after the peer has.
    pub(crate) fn close(mut self) {
        self.finished = true;
        self.transport.lose_connection();
    }

    fn standing(&self) -> Result<(), Broken> {
        match self.shared.broken() {
            Some(broken) => Err(broken),
            None if self.transport.is_disconnected() => Err(Broken::Lost),
            None => Ok(()),
        }
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if !self.finished {
            self.transport.abort_connection();
        }
    }
}

/// A connection that somebody waits for.
#[derive(Clone, Default)]
pub(super) struct Waiting(Rc<Slot>);

#[derive(Default)]
struct Slot {
    arrived: RefCell<Option<Data>>,
    /// It will not come any more.
    over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Waiting {
    pub(super) fn new() -> Waiting {
        Waiting::default()
    }

    /// The protocol of the connection that is to come.
    pub(super) fn protocol(&self) -> DataProtocol {
        DataProtocol { shared: Rc::default(), waiting: Some(self.clone()) }
    }

    pub(super) fn has_arrived(&self) -> bool {
        self.0.arrived.borrow().is_some()
    }

    pub(super) fn take(&self) -> Option<Data> {
        self.0.arrived.borrow_mut().take()
    }

    /// Nobody comes any more, and who has come is sent away.
    pub(super) fn end(&self) {
        self.0.over.set(true);
        drop(self.take());
        self.wake();
    }

    /// Who comes; `None` if nobody does.
    pub(super) async fn arrival(&self) -> Option<Data> {
        poll_fn(|context| match self.take() {
            Some(data) => Poll::Ready(Some(data)),
            None if self.0.over.get() => Poll::Ready(None),
            None => {
                *self.0.waker.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    fn wake(&self) {
        let waker = self.0.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// What the transport of a data connection calls.
pub(super) struct DataProtocol {
    shared: Rc<Shared>,
    waiting: Option<Waiting>,
}

impl Protocol for DataProtocol {
    fn connection_made(&mut self, transport: &Transport) {
        // Layers come when it is known what the connection is for, and nothing may be read before.
        transport.pause_reading();
        let Some(waiting) = self.waiting.take().filter(|waiting| !waiting.0.over.get()) else {
            return transport.abort_connection();
        };
        let data = Data { transport: transport.clone(), shared: Rc::clone(&self.shared), finished: false };
        *waiting.0.arrived.borrow_mut() = Some(data);
        waiting.wake();
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {
        // It is paused or read by hand.
    }

    fn connection_lost(&mut self, _transport: &Transport, lost: &Lost) {
        *self.shared.lost.borrow_mut() = Some(lost.clone());
        self.shared.wake();
    }

    fn woken(&mut self, _transport: &Transport) {
        self.shared.wake();
    }

    fn timed_out(&mut self, transport: &Transport) {
        if self.shared.reader.borrow().is_some() {
            transport.abort(Lost::TimedOut("stall"));
        } else {
            // Nobody waits for the peer: the disk has no deadline.
            self.shared.moved(transport);
        }
    }

    fn stopping(&mut self, _transport: &Transport) {
        // A transfer ends within the grace; its session knows when.
    }
}
