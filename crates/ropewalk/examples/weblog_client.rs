//! The client of the example `weblog`: prints the records as they come.
//!
//! Run `cargo run --example weblog -- /var/log/apache2/access.log` in one terminal, and `cargo run --example weblog_client` in
//! another, with an endpoint behind `--` if the server is not at `tcp:127.0.0.1:8888`. It shows the greeting and a line for
//! each record, with status, size, host and request, until the server stops:
//! ```text
//! # Weblog: host, time, request, status, bytes, referer, agent; new records every 5 s
//! 200      2326  192.0.2.7        GET /index.html HTTP/1.1
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it shows what it gets")]

use std::cell::Cell;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;

use ropewalk::net::{Stream, StreamError};
use ropewalk::{Lost, Outcome, Reactor};

/// A server that sends more than this without an end of line is not a Weblog.
const LINE_BYTES_MAX: usize = 256 * 1024;

/// What is shown of a line; one that is no record, the greeting for instance, is shown as it is.
pub fn shown(line: &str) -> String {
    let fields: Vec<&str> = line.trim_end().split('\t').collect();
    match fields[..] {
        [host, _time, request, status, bytes, ..] => format!("{status} {bytes:>9}  {host:<15}  {request}"),
        _ => line.trim_end().to_owned(),
    }
}

/// Says every line that the server sends; ends well when the server does.
pub async fn watch(reactor: &Reactor, server: &str, say: impl Fn(String)) -> Outcome<()> {
    let mut stream = Stream::connect(reactor, &server.parse()?).await?;
    loop {
        match stream.read_until(b"\n", LINE_BYTES_MAX).await {
            Ok(line) => say(shown(&String::from_utf8_lossy(&line))),
            Err(StreamError::Closed(Lost::Ended)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn main() -> io::Result<ExitCode> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "tcp:127.0.0.1:8888".to_owned());
    let reactor = Reactor::new()?;
    let code = Rc::new(Cell::new(ExitCode::SUCCESS));
    let (handle, end) = (reactor.clone(), Rc::clone(&code));
    reactor.spawn(async move {
        if let Err(failure) = watch(&handle, &server, |line| println!("{line}")).await {
            eprintln!("weblog_client: {failure}");
            end.set(ExitCode::FAILURE);
        }
        handle.stop();
    });
    reactor.run()?;
    Ok(code.get())
}
