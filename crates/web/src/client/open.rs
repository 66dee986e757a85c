//! Making a connection for a request: TCP, to the proxy where there is one, its tunnel, TLS. Each with its deadline; dropping the
//! future gives up at any of them.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ropewalk_net::{Factory, Transport};
use ropewalk_reactor::failure::TimedOut;
use ropewalk_reactor::{Failure, Outcome, Reactor};

use super::agent::Agent;
use super::connection::Connection;
use super::error::{ClientError, Phase};
use super::exchange::{Exchange, Handle, Outgoing};
use super::head;
use super::options::Deadlines;
use super::pool::{Lease, Slot, Want};
use super::proxy::Proxy;
use super::url::Origin;

/// How to come to an origin.
pub(super) struct Way<'a> {
    pub(super) agent: &'a Agent,
    pub(super) origin: &'a Origin,
    pub(super) proxy: Option<&'a Proxy>,
    pub(super) deadlines: &'a Deadlines,
}

impl Way<'_> {
    pub(super) async fn open(&self, slot: Slot, want: Want) -> Outcome<Lease> {
        let settings = &self.agent.settings;
        let (reactor, pool) = (&settings.reactor, &self.agent.pool);
        let connection = Connection::new(reactor, pool, slot, settings.limits.wire);
        let opening = Opening(Some(Rc::clone(&connection)));
        let to = self.proxy.map_or(self.origin, Proxy::origin);
        let speaking = Rc::clone(&connection);
        let factory: Rc<dyn Factory> = Rc::new(move || speaking.speaker());
        let limit = self.deadlines.connect;
        let connecting = settings.connector.connect(reactor, to.host(), to.port(), limit, factory);
        let transport = connecting.await?;
        pool.enrol(&connection);
        if to.is_secure() {
            self.handshake(&connection, &transport, to).await?;
        }
        if let Some(proxy) = self.proxy.filter(|_| self.origin.is_secure()) {
            let tunnel = self.tunnel(&connection, proxy);
            within(reactor, self.deadlines.tls, Phase::Tunnel, tunnel).await??;
        }
        if self.origin.is_secure() && (self.proxy.is_some() || !to.is_secure()) {
            self.handshake(&connection, &transport, self.origin).await?;
        }
        connection.opened();
        opening.done();
        Ok(Lease::new(connection, pool, want))
    }

    /// A connection that is lost meanwhile is the end of it, whatever the connector makes of that.
    async fn handshake(
        &self,
        connection: &Rc<Connection>,
        transport: &Transport,
        to: &Origin,
    ) -> Outcome<()> {
        let settings = &self.agent.settings;
        let mut secure = pin!(settings.connector.secure(transport, to.host()));
        let handshake = poll_fn(|context| match secure.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => {
                let lost = connection.poll_lost(context);
                lost.map(|lost| Err(ClientError::Unanswered(lost).into()))
            }
        });
        within(&settings.reactor, self.deadlines.tls, Phase::Tls, handshake).await?
    }

    async fn tunnel(&self, connection: &Rc<Connection>, proxy: &Proxy) -> Outcome<()> {
        let head = head::tunnel(&self.origin.endpoint(), proxy)?;
        let limits = &self.agent.settings.limits;
        let exchange = Exchange::new("CONNECT", self.deadlines, limits, None, Outgoing::Done);
        let handle = Handle(exchange);
        connection.begin(&handle.0, &head);
        let answered = poll_fn(|context| handle.0.poll_head(context)).await.map_err(|(error, _)| error)?;
        match answered.head.status() {
            200..=299 => Ok(()),
            status => Err(ClientError::Proxy(status).into()),
        }
    }
}

/// A connection that is being made: broken off unless it is done.
struct Opening(Option<Rc<Connection>>);

impl Opening {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            connection.abort();
        }
    }
}

/// What a future gives within a deadline of this phase.
pub(super) async fn within<T>(
    reactor: &Reactor,
    limit: Option<Duration>,
    phase: Phase,
    future: impl Future<Output = T>,
) -> Outcome<T> {
    let Some(limit) = limit else { return Ok(future.await) };
    let late = |failure: Failure| match failure.check::<TimedOut>() {
        Some(_) => ClientError::TimedOut { phase, limit }.into(),
        None => failure,
    };
    reactor.with_timeout(limit, future).await.map_err(late)
}
