//! axum, as its own first example has it: a router with one route, `axum::serve`, on one thread.

use std::io;

use axum::Router;
use axum::http::header::{CONTENT_TYPE, SERVER};
use axum::routing::get;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

use super::Setup;
use crate::canned;

/// Answers hello until it is killed.
pub(super) fn run(setup: Setup) -> io::Result<()> {
    super::tokio::runtime()?.block_on(async move {
        let listener = TcpListener::from_std(setup.listen()?)?.tap_io(|stream| {
            // A peer that is gone already is noticed at the first read.
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, Router::new().route("/", get(hello))).await
    })
}

async fn hello() -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "text/plain"), (SERVER, canned::SERVER)], canned::BODY)
}
