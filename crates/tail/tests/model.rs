//! Random writes and rotations against a model: what the follower gives is what was written, in order.

mod common;

use common::*;
use proptest::prelude::*;
use ropewalk_tail::{Follower, Progress, Start};
use std::fs::{self, File};
use std::path::PathBuf;

#[derive(Clone, Debug)]
enum Op {
    /// Appends a piece with some line ends in it, and some not at its end.
    Write(String),
    /// One step, with a budget that may not do.
    Step(usize),
    /// Renames the file away; the writer keeps it open.
    Rename,
    /// Deletes it; the writer keeps it open.
    Delete,
    /// The writer opens the name again, which may be a new file.
    Reopen,
    /// An empty new file under the name, which the writer does not notice yet.
    Create,
    /// The content is dropped, and this written instead.
    Truncate(String),
    /// The name, which is a link, is pointed to a new file, which the writer opens.
    Switch,
}

fn op() -> impl Strategy<Value = Op> {
    let text = "[ab\r\né✓]{1,9}";
    prop_oneof![
        6 => text.prop_map(Op::Write),
        4 => (1..12usize).prop_map(Op::Step),
        1 => Just(Op::Rename),
        1 => Just(Op::Delete),
        2 => Just(Op::Reopen),
        1 => Just(Op::Create),
        1 => "[ab\n]{0,30}".prop_map(Op::Truncate),
        1 => Just(Op::Switch),
    ]
}

/// A writer, a rotation and a follower, each as unaware of the others as in life.
struct World {
    folder: Folder,
    link: PathBuf,
    target: PathBuf,
    files: usize,
    writer: File,
    follower: Follower,
    /// Makes what is written unlike all that was written before.
    serial: usize,
    /// Files created since the writer last looked; the follower holds open only so many.
    unnoticed: usize,
    expected: Vec<String>,
    /// The written line without an end.
    half: String,
    seen: Vec<String>,
}

impl World {
    fn new() -> World {
        let folder = Folder::new();
        let (link_path, target) = (folder.path("log"), folder.path("file-0"));
        let writer = writer(&target);
        link(&target, &link_path);
        let follower = Follower::open(&link_path, Start::LastLines(10)).expect("opened");
        let (expected, half, seen) = (Vec::new(), String::new(), Vec::new());
        let (files, serial, unnoticed, link) = (0, 0, 0, link_path);
        World { folder, link, target, files, writer, follower, serial, unnoticed, expected, half, seen }
    }

    fn fresh(&mut self) -> PathBuf {
        self.files += 1;
        self.folder.path(&format!("file-{}", self.files))
    }

    fn write(&mut self, text: &str) {
        self.serial += 1;
        let text = format!("{}{text}", self.serial);
        write(&self.writer, &text);
        let mut lines: Vec<_> = text.split('\n').collect();
        let half = lines.pop().expect("split gives at least one");
        for line in lines {
            let whole = std::mem::take(&mut self.half) + line;
            self.expected.push(whole.strip_suffix('\r').unwrap_or(&whole).to_owned());
        }
        self.half.push_str(half);
    }

    /// The content ends here for good.
    fn cut_off(&mut self) {
        let half = std::mem::take(&mut self.half);
        if !half.is_empty() {
            self.expected.push(half);
        }
    }

    fn step(&mut self, budget_bytes: usize) -> Progress {
        self.follower.step(budget_bytes, &mut |line| self.seen.push(line.text.to_owned())).expect("readable")
    }

    fn drain(&mut self) {
        while self.step(1_000) == Progress::MoreNow {}
    }

    fn is_writers(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let writers = self.writer.metadata().expect("open").ino();
        fs::metadata(&self.target).is_ok_and(|named| named.ino() == writers)
    }

    /// The writer goes over to the file that has the name.
    fn reopen(&mut self) {
        if !self.is_writers() {
            self.cut_off();
            self.writer = writer(&self.target);
            self.unnoticed = 0;
            // A new file is seen to have begun by its first byte.
            self.write("");
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Write(text) => self.write(text),
            Op::Step(budget_bytes) => drop(self.step(*budget_bytes)),
            // What takes a name away drains first: a file that came and went unseen is lost by nature.
            Op::Rename if self.target.exists() => {
                self.drain();
                let away = self.fresh();
                rename(&self.target, &away);
            }
            Op::Delete if self.target.exists() => {
                self.drain();
                fs::remove_file(&self.target).expect("removed");
            }
            Op::Create if !self.target.exists() && self.unnoticed < 6 => {
                self.unnoticed += 1;
                File::create(&self.target).expect("created");
            }
            Op::Rename | Op::Delete | Op::Create => {}
            Op::Reopen => self.reopen(),
            Op::Truncate(text) => {
                // What was not read yet would be lost by nature.
                self.drain();
                self.cut_off();
                self.writer.set_len(0).expect("truncated");
                self.write(text);
            }
            Op::Switch => {
                self.drain();
                self.target = self.fresh();
                File::create(&self.target).expect("created");
                link(&self.target, &self.link);
                self.reopen();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_what_is_read(ops in proptest::collection::vec(op(), 0..60)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.drain();
        prop_assert_eq!(&world.seen, &world.expected);
        let mut last = String::new();
        world.follower.finish(&mut |line| last.push_str(line.text));
        prop_assert_eq!(last, world.half);
    }
}
