//! One attempt of a client service: connect, then prepare. A future; dropping it gives up and closes what there is. What comes
//! of it is decided in `keeper`.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ropewalk_reactor::io::Address;
use ropewalk_reactor::{Failure, Outcome, Reactor};

use super::{ClientFactory, Connected, Prepare};
use crate::connect::{ConnectOptions, Dial, Gone};
use crate::endpoint::ClientEndpoint;
use crate::protocol::{Factory, Lost, Protocol};
use crate::transport::Transport;

/// What is known of the connection of one attempt, from its making to its end.
#[derive(Default)]
pub(super) struct Link {
    made: Cell<bool>,
    lost: RefCell<Option<Lost>>,
    waker: Cell<Option<Waker>>,
}

impl Link {
    /// Whether there is a connection.
    pub(super) fn stands(&self) -> bool {
        self.made.get() && self.lost.borrow().is_none()
    }

    /// Why there is no connection any more.
    pub(super) fn lost(&self) -> Option<Lost> {
        self.lost.borrow().clone()
    }

    /// The connection is gone.
    pub(super) fn lose(&self, lost: &Lost) {
        *self.lost.borrow_mut() = Some(lost.clone());
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll_lost(&self, context: &mut Context<'_>) -> Poll<Lost> {
        match self.lost() {
            Some(lost) => Poll::Ready(lost),
            None => {
                self.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// What an attempt needs.
pub(super) struct Attempt<H: Clone + 'static> {
    pub(super) reactor: Reactor,
    pub(super) endpoint: ClientEndpoint,
    pub(super) factory: Rc<dyn ClientFactory<Handle = H>>,
    pub(super) options: ConnectOptions,
    pub(super) prepare: Option<Prepare<H>>,
    pub(super) close_within: Duration,
    pub(super) link: Rc<Link>,
    pub(super) gone: Gone,
}

impl<H: Clone + 'static> Attempt<H> {
    pub(super) async fn run(self) -> Outcome<Connected<H>> {
        let Attempt { reactor, endpoint, factory, options, prepare, close_within, link, gone } = self;
        let handle = Rc::new(RefCell::new(None));
        let maker = Maker { factory, link: Rc::clone(&link), handle: Rc::clone(&handle) };
        let dial = Dial { reactor, endpoint, factory: Rc::new(maker), options, gone: Some(gone) };
        let transport = dial.run().await?;
        let mut held = Held(Some(transport.clone()));
        let made = handle.take();
        let connected = made.map(|handle| Connected { transport: transport.clone(), handle });
        let connected = connected.ok_or_else(|| Failure::new("a connection without a protocol"))?;
        if let Err(failure) = prepared(&link, prepare, &connected).await {
            close(&transport, close_within);
            // The next attempt must not begin beside it.
            std::future::poll_fn(|context| link.poll_lost(context)).await;
            return Err(failure);
        }
        held.0 = None;
        Ok(connected)
    }
}

/// Waits for the preparation, unless the connection is lost before.
async fn prepared<H: Clone + 'static>(
    link: &Link,
    prepare: Option<Prepare<H>>,
    connected: &Connected<H>,
) -> Outcome<()> {
    let unprepared = |lost: Lost| Failure::new(format!("lost before it was ready: {lost}"));
    if let Some(lost) = link.lost() {
        return Err(unprepared(lost));
    }
    let Some(prepare) = prepare else { return Ok(()) };
    let mut preparing = pin!(prepare(connected));
    std::future::poll_fn(|context| match link.poll_lost(context) {
        Poll::Ready(lost) => Poll::Ready(Err(unprepared(lost))),
        Poll::Pending => Pin::as_mut(&mut preparing).poll(context),
    })
    .await
}

/// Closes in an orderly way, but not for ever.
pub(super) fn close(transport: &Transport, within: Duration) {
    transport.lose_connection();
    transport.set_deadline(Some(transport.reactor().now() + within));
}

/// A future whose panic is its failure: a resolver of the user's may have one.
pub(super) struct Caught<F>(pub(super) Pin<Box<F>>);

impl<T, F: Future<Output = Outcome<T>>> Future for Caught<F> {
    type Output = Outcome<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome<T>> {
        let poll = AssertUnwindSafe(|| self.0.as_mut().poll(context));
        catch_unwind(poll).unwrap_or_else(|payload| Poll::Ready(Err(Failure::from_panic(payload))))
    }
}

/// A connection that nobody has taken over yet.
struct Held(Option<Transport>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(transport) = self.0.take() {
            transport.give_up();
        }
    }
}

/// The user's factory as a connection knows it.
struct Maker<H: Clone + 'static> {
    factory: Rc<dyn ClientFactory<Handle = H>>,
    link: Rc<Link>,
    handle: Rc<RefCell<Option<H>>>,
}

impl<H: Clone + 'static> Factory for Maker<H> {
    fn build_protocol(&self, peer: &Address) -> Option<Box<dyn Protocol>> {
        let (protocol, handle) = self.factory.build_client(peer)?;
        *self.handle.borrow_mut() = Some(handle);
        self.link.made.set(true);
        Some(protocol)
    }
}
