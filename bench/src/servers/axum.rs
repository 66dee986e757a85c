//! axum, as its own first example has it: a router with one route, `axum::serve`, on one thread; or with a database on its runtime's
//! blocking threads, when asked.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, SERVER};
use axum::routing::get;
use axum::serve::ListenerExt;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tower_http::services::ServeDir;

use super::database::{INTERVAL, Queries, Ticks};
use super::{Page, Record, Setup, routes};
use crate::canned;
use crate::library::pool::THREADS;

/// Answers hello until it is killed.
pub(super) fn run(setup: Setup) -> io::Result<()> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(THREADS).build()?.block_on(async move {
        let listener = TcpListener::from_std(setup.listen()?)?.tap_io(|stream| {
            // A peer that is gone already is noticed at the first read.
            let _ = stream.set_nodelay(true);
        });
        let router = match setup.database {
            Some(path) => database(path),
            None => match &setup.folder {
                Some(folder) => Router::new().fallback_service(ServeDir::new(folder)),
                None => page(setup.page),
            },
        };
        axum::serve(listener, router).await
    })
}

fn page(page: Page) -> Router {
    match page {
        Page::Typed => Router::new()
            .route("/hello/{name}", get(|Path(name): Path<String>| async move { format!("Hello, {name}!") })),
        Page::Json => Router::new().route("/json", get(|| async { Json(Record::new()) })),
        Page::Routes => routes().fold(Router::new(), |router, route| router.route(&route, get(last))),
        Page::Hello | Page::Resource | Page::Handler => Router::new().route("/", get(hello)),
    }
}

/// The last of ten parameters.
async fn last(Path(values): Path<Vec<(String, String)>>) -> String {
    values.into_iter().next_back().map(|(_, value)| value).unwrap_or_default()
}

async fn hello() -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "text/plain"), (SERVER, canned::SERVER)], canned::BODY)
}

/// A query on a blocking thread for every request, and a ticker on the loop meanwhile.
fn database(path: PathBuf) -> Router {
    let ticks = Arc::new(Mutex::new(Ticks::begin()));
    let recorded = Arc::clone(&ticks);
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(INTERVAL);
        // Its first tick is at once. Those that it misses it makes up for one by one, which is what the record wants.
        interval.tick().await;
        loop {
            interval.tick().await;
            recorded.lock().unwrap_or_else(PoisonError::into_inner).tick(1);
        }
    });
    let queries = Queries::new(path);
    let query = move || {
        let query = queries.next();
        async move {
            let answer = tokio::task::spawn_blocking(query).await;
            let answer = answer.map_err(io::Error::other).and_then(|answer| answer);
            answer.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
        }
    };
    let late = move || async move { ticks.lock().unwrap_or_else(PoisonError::into_inner).take() };
    Router::new().route("/", get(query)).route("/late", get(late))
}
