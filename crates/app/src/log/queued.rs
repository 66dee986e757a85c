//! A queue and a thread before an observer that may take long: a mail, a socket, a pipe. What there is no room for is dropped, counted,
//! and said.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{io, thread};

use ropewalk_reactor::Failure;

use super::event::Event;
use super::level::Level;
use super::publisher::Observer;
use crate::clock::Clock;

/// How long the end of the queue waits for the last events.
const FAREWELL: Duration = Duration::from_secs(2);

/// An observer behind a bounded queue, on a thread of its own: it may block, and nobody else does. When it is dropped, what is in the
/// queue still gets 2 s.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::sync::Arc;
/// use ropewalk_app::log::{Event, Publisher, Queued};
/// let publisher = Publisher::default();
/// publisher.add(Queued::new("mail", 100, |event: &Arc<Event>| { /* send it, however long that takes */ })?);
/// # Ok(())
/// # }
/// ```
pub struct Queued {
    name: String,
    sender: Option<SyncSender<Arc<Event>>>,
    counts: Arc<Counts>,
    done: Mutex<Receiver<()>>,
}

#[derive(Default)]
struct Counts {
    dropped: AtomicU64,
    unsaid: AtomicU64,
    panics: AtomicU64,
}

/// Figures of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueuedStatistics {
    /// Events for which there was no room.
    pub dropped: u64,
    /// Panics of the observer.
    pub panics: u64,
}

impl Queued {
    /// Before `observer`, a queue of so many events. It is called `name`, as is its thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(name: &str, events_max: usize, observer: impl Observer) -> io::Result<Queued> {
        let (sender, receiver) = mpsc::sync_channel(events_max.max(1));
        let (farewell, done) = mpsc::channel();
        let counts = Arc::new(Counts::default());
        let hands = (name.to_owned(), Arc::clone(&counts));
        thread::Builder::new().name(format!("log {name}")).spawn(move || {
            deliver(&receiver, &observer, &hands.0, &hands.1);
            drop(observer);
            // Nobody waits when the program did not end in an orderly way.
            let _ = farewell.send(());
        })?;
        Ok(Queued { name: name.to_owned(), sender: Some(sender), counts, done: Mutex::new(done) })
    }

    /// Figures.
    #[must_use]
    pub fn statistics(&self) -> QueuedStatistics {
        QueuedStatistics {
            dropped: self.counts.dropped.load(Ordering::Relaxed),
            panics: self.counts.panics.load(Ordering::Relaxed),
        }
    }
}

impl Observer for Queued {
    fn observe(&self, event: &Arc<Event>) {
        let sent = self.sender.as_ref().map(|sender| sender.try_send(Arc::clone(event)));
        if let Some(Err(TrySendError::Full(_))) = sent {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            self.counts.unsaid.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.sender = None;
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = done.recv_timeout(FAREWELL);
    }
}

fn deliver(receiver: &Receiver<Arc<Event>>, observer: &dyn Observer, name: &str, counts: &Counts) {
    let tell = |event: &Arc<Event>| {
        let Err(payload) = catch_unwind(AssertUnwindSafe(|| observer.observe(event))) else { return };
        let times = counts.panics.fetch_add(1, Ordering::Relaxed) + 1;
        // It is told of it, too, and may panic again: so twice as many have to come until the next word.
        if times.is_power_of_two() {
            tracing::error!(
                observer = name,
                times,
                "an observer panicked: {:?}",
                Failure::from_panic(payload)
            );
        }
    };
    while let Ok(event) = receiver.recv() {
        tell(&event);
        while let Ok(event) = receiver.try_recv() {
            tell(&event);
        }
        // Those that were dropped came when the queue was full, behind everything that was in it.
        let dropped = counts.unsaid.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let mut said = Event::format(
                Level::Warn,
                module_path!(),
                "{dropped} events are missing here: {observer} was too slow",
            )
            .with("dropped", dropped)
            .with("observer", name.to_owned());
            said.time = Clock::system().now();
            tell(&Arc::new(said));
        }
    }
}
