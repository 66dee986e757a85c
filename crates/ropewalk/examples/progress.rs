//! A report that takes a while in a thread, and a progress bar in every browser that looks, over Server-Sent Events.
//!
//! Run it with `cargo run --example progress`, open http://127.0.0.1:8080/ in two windows, and press the button in one: both bars
//! move. Or look on with `curl -N http://127.0.0.1:8080/progress` while `curl -X POST http://127.0.0.1:8080/report` works; that
//! one answers after a moment with
//! ```text
//! there are 216816 primes below 3000000
//! ```
use std::process::ExitCode;

use ropewalk::channel::Retention;
use ropewalk::reactor::Sender;
use ropewalk::web::{Request, Response, Router, Site, push};
use ropewalk::{Reactor, net};

const BELOW: u64 = 3_000_000;

const PAGE: &str = "<!doctype html>
<meta charset=utf-8><meta name=viewport content='width=device-width'>
<title>A report</title>
<style>body { font: 1.1em sans-serif; max-width: 30em; margin: 3em auto } progress { width: 100% }</style>
<h1>A report</h1>
<p><button>Make it</button> <output></output></p>
<progress max=100 value=0></progress>
<script>
  const [button, output, bar] = ['button', 'output', 'progress'].map(name => document.querySelector(name));
  new EventSource('/progress').onmessage = event => bar.value = event.data;
  button.onclick = async () => {
    button.disabled = true;
    output.textContent = '…';
    output.textContent = await (await fetch('/report', { method: 'POST' })).text();
    button.disabled = false;
  };
</script>
";

/// Runs on a thread: it blocks nobody, and knows nothing of the loop but the door through which it tells how far it is.
fn count(below: u64, progress: &Sender<u64>) -> u64 {
    let is_prime = |n: u64| (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
    let mut found = 0;
    for percent in 1..=100 {
        found +=
            (below * (percent - 1) / 100..below * percent / 100).filter(|n| *n > 1 && is_prime(*n)).count();
        // If the loop is slow to look it misses a step, and the work does not wait.
        let _ = progress.send(percent);
    }
    found as u64
}

/// The page, its bar, and the report.
pub fn site(reactor: &Reactor, below: u64) -> Site {
    let feed = push::Feed::in_memory(reactor, Retention::default());
    let publish = feed.clone();
    // The thread's side may be sent anywhere; this side stays on the loop, as the feed must.
    let (receiver, progress) = reactor.receiver(128, move |percent: u64| {
        if let Err(error) = publish.publish(percent.to_string()) {
            tracing::warn!("a step was not published: {error}");
        }
    });
    let report = move |request: Request| {
        let (progress, _open) = (progress.clone(), &receiver);
        request
            .reactor()
            .defer_to_thread(move || count(below, &progress))
            .add_callback(move |found| format!("there are {found} primes below {below}\n"))
    };
    let router = Router::new()
        .get("/", |_| Response::new(PAGE).content_type("text/html; charset=utf-8"))
        .route("GET", "/progress", push::sse(&feed, 1))
        .post("/report", report);
    Site::new(router)
}

fn main() -> ExitCode {
    ropewalk::main("progress", |app| {
        let endpoint: net::ServerEndpoint = "tcp:8080:interface=127.0.0.1".parse()?;
        app.serve_home("web", endpoint, |reactor| Ok(site(reactor, BELOW)));
        Ok(())
    })
}
