//! A client over WebSocket that sends back whatever it is sent, as Autobahn's fuzzing server wants of it (`cargo xtask autobahn`).
//!
//! Run it with `cargo run --example websocket_client -- ws://127.0.0.1:9002` beside `wstest -m fuzzingserver`. It asks how many cases
//! there are, goes through all of them, and has the report written:
//! ```text
//! 517 cases
//! done
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it says how far it is")]

use std::process::ExitCode;
use std::rc::Rc;

use ropewalk::reactor::Firing;
use ropewalk::web::client::Agent;
use ropewalk::web::websocket::{
    self, Closed, DeflateOptions, Limits, Message, Options, WebSocket, WebSocketHandler,
};
use ropewalk::{Deferred, Outcome, react};

/// The name under which it stands in the report.
const AGENT: &str = "ropewalk";

fn options() -> Options {
    let deflate = DeflateOptions { own_takeover: true, peer_takeover: true, ..DeflateOptions::default() };
    let limits = Limits { fragments_max: 70_000, ..Limits::of(16 * 1024 * 1024) };
    Options { limits, deflate: Some(deflate), ..Options::default() }
}

/// Everything goes back, at once: what a server does wrong behind it must not come in between.
struct Echo(Firing<()>);

impl WebSocketHandler for Echo {
    fn message(&mut self, socket: &WebSocket, message: Message) {
        socket.send(&message);
    }

    fn closed(&mut self, _: &WebSocket, _: &Closed) {
        // It fails when nobody waits for the end.
        let _ = self.0.callback(());
    }
}

/// One case, until the server closes.
async fn echo(agent: &Agent, url: &str, options: Rc<Options>) -> Outcome<()> {
    let (firing, closed) = Deferred::new(agent.reactor());
    websocket::connect(agent, url, options, Echo(firing)).await?;
    closed.await
}

/// All cases.
pub async fn all(agent: &Agent, server: &str, say: impl Fn(String)) -> Outcome<()> {
    let options = Rc::new(options());
    let mut count = websocket::dial(agent, &format!("{server}/getCaseCount"), Rc::clone(&options)).await?;
    let count = count.receive().await.ok_or("the server does not say how many cases there are")?;
    let count: u32 = count.as_text().unwrap_or_default().parse()?;
    say(format!("{count} cases"));
    for case in 1..=count {
        let url = format!("{server}/runCase?case={case}&agent={AGENT}");
        if let Err(failure) = echo(agent, &url, Rc::clone(&options)).await {
            say(format!("case {case}: {failure}"));
        }
    }
    echo(agent, &format!("{server}/updateReports?agent={AGENT}"), options).await?;
    say("done".to_owned());
    Ok(())
}

fn main() -> ExitCode {
    let Some(server) = std::env::args().nth(1) else {
        eprintln!("websocket_client: give it a server, as in: websocket_client ws://127.0.0.1:9002");
        return ExitCode::FAILURE;
    };
    let outcome =
        react(|reactor| async move { all(&Agent::new(&reactor), &server, |line| println!("{line}")).await });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("websocket_client: {failure}");
            ExitCode::FAILURE
        }
    }
}
