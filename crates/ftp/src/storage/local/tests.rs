//! Nothing leads out of the folder, with the system's help and without it.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::AtomicU32;

use super::*;

/// A folder of its own, gone at the end.
struct Ground(PathBuf);

impl Ground {
    fn new() -> Ground {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ropewalk-ftp-local-{}-{serial}", std::process::id()));
        fs::create_dir_all(path.join("root/sub")).unwrap();
        fs::create_dir(path.join("outside")).unwrap();
        fs::write(path.join("outside/secret"), "secret").unwrap();
        fs::write(path.join("root/file"), "inside").unwrap();
        Ground(path)
    }

    fn storages(&self) -> [LocalStorage; 2] {
        let root = self.0.join("root");
        let walking = Arc::new(Beneath::walking(&root).unwrap());
        [LocalStorage::new(&root).unwrap(), LocalStorage { beneath: walking, root }]
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn at(path: &str) -> FtpPath {
    FtpPath::root().join(path.as_bytes()).unwrap()
}

#[test]
fn links_that_lead_outside_lead_nowhere() {
    let ground = Ground::new();
    let outside = ground.0.join("outside");
    symlink(&outside, ground.0.join("root/absolute")).unwrap();
    symlink("../outside", ground.0.join("root/relative")).unwrap();
    symlink("../outside/secret", ground.0.join("root/leaf")).unwrap();
    symlink("/proc/self/root", ground.0.join("root/magic")).unwrap();
    for storage in ground.storages() {
        for path in ["absolute/secret", "relative/secret", "leaf", "magic/etc/passwd"] {
            let path = at(path);
            assert!(storage.facts(&path).is_err(), "{path}");
            assert!(storage.read(&path).is_err(), "{path}");
            assert!(storage.write(&path, Writing::Append).is_err(), "{path}");
            assert!(storage.write(&path, Writing::At(0)).is_err(), "{path}");
            assert!(storage.change(&path, &Change::Mode(0o777)).is_err(), "{path}");
            assert!(storage.change(&path, &Change::Modified(UNIX_EPOCH)).is_err(), "{path}");
        }
        for folder in ["absolute", "relative", "magic"] {
            assert!(storage.list(&at(folder)).is_err());
            let below = at(&format!("{folder}/new"));
            assert!(storage.write(&below, Writing::Whole).is_err());
            assert!(storage.change(&below, &Change::MakeFolder).is_err());
            assert!(storage.change(&at(&format!("{folder}/secret")), &Change::RemoveFile).is_err());
            assert!(storage.change(&at("file"), &Change::Rename(below.clone())).is_err());
            assert!(storage.change(&at(&format!("{folder}/secret")), &Change::Rename(at("mine"))).is_err());
        }
        let names: Vec<_> = storage.list(&at("/")).unwrap().map(|entry| entry.unwrap().0).collect();
        assert_eq!(names, [&b"file"[..], b"sub"], "links that lead nowhere are not shown");
    }
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
    assert_eq!(fs::read_dir(outside).unwrap().count(), 1);
    // Replacing a link replaces the link.
    let [storage, _] = ground.storages();
    let mut upload = storage.write(&at("leaf"), Writing::Whole).unwrap();
    upload.write(b"mine").unwrap();
    upload.commit().unwrap();
    assert_eq!(fs::read(ground.0.join("outside/secret")).unwrap(), b"secret");
    assert_eq!(fs::read(ground.0.join("root/leaf")).unwrap(), b"mine");
}

#[test]
fn links_within_are_followed_where_the_system_helps() {
    let ground = Ground::new();
    symlink("sub", ground.0.join("root/link")).unwrap();
    fs::write(ground.0.join("root/sub/a"), "abc").unwrap();
    let [helped, walking] = ground.storages();
    assert_eq!(
        helped.write(&at("link"), Writing::Whole).err().unwrap().kind(),
        io::ErrorKind::IsADirectory,
        "a link to a folder is not replaced by a file"
    );
    assert_eq!(helped.facts(&at("link/a")).unwrap().size, 3);
    assert!(walking.facts(&at("link/a")).is_err());
    assert_eq!(walking.facts(&at("sub/a")).unwrap().size, 3);
}

#[test]
fn an_upload_is_seen_when_it_is_whole_and_leaves_nothing_when_it_is_not() {
    let ground = Ground::new();
    for storage in ground.storages() {
        let seen = || fs::read(ground.0.join("root/file")).unwrap();
        let mut upload = storage.write(&at("file"), Writing::Whole).unwrap();
        upload.write(b"half").unwrap();
        assert_eq!(seen(), b"inside");
        assert_eq!(storage.list(&at("/")).unwrap().count(), 2, "what is aside is not shown");
        drop(upload);
        assert_eq!((seen(), fs::read_dir(ground.0.join("root")).unwrap().count()), (b"inside".to_vec(), 2));
        storage.change(&at("file"), &Change::Mode(0o640)).unwrap();
        let mut upload = storage.write(&at("file"), Writing::Whole).unwrap();
        upload.write(b"whole").unwrap();
        upload.commit().unwrap();
        assert_eq!(seen(), b"whole");
        assert_eq!(storage.facts(&at("file")).unwrap().mode, 0o640, "it keeps the mode of what it replaces");
        let mut upload = storage.write(&at("file"), Writing::At(2)).unwrap();
        upload.write(b"ITE!").unwrap();
        upload.commit().unwrap();
        let mut upload = storage.write(&at("file"), Writing::Append).unwrap();
        upload.write(b"...").unwrap();
        drop(upload);
        assert_eq!(seen(), b"whITE!...");
        let behind = storage.write(&at("file"), Writing::At(100)).err().unwrap();
        assert_eq!(behind.kind(), io::ErrorKind::InvalidInput);
        let there = storage.write(&at("file"), Writing::New).err().unwrap();
        assert_eq!(there.kind(), io::ErrorKind::AlreadyExists);
        storage.change(&at("file"), &Change::RemoveFile).unwrap();
        fs::write(ground.0.join("root/file"), "inside").unwrap();
    }
}

#[test]
fn what_is_neither_file_nor_folder_is_not_replaced() {
    let ground = Ground::new();
    let _socket = std::os::unix::net::UnixListener::bind(ground.0.join("root/socket")).unwrap();
    for storage in ground.storages() {
        for how in [Writing::Whole, Writing::New] {
            assert!(storage.write(&at("socket"), how).is_err());
        }
        assert!(std::os::unix::net::UnixStream::connect(ground.0.join("root/socket")).is_ok());
    }
}

#[test]
fn where_no_file_is_without_a_name_it_is_the_same() {
    let ground = Ground::new();
    let [storage, _] = ground.storages();
    let upload = |new: bool| {
        let (folder, name) = storage
            .beneath
            .open(&at("/"), OFlags::PATH, Mode::empty())
            .map(|folder| (folder, OsString::from("file")))
            .unwrap();
        let (file, aside) = open_named(&folder).unwrap();
        assert!(aside.is_some());
        let mut upload = Box::new(Aside { folder, aside, name, file, new });
        upload.write(b"whole").unwrap();
        upload
    };
    let count = || fs::read_dir(ground.0.join("root")).unwrap().count();
    let pending = upload(false);
    assert_eq!((count(), storage.list(&at("/")).unwrap().count()), (3, 2), "it is there, and not shown");
    drop(pending);
    assert_eq!(count(), 2);
    assert_eq!(upload(true).commit().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(ground.0.join("root/file")).unwrap(), b"inside");
    upload(false).commit().unwrap();
    assert_eq!((fs::read(ground.0.join("root/file")).unwrap(), count()), (b"whole".to_vec(), 2));
}

#[test]
fn pipes_and_devices_are_no_files() {
    let ground = Ground::new();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        ground.0.join("root/pipe"),
        FileType::Fifo,
        Mode::from_raw_mode(0o666),
        0,
    )
    .unwrap();
    for storage in ground.storages() {
        assert_eq!(storage.facts(&at("pipe")).unwrap().kind, Kind::Other);
        assert!(storage.read(&at("pipe")).is_err(), "it does not wait for a writer");
        assert!(storage.write(&at("pipe"), Writing::Append).is_err());
    }
}

#[test]
fn changes_of_the_root_itself_are_refused() {
    let ground = Ground::new();
    for storage in ground.storages() {
        for change in [Change::RemoveFolder, Change::RemoveFile, Change::MakeFolder, Change::Rename(at("x"))]
        {
            assert!(storage.change(&at("/"), &change).is_err(), "{change:?}");
        }
        assert!(storage.change(&at("file"), &Change::Rename(at("/"))).is_err());
        let time = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        storage.change(&at("file"), &Change::Modified(time)).unwrap();
        assert_eq!(storage.facts(&at("file")).unwrap().modified, time);
    }
}
