//! One file as it grows, and every way in which logs are rotated.

mod common;

use common::*;
use ropewalk_tail::{Follower, LINE_BYTES_MAX, Progress, Start};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

const NOTHING: [&str; 0] = [];

fn follow(path: &Path) -> Follower {
    Follower::open(path, Start::End).expect("opened")
}

/// A folder with a log of one old line, followed from its end.
fn log() -> (Folder, std::path::PathBuf, Follower) {
    let folder = Folder::new();
    let path = folder.path("log");
    append(&path, "old\n");
    let follower = follow(&path);
    (folder, path, follower)
}

#[test]
fn growth() {
    let (_folder, path, mut follower) = log();
    assert_eq!(drain(&mut follower), NOTHING);
    append(&path, "one\ntwo\n");
    assert_eq!(drain(&mut follower), ["one", "two"]);
    append(&path, "three\r\n");
    assert_eq!(drain(&mut follower), ["three"]);
    let statistics = follower.statistics();
    assert_eq!(
        (statistics.lines, statistics.bytes, statistics.rotations, statistics.truncations),
        (3, 15, 0, 0)
    );
}

#[test]
fn half_a_line_waits() {
    let (_folder, path, mut follower) = log();
    append(&path, "ha");
    assert_eq!(drain(&mut follower), NOTHING);
    assert_eq!(follower.statistics().held_bytes, 2);
    append(&path, "lf");
    assert_eq!(drain(&mut follower), NOTHING);
    append(&path, "\nnext");
    assert_eq!(drain(&mut follower), ["half"]);
    let mut last = Vec::new();
    follower.finish(&mut |line| last.push(line.text.to_owned()));
    assert_eq!((last, follower.statistics().lines), (vec!["next".to_owned()], 2));
}

#[test]
fn invalid_utf8_across_reads() {
    let (_folder, path, mut follower) = log();
    for byte in "é✓🎈".bytes().chain(*b"\xff\xe2\x9c|\n") {
        append(&path, [byte]);
        let lines = drain(&mut follower);
        assert_eq!(lines.is_empty(), byte != b'\n');
        if byte == b'\n' {
            assert_eq!(lines, ["é✓🎈\u{fffd}\u{fffd}|"]);
        }
    }
}

#[test]
fn every_budget_gives_the_same_lines() {
    for budget in [1, 2, 3, 7, 1_000, 65_536, usize::MAX] {
        let (_folder, path, mut follower) = log();
        append(&path, "one\ntwo\r\n\nthree\n");
        assert_eq!(drain_by(&mut follower, budget), ["one", "two", "", "three"], "budget {budget}");
    }
}

#[test]
fn a_budget_is_kept() {
    let (_folder, path, mut follower) = log();
    append(&path, "1\n2\n3\n");
    let mut lines = Vec::new();
    let progress = follower.step(4, &mut |line| lines.push(line.text.to_owned())).expect("readable");
    assert_eq!((progress, lines.as_slice()), (Progress::MoreNow, &["1".to_owned(), "2".to_owned()][..]));
}

#[test]
fn a_line_of_more_than_64_kib_is_cut() {
    let (_folder, path, mut follower) = log();
    append(&path, format!("{}é tail\nnext\n", "x".repeat(LINE_BYTES_MAX - 1)));
    let mut lines = Vec::new();
    let mut sink = |line: ropewalk_tail::Line<'_>| lines.push((line.text.len(), line.cut));
    assert_eq!(follower.step(usize::MAX, &mut sink).expect("readable"), Progress::Drained);
    assert_eq!(lines, [(LINE_BYTES_MAX - 1, true), (7, false), (4, false)]);
}

#[test]
fn renamed_and_created() {
    let (folder, path, mut follower) = log();
    let late = writer(&path);
    write(&late, "before\n");
    rename(&path, &folder.path("log.1"));
    write(&late, "renamed\n");
    assert_eq!(drain(&mut follower), ["before", "renamed"]);
    File::create(&path).expect("created");
    write(&late, "the writer has not noticed\nhalf");
    assert_eq!(drain(&mut follower), ["the writer has not noticed"]);
    assert_eq!(follower.statistics().successors, 1);
    write(&late, " a line\nunfinished");
    append(&path, "first of the new\n");
    assert_eq!(drain(&mut follower), ["half a line", "unfinished", "first of the new"]);
    append(&path, "second\n");
    assert_eq!(drain(&mut follower), ["second"]);
    assert_eq!((follower.statistics().rotations, follower.statistics().successors), (1, 0));
}

#[test]
fn rotated_several_times_while_the_new_files_are_empty() {
    let (folder, path, mut follower) = log();
    append(&path, "one\n");
    rename(&path, &folder.path("log.1"));
    let second = writer(&path);
    assert_eq!(drain(&mut follower), ["one"]);
    rename(&path, &folder.path("log.2"));
    let third = writer(&path);
    assert_eq!(drain(&mut follower), NOTHING);
    rename(&path, &folder.path("log.3"));
    // Their names are gone, but they have been seen: what is written to them now is still read, in order.
    write(&third, "three\n");
    write(&second, "two\n");
    append(&path, "four\n");
    assert_eq!(drain(&mut follower), ["two", "three", "four"]);
    assert_eq!(follower.statistics().rotations, 3);
}

#[test]
fn files_created_in_a_loop_are_not_all_held() {
    let (_folder, path, mut follower) = log();
    for _ in 0..100 {
        fs::remove_file(&path).expect("removed");
        File::create(&path).expect("created");
        assert_eq!(drain(&mut follower), NOTHING);
        assert!(follower.statistics().successors <= 9);
    }
    append(&path, "at last\n");
    assert_eq!(drain(&mut follower), ["at last"]);
}

#[test]
fn deleted_and_created() {
    let (_folder, path, mut follower) = log();
    let late = writer(&path);
    fs::remove_file(&path).expect("removed");
    assert_eq!(drain(&mut follower), NOTHING);
    write(&late, "into the void\n");
    assert_eq!(drain(&mut follower), ["into the void"]);
    append(&path, "back\n");
    assert_eq!(drain(&mut follower), ["back"]);
    fs::remove_file(&path).expect("removed");
    append(&path, "again\n");
    assert_eq!(drain(&mut follower), ["again"]);
}

#[test]
fn the_folder_goes_and_comes() {
    let folder = Folder::new();
    fs::create_dir(folder.path("pod")).expect("created");
    let path = folder.path("pod/log");
    append(&path, "old\n");
    let mut follower = follow(&path);
    fs::remove_dir_all(folder.path("pod")).expect("removed");
    assert_eq!(drain(&mut follower), NOTHING);
    File::create(folder.path("pod")).expect("a file in place of the folder");
    assert_eq!(drain(&mut follower), NOTHING);
    fs::remove_file(folder.path("pod")).expect("removed");
    fs::create_dir(folder.path("pod")).expect("created");
    append(&path, "new\n");
    assert_eq!(drain(&mut follower), ["new"]);
}

#[test]
fn copied_and_truncated() {
    let (folder, path, mut follower) = log();
    let writer = writer(&path);
    write(&writer, "one\nhalf");
    assert_eq!(drain(&mut follower), ["one"]);
    fs::copy(&path, folder.path("log.1")).expect("copied");
    truncate(&path);
    write(&writer, "two\n");
    assert_eq!(drain(&mut follower), ["half", "two"]);
    assert_eq!(follower.statistics().truncations, 1);
}

#[test]
fn truncated_and_longer_already() {
    let (_folder, path, mut follower) = log();
    append(&path, "one\n");
    assert_eq!(drain(&mut follower), ["one"]);
    truncate(&path);
    append(&path, "something longer than what was there\nand more\n");
    assert_eq!(drain(&mut follower), ["something longer than what was there", "and more"]);
}

#[test]
fn truncated_and_exactly_as_long() {
    let (_folder, path, mut follower) = log();
    append(&path, "one\n");
    assert_eq!(drain(&mut follower), ["one"]);
    truncate(&path);
    append(&path, "new\ntwo\n");
    assert_eq!(drain(&mut follower), ["new", "two"]);
}

#[test]
fn truncated_before_anything_was_read() {
    // The bytes before the place are known from the start, not only from what was read since.
    let (_folder, path, mut follower) = log();
    truncate(&path);
    append(&path, "another file of more bytes\n");
    assert_eq!(drain(&mut follower), ["another file of more bytes"]);
}

#[test]
fn truncated_to_nothing_and_a_writer_that_does_not_append() {
    let (_folder, path, mut follower) = log();
    let (_, mut lines) = (truncate(&path), drain(&mut follower));
    assert_eq!((lines.len(), follower.statistics().truncations), (0, 1));
    // The writer goes on where it was: the file has a hole, whose NULs are data.
    let writer = fs::OpenOptions::new().write(true).open(&path).expect("opened");
    std::os::unix::fs::FileExt::write_all_at(&writer, b"late\n", 4).expect("written");
    lines = drain(&mut follower);
    assert_eq!(lines, ["\0\0\0\0late"]);
}

#[test]
fn truncated_at_every_length_and_written_anew() {
    let content = "a\nbb\nccc\n";
    for kept in 0..content.len() {
        let (_folder, path, mut follower) = log();
        append(&path, content);
        drain(&mut follower);
        fs::OpenOptions::new().write(true).open(&path).expect("opened").set_len(kept as u64).expect("cut");
        let mut again = drain(&mut follower);
        append(&path, "\nX\n");
        again.extend(drain(&mut follower));
        let now = fs::read_to_string(&path).expect("readable");
        assert_eq!(again, now.lines().collect::<Vec<_>>(), "cut at {kept}: all of it anew");
    }
}

#[test]
fn a_link_that_is_switched() {
    // 1. As kubernetes does: the name is a link to a link to the file that the container's runtime writes.
    let folder = Folder::new();
    let (name, middle) = (folder.path("containers.log"), folder.path("0.log"));
    append(&folder.path("run-1"), "old\n");
    link("run-1", &middle);
    link(&middle, &name);
    let mut follower = follow(&name);
    append(&folder.path("run-1"), "one\n");
    // 2. The container is started again: another file, and the middle link points to it.
    append(&folder.path("run-2"), "two\n");
    link("run-2", &middle);
    assert_eq!(drain(&mut follower), ["one", "two"]);
    // 3. For a moment the link points to nothing.
    link("run-3", &middle);
    assert_eq!(drain(&mut follower), NOTHING);
    append(&folder.path("run-3"), "three\n");
    assert_eq!(drain(&mut follower), ["three"]);
}

#[test]
fn a_file_that_gets_its_name_back_is_read_on() {
    let (folder, path, mut follower) = log();
    rename(&path, &folder.path("aside"));
    File::create(&path).expect("created");
    assert_eq!(drain(&mut follower), NOTHING);
    rename(&folder.path("aside"), &path);
    append(&path, "one\n");
    assert_eq!(drain(&mut follower), ["one"]);
    assert_eq!((follower.statistics().rotations, follower.statistics().successors), (0, 0));
}

#[test]
fn something_that_is_no_file_takes_the_name() {
    let (folder, path, mut follower) = log();
    let late = writer(&path);
    rename(&path, &folder.path("log.1"));
    fs::create_dir(&path).expect("created");
    write(&late, "still heard\n");
    let mut lines = Vec::new();
    let error = follower.step(1_000, &mut |line| lines.push(line.text.to_owned())).expect_err("no file");
    assert_eq!((lines.len(), error.kind()), (1, ErrorKind::IsADirectory));
    fs::remove_dir(&path).expect("removed");
    append(&path, "new\n");
    assert_eq!(drain(&mut follower), ["new"]);
}

#[test]
fn what_cannot_be_followed_says_so() {
    let folder = Folder::new();
    let open = |name: &str| Follower::open(folder.path(name), Start::End).expect_err("refused");
    assert_eq!(open("missing").kind(), ErrorKind::NotFound);
    let directory = open(".");
    assert_eq!(directory.kind(), ErrorKind::IsADirectory);
    assert!(directory.to_string().contains("is a directory"), "{directory}");
    let fifo = folder.path("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a FIFO");
    assert!(open("fifo").to_string().contains("standard input"), "and it does not wait for a writer");
    let device = Follower::open("/dev/null", Start::End).expect_err("refused");
    assert_eq!(device.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_writer_that_rotates_at_the_worst_moment() {
    // 1. A writer on another thread ends the old file and begins the new one while the follower looks from one to
    //    the other. It waits only for what it has begun to be seen, since a file that was never seen is not read.
    const ROTATIONS: usize = 500;
    let (folder, path, mut follower) = log();
    let seen = AtomicUsize::new(0);
    let mut lines = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut file, mut written) = (writer(&path), 0);
            for _ in 0..ROTATIONS {
                rename(&path, &folder.path("log.1"));
                let next = writer(&path);
                write(&file, format!("{written}\n"));
                write(&file, format!("{}\n", written + 1));
                write(&next, format!("{}\n", written + 2));
                (file, written) = (next, written + 3);
                while seen.load(Ordering::Acquire) < written {
                    std::thread::yield_now();
                }
            }
        });
        // 2. The follower is in a hurry, with a budget that ends anywhere.
        while lines.len() < 3 * ROTATIONS {
            lines.extend(drain_by(&mut follower, 3));
            let is_wrong = lines.last().is_some_and(|last| *last != (lines.len() - 1).to_string());
            // Should a line be missing, the writer must not wait for it for ever.
            seen.store(if is_wrong { usize::MAX } else { lines.len() }, Ordering::Release);
            if is_wrong {
                break;
            }
        }
    });
    // 3. Every line arrives, once and in order.
    assert_eq!(lines, (0..3 * ROTATIONS).map(|number| number.to_string()).collect::<Vec<_>>());
}
