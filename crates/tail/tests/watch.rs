//! Which files inotify says may have changed. It tells before a call that changed something returns, so nothing waits.

mod common;

use common::*;
use ropewalk_tail::{Follower, Start, Watch};
use std::fs::{self, File};
use std::path::Path;

fn watch(paths: &[&Path]) -> Watch {
    let mut watch = Watch::new().expect("inotify is there");
    for (number, path) in paths.iter().enumerate() {
        assert_eq!(watch.add(path).expect("watched"), number);
    }
    assert!(changed(&mut watch).is_empty(), "to watch is no change");
    watch
}

fn changed(watch: &mut Watch) -> Vec<usize> {
    let changes = watch.drain();
    assert!(changes.fault.is_none(), "{:?}", changes.fault);
    changes.files
}

#[test]
fn many_files_in_one_folder() {
    let folder = Folder::new();
    let paths: Vec<_> = (0..50).map(|number| folder.path(&format!("log-{number}"))).collect();
    paths.iter().for_each(|path| append(path, ""));
    let mut watch = watch(&paths.iter().map(|path| path.as_path()).collect::<Vec<_>>());
    assert_eq!(watch.watches(), 51, "one for each file and one for the folder");

    append(&paths[7], "x\n");
    append(&paths[42], "x\n");
    append(&paths[7], "y\n");
    append(&folder.path("stranger"), "z\n");
    assert_eq!(changed(&mut watch), [7, 42]);
    assert_eq!(changed(&mut watch), [0; 0]);
}

#[test]
fn renamed_created_and_grown() {
    let folder = Folder::new();
    let path = folder.path("log");
    let old = writer(&path);
    let mut watch = watch(&[&path]);
    rename(&path, &folder.path("log.1"));
    assert_eq!(changed(&mut watch), [0], "gone");
    write(&old, "late\n");
    assert_eq!(changed(&mut watch), [0], "the old file is still heard");
    let new = writer(&path);
    assert_eq!(changed(&mut watch), [0], "back");
    write(&new, "x\n");
    assert_eq!(changed(&mut watch), [0], "the new file is heard");
    write(&old, "very late\n");
    assert_eq!(changed(&mut watch), [0]);
}

#[test]
fn rotations_without_end_leak_no_watch() {
    let folder = Folder::new();
    let path = folder.path("log");
    append(&path, "");
    let mut watch = watch(&[&path]);
    for number in 0..100 {
        rename(&path, &folder.path(&format!("log.{number}")));
        append(&path, "x\n");
        assert_eq!(changed(&mut watch), [0]);
    }
    assert_eq!(watch.watches(), 3, "the folder, the file, and the one before");
    for _ in 0..100 {
        fs::remove_file(&path).expect("removed");
        append(&path, "x\n");
        assert_eq!(changed(&mut watch), [0]);
    }
    assert!(watch.watches() <= 3);
}

#[test]
fn truncated_and_deleted() {
    let folder = Folder::new();
    let path = folder.path("log");
    append(&path, "x\n");
    let mut watch = watch(&[&path]);
    truncate(&path);
    assert_eq!(changed(&mut watch), [0]);
    fs::remove_file(&path).expect("removed");
    assert_eq!(changed(&mut watch), [0]);
    append(&path, "y\n");
    assert_eq!(changed(&mut watch), [0]);
}

#[test]
fn every_link_on_the_way_is_watched() {
    // 1. A link to a link to a file, each in a folder of its own, and the last folder itself behind a link.
    let folder = Folder::new();
    for name in ["containers", "pods", "data-1", "data-2"] {
        fs::create_dir(folder.path(name)).expect("created");
    }
    let (name, middle) = (folder.path("containers/web.log"), folder.path("pods/0.log"));
    append(&folder.path("data-1/file"), "x\n");
    append(&folder.path("data-2/file"), "x\n");
    link("data-1", &folder.path("data"));
    link(folder.path("data/file"), &middle);
    link("../pods/0.log", &name);
    let mut watch = watch(&[&name]);
    append(&folder.path("data-2/file"), "nobody listens yet\n");
    assert_eq!(changed(&mut watch), [0; 0]);
    // 2. The folder is switched, as mounted configuration does.
    link("data-2", &folder.path("data"));
    assert_eq!(changed(&mut watch), [0]);
    append(&folder.path("data-2/file"), "x\n");
    assert_eq!(changed(&mut watch), [0]);
    // 3. The file is rotated where it lies; the links stay.
    rename(&folder.path("data-2/file"), &folder.path("data-2/file.1"));
    assert_eq!(changed(&mut watch), [0]);
    append(&folder.path("data-2/file"), "x\n");
    assert_eq!(changed(&mut watch), [0]);
    // 4. The middle link is switched.
    append(&folder.path("other"), "x\n");
    link("../other", &middle);
    assert_eq!(changed(&mut watch), [0]);
    append(&folder.path("other"), "x\n");
    assert_eq!(changed(&mut watch), [0]);
    // 5. The links go in a circle, which leads nowhere, and come out of it again.
    link(&name, &middle);
    assert_eq!(changed(&mut watch), [0]);
    link("../other", &middle);
    assert_eq!(changed(&mut watch), [0]);
}

#[test]
fn the_folder_goes_and_comes() {
    let folder = Folder::new();
    let path = folder.path("a/b/log");
    fs::create_dir_all(folder.path("a/b")).expect("created");
    append(&path, "x\n");
    let mut watch = watch(&[&path]);
    fs::remove_dir_all(folder.path("a")).expect("removed");
    assert_eq!(changed(&mut watch), [0]);
    fs::create_dir(folder.path("a")).expect("created");
    assert_eq!(changed(&mut watch), [0]);
    fs::create_dir(folder.path("a/b")).expect("created");
    append(&path, "x\n");
    assert_eq!(changed(&mut watch), [0]);
    append(&path, "y\n");
    assert_eq!(changed(&mut watch), [0]);
    // The folder is moved away with the file in it, and a new one takes its place.
    rename(&folder.path("a/b"), &folder.path("a/c"));
    assert_eq!(changed(&mut watch), [0]);
    fs::create_dir(folder.path("a/b")).expect("created");
    append(&path, "z\n");
    assert_eq!(changed(&mut watch), [0]);
    append(&path, "z\n");
    assert_eq!(changed(&mut watch), [0]);
}

#[test]
fn two_names_of_one_file() {
    let folder = Folder::new();
    let (one, two) = (folder.path("one"), folder.path("two"));
    append(&one, "x\n");
    link(&one, &two);
    let mut watch = watch(&[&one, &two]);
    append(&one, "y\n");
    assert_eq!(changed(&mut watch), [0, 1]);
    for name in ["three", "four", "five"] {
        append(&folder.path(name), "x\n");
        link(name, &two);
        assert_eq!(changed(&mut watch), [1]);
    }
    append(&one, "z\n");
    assert_eq!(changed(&mut watch), [0], "the watch stayed when the second name gave it up");
}

#[test]
fn a_folder_that_is_also_named_as_a_file() {
    let folder = Folder::new();
    let path = folder.path("log");
    let mut watch = watch(&[&path, &folder.path(".")]);
    File::create(&path).expect("created");
    assert!(changed(&mut watch).contains(&0));
}

#[test]
fn a_missing_file_may_come_later() {
    let folder = Folder::new();
    let path = folder.path("later");
    let mut watch = watch(&[&path]);
    File::create(&path).expect("created");
    assert_eq!(changed(&mut watch), [0]);
    append(&path, "x\n");
    assert_eq!(changed(&mut watch), [0]);
}

#[test]
fn a_follower_stepped_only_when_told_misses_nothing() {
    let folder = Folder::new();
    let path = folder.path("log");
    append(&path, "");
    let mut watch = watch(&[&path]);
    let mut follower = Follower::open(&path, Start::End).expect("opened");
    let (mut written, mut seen) = (Vec::new(), Vec::new());
    for number in 0..300 {
        match number % 10 {
            3 => rename(&path, &folder.path("log.1")),
            6 => truncate(&path),
            8 => fs::remove_file(&path).expect("removed"),
            _ => {
                append(&path, format!("{number}\n"));
                written.push(number.to_string());
            }
        }
        if changed(&mut watch) == [0] {
            seen.extend(drain(&mut follower));
        }
        assert_eq!(seen, written, "after {number}");
    }
}
