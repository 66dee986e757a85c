//! actix-web with its router, one worker and no logger. Its accepting thread and its worker share the one core.

use std::io;

use actix_web::http::header::SERVER;
use actix_web::{App, HttpResponse, HttpServer, web};

use super::Setup;
use crate::canned;

/// Answers hello until it is killed.
pub(super) fn run(setup: Setup) -> io::Result<()> {
    actix_web::rt::System::new().block_on(async move {
        HttpServer::new(|| App::new().route("/", web::get().to(hello)))
            .workers(1)
            .tcp_nodelay(true)
            .disable_signals()
            .listen(setup.listen()?)?
            .run()
            .await
    })
}

async fn hello() -> HttpResponse {
    HttpResponse::Ok().insert_header((SERVER, canned::SERVER)).content_type("text/plain").body(canned::BODY)
}
