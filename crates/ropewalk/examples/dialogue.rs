//! A dialogue: each state is a method that is told one line and answers with the next state. It speaks a little SMTP.
//!
//! Run it with `cargo run --example dialogue`, then `nc -C 127.0.0.1 7025`, and say `HELO me`, `MAIL FROM:<ann@example.org>`,
//! `RCPT TO:<bob@example.org>`, `DATA`, a message, a dot alone, and `QUIT`. The program logs the mail, and delivers nothing.

use std::process::ExitCode;
use std::rc::Rc;

use ropewalk::net::{Dialogue, Factory, LineReceiver, LineTransport, State, Stateful};

/// The mail so far, and who is told of it.
struct Post {
    mail: String,
    take: Rc<dyn Fn(String)>,
}

impl Dialogue for Post {
    fn begin(&mut self, transport: &LineTransport<'_>) -> State<Self> {
        answer(transport, "220 a post office", Self::greeting)
    }
}

impl Post {
    fn greeting(&mut self, transport: &LineTransport<'_>, line: &[u8]) -> State<Self> {
        let Some(_) = argument(line, "HELO ") else { return refuse(transport, line, Self::greeting) };
        answer(transport, "250 good day", Self::sender)
    }

    fn sender(&mut self, transport: &LineTransport<'_>, line: &[u8]) -> State<Self> {
        let Some(from) = argument(line, "MAIL FROM:") else { return refuse(transport, line, Self::sender) };
        self.mail = format!("from {from}\n");
        answer(transport, "250 ok", Self::recipient)
    }

    fn recipient(&mut self, transport: &LineTransport<'_>, line: &[u8]) -> State<Self> {
        self.address(transport, line, Self::recipient)
    }

    fn data(&mut self, transport: &LineTransport<'_>, line: &[u8]) -> State<Self> {
        let Some(_) = argument(line, "DATA") else { return self.address(transport, line, Self::data) };
        answer(transport, "354 go on, and end with a dot", Self::text)
    }

    fn address(&mut self, transport: &LineTransport<'_>, line: &[u8], stay: Step) -> State<Self> {
        let Some(to) = argument(line, "RCPT TO:") else { return refuse(transport, line, stay) };
        self.append(transport, &format!("to {to}"));
        answer(transport, "250 ok", Self::data)
    }

    fn text(&mut self, transport: &LineTransport<'_>, line: &[u8]) -> State<Self> {
        if line == b"." {
            (self.take)(std::mem::take(&mut self.mail));
            return answer(transport, "250 it is on its way", Self::sender);
        }
        // A dot that begins a line was doubled (RFC 5321 section 4.5.2).
        self.append(transport, &String::from_utf8_lossy(line.strip_prefix(b".").unwrap_or(line)));
        State::line(Self::text)
    }

    fn append(&mut self, transport: &LineTransport<'_>, line: &str) {
        self.mail += &format!("{line}\n");
        if self.mail.len() > 64 * 1024 {
            transport.send_line(b"552 that is a parcel");
            transport.lose_connection();
        }
    }
}

fn argument(line: &[u8], verb: &str) -> Option<String> {
    let (head, rest) = line.split_at_checked(verb.len())?;
    head.eq_ignore_ascii_case(verb.as_bytes()).then(|| String::from_utf8_lossy(rest).trim().to_owned())
}

type Step = fn(&mut Post, &LineTransport<'_>, &[u8]) -> State<Post>;

fn answer(transport: &LineTransport<'_>, text: &str, next: Step) -> State<Post> {
    transport.send_line(text.as_bytes());
    State::line(next)
}

fn refuse(transport: &LineTransport<'_>, line: &[u8], stay: Step) -> State<Post> {
    let Some(_) = argument(line, "QUIT") else { return answer(transport, "503 not now", stay) };
    transport.send_line(b"221 goodbye");
    transport.lose_connection();
    State::line(stay)
}

/// A post office for every connection; `take` is told each mail.
pub fn post(take: Rc<dyn Fn(String)>) -> impl Factory {
    move || LineReceiver::new(Stateful::new(Post { mail: String::new(), take: Rc::clone(&take) }))
}

fn main() -> ExitCode {
    ropewalk::main("dialogue", |app| {
        let log: Rc<dyn Fn(String)> = Rc::new(|mail| tracing::info!("{mail:?}"));
        app.serve_factory("dialogue", "tcp:7025:interface=127.0.0.1".parse()?, |_| Ok(Rc::new(post(log))));
        Ok(())
    })
}
