//! A log whose process is killed in the middle of its writing: this binary starts itself again, and what the child leaves is read.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ropewalk_app::log::{Event, Level, from_json, to_json};
use ropewalk_app::{At, LogWriter, Rotation};

/// Where the child is to write; set, this is the child.
const WHERE: &str = "ROPEWALK_TEST_KILLED_LOG";

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(path: &Path) -> LogWriter {
    let rotation = Rotation { at: At::Size(1 << 18), compress: true, ..Rotation::default() };
    LogWriter::rotating(path, rotation).unwrap()
}

/// Not a test of its own: what the child does, until it is killed.
#[test]
fn the_child_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(WHERE) else { return };
    let log = open(Path::new(&path));
    for number in 0_u64.. {
        log.write(
            to_json(&Event::new(Level::Info, "child", "a line of the log").with("number", number)).as_bytes(),
        );
        if number % 2_000 == 1_999 {
            // A machine that is busy is not to drop lines.
            assert!(log.flush(Duration::from_secs(20)));
            // The parent may kill it from here on, in whatever it is doing.
            println!("{number} lines");
        }
    }
}

/// The numbers of the lines of a file; all are whole, but the last one may not be.
fn numbers(path: &Path) -> Vec<u64> {
    let bytes = fs::read(path).unwrap();
    let is_whole = bytes.is_empty() || bytes.ends_with(b"\n");
    let mut read: Vec<_> = from_json(&bytes[..]).collect();
    if !is_whole {
        read.pop();
    }
    read.into_iter().map(|event| event.unwrap().field("number").unwrap().as_u64().unwrap()).collect()
}

#[test]
fn kill_9_leaves_whole_lines_but_the_last() {
    for round in 0..4 {
        let folder =
            Folder(std::env::temp_dir().join(format!("ropewalk-killed-{}-{round}", std::process::id())));
        fs::create_dir_all(&folder.0).unwrap();
        let path = folder.0.join("a.log");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_child_writes_until_it_is_killed", "--nocapture"])
            .env(WHERE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..=round {
            assert!(said.by_ref().any(|line| line.unwrap().ends_with(" lines")), "it ended by itself");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What was put aside is whole; so is the last file, but for its last line. They follow each other without a gap.
        let mut files: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_none_or(|end| end != "part"));
        let mut found: Vec<u64> = Vec::new();
        for file in files {
            match file.extension().is_some_and(|end| end == "gz") {
                true => found.extend(unpacked(&file)),
                false => found.extend(numbers(&file)),
            }
        }
        found.sort_unstable();
        // A file that had been compressed and not yet removed is there twice.
        found.dedup();
        let lines = found.len() as u64;
        assert_eq!(found, (0..lines).collect::<Vec<_>>());
        // The next process goes on with a line of its own.
        let log = open(&path);
        log.write(to_json(&Event::new(Level::Info, "parent", "next").with("number", 0)).as_bytes());
        drop(log);
        let text = fs::read_to_string(&path).unwrap();
        let last = from_json(text.lines().last().unwrap().as_bytes()).next().unwrap().unwrap();
        assert_eq!(last.message(), "next");
    }
}

fn unpacked(path: &Path) -> Vec<u64> {
    let reader = BufReader::new(flate2::read::GzDecoder::new(fs::File::open(path).unwrap()));
    from_json(reader).map(|event| event.unwrap().field("number").unwrap().as_u64().unwrap()).collect()
}
