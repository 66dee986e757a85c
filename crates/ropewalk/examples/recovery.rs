//! Errors in a chain: they pass the callbacks by, and an errback looks at them, mends what it can, and hands on the rest.
//!
//! Run it with `cargo run --example recovery`. It asks three times for a price, and prints:
//! ```text
//! apple: 3
//! pear: 7, from yesterday's list
//! plum: nobody knows (no such file: plum)
//! ```
//! and, as the last failure was looked at by nobody, a line of the log that names the place which made its deferred.
#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::io;
use std::num::ParseIntError;

use ropewalk::reactor::deferred::maybe_deferred;
use ropewalk::{Deferred, Failure, Outcome, Reactor, react};

/// Today's list: the pear's entry cannot be read, and there is none for the plum.
fn todays(fruit: &str) -> Outcome<String> {
    match fruit {
        "apple" => Ok("3".to_owned()),
        "pear" => Ok("seven".to_owned()),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, format!("no such file: {fruit}")).into()),
    }
}

/// The price of a fruit as a text that can be shown, whatever happens.
pub fn price(reactor: &Reactor, fruit: &'static str) -> Deferred<String> {
    maybe_deferred(reactor, move || todays(fruit))
        // A failure passes these two by …
        .add_callback(|text| -> Outcome<u32> { Ok(text.parse()?) })
        .add_callback(|price| price.to_string())
        // … and stops here: a number that cannot be read is mended, everything else goes on.
        .add_errback(|failure| -> Outcome<String> {
            failure.trap::<ParseIntError>()?;
            Ok("7, from yesterday's list".to_owned())
        })
        .add_errback(|failure| match failure.check::<io::Error>() {
            Some(error) if error.kind() == io::ErrorKind::NotFound => Ok(format!("nobody knows ({error})")),
            _ => Err(failure),
        })
        .add_callback(move |price| format!("{fruit}: {price}"))
}

fn main() -> ropewalk::Outcome<()> {
    ropewalk::app::log_to_stderr();
    react(|reactor| async move {
        for fruit in ["apple", "pear", "plum"] {
            println!("{}", price(&reactor, fruit).await?);
        }
        // Nobody adds an errback to this one, and nobody awaits it.
        let forgotten: Deferred<u8> =
            maybe_deferred(&reactor, || -> Outcome<u8> { Err(Failure::new("lost")) });
        forgotten.detach();
        Ok(())
    })
}
