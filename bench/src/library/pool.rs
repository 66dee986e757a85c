//! Round trips through a thread pool: 64 tasks, each of which has a function run in the pool, awaits it, and begins anew.
//!
//! The functions do nothing, so that what is measured is the way there and back. Both pools have ten threads at the most.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ropewalk_reactor::Reactor;

use super::{Meter, Slice};

/// Round trips under way at any time.
pub(crate) const OUTSTANDING: usize = 64;

/// Threads of the pool at the most; ropewalk's default.
pub(crate) const THREADS: usize = 10;

/// Enough for all threads to be there.
const WARM_UP: Duration = Duration::from_millis(100);

type Outcome = Option<io::Result<Slice>>;

pub(super) fn ropewalk(length: Duration) -> io::Result<Slice> {
    let reactor = Reactor::new()?;
    reactor.suggest_thread_pool_size(THREADS);
    let done = Rc::new(Cell::new(0_u64));
    for _ in 0..OUTSTANDING {
        let (handle, done) = (reactor.clone(), Rc::clone(&done));
        reactor.spawn(async move {
            while handle.defer_to_thread(|| ()).await.is_ok() {
                done.set(done.get() + 1);
            }
        });
    }
    let outcome: Rc<RefCell<Outcome>> = Rc::default();
    let (result, handle) = (Rc::clone(&outcome), reactor.clone());
    reactor.call_later(WARM_UP, move || {
        let (before, meter, inner) = (done.get(), Meter::start(), handle.clone());
        handle.call_later(length, move || {
            let part = meter.and_then(|meter| meter.stop("", done.get() - before));
            *result.borrow_mut() = Some(part.map(|part| Slice { parts: vec![part], bytes: None }));
            inner.stop();
        });
    });
    reactor.run()?;
    outcome.take().unwrap_or_else(|| Err(io::Error::other("the loop ended before the slice did")))
}

pub(super) fn tokio(length: Duration) -> io::Result<Slice> {
    let runtime =
        ::tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(THREADS).build()?;
    runtime.block_on(async {
        let done = Arc::new(AtomicU64::new(0));
        for _ in 0..OUTSTANDING {
            let done = Arc::clone(&done);
            ::tokio::spawn(async move {
                while ::tokio::task::spawn_blocking(|| ()).await.is_ok() {
                    // One thread writes it: no need for a locked addition.
                    done.store(done.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                }
            });
        }
        ::tokio::time::sleep(WARM_UP).await;
        let (before, meter) = (done.load(Ordering::Relaxed), Meter::start()?);
        ::tokio::time::sleep(length).await;
        let part = meter.stop("", done.load(Ordering::Relaxed) - before)?;
        Ok(Slice { parts: vec![part], bytes: None })
    })
}
