//! Pictures that are uploaded: what is really one, and where it goes.
//!
//! A part of `cargo run --example articles`: the picture above an article.

use std::path::PathBuf;

use ropewalk::web::{Rejection, Upload};
use ropewalk::{Outcome, Reactor};

use super::library::Library;

/// Five MiB.
pub(crate) const BYTES_MAX: u64 = 5 * 1024 * 1024;

/// The ending of what these bytes are, whatever its sender says it is: a page with scripts in it would be one of this site.
fn ending(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("png"),
        [0xff, 0xd8, 0xff, ..] => Some("jpg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("webp"),
        _ => None,
    }
}

fn place(library: &Library, name: &str) -> PathBuf {
    library.folder.join("pictures").join(name)
}

/// Keeps a picture, and answers the name that it has here.
pub(crate) async fn keep(reactor: &Reactor, library: &Library, picture: Upload) -> Outcome<String> {
    let bytes = picture.bytes().await?;
    let ending =
        ending(&bytes).ok_or_else(|| Rejection::new(422, "a picture is a PNG, a JPEG, a GIF or a WebP"))?;
    let name = format!("{:016x}.{ending}", reactor.random());
    picture.keep(reactor, place(library, &name)).await?;
    Ok(name)
}

/// Removes one that nobody shows any more.
pub(crate) async fn remove(reactor: &Reactor, library: &Library, name: String) -> Outcome<()> {
    let place = place(library, &name);
    Ok(reactor.defer_to_thread(move || std::fs::remove_file(place)).await??)
}
