//! The faces of a channel: Server-Sent Events, long poll, raw TCP. A `Feed` stands between one channel and all its viewers on
//! one worker. A viewer is a cursor: while its connection keeps up it gets each batch as bytes that all viewers share; when it
//! blocks it is passed over, and reads on from the log once there is room. So a stalled viewer holds one output buffer and
//! delays nobody, and what is gone meanwhile is an explicit gap.
//!
//! Events of one turn go out as one batch: ten lines are one write per viewer, not ten.

mod poll;
mod raw;
mod sse;
mod viewer;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::{Duration, SystemTime};

use ropewalk_channel::{
    Batch, Channel, Event, EventId, Limit, Listener, Retention, Since, StoreError, Subscription,
};
use ropewalk_net::Transport;
use ropewalk_reactor::{Deferred, Firing, LoopingCall, Reactor};

pub use poll::poll;
pub use raw::RawViewers;
pub use sse::sse;
use viewer::{Kind, Viewer};

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
/// let feed = push::Feed::new(simulation.reactor(), Channel::in_memory(0, Retention::default()));
/// let router = Router::new().route("GET", "/events", push::sse(&feed, 0)).route("GET", "/poll", push::poll(&feed));
/// feed.publish("the first line")?;
/// # drop(router);
/// # Ok::<(), ropewalk_channel::StoreError>(())
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
    /// The channel's last event when this feed was made, and how many it had published by then.
    began: (EventId, u64),
    /// Events up to here were handed to the viewers that keep up.
    delivered: Cell<EventId>,
    /// A delivery is among the ready work.
    scheduled: Cell<bool>,
    subscription: RefCell<Option<Subscription>>,
    heartbeat: RefCell<Option<LoopingCall>>,
    /// The last long poll answer: all who ask for the same get the same bytes.
    polled: RefCell<Option<Polled>>,
}

/// Tells the feed; it does not keep it alive.
struct Told(Weak<Inner>);

impl Listener for Told {
    fn published(&self, _event: &Event) {
        if let Some(feed) = self.0.upgrade() {
            feed.schedule();
        }
    }
}

impl Feed {
    /// A feed of this channel.
    #[must_use]
    pub fn new(reactor: &Reactor, channel: Channel) -> Feed {
        let inner = Rc::new(Inner {
            reactor: reactor.clone(),
            began: (channel.last(), channel.statistics().published),
            delivered: Cell::new(channel.last()),
            channel,
            viewers: RefCell::default(),
            waiters: RefCell::default(),
            scheduled: Cell::new(false),
            subscription: RefCell::new(None),
            heartbeat: RefCell::new(None),
            polled: RefCell::new(None),
        });
        let told = Rc::new(Told(Rc::downgrade(&inner)));
        *inner.subscription.borrow_mut() = Some(inner.channel.subscribe(told));
        Feed(inner)
    }

    /// A feed of a new channel whose history is in memory.
    #[must_use]
    pub fn in_memory(reactor: &Reactor, retention: Retention) -> Feed {
        Feed::new(reactor, Channel::in_memory(wall_ms(reactor), retention))
    }

    /// Publishes a text now; its id is monotone, and never given again.
    ///
    /// # Errors
    /// The store's: a text larger than all the history that is kept.
    pub fn publish(&self, text: impl Into<Rc<str>>) -> Result<EventId, StoreError> {
        self.0.channel.publish(wall_ms(&self.0.reactor), text)
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

    /// How many events a gap is long, where that is known: both its ends were given since this feed began, and no id was
    /// left out since. After a restart nobody knows.
    fn missed(&self, batch: &Batch) -> Option<u64> {
        let gap = batch.gap?;
        let (first, published) = self.0.began;
        let ids = self.0.channel.last().0.checked_sub(first.0)?;
        let events = self.0.channel.statistics().published - published;
        (first <= gap.asked && ids == events).then(|| gap.resumed.0.checked_sub(gap.asked.0)).flatten()
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

    /// Adds a viewer that begins at `since`, and sends it what there is from there.
    fn join(&self, transport: &Transport, kind: Kind, since: Since) -> Rc<Viewer> {
        let inner = &self.0;
        let cursor = match since {
            Since::Now => inner.channel.last(),
            _ => EventId::EARLIEST,
        };
        let viewer = Rc::new(Viewer::new(transport.clone(), kind, cursor));
        let mut viewers = inner.viewers.borrow_mut();
        viewer.index.set(viewers.len());
        viewers.push(Rc::clone(&viewer));
        drop(viewers);
        if since != Since::Now {
            self.catch_up_from(&viewer, since);
        }
        inner.keep_alive();
        viewer
    }

    fn leave(&self, viewer: &Viewer) {
        let mut viewers = self.0.viewers.borrow_mut();
        let index = viewer.index.get();
        viewers.swap_remove(index);
        if let Some(moved) = viewers.get(index) {
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
        self.catch_up_from(viewer, Since::After(viewer.cursor.get()));
    }

    fn catch_up_from(&self, viewer: &Viewer, mut since: Since) {
        viewer.lagging.set(false);
        while !viewer.transport.is_full() {
            let batch = match self.0.channel.since(since, CATCH_UP) {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::error!("reading a channel: {error}");
                    return viewer.transport.lose_connection();
                }
            };
            viewer.write(&batch, self.missed(&batch));
            viewer.cursor.set(batch.next);
            since = Since::After(batch.next);
            if !batch.more {
                return;
            }
        }
        viewer.lags();
    }
}

/// The wall clock in milliseconds since the Unix epoch.
fn wall_ms(reactor: &Reactor) -> u64 {
    let now = reactor.wall_clock().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
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
        let batch = match self.channel.since(Since::After(from), Limit::default()) {
            Ok(batch) => batch,
            Err(error) => return tracing::error!("reading a channel: {error}"),
        };
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
        let mut frames: [Option<Rc<[u8]>>; Kind::COUNT] = Default::default();
        let viewers = self.viewers.borrow();
        for viewer in viewers.iter() {
            if viewer.lagging.get() {
                continue;
            }
            if viewer.cursor.get() != from || batch.gap.is_some() {
                // It joined in between, or the log ran away from it: it reads for itself.
                if viewer.cursor.get() < batch.next {
                    Feed(Rc::clone(self)).catch_up(viewer);
                }
                continue;
            }
            if viewer.transport.is_full() {
                viewer.lags();
                continue;
            }
            let frame =
                frames[viewer.kind as usize].get_or_insert_with(|| viewer.kind.encode(batch, None).into());
            viewer.transport.write_shared(frame);
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
        let comment: Rc<[u8]> = b":\n\n".as_slice().into();
        for viewer in self.viewers.borrow().iter() {
            if viewer.kind == Kind::Sse && !viewer.lagging.get() && viewer.transport.buffered() == 0 {
                viewer.transport.write_shared(&comment);
            }
        }
    }
}
