//! Signing in and out, with passwords as Argon2id hashes, computed on threads.
//!
//! A part of `cargo run --example articles`: the page at `/login`.

use std::io::Read;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use ropewalk::Outcome;
use ropewalk::store::rusqlite::{self, OptionalExtension};
use ropewalk::web::extract::State;
use ropewalk::web::{FormData, Request, Response, local_target};

use super::library::Library;
use super::pages;

#[derive(serde::Deserialize)]
pub(crate) struct Credentials {
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

fn hash(password: &str) -> Option<String> {
    let mut salt = [0; 16];
    std::fs::File::open("/dev/urandom").ok()?.read_exact(&mut salt).ok()?;
    let salt = SaltString::encode_b64(&salt).ok()?;
    Argon2::default().hash_password(password.as_bytes(), &salt).ok().map(|hash| hash.to_string())
}

fn is_right(password: &str, known: Option<&str>) -> bool {
    // Who is unknown takes as long: what is compared with then is nobody's.
    const NOBODY: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21l$8zwxMPjKj2rlw3bRSgGIfB2EwQGx3Iw0wPTOF0AX9x4";
    let right = PasswordHash::new(known.unwrap_or(NOBODY))
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
    right && known.is_some()
}

/// Makes this password that of this person.
pub(crate) fn add(library: &Library, name: &'static str, password: &str) {
    let password = password.to_owned();
    let added = library.database.write(move |db| {
        let secret = hash(&password).ok_or(rusqlite::Error::InvalidQuery)?;
        db.execute("INSERT OR REPLACE INTO person VALUES (?1, ?2)", [name, &secret])
    });
    added
        .add_errback(|failure| {
            tracing::error!(%failure, "the editor cannot sign in");
            0
        })
        .detach();
}

pub(crate) fn page(request: Request) -> Response {
    let next = request.argument("next").unwrap_or_default();
    pages::Head::with_token(&request).login(&next, None)
}

pub(crate) async fn enter(library: State<Library>, request: Request) -> Outcome<Response> {
    let (session, head) = (request.session()?, pages::Head::with_token(&request));
    let reactor = request.reactor().clone();
    let given: Credentials = FormData::of(request).await?.read()?;
    let name = given.name.clone();
    let known = library.database.read(move |db| {
        db.query_row("SELECT secret FROM person WHERE name = ?1", [name], |row| row.get::<_, String>(0))
            .optional()
    });
    let known = known.await?;
    let right = reactor.defer_to_thread(move || is_right(&given.password, known.as_deref())).await?;
    if !right {
        let why = Some("This name and this password do not belong together.");
        return Ok(head.login(&given.next, why).status(403));
    }
    // Somebody may know the session's id from before.
    session.renew().await?;
    session.set("name", &given.name).await?;
    Ok(Response::redirect(303, local_target(&given.next).unwrap_or("/").to_owned()))
}

pub(crate) async fn leave(request: Request) -> Outcome<Response> {
    request.session()?.end().await?;
    Ok(Response::redirect(303, "/"))
}
