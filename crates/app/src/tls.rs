//! The TLS of an application's endpoints: what HTTP adds to it, and reading certificates again at HUP. `listening` makes it, `application`
//! handles the signal.

use ropewalk_net::ServerEndpoint;
use ropewalk_net::tls::{TlsServer, TlsServerOptions};
use ropewalk_reactor::Reactor;

use crate::service::StartError;

/// For a web site at this endpoint; `None` where there is no TLS.
pub(crate) fn for_web(endpoint: &ServerEndpoint) -> Result<Option<TlsServer>, StartError> {
    let Some(files) = endpoint.tls() else { return Ok(None) };
    let options = TlsServerOptions {
        alpn: vec![b"http/1.1".to_vec()],
        // A request says by itself where it ends, and many a client closes without a farewell.
        truncation_allowed: true,
        ..files.options()
    };
    let tls = TlsServer::new(options).map_err(|error| StartError::new(format!("{endpoint}: {error}")))?;
    Ok(Some(tls))
}

/// Reads the certificates again, on a thread; what is broken is logged, and the old ones stay in use.
pub(crate) fn reload(reactor: &Reactor, servers: &[TlsServer]) {
    for tls in servers {
        let tls = tls.clone();
        let job = move || match tls.reload() {
            Ok(()) => tracing::info!("the certificates were read again"),
            Err(error) => tracing::error!("the old certificates stay in use: {error}"),
        };
        // It fails when the loop ends, and then nobody needs them.
        drop(reactor.defer_to_thread(job));
    }
}
