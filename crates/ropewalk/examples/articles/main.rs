//! A site of articles: sign in, write with tags and a picture, search, page, edit, delete. Everything is kept in SQLite on threads.
//!
//! Run it with `ARTICLES_PASSWORD='a good one' cargo run --example articles`, look at <http://127.0.0.1:8080/>, and sign in as `editor`. What is
//! written stands in `./articles-data` (`ARTICLES_FOLDER`), and is there again the next time.

mod desk;
mod forms;
mod handlers;
mod library;
mod login;
mod pages;
mod pictures;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ropewalk::web::extract::typed;
use ropewalk::web::{
    Authenticated, Compression, ErrorPages, Files, Handler, Identify, MultipartLimits, RateLimit, Request,
    Response, Router, SecurityHeaders, Sessions, Site, SqliteSessions, Xsrf, handler,
};
use ropewalk::{Reactor, StartError};

use library::Library;

/// Whoever has signed in.
pub struct Person(String);

const MINUTE: Duration = Duration::from_secs(60);
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The site over what lies in this folder. It blocks: the database is opened.
pub fn site(reactor: &Reactor, folder: &Path, password: &str) -> Result<Site, StartError> {
    let failed = |error: std::io::Error| StartError::new(format!("{}: {error}", folder.display()));
    let pictures = folder.join("pictures");
    std::fs::create_dir_all(&pictures).map_err(failed)?;
    let library = Library::open(reactor, folder).map_err(StartError::new)?;
    login::add(&library, "editor", password);
    let sessions = SqliteSessions::beside(library.database.clone());
    let uploads = MultipartLimits {
        part_bytes_max: Some(pictures::BYTES_MAX),
        form_bytes_max: Some(pictures::BYTES_MAX + 1024 * 1024),
        ..MultipartLimits::default()
    };
    // What only those may who have signed in.
    let own = Router::new()
        .get("/new", typed(desk::blank))
        .post("/new", typed(desk::create))
        .get("/article/{id}/edit", typed(desk::edit))
        .post("/article/{id}/edit", typed(desk::change))
        .post("/article/{id}/delete", typed(desk::delete))
        .with(Authenticated::new().login("/login"));
    let enter = handler(typed(login::enter)).with(RateLimit::new(10, MINUTE));
    let router = Router::new()
        .get("/", typed(handlers::list))
        .get("/article/{id}", typed(handlers::show))
        .get("/login", login::page)
        .route("POST", "/login", enter)
        .post("/logout", login::leave)
        .get("/style.css", |_| {
            Response::new(include_str!("style.css")).content_type("text/css; charset=utf-8")
        })
        .mount(
            "/pictures",
            Files::new(&pictures).map_err(failed)?.prefix("/pictures").cache_control("max-age=86400"),
        )
        .fallback(own)
        .state(library)
        .state(uploads);
    Ok(Site::new(router)
        .with(SecurityHeaders::new().content_security_policy(POLICY))
        .with(Compression::new())
        .with(Sessions::new(sessions).idle(60 * MINUTE))
        .with(Xsrf::new())
        .with(identify())
        .error_pages(ErrorPages::new()))
}

/// Who asks stands in the session.
fn identify() -> Identify {
    Identify::new(|request: Request| async move {
        let name = request.session()?.get::<String>("name").await?;
        Ok(name.map(Person))
    })
}

fn main() -> ExitCode {
    ropewalk::main("articles", |app| {
        let folder =
            std::env::var_os("ARTICLES_FOLDER").map_or_else(|| "articles-data".into(), PathBuf::from);
        let password = std::env::var("ARTICLES_PASSWORD")
            .map_err(|_| StartError::new("which password? Set ARTICLES_PASSWORD, and sign in as editor"))?;
        // A database is the home worker's.
        app.serve_home("web", "tcp:8080:interface=127.0.0.1".parse()?, move |reactor| {
            site(reactor, &folder, &password)
        });
        Ok(())
    })
}
