//! hyper 1 on tokio's sockets: HTTP/1.1, one thread, and `pipeline_flush` on, without which it would flush every pipelined answer
//! by itself.

use std::convert::Infallible;
use std::io;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::Setup;
use crate::canned;

/// Answers hello until it is killed.
pub(super) fn run(setup: Setup) -> io::Result<()> {
    super::tokio::runtime()?.block_on(async move {
        let listener = TcpListener::from_std(setup.listen()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let mut builder = http1::Builder::new();
                builder.pipeline_flush(true);
                builder.serve_connection(TokioIo::new(stream), service_fn(hello)).await
            });
        }
    })
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(canned::BODY.as_bytes())));
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static(canned::SERVER));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}
