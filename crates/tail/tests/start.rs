//! Where following begins.

mod common;

use common::*;
use ropewalk_tail::{Follower, LINE_BYTES_MAX, Start};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// What is read of `content` from `start`, then what comes when " end\n" is appended.
fn lines(content: &str, start: Start) -> (Vec<String>, Vec<String>) {
    let folder = Folder::new();
    let path = folder.path("log");
    append(&path, content);
    let mut follower = Follower::open(&path, start).expect("opened");
    let first = drain(&mut follower);
    append(&path, " end\n");
    (first, drain(&mut follower))
}

fn check(content: &str, start: Start, first: &[&str], then: &[&str]) {
    let (now, later) = lines(content, start);
    assert_eq!(
        (now.as_slice(), later.as_slice()),
        (&owned(first)[..], &owned(then)[..]),
        "{content:?} {start:?}"
    );
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn from_the_end() {
    check("", Start::End, &[], &[" end"]);
    check("a\nb\n", Start::End, &[], &[" end"]);
    check("a\nhalf", Start::End, &[], &["half end"]);
    check("half", Start::End, &[], &["half end"]);
    check("a\nb\n", Start::LastLines(0), &[], &[" end"]);
}

#[test]
fn from_the_last_lines() {
    check("", Start::LastLines(3), &[], &[" end"]);
    check("a\nb\nc\n", Start::LastLines(1), &["c"], &[" end"]);
    check("a\nb\nc\n", Start::LastLines(2), &["b", "c"], &[" end"]);
    check("a\nb\nc\n", Start::LastLines(3), &["a", "b", "c"], &[" end"]);
    check("a\nb\nc\n", Start::LastLines(99), &["a", "b", "c"], &[" end"]);
    check("a\nb\nc\n", Start::LastLines(usize::MAX), &["a", "b", "c"], &[" end"]);
    check("\n\n\n", Start::LastLines(2), &["", ""], &[" end"]);
}

#[test]
fn an_unfinished_last_line_waits_and_is_not_counted() {
    check("a\nb\nhalf", Start::LastLines(1), &["b"], &["half end"]);
    check("half", Start::LastLines(1), &[], &["half end"]);
}

#[test]
fn across_many_blocks() {
    let content: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
    for wanted in [1, 1_000, 1_489, 1_490, 19_999, 20_000, 20_001] {
        let (first, _) = lines(&content, Start::LastLines(wanted));
        assert_eq!(first.len(), wanted.min(20_000));
        assert_eq!(first[0], format!("line {}", 20_000_usize.saturating_sub(wanted)));
    }
}

#[test]
fn a_huge_file_is_not_read() {
    // Four terabytes, almost all of them a hole: reading it whole would take the better part of an hour.
    let folder = Folder::new();
    let path = folder.path("huge");
    let (file, len) = (File::create(&path).expect("created"), 4 << 40);
    file.write_all_at(b"\none\ntwo\n", len - 9).expect("written");
    for (start, expected) in [(Start::LastLines(2), vec!["one", "two"]), (Start::End, vec![])] {
        assert_eq!(drain(&mut Follower::open(&path, start).expect("opened")), expected);
    }
    // More lines than there are, in front of the hole, would need all of it: it begins with what it has found.
    assert_eq!(drain(&mut Follower::open(&path, Start::LastLines(99)).expect("opened")), ["one", "two"]);
}

#[test]
fn an_endless_last_line_is_not_waited_for() {
    let folder = Folder::new();
    let path = folder.path("log");
    append(&path, format!("a\n{}", "x".repeat(3 * LINE_BYTES_MAX)));
    let mut follower = Follower::open(&path, Start::End).expect("opened");
    append(&path, "rest\n");
    assert_eq!(drain(&mut follower), ["rest"]);
}
