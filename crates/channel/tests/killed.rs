//! Killed in the middle of publishing, a hundred times and more: what was answered is there, in order, once.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ropewalk_channel::{Channels, ChannelsOptions, Limit, Since, SqliteJournal};
use ropewalk_reactor::{Reactor, react};

const CHILD: &str = "ROPEWALK_CHANNEL_CHILD";
const ROUNDS: usize = 120;
const NAMES: [&str; 3] = ["a", "b", "c"];

fn options() -> ChannelsOptions {
    let mut options = ChannelsOptions::default();
    options.channel.retention.events_max = 500;
    options
}

fn open(reactor: &Reactor, path: &Path) -> Channels {
    Channels::durable(reactor, SqliteJournal::open(reactor, path).unwrap(), options())
}

/// Publishes for ever on three channels, several at a time, and says what was answered.
fn child(path: PathBuf) {
    let round = std::env::var("ROPEWALK_CHANNEL_ROUND").unwrap();
    react(|reactor| async move {
        let channels = open(&reactor, &path);
        for number in 0.. {
            let sent: Vec<_> = (0..1 + number % 7)
                .map(|part| {
                    let name = NAMES[(number + part) % 3];
                    let text = format!("{round}.{number}.{part}");
                    (name, text.clone(), channels.publish(name, text))
                })
                .collect();
            for (name, text, answer) in sent {
                let id = answer.await?;
                let mut out = std::io::stdout().lock();
                writeln!(out, "\nanswered {name} {id} {text}").and_then(|()| out.flush())?;
            }
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn what_was_answered_is_there_in_order_and_once() {
    if let Some(path) = std::env::var_os(CHILD) {
        return child(path.into());
    }
    let folder = std::env::temp_dir().join(format!("ropewalk-channel-killed-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("push.db");
    let mut answered: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "what_was_answered_is_there_in_order_and_once", "--nocapture"])
            .env(CHILD, &path)
            .env("ROPEWALK_CHANNEL_ROUND", round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let told = lines.filter_map(|line| line.strip_prefix("answered ").map(str::to_owned));
        // A different moment of its life each time.
        for line in told.take(1 + round * 7 % 40) {
            let mut words = line.split(' ');
            let mut word = || words.next().unwrap().to_owned();
            let (name, id, text) = (word(), word().parse().unwrap(), word());
            answered.entry(name).or_default().push((id, text));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(answered.values().map(Vec::len).sum::<usize>() > 1_000);
    let found = path.clone();
    react(|reactor| async move {
        let channels = open(&reactor, &found);
        for (name, answered) in answered {
            check(&channels, &name, &answered).await;
        }
        Ok(())
    })
    .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}

async fn check(channels: &Channels, name: &str, answered: &[(u64, String)]) {
    assert!(answered.is_sorted_by(|a, b| a.0 < b.0), "ids rise over all processes and never repeat");
    let channel = channels.channel(name).await.unwrap();
    let all = Limit { events_max: usize::MAX, bytes_max: usize::MAX };
    let kept = channel.since(Since::Earliest, all);
    let floor = channel.statistics().floor;
    let kept: BTreeMap<u64, &str> =
        kept.events.iter().map(|event| (event.id.0, event.data.text().unwrap())).collect();
    for (id, text) in answered.iter().filter(|(id, _)| *id > floor.0) {
        assert_eq!(kept.get(id), Some(&text.as_str()), "{name} {id} was answered");
    }
    let mut texts: Vec<&&str> = kept.values().collect();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), kept.len(), "nothing is there twice");
    // Beyond those there are the ones whose answer was never heard: a few for each life, and no others.
    let last = answered.iter().filter(|(id, _)| *id > floor.0).count();
    assert!(kept.len() <= last + ROUNDS * 40, "{} of {last}", kept.len());
}
