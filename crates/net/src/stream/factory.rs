//! A server as one task per connection: the factory that gives each connection to a new task, as a stream. Listening calls it.

use std::fmt;
use std::rc::Rc;

use ropewalk_reactor::Name;
use ropewalk_reactor::io::Address;

use super::Stream;
use crate::protocol::{Factory, Protocol};
use crate::transport::Transport;

/// What a connection's task may end with: nothing, or a result, whose error is logged.
pub trait StreamEnd: 'static {
    /// The task of a connection of this name has ended with this.
    fn end(self, connection: Name);
}

impl StreamEnd for () {
    fn end(self, _connection: Name) {}
}

impl<E: fmt::Display + 'static> StreamEnd for Result<(), E> {
    fn end(self, connection: Name) {
        if let Err(error) = self {
            // Most of them are peers that went away: no warning.
            tracing::debug!(connection = %connection, "a stream's task: {error}");
        }
    }
}

/// The factory that [`stream_factory`] makes.
pub struct StreamFactory<F> {
    handler: Rc<F>,
}

/// A factory that runs `handler` as a task for each connection, under the listener's name. The task is polled when its connection is
/// told something, and when it is woken; when the connection is gone or handed on, it goes on as one of the reactor's.
///
/// ```
/// use ropewalk_net::{Stream, StreamError, listen, stream_factory};
/// use ropewalk_reactor::Reactor;
/// let reactor = Reactor::new()?;
/// let echo = stream_factory(|mut stream: Stream| async move {
///     loop {
///         let bytes = stream.read_some().await?;
///         stream.write(&bytes).await?;
///     }
///     #[allow(unreachable_code)]
///     Ok::<(), StreamError>(())
/// });
/// let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse()?, echo)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn stream_factory<F, T>(handler: F) -> StreamFactory<F>
where
    F: Fn(Stream) -> T + 'static,
    T: Future<Output: StreamEnd> + 'static,
{
    StreamFactory { handler: Rc::new(handler) }
}

impl<F, T> Factory for StreamFactory<F>
where
    F: Fn(Stream) -> T + 'static,
    T: Future<Output: StreamEnd> + 'static,
{
    fn build_protocol(&self, _peer: &Address) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Starting(Rc::clone(&self.handler))))
    }
}

struct Starting<F>(Rc<F>);

impl<F, T> Protocol for Starting<F>
where
    F: Fn(Stream) -> T + 'static,
    T: Future<Output: StreamEnd> + 'static,
{
    fn connection_made(&mut self, transport: &Transport) {
        let name = transport.name();
        Stream::attach_for(transport, |stream| {
            let task = (self.0)(stream);
            Box::pin(async move { task.await.end(name) })
        });
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {
        // Never called: it has switched before anything was read.
    }
}
