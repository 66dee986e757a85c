//! Gets pages: all at once, over a few connections that are kept, each shown as it comes in.
//!
//! Run `cargo run --example get_page -- https://example.org/ http://example.com/`. It shows the status of each page, its size and its
//! title, in the order in which they come, and how many connections it took:
//! ```text
//! 200     513 bytes  https://example.org/  "Example Domain"
//! 404      38 bytes  https://example.org/nothing  no title
//! failed: http://nowhere.example/: nowhere.example: failed to lookup address information: Name or service not known
//! 3 pages over 2 connections
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it shows what it gets")]

use std::process::ExitCode;
use std::time::Duration;

use ropewalk::reactor::Scope;
use ropewalk::web::client::Agent;
use ropewalk::{Outcome, react};

/// For one page, its redirects and its body included.
const PATIENCE: Duration = Duration::from_secs(30);

/// A page larger than this is not shown.
const PAGE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What stands between the title's tags.
fn title(page: &str) -> Option<&str> {
    let (_, rest) = page.split_once("<title>")?;
    let (title, _) = rest.split_once("</title>")?;
    Some(title.trim())
}

/// One page, in one line.
async fn page(agent: Agent, url: String) -> Outcome<String> {
    let response = agent.get(&url).header("Accept", "text/html, */*;q=0.1").timeout(PATIENCE).send().await?;
    // After redirects it may come from somewhere else.
    let (status, url) = (response.status(), response.url().to_string());
    let text = response.with_bytes_max(PAGE_BYTES_MAX).text().await?;
    let title = title(&text).map_or_else(|| "no title".to_owned(), |title| format!("{title:?}"));
    Ok(format!("{status} {:>7} bytes  {url}  {title}", text.len()))
}

/// Gets all of them at once, and says what came of each.
pub async fn get_all(
    agent: &Agent,
    urls: Vec<String>,
    say: impl Fn(String) + Clone + 'static,
) -> Outcome<()> {
    let (scope, count) = (Scope::new(agent.reactor()), urls.len());
    for url in urls {
        let (agent, say) = (agent.clone(), say.clone());
        scope.spawn(async move {
            match page(agent, url.clone()).await {
                Ok(line) => say(line),
                Err(failure) => say(format!("failed: {url}: {failure}")),
            }
        });
    }
    scope.join().await?;
    say(format!("{count} pages over {} connections", agent.statistics().made));
    Ok(())
}

fn main() -> ExitCode {
    let urls: Vec<String> = std::env::args().skip(1).collect();
    if urls.is_empty() {
        eprintln!("get_page: give it URLs, as in: get_page https://example.org/");
        return ExitCode::FAILURE;
    }
    let outcome = react(|reactor| async move {
        let agent = Agent::new(&reactor);
        get_all(&agent, urls, |line| println!("{line}")).await
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("get_page: {failure}");
            ExitCode::FAILURE
        }
    }
}
