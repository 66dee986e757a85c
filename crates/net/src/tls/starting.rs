//! TLS on a connection that runs already (STARTTLS), and what a transport or a stream tells of its TLS. The layer itself is in
//! `layer`.

use ropewalk_reactor::{Deferred, Failure};

use super::TlsInfo;
use super::client::TlsClient;
use super::error::TlsError;
use super::layer::TlsLayer;
use super::server::TlsServer;
use crate::stream::Stream;
use crate::transport::Transport;

/// Which side of TLS one is.
#[derive(Clone, Copy, Debug)]
pub enum TlsSide<'a> {
    /// The server's.
    Server(&'a TlsServer),
    /// The server's, and it gives the client nothing to resume another session by. For connections that clients close as soon as they
    /// have sent all, as FTP's are: tickets of TLS 1.3 that nobody has read by then turn the end into a reset. A session that began
    /// elsewhere may be resumed all the same.
    ServerWithoutTickets(&'a TlsServer),
    /// The client's, for a server of this name.
    Client(&'a TlsClient, &'a str),
}

impl TlsSide<'_> {
    fn layer(self) -> Result<TlsLayer, TlsError> {
        match self {
            TlsSide::Server(server) => server.layer(),
            TlsSide::ServerWithoutTickets(server) => server.layer_without_tickets(),
            TlsSide::Client(client, host) => client.layer(host),
        }
    }
}

impl Transport {
    /// Begins TLS on this connection, at once. What was written before leaves in the clear, ahead of it; what is written after
    /// waits for the handshake.
    ///
    /// `rest` is what came behind the request for TLS, or behind the answer to it, in the bytes that the protocol was given:
    /// the beginning of the handshake, or something that a third party has slipped in to have it taken for part of the
    /// protected conversation (CVE-2011-0411). It goes to TLS, which refuses what is not its own; a protocol must
    /// forget it, and what it was told in the clear.
    ///
    /// ```
    /// use ropewalk_net::tls::{TlsServer, TlsSide};
    /// use ropewalk_net::{Protocol, Transport};
    ///
    /// struct Plain(TlsServer);
    /// impl Protocol for Plain {
    ///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
    ///         let Some(rest) = data.strip_prefix(b"STARTTLS\r\n") else { return transport.lose_connection() };
    ///         transport.write(b"go ahead\r\n");
    ///         match transport.start_tls(TlsSide::Server(&self.0), rest) {
    ///             Ok(()) => transport.switch(Box::new(Protected)),
    ///             Err(_) => transport.abort_connection(),
    ///         }
    ///     }
    /// }
    /// # struct Protected;
    /// # impl Protocol for Protected { fn data_received(&mut self, _: &Transport, _: &[u8]) {} }
    /// ```
    ///
    /// # Errors
    /// The host's name is none that a certificate could be for, or the system gives no randomness.
    pub fn start_tls(&self, side: TlsSide<'_>, rest: &[u8]) -> Result<(), TlsError> {
        let layer = side.layer()?;
        self.unread(rest);
        self.push_layer(Box::new(layer));
        Ok(())
    }

    /// Begins TLS as [`Transport::start_tls`] does, and fires when the handshake is done: then the peer is who it should be.
    /// For those who must know that before they go on. The protocol is not told, and may be given bytes of the peer's
    /// before this has fired, if the peer speaks at once. Dropping the deferred changes nothing.
    ///
    /// ```
    /// use ropewalk_net::Transport;
    /// use ropewalk_net::tls::{TlsClient, TlsSide};
    /// use ropewalk_reactor::Outcome;
    ///
    /// async fn protect(transport: &Transport, tls: &TlsClient) -> Outcome<String> {
    ///     transport.handshake(TlsSide::Client(tls, "mail.example"), b"").await?;
    ///     Ok(transport.tls().map_or_else(String::new, |tls| tls.cipher))
    /// }
    /// ```
    ///
    /// # Errors
    /// An [`io::Error`](std::io::Error): with a [`TlsError`] inside where TLS has refused or was refused, see [`TlsError::of`]; of the kind
    /// `TimedOut` where it took too long; else that of the connection. The connection is lost then. One that this side breaks
    /// off meanwhile is [`Abandoned`](ropewalk_reactor::failure::Abandoned).
    pub fn handshake(&self, side: TlsSide<'_>, rest: &[u8]) -> Deferred<()> {
        let (told, handshake) = Deferred::new(self.reactor());
        match side.layer() {
            Ok(mut layer) => {
                layer.tell(told);
                self.unread(rest);
                self.push_layer(Box::new(layer));
            }
            Err(error) => {
                let _ = told.errback(Failure::new(error.into_io()));
            }
        }
        handshake
    }

    /// Has [`Protocol::woken`](crate::Protocol::woken) called when the handshake that [`Transport::start_tls`] has begun is done: for a
    /// protocol that has nothing to write and would close the connection before there is one to close in good order. If it is done
    /// already, nothing is called.
    ///
    /// ```
    /// use ropewalk_net::{Protocol, Transport};
    ///
    /// /// Sends an empty file over TLS.
    /// struct Empty;
    /// impl Protocol for Empty {
    ///     fn connection_made(&mut self, transport: &Transport) {
    ///         transport.notify_tls();
    ///     }
    ///     fn woken(&mut self, transport: &Transport) {
    ///         if transport.tls().is_some() {
    ///             transport.lose_connection();
    ///         }
    ///     }
    ///     fn data_received(&mut self, _: &Transport, _: &[u8]) {}
    /// }
    /// ```
    pub fn notify_tls(&self) {
        self.layer(|layer: &mut TlsLayer| layer.notify());
    }

    /// What was agreed upon with the peer: `None` before the handshake is done, and on connections without TLS.
    ///
    /// ```
    /// use ropewalk_net::Transport;
    /// fn who(transport: &Transport) -> String {
    ///     match transport.tls() {
    ///         Some(tls) if !tls.peer_certificates.is_empty() => format!("known, by {}", tls.version),
    ///         Some(tls) => format!("anybody, by {}", tls.version),
    ///         None => "in the clear".to_owned(),
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn tls(&self) -> Option<TlsInfo> {
        self.layer(|layer: &mut TlsLayer| TlsInfo::of(layer)).flatten()
    }
}

impl Stream {
    /// Begins TLS on this connection, as [`Transport::start_tls`] does. What was received and not read yet goes to TLS: it
    /// was sent behind the request for it.
    ///
    /// # Errors
    /// The host's name is none that a certificate could be for, or the system gives no randomness.
    pub fn start_tls(&mut self, side: TlsSide<'_>) -> Result<(), TlsError> {
        let received = self.take_received();
        self.transport().start_tls(side, &received)
    }

    /// What was agreed upon with the peer; see [`Transport::tls`].
    #[must_use]
    pub fn tls(&self) -> Option<TlsInfo> {
        self.transport().tls()
    }
}
