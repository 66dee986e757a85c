//! The faces of a channel: Server-Sent Events, lines of JSON, long poll, WebSocket, raw TCP. A `Feed` stands between one channel and all its
//! viewers on one worker. A viewer is a cursor: while its connection keeps up it gets each batch as bytes that all viewers of its
//! kind share; when it blocks it is passed over, and reads on from the log once there is room. So a stalled viewer holds one output
//! buffer and delays nobody, and what is gone meanwhile is an explicit gap.
//!
//! Events of one turn go out as one batch: ten lines are one write per viewer, not ten. `service` serves many channels by their
//! names, each through a feed that is there while somebody looks.

mod following;
mod grant;
mod guard;
mod kind;
mod message;
mod poll;
mod publish;
mod raw;
mod script;
mod service;
mod socket;
mod stream;
mod token;
mod viewer;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use ropewalk_channel::{
    Batch, Channel, ChannelError, Data, Event, EventId, Limit, Listener, Retention, Since, Slow, Subscription,
};
use ropewalk_reactor::{Deferred, Firing, LoopingCall, Reactor, Time};

pub use following::following;
pub use grant::{Action, Admit, Grant};
pub use kind::Kind;
pub use poll::poll;
pub use raw::RawViewers;
pub use script::{SCRIPT, script};
pub use service::{Allow, Push, PushOptions, Upgrade, service};
pub use stream::sse;
pub use token::{Algorithm, KeyError, Tokens};
use viewer::{Line, Viewer};

use crate::websocket::Burst;

/// How often a silent stream of events says that it is alive: proxies cut what is silent for a minute.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What one viewer that lags may catch up at once before others get their turn.
const CATCH_UP: Limit = Limit { events_max: 256, bytes_max: 64 * 1024 };

/// One channel and its viewers on this worker. Clones are one feed.
///
/// ```
/// use ropewalk_channel::{Channel, Retention};
/// use ropewalk_reactor::Simulation;
/// use ropewalk_web::{Router, push};
/// let simulation = Simulation::new(1);
/// let feed = push::Feed::new(Channel::in_memory(simulation.reactor(), Retention::default()));
/// let router = Router::new().route("GET", "/events", push::sse(&feed, 0)).route("GET", "/poll", push::poll(&feed));
/// feed.publish("the first line")?;
/// # drop(router);
/// # Ok::<(), ropewalk_channel::ChannelError>(())
/// ```
#[derive(Clone)]
pub struct Feed(pub(crate) Rc<Inner>);

/// What was asked for, up to where, and the answer.
type Polled = (EventId, EventId, Rc<[u8]>);

pub(crate) struct Inner {
    reactor: Reactor,
    channel: Channel,
    viewers: RefCell<Vec<Rc<Viewer>>>,
    /// Long polls that wait for the next event.
    waiters: RefCell<Vec<Firing<()>>>,
    /// Events up to here were handed to the viewers that keep up.
    delivered: Cell<EventId>,
    /// A delivery is among the ready work.
    scheduled: Cell<bool>,
    subscription: RefCell<Option<Subscription>>,
    heartbeat: RefCell<Option<LoopingCall>>,
    /// The last long poll answer: all who ask for the same get the same bytes.
    polled: RefCell<Option<Polled>>,
    /// The head of the request that began a stream last.
    remembered: RefCell<Weak<[u8]>>,
}

/// How a viewer begins.
#[derive(Clone, Debug)]
pub(crate) struct Joining {
    pub(crate) since: Since,
    /// The name it gives.
    pub(crate) name: Option<Rc<str>>,
    /// When it must end, because what lets it read is over.
    pub(crate) until: Option<Time>,
}

/// Tells the feed; it does not keep it alive.
struct Told(Weak<Inner>);

impl Listener for Told {
    fn published(&self, _event: &Event) {
        if let Some(feed) = self.0.upgrade() {
            feed.schedule();
        }
    }

    fn closed(&self) {
        if let Some(feed) = self.0.upgrade() {
            feed.end();
        }
    }
}

impl Feed {
    /// A feed of this channel.
    #[must_use]
    pub fn new(channel: Channel) -> Feed {
        let inner = Rc::new(Inner {
            reactor: channel.reactor().clone(),
            delivered: Cell::new(channel.last()),
            channel,
            viewers: RefCell::default(),
            waiters: RefCell::default(),
            scheduled: Cell::new(false),
            subscription: RefCell::new(None),
            heartbeat: RefCell::new(None),
            polled: RefCell::new(None),
            remembered: RefCell::new(Weak::<[u8; 0]>::new()),
        });
        let told = Rc::new(Told(Rc::downgrade(&inner)));
        *inner.subscription.borrow_mut() = Some(inner.channel.subscribe(told));
        Feed(inner)
    }

    /// A feed of a new channel whose history is in memory.
    #[must_use]
    pub fn in_memory(reactor: &Reactor, retention: Retention) -> Feed {
        Feed::new(Channel::in_memory(reactor, retention))
    }

    /// Publishes now, on a channel without a journal; see [`Channel::publish_now`], and [`Channel::publish`] for every channel.
    ///
    /// # Errors
    /// The channel's: an event larger than all the history that is kept, or a channel that is durable.
    pub fn publish(&self, data: impl Into<Data>) -> Result<EventId, ChannelError> {
        self.0.channel.publish_now(data)
    }

    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.0.channel
    }

    /// The reactor.
    #[must_use]
    pub fn reactor(&self) -> &Reactor {
        &self.0.reactor
    }

    /// Viewers whose connection stays open now; a long poll counts while it waits.
    #[must_use]
    pub fn viewers(&self) -> usize {
        let waiters = self.0.waiters.borrow().iter().filter(|waiter| !waiter.fired()).count();
        self.0.viewers.borrow().len() + waiters
    }

    /// Keeps the head of a stream's request. Clients of one program, or behind one proxy, say the same, and share it.
    fn remember(&self, head: &[u8]) -> Rc<[u8]> {
        if let Some(same) = self.0.remembered.borrow().upgrade().filter(|same| **same == *head) {
            return same;
        }
        let kept: Rc<[u8]> = head.into();
        *self.0.remembered.borrow_mut() = Rc::downgrade(&kept);
        kept
    }

    /// Fires at the next event.
    fn changed(&self) -> Deferred<()> {
        let (firing, deferred) = Deferred::new(&self.0.reactor);
        let mut waiters = self.0.waiters.borrow_mut();
        // Those whose client left are dropped here, so that a silent channel does not collect them.
        if waiters.len() == waiters.capacity() {
            waiters.retain(|waiter| !waiter.fired());
        }
        waiters.push(firing);
        deferred
    }

    /// Adds a viewer, and sends it what there is from where it begins.
    fn join(&self, line: Line, joining: &Joining) -> Rc<Viewer> {
        let inner = &self.0;
        let cursor = match joining.since {
            Since::Now => inner.channel.last(),
            // Its connection may be full from the beginning, where it was served by another process before.
            Since::After(id) => id,
            _ => EventId::EARLIEST,
        };
        let attendance = inner.channel.enter(joining.name.as_deref());
        let viewer = Rc::new(Viewer::new(line, cursor, attendance));
        let mut viewers = inner.viewers.borrow_mut();
        viewer.index.set(u32::try_from(viewers.len()).expect("a process has fewer connections"));
        viewers.push(Rc::clone(&viewer));
        drop(viewers);
        if joining.since != Since::Now {
            self.catch_up_from(&viewer, joining.since);
        }
        if inner.channel.is_closed() {
            viewer.end(inner.channel.name());
        }
        inner.keep_alive();
        viewer
    }

    fn leave(&self, viewer: &Viewer) {
        let mut viewers = self.0.viewers.borrow_mut();
        let index = viewer.index.get();
        viewers.swap_remove(index as usize);
        if let Some(moved) = viewers.get(index as usize) {
            moved.index.set(index);
        }
        if viewers.is_empty()
            && let Some(heartbeat) = self.0.heartbeat.borrow_mut().take()
        {
            heartbeat.stop();
        }
        // Ten thousand viewers that left must not leave their places behind.
        if viewers.len() < viewers.capacity() / 4 {
            let keep = viewers.len() * 2;
            viewers.shrink_to(keep);
        }
    }

    /// Reads on for a viewer that lags, as far as its connection takes it.
    fn catch_up(&self, viewer: &Viewer) {
        let place = Since::After(viewer.cursor.get());
        if self.0.is_too_slow(viewer) {
            return viewer.transport().abort_connection();
        }
        self.catch_up_from(viewer, place);
    }

    fn catch_up_from(&self, viewer: &Viewer, mut since: Since) {
        viewer.lagging.set(false);
        while !viewer.is_full() {
            let batch = self.0.channel.since(since, CATCH_UP);
            viewer.write(self.0.channel.name(), &batch);
            viewer.cursor.set(batch.next);
            since = Since::After(batch.next);
            if !batch.more {
                return;
            }
        }
        viewer.lags();
    }
}

impl Inner {
    fn schedule(self: &Rc<Self>) {
        if !self.scheduled.replace(true) {
            let feed = Feed(Rc::clone(self));
            self.reactor.call_soon(move || feed.0.deliver());
        }
    }

    /// Hands what was published since the last time to everybody who keeps up.
    fn deliver(self: &Rc<Self>) {
        self.scheduled.set(false);
        let from = self.delivered.get();
        let batch = self.channel.since(Since::After(from), Limit::default());
        self.delivered.set(batch.next);
        self.fan_out(from, &batch);
        for waiter in std::mem::take(&mut *self.waiters.borrow_mut()) {
            // It fails when the client has left.
            let _ = waiter.callback(());
        }
        if batch.more {
            self.schedule();
        }
    }

    fn fan_out(self: &Rc<Self>, from: EventId, batch: &Batch) {
        let mut frames: [Option<Rc<[u8]>>; Kind::STREAMS] = Default::default();
        let mut burst: Option<Burst> = None;
        let viewers = self.viewers.borrow();
        for viewer in viewers.iter() {
            if viewer.lagging.get() {
                if self.is_too_slow(viewer) {
                    viewer.transport().abort_connection();
                }
                continue;
            }
            if viewer.cursor.get() != from || batch.gap.is_some() {
                // It joined in between, or the log ran away from it: it reads for itself.
                if viewer.cursor.get() < batch.next {
                    Feed(Rc::clone(self)).catch_up(viewer);
                }
                continue;
            }
            if viewer.is_full() {
                viewer.lags();
                continue;
            }
            match &viewer.line {
                Line::Stream(transport, kind) => {
                    let frame = frames[*kind as usize].get_or_insert_with(|| kind.encode(batch).into());
                    transport.write_shared(frame);
                }
                Line::Socket(socket) => {
                    let burst = burst.get_or_insert_with(|| socket::burst(self.channel.name(), batch));
                    socket.send_burst(burst);
                }
            }
            viewer.cursor.set(batch.next);
        }
    }

    /// While there are viewers, silence is broken now and then.
    fn keep_alive(self: &Rc<Self>) {
        let mut heartbeat = self.heartbeat.borrow_mut();
        if heartbeat.is_none() {
            let feed = Rc::downgrade(self);
            let call = LoopingCall::new(&self.reactor, move |_| {
                if let Some(feed) = feed.upgrade() {
                    feed.beat();
                }
            });
            call.start(HEARTBEAT, false);
            *heartbeat = Some(call);
        }
    }

    fn beat(&self) {
        let mut beats: [Option<Rc<[u8]>>; Kind::STREAMS] = Default::default();
        for viewer in self.viewers.borrow().iter() {
            // A WebSocket has Pings.
            let Line::Stream(transport, kind) = &viewer.line else { continue };
            if viewer.lagging.get() || transport.buffered() > 0 {
                continue;
            }
            let beat = beats[*kind as usize].get_or_insert_with(|| kind.heartbeat().into());
            if !beat.is_empty() {
                transport.write_shared(beat);
            }
        }
    }

    /// Whether events are gone that this viewer has not read, and the channel will not have that.
    fn is_too_slow(&self, viewer: &Viewer) -> bool {
        self.channel.options().slow == Slow::Disconnect && viewer.cursor.get() < self.channel.floor()
    }

    /// The channel was removed: everybody's stream ends, and polls are answered.
    fn end(&self) {
        for viewer in self.viewers.borrow().iter() {
            viewer.end(self.channel.name());
        }
        for waiter in self.waiters.take() {
            // It fails when the client has left.
            let _ = waiter.callback(());
        }
    }
}
