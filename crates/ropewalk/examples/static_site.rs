//! A folder served as a web site, with a page beside it that is made for each request.
//!
//! Run it with `cargo run --example static_site`, then open http://127.0.0.1:8080/. The files come from `examples/public`
//! with content types, ETag and ranges; http://127.0.0.1:8080/hello/you comes from a handler.

use std::path::Path;
use std::process::ExitCode;

use ropewalk::StartError;
use ropewalk::web::{Files, Request, Router, Site};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/public");

/// What a route names is answered by its handler, everything else by a file of the folder, or 404.
pub fn site(folder: &Path) -> Result<Site, StartError> {
    let files = Files::new(folder).map_err(StartError::new)?;
    let router = Router::new()
        .get("/hello/{name}", |request: Request| {
            format!("Hello, {}!\n", request.param("name").unwrap_or_default())
        })
        .fallback(files);
    Ok(Site::new(router))
}

fn main() -> ExitCode {
    ropewalk::main("static_site", |app| {
        app.serve_site("web", "tcp:8080:interface=127.0.0.1".parse()?, || site(Path::new(FOLDER)));
        Ok(())
    })
}
