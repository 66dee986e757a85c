//! The client in a browser: one file of JavaScript, as it is. Programs serve it beside the channels.
//!
//! What it does is at the head of `ropewalk.js`.

use crate::response::Response;
use crate::router::{Handler, handler};

/// The client: an ES module, which is also `globalThis.ropewalk`.
pub const SCRIPT: &str = include_str!("ropewalk.js");

/// A handler that serves [`SCRIPT`], at `/ropewalk.js` by custom.
///
/// ```
/// use ropewalk_web::{Router, push};
/// let router = Router::new().route("GET", "/ropewalk.js", push::script());
/// # drop(router);
/// ```
#[must_use]
pub fn script() -> impl Handler {
    handler(|_| {
        Response::new(SCRIPT)
            .content_type("text/javascript; charset=utf-8")
            .header("Cache-Control", "no-cache")
            .header("X-Content-Type-Options", "nosniff")
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_small() {
        assert!(super::SCRIPT.len() < 8 * 1024, "{}", super::SCRIPT.len());
    }
}
