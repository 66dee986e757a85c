//! actix-web with its router, one worker and no logger. Its accepting thread and its worker share the one core.

use std::io;

use actix_web::http::header::SERVER;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

use super::{Page, Record, Setup, routes};
use crate::canned;

/// Answers hello until it is killed.
pub(super) fn run(setup: Setup) -> io::Result<()> {
    let page_of = setup.page;
    actix_web::rt::System::new().block_on(async move {
        HttpServer::new(move || App::new().configure(|config| page(config, page_of)))
            .workers(1)
            .tcp_nodelay(true)
            .disable_signals()
            .listen(setup.listen()?)?
            .run()
            .await
    })
}

fn page(config: &mut web::ServiceConfig, page: Page) {
    match page {
        Page::Typed => {
            config.route("/hello/{name}", web::get().to(greet));
        }
        Page::Json => {
            config.route("/json", web::get().to(|| async { web::Json(Record::new()) }));
        }
        Page::Routes => routes().for_each(|route| {
            config.route(&route, web::get().to(last));
        }),
        Page::Hello | Page::Resource | Page::Handler => {
            config.route("/", web::get().to(hello));
        }
    }
}

async fn greet(name: web::Path<String>) -> String {
    format!("Hello, {name}!")
}

/// The last of ten parameters.
async fn last(request: HttpRequest) -> String {
    request.match_info().get("name9").unwrap_or_default().to_owned()
}

async fn hello() -> HttpResponse {
    HttpResponse::Ok().insert_header((SERVER, canned::SERVER)).content_type("text/plain").body(canned::BODY)
}
