//! A web site of two pages: one is there at once, the other is made on a thread while the loop goes on.
//!
//! Run it with `cargo run --example hello`, then open http://127.0.0.1:8080/ and http://127.0.0.1:8080/report. Each request
//! leaves a line on standard output. `cargo run --example hello -- --help` shows what every program made with
//! `ropewalk::main` understands.

use std::process::ExitCode;

use ropewalk::web::{Request, Router};

/// Takes its time.
pub fn build_report() -> String {
    let primes =
        (2..20_000u32).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d))).count();
    format!("there are {primes} primes below 20000\n")
}

fn main() -> ExitCode {
    ropewalk::main("hello", |app| {
        app.serve("tcp:8080", || {
            Router::new()
                // There at once.
                .get("/", |_| "Hello, World!")
                // Made on a thread, while the loop goes on.
                .get("/report", |request: Request| async move {
                    request.reactor().defer_to_thread(build_report).await
                })
        })
    })
}
