//! A factory under TLS: connections come to the protocol when their handshake is done, so that it knows from the beginning whom it
//! talks to, and is not even made for those that never get that far. Also what looks after the files while a port listens.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::io::Address;
use ropewalk_reactor::{Firing, LoopingCall, Reactor};

use super::client::TlsClient;
use super::layer::TlsLayer;
use super::server::TlsServer;
use crate::protocol::{Factory, Lost, Protocol};
use crate::transport::Transport;

/// Files are not looked at more often.
const CHECK_EVERY_MIN: Duration = Duration::from_secs(1);

impl TlsServer {
    /// A factory whose connections speak TLS. `connection_made` comes when the handshake is done; a connection whose
    /// handshake fails never reaches the factory.
    ///
    /// ```
    /// use ropewalk_net::tls::{Identity, TlsServer, TlsServerOptions};
    /// use ropewalk_net::{Protocol, Transport, listen};
    /// # struct Echo;
    /// # impl Protocol for Echo { fn data_received(&mut self, t: &Transport, d: &[u8]) { t.write(d); } }
    ///
    /// # fn serve(reactor: &ropewalk_reactor::Reactor) -> Result<(), Box<dyn std::error::Error>> {
    /// let tls = TlsServer::new(TlsServerOptions::new(Identity::files("cert.pem", "key.pem")))?;
    /// let port = listen(reactor, &"tcp:7000".parse()?, tls.wrap(|| Echo))?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn wrap(&self, factory: impl Factory) -> impl Factory {
        self.wrap_shared(Rc::new(factory))
    }

    pub(crate) fn wrap_shared(&self, factory: Rc<dyn Factory>) -> Secured {
        Secured { tls: self.clone(), factory, watch: RefCell::new(None) }
    }
}

/// A factory under a server's TLS.
pub(crate) struct Secured {
    tls: TlsServer,
    factory: Rc<dyn Factory>,
    /// The timer that looks after the files, if it is this port's.
    watch: RefCell<Option<LoopingCall>>,
}

impl Factory for Secured {
    fn build_protocol(&self, peer: &Address) -> Option<Box<dyn Protocol>> {
        match self.tls.layer() {
            Ok(layer) => Some(Box::new(Handshake {
                layer: Some(Box::new(layer)),
                factory: Rc::clone(&self.factory),
                peer: peer.clone(),
                told: None,
            })),
            Err(error) => {
                tracing::error!("a connection without TLS: {error}");
                None
            }
        }
    }

    fn drain(&self) {
        self.factory.drain();
    }

    fn start_factory(&self, reactor: &Reactor) {
        self.factory.start_factory(reactor);
        if let Some(every) = self.tls.options().check_every
            && self.tls.watch()
        {
            let (tls, handle) = (self.tls.clone(), reactor.downgrade());
            let watch = LoopingCall::new(reactor, move |_| {
                if let Some(reactor) = handle.upgrade() {
                    look_after(&reactor, &tls);
                }
            });
            watch.start(every.max(CHECK_EVERY_MIN), false);
            *self.watch.borrow_mut() = Some(watch);
        }
    }

    fn stop_factory(&self) {
        let watch = self.watch.borrow_mut().take();
        if let Some(watch) = watch {
            watch.stop();
            self.tls.unwatch();
        }
        self.factory.stop_factory();
    }

    // What a connection beyond a limit is told would be no TLS: it gets the close alone.
}

/// Reads the files again on a thread if they have changed, and logs what came of it.
fn look_after(reactor: &Reactor, tls: &TlsServer) {
    let tls = tls.clone();
    let job = move || match tls.reload_if_changed() {
        Ok(true) => tracing::info!("TLS: the certificates have changed and were read again"),
        Ok(false) => {}
        Err(error) => {
            tracing::error!("TLS: the certificates have changed, and the old ones stay in use: {error}")
        }
    };
    // A pool that is full has more important things to do; the next look comes.
    drop(reactor.defer_to_thread(job));
}

/// A client's factory under TLS, for one host.
pub(crate) struct Outgoing {
    pub(crate) tls: TlsClient,
    pub(crate) host: String,
    pub(crate) factory: Rc<dyn Factory>,
    /// Who hears when the handshake is done, or why it will not be.
    pub(crate) told: RefCell<Option<Firing<()>>>,
}

impl Factory for Outgoing {
    fn build_protocol(&self, peer: &Address) -> Option<Box<dyn Protocol>> {
        let told = self.told.borrow_mut().take();
        match self.tls.layer(&self.host) {
            Ok(layer) => Some(Box::new(Handshake {
                layer: Some(Box::new(layer)),
                factory: Rc::clone(&self.factory),
                peer: peer.clone(),
                told,
            })),
            Err(error) => {
                tell(told, Err(error.into_io()));
                None
            }
        }
    }
}

fn tell(told: Option<Firing<()>>, outcome: std::io::Result<()>) {
    if let Some(told) = told {
        // Who has given up does not mind.
        let _ = match outcome {
            Ok(()) => told.callback(()),
            Err(error) => told.errback(ropewalk_reactor::Failure::new(error)),
        };
    }
}

/// Stands in for the protocol until the handshake is done.
struct Handshake {
    layer: Option<Box<TlsLayer>>,
    factory: Rc<dyn Factory>,
    /// Whom the factory is asked for: it need not be the socket's peer, if there is a proxy between.
    peer: Address,
    told: Option<Firing<()>>,
}

impl Protocol for Handshake {
    fn connection_made(&mut self, transport: &Transport) {
        if let Some(mut layer) = self.layer.take() {
            layer.await_handshake();
            transport.push_layer(layer);
        }
    }

    fn woken(&mut self, transport: &Transport) {
        if transport.layer(|tls: &mut TlsLayer| tls.is_established()) != Some(true) {
            return;
        }
        let Some(protocol) = self.factory.build_protocol(&self.peer) else {
            let error = std::io::Error::other("the factory wants no connection");
            tell(self.told.take(), Err(error));
            return transport.lose_connection();
        };
        transport.layer(TlsLayer::release);
        transport.switch(protocol);
        tell(self.told.take(), Ok(()));
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        // The layer holds everything back until the protocol is there.
        transport.unread(data);
    }

    fn connection_lost(&mut self, _transport: &Transport, lost: &Lost) {
        let error = match lost {
            Lost::Broken(error) => super::TlsError::again(error),
            lost => std::io::Error::new(std::io::ErrorKind::ConnectionAborted, lost.to_string()),
        };
        tell(self.told.take(), Err(error));
    }
}
