//! The logs of the program: where they go, how they look, and what the signal USR1 does to their files.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::fs;

use ropewalk::app::log::{Event, Level, from_json};
use rustix::process::Signal;
use support::*;

fn events(path: &str) -> Vec<Event> {
    from_json(&fs::read(path).unwrap()[..]).map(Result::unwrap).collect()
}

#[test]
fn the_programs_log_goes_to_a_file_as_json_that_is_read_again() {
    let folder = Folder::new();
    let log = folder.name("program.log");
    for round in 1..=2 {
        let program = Program::web(&[
            "--log",
            &log,
            "--log-format",
            "json",
            "--access-log",
            "none",
            folder.path().to_str().unwrap(),
        ]);
        let ended = program.stop();
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
        let events = events(&log);
        // The second process appends.
        let stopping: Vec<_> = events.iter().filter(|event| event.message() == "stopping").collect();
        assert_eq!(stopping.len(), round);
        assert!(
            stopping
                .iter()
                .all(|event| event.level == Level::Info && event.namespace.starts_with("ropewalk_app"))
        );
    }
}

#[test]
fn levels_are_by_namespace_and_text_says_when_where_and_how_urgent() {
    let folder = Folder::new();
    let said = |level: &str| {
        let program =
            Program::web(&["--log-level", level, "--access-log", "none", folder.path().to_str().unwrap()]);
        program.stop().stderr
    };
    for level in ["warn", "off", "info,ropewalk_app=error"] {
        assert_eq!(said(level), "", "{level}");
    }
    for level in ["info", "warn,ropewalk_app=debug"] {
        let line = said(level);
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(jiff_reads(time), "{line}");
        assert_eq!(rest, "[ropewalk_app::life#info] stopping\n", "{level}");
    }
}

/// `2026-11-21T15:57:00+0100`.
fn jiff_reads(time: &str) -> bool {
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00+0000" || shape == "0000-00-00T00:00:00-0000"
}

#[test]
fn usr1_puts_both_logs_aside_and_only_so_many_are_kept() {
    let folder = Folder::new();
    let (access, own) = (folder.name("access.log"), folder.name("own.log"));
    let site = Folder::new();
    let program = Program::web(&[
        "--access-log",
        &access,
        "--log",
        &own,
        "--log-level",
        "debug",
        "--rotate",
        "daily",
        "--keep",
        "2",
        "--compress",
        site.path().to_str().unwrap(),
    ]);
    let packed = |name: &str| {
        let names = folder.names().into_iter();
        names.filter(|found| found.starts_with(name) && found.ends_with(".gz")).count()
    };
    for round in 1..=4_usize {
        assert_eq!(get(program.port("web"), &format!("/{round}")).status, 404);
        eventually("the line", || fs::read_to_string(&access).is_ok_and(|text| text.lines().count() == 1));
        program.signal(Signal::USR1);
        eventually("a new file", || fs::read_to_string(&access).is_ok_and(|text| text.is_empty()));
        eventually("the old ones", || packed("access.log.") == round.min(2));
    }
    assert_eq!(get(program.port("web"), "/last").status, 404);
    let ended = program.stop();
    assert_eq!(ended.code, Some(0));
    assert!(fs::read_to_string(&access).unwrap().contains("GET /last "));
    assert!(fs::read_to_string(&own).unwrap().contains("#info] stopping\n"));
}

#[test]
fn a_log_that_was_moved_away_is_opened_again() {
    let folder = Folder::new();
    let (access, moved) = (folder.name("access.log"), folder.name("access.log.1"));
    let site = Folder::new();
    let program = Program::web(&["--access-log", &access, site.path().to_str().unwrap()]);
    assert_eq!(get(program.port("web"), "/first").status, 404);
    eventually("the line", || fs::read_to_string(&access).is_ok_and(|text| text.contains("/first")));
    fs::rename(&access, &moved).unwrap();
    program.signal(Signal::USR1);
    assert_eq!(get(program.port("web"), "/second").status, 404);
    assert_eq!(program.stop().code, Some(0));
    assert!(fs::read_to_string(&access).unwrap().contains("/second"));
    assert_eq!(fs::read_to_string(&moved).unwrap().lines().count(), 1);
    assert_eq!(folder.names().len(), 2);
}

#[test]
fn what_cannot_be_meant_is_refused_in_one_line() {
    for (arguments, parts) in [
        (&["web", "--log-level", "loud"][..], &["loud", "trace, debug, info"][..]),
        (&["web", "--log-format", "xml"], &["xml", "--help"]),
        (&["web", "--rotate", "weekly"], &["weekly", "write daily, never, a size such as 100M"]),
        (&["web", "--rotate", "-1"], &["write daily"]),
        (&["web", "--keep", "few"], &["few", "such as 7"]),
        (&["web", "--listen", "tcp:0", "--log", "/no/such/log"], &["/no/such/log", "another file"]),
    ] {
        let line = refused(arguments);
        for part in parts {
            assert!(line.contains(part), "{arguments:?} does not say {part:?}: {line}");
        }
    }
}
