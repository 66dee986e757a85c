//! What every storage has to do, tried on both that are here: the same operations, in random order, come to the same.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use ropewalk_ftp::{Change, FtpPath, Kind, LocalStorage, MemoryStorage, Source, Storage, Writing};

/// Something that one can ask of a storage.
#[derive(Clone, Debug)]
enum Operation {
    Write(FtpPath, Writing, Vec<u8>, bool),
    Change(FtpPath, Change),
    Read(FtpPath),
    List(FtpPath),
}

fn path() -> impl Strategy<Value = FtpPath> {
    // Few names, so that operations meet.
    prop::collection::vec(prop::sample::select(vec!["a", "b", "ü c"]), 0..3)
        .prop_map(|names| FtpPath::root().join(names.join("/").as_bytes()).unwrap())
}

fn operation() -> impl Strategy<Value = Operation> {
    let writing = prop_oneof![
        3 => Just(Writing::Whole),
        1 => Just(Writing::New),
        1 => Just(Writing::Append),
        1 => (1u64..20).prop_map(Writing::At)
    ];
    let change = prop_oneof![
        4 => Just(Change::MakeFolder),
        1 => Just(Change::RemoveFolder),
        1 => Just(Change::RemoveFile),
        1 => path().prop_map(Change::Rename),
        1 => (1u64..1 << 31).prop_map(|seconds| Change::Modified(UNIX_EPOCH + Duration::from_secs(seconds))),
        1 => (0u32..0o1000).prop_map(|mode| Change::Mode(mode | 0o700)),
    ];
    prop_oneof![
        3 => (path(), writing, prop::collection::vec(any::<u8>(), 1..12), any::<bool>())
            .prop_map(|(path, how, bytes, commit)| Operation::Write(path, how, bytes, commit)),
        5 => (path(), change).prop_map(|(path, change)| Operation::Change(path, change)),
        1 => path().prop_map(Operation::Read),
        1 => path().prop_map(Operation::List),
    ]
}

/// Whether it was done. Why not may differ: a system looks at several reasons in an order of its own.
fn run(storage: &dyn Storage, operation: &Operation) -> bool {
    match operation {
        Operation::Write(path, how, bytes, commit) => storage.write(path, *how).is_ok_and(|mut upload| {
            let (one, two) = bytes.split_at(bytes.len() / 2);
            let written = upload.write(one).and_then(|()| upload.write(two));
            written.is_ok() && (!*commit || upload.commit().is_ok())
        }),
        Operation::Change(path, change) => storage.change(path, change).is_ok(),
        Operation::Read(path) => content(storage, path).is_some(),
        Operation::List(path) => storage.list(path).is_ok(),
    }
}

fn content(storage: &dyn Storage, path: &FtpPath) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    match storage.read(path).ok()? {
        Source::File(mut file) => file.read_to_end(&mut all).ok()?,
        Source::Reader(mut reader, size) => {
            reader.read_to_end(&mut all).ok()?;
            assert_eq!(size, Some(all.len() as u64));
            all.len()
        }
    };
    Some(all)
}

/// All that is there: folders, and files with what is in them.
fn tree(storage: &dyn Storage, folder: &FtpPath, into: &mut BTreeMap<FtpPath, Option<Vec<u8>>>) {
    for entry in storage.list(folder).unwrap() {
        let (name, facts) = entry.unwrap();
        let path = folder.join(&name).unwrap();
        assert_eq!(storage.facts(&path).unwrap(), facts, "{path}");
        if facts.kind == Kind::Folder {
            into.insert(path.clone(), None);
            tree(storage, &path, into);
        } else {
            let content = content(storage, &path).unwrap();
            assert_eq!(facts.size, content.len() as u64);
            into.insert(path, Some(content));
        }
    }
}

fn fresh() -> PathBuf {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("ropewalk-ftp-storages-{}-{serial}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn a_folder_and_a_memory_do_the_same(operations in prop::collection::vec(operation(), 1..60)) {
        let root = fresh();
        let (local, memory) = (LocalStorage::new(&root).unwrap(), MemoryStorage::new(1 << 20));
        for operation in &operations {
            prop_assert_eq!(run(&local, operation), run(&memory, operation), "{:?}", operation);
        }
        let (mut of_local, mut of_memory) = (BTreeMap::new(), BTreeMap::new());
        tree(&local, &FtpPath::root(), &mut of_local);
        tree(&memory, &FtpPath::root(), &mut of_memory);
        let left = std::fs::read_dir(&root).unwrap().count();
        let top = of_local.keys().filter(|path| path.parent().is_root()).count();
        std::fs::remove_dir_all(&root).unwrap();
        prop_assert_eq!(&of_local, &of_memory);
        prop_assert_eq!(left, top, "something hidden was left behind");
    }
}
