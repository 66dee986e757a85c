//! Tokio beside the reactor, for clients that only tokio has: databases, brokers, HTTP. Nothing of ours runs there, and
//! nothing here is needed without; the feature `tokio` brings it.
//!
//! The runtime has one thread of its own, which polls what is given to it and drives tokio's sockets and timers for both
//! sides. Values come back by the loop's mail, as from any other thread.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::deferred::{Deferred, Firing};
use crate::failure::Failure;
use crate::reactor::Reactor;

/// A tokio runtime beside a reactor. A handle, cheap to clone; the runtime ends with the last one, and what runs in it is
/// dropped, without being waited for.
///
/// ```
/// use ropewalk_reactor::{Reactor, SideRuntime};
/// use std::time::Duration;
/// let reactor = Reactor::new()?;
/// let tokio = SideRuntime::new(&reactor)?;
/// let handle = reactor.clone();
/// reactor.spawn(async move {
///     // In tokio's thread: the future is Send, and so is its value.
///     let there = tokio.run(async {
///         tokio::time::sleep(Duration::from_millis(1)).await;
///         "from there"
///     });
///     assert_eq!(there.await.expect("it does not panic"), "from there");
///     // On the loop, among everything that is not Send: only the context is tokio's.
///     let here = tokio.within(async { tokio::time::sleep(Duration::from_millis(1)).await });
///     here.await;
///     handle.stop();
/// });
/// reactor.run()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct SideRuntime {
    reactor: Reactor,
    inner: Rc<Inner>,
}

struct Inner(Option<Runtime>);

impl SideRuntime {
    /// A runtime with one thread, and with tokio's network, timers and files. Under a simulation it is as real as ever: its
    /// time is the system's, and no seed decides it.
    ///
    /// # Errors
    /// The system gives no thread or no descriptor.
    pub fn new(reactor: &Reactor) -> io::Result<SideRuntime> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("tokio").enable_all().build()?;
        Ok(SideRuntime { reactor: reactor.clone(), inner: Rc::new(Inner(Some(runtime))) })
    }

    /// The runtime's own handle, for clients that ask for one.
    ///
    /// # Panics
    /// Never: the runtime is there while a handle is.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        self.inner.0.as_ref().expect("it is taken when the last handle is dropped").handle()
    }

    /// Runs a future in tokio's thread; the deferred fires on the loop with its value. A panic becomes a failure,
    /// [`Panicked`](crate::failure::Panicked). Cancelling the deferred aborts the future, and so does the end of either loop.
    ///
    /// ```
    /// # use ropewalk_reactor::{Deferred, SideRuntime};
    /// fn hosts(tokio: &SideRuntime) -> Deferred<std::io::Result<String>> {
    ///     tokio.run(tokio::fs::read_to_string("/etc/hosts"))
    /// }
    /// ```
    #[track_caller]
    pub fn run<F>(&self, future: F) -> Deferred<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let mut running = Running(self.handle().spawn(future));
        let abort = running.0.abort_handle();
        let (firing, deferred) =
            Deferred::with_canceller(&self.reactor, move |firing: &Firing<F::Output>| {
                abort.abort();
                // At once; that tokio has let go of the future is heard later.
                let _ = firing.errback(Failure::cancelled());
            });
        self.reactor.spawn(async move {
            let outcome = match (&mut running.0).await {
                Ok(value) => Ok(value),
                Err(error) if error.is_panic() => Err(Failure::from_panic(error.into_panic())),
                Err(_) => Err(Failure::cancelled()),
            };
            // It fails only if the deferred was cancelled meanwhile, and then nobody wants the value.
            let _ = firing.fire(outcome);
        });
        deferred
    }

    /// The same future, polled by whoever awaits it on the loop, but inside of tokio's context: what it makes of tokio's
    /// timers, sockets, files and tasks works. It need not be `Send`.
    ///
    /// ```
    /// # use ropewalk_reactor::{Outcome, SideRuntime};
    /// async fn greeting(tokio: &SideRuntime, address: std::net::SocketAddr) -> Outcome<String> {
    ///     use tokio::io::AsyncReadExt;
    ///     let read = async {
    ///         let mut text = String::new();
    ///         tokio::net::TcpStream::connect(address).await?.read_to_string(&mut text).await?;
    ///         Ok(text)
    ///     };
    ///     tokio.within(read).await
    /// }
    /// ```
    pub fn within<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        Within { handle: self.handle().clone(), future: Some(Box::pin(future)) }
    }
}

impl fmt::Debug for SideRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SideRuntime").finish_non_exhaustive()
    }
}

impl Drop for Inner {
    /// Without waiting: the loop is not to stand still for a client that does.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What runs in tokio's thread, until it is dropped here.
struct Running<T>(JoinHandle<T>);

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Within<F> {
    handle: Handle,
    /// There until it is dropped, which also happens inside.
    future: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Within { handle, future } = &mut *self;
        let _inside = handle.enter();
        future.as_mut().expect("it is taken by the destructor alone").as_mut().poll(context)
    }
}

impl<F> Drop for Within<F> {
    fn drop(&mut self) {
        let _inside = self.handle.enter();
        drop(self.future.take());
    }
}
