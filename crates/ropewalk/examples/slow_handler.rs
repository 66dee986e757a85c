//! A handler that answers after five seconds, and stops its work when the client leaves before.
//!
//! Run it with `cargo run --example slow_handler`, then `curl http://127.0.0.1:8080/tea` and wait, or do not wait and press
//! Ctrl-C. It says
//! ```text
//! the kettle is on
//! the tea is served
//! ```
//! or, when the client has left,
//! ```text
//! the kettle is on
//! nobody waits any more (ended by the peer): the kettle is off
//! ```
#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use ropewalk::web::{Request, Router};

/// How long the tea draws.
pub const DRAW: Duration = Duration::from_secs(5);

/// Takes the answer into its own hands: it returns nothing now, and the responder writes and finishes later.
fn tea(request: &Request, say: &Rc<impl Fn(String) + 'static>) {
    say("the kettle is on".to_owned());
    let responder = request.responder();
    let kettle = request.reactor().call_later(DRAW, move || {
        responder.set_content_type("text/plain; charset=utf-8");
        responder.write("tea, ");
        responder.write("worth the wait\n");
        responder.finish();
    });
    let (served, left) = (Rc::clone(say), Rc::clone(say));
    let finished = request.notify_finish().add_callbacks(
        move |()| served("the tea is served".to_owned()),
        move |why| {
            // With the timer goes its function, and with that the responder: nothing of the request is left.
            if kettle.cancel().is_ok() {
                left(format!("nobody waits any more ({why}): the kettle is off"));
            }
        },
    );
    // Its callbacks run whether or not anybody holds it.
    drop(finished);
}

/// `/tea` is slow, `/` is there at once all the while.
pub fn router(say: impl Fn(String) + 'static) -> Router {
    let say = Rc::new(say);
    Router::new()
        .get("/", |_| "a teashop; /tea takes five seconds\n")
        .get("/tea", move |request: Request| tea(&request, &say))
}

fn main() -> ExitCode {
    ropewalk::main("slow_handler", |app| {
        app.serve("tcp:8080:interface=127.0.0.1", || router(|line| println!("{line}")))
    })
}
