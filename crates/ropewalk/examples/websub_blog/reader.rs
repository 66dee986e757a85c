//! Of `cargo run --example websub_blog`: what becomes of a delivery. A thread writes down the posts that are new; then, and not before, they
//! are shown, and the hub is told that all is well.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ropewalk::hub::Delivery;
use ropewalk::reactor::sync::DeferredLock;
use ropewalk::web::push::Feed;
use ropewalk::{Deferred, Outcome, Reactor};
use serde_json::Value;

/// What takes deliveries of a JSON feed.
pub(crate) fn taking(
    reactor: &Reactor,
    news: &Feed,
    kept: PathBuf,
) -> impl Fn(Delivery) -> Deferred<()> + 'static {
    let (reactor, news, alone) = (reactor.clone(), news.clone(), DeferredLock::new(reactor));
    move |delivery: Delivery| {
        let (threads, news, kept) = (reactor.clone(), news.clone(), kept.clone());
        // One after the other: each looks at what the one before has kept.
        alone.run(move || {
            threads.defer_to_thread(move || keep(&kept, &delivery.body)).add_callback(move |posts| {
                for post in posts? {
                    news.publish(post)?;
                }
                Outcome::Ok(())
            })
        })
    }
}

/// Writes down what is new, oldest first, and answers it.
fn keep(kept: &Path, feed: &[u8]) -> io::Result<Vec<String>> {
    let feed: Value = serde_json::from_slice(feed)?;
    let before = match fs::read_to_string(kept) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    let known: BTreeSet<&str> = before.lines().collect();
    let (mut file, mut new) = (OpenOptions::new().append(true).create(true).open(kept)?, Vec::new());
    for post in feed["items"].as_array().into_iter().flatten().rev() {
        let line = post.to_string();
        if !known.contains(&*line) {
            writeln!(file, "{line}")?;
            new.extend(post["content_text"].as_str().map(str::to_owned));
        }
    }
    file.sync_all()?;
    Ok(new)
}
