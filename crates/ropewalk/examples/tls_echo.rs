//! An echo over TLS, which tells everybody what was agreed upon; and its client.
//!
//! Make a certificate with `ropewalk cert`, run `cargo run --example tls_echo` beside it, and talk to it with
//! `openssl s_client -connect localhost:7443 -CAfile cert.pem -quiet`: it greets with the version and the cipher, and sends back
//! every line. `cargo run --example tls_echo -- hello` is a client that believes that certificate: it says hello, and prints the
//! greeting and what came back. A certificate that is renewed is taken up within a minute, or at once at HUP; those who are connected
//! notice nothing.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it shows what happens")]

use std::process::ExitCode;
use std::rc::Rc;

use ropewalk::net::tls::TlsInfo;
use ropewalk::{Outcome, Protocol, Reactor, Stream, Transport};

const SERVER: &str = "ssl:7443:interface=127.0.0.1:privateKey=key.pem:certKey=cert.pem";
const CLIENT: &str = "tls:localhost:7443:trustRoots=cert.pem";

/// Greets, and sends back whatever it is sent.
pub struct Echo;

impl Protocol for Echo {
    /// Called when the handshake is done: before that there is nobody to talk to.
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(greeting(transport.tls()).as_bytes());
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

fn greeting(tls: Option<TlsInfo>) -> String {
    match tls {
        Some(tls) if tls.resumed => format!("welcome back, by {} and {}\n", tls.version, tls.cipher),
        Some(tls) => format!("welcome, by {} and {}\n", tls.version, tls.cipher),
        None => "welcome, in the clear\n".to_owned(),
    }
}

/// Says something, and answers the greeting and what came back.
pub async fn say(mut stream: Stream, text: &str) -> Outcome<(String, String)> {
    let greeting = stream.read_until(b"\n", 1000).await?;
    stream.write(text.as_bytes()).await?;
    let echo = stream.read_bytes(text.len()).await?;
    Ok((String::from_utf8(greeting)?, String::from_utf8(echo)?))
}

fn client(text: String) -> Outcome<()> {
    ropewalk::react(move |reactor: Reactor| async move {
        let stream = Stream::connect(&reactor, &CLIENT.parse()?).await?;
        let (greeting, echo) = say(stream, &text).await?;
        print!("{greeting}");
        println!("{echo}");
        Ok(())
    })
}

fn main() -> ExitCode {
    match std::env::args().nth(1) {
        Some(text) => match client(text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("{failure}");
                ExitCode::FAILURE
            }
        },
        None => ropewalk::main("tls_echo", |app| {
            app.serve_factory("echo", SERVER.parse()?, |_| Ok(Rc::new(|| Echo)));
            Ok(())
        }),
    }
}
