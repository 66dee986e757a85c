//! The bare loop over tokio-rustls: one task per connection, one buffer each, the ready-made answer, the same provider as ours.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::Setup;
use super::tokio::runtime;
use crate::canned::Answer;

/// As small as a server of many connections would have it.
const READ_BYTES: usize = 4096;

/// Answers hello until it is killed.
pub(super) fn run(setup: Setup) -> io::Result<()> {
    let folder = setup.tls.as_deref().ok_or_else(|| io::Error::other("it speaks TLS only"))?;
    let acceptor = TlsAcceptor::from(Arc::new(config(folder)?));
    runtime()?.block_on(tokio::task::LocalSet::new().run_until(async move {
        let listener = TcpListener::from_std(setup.listen()?)?;
        let answer = Rc::new(Answer::new());
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(serve(acceptor.clone(), stream, Rc::clone(&answer)));
        }
    }))
}

fn config(folder: &Path) -> io::Result<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(folder.join("cert.pem")).map_err(io::Error::other)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(io::Error::other)?;
    // As ours and nginx have it: tickets, which cost the server no memory.
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(io::Error::other)?;
    Ok(config)
}

/// Until the peer goes; how is of no interest here.
async fn serve(acceptor: TlsAcceptor, stream: TcpStream, answer: Rc<Answer>) -> io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let (mut carry, mut out, mut buffer) = (0, Vec::new(), vec![0; READ_BYTES]);
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            // RFC 8446 section 6.1: each side says farewell before it closes.
            return stream.shutdown().await;
        }
        out.clear();
        answer.respond(&mut carry, &buffer[..length], &mut out);
        stream.write_all(&out).await?;
        stream.flush().await?;
    }
}
