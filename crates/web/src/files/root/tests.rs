//! The same names through every resolver, above all the one for kernels that the other tests do not run on.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;

/// A folder that is removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ropewalk-root-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("www/sub")).unwrap();
        fs::write(path.join("secret"), "secret").unwrap();
        fs::write(path.join("www/a"), "a").unwrap();
        fs::write(path.join("www/sub/b"), "b").unwrap();
        symlink("../../secret", path.join("www/sub/out")).unwrap();
        symlink(path.join("www/a"), path.join("www/absolute")).unwrap();
        symlink("..", path.join("www/up")).unwrap();
        symlink("sub/b", path.join("www/in")).unwrap();
        symlink("sub", path.join("www/folder")).unwrap();
        symlink("loop", path.join("www/loop")).unwrap();
        Folder(path)
    }

    fn root(&self, resolver: Resolver) -> Root {
        Root::tree(&self.0.join("www")).unwrap().with_resolver(resolver)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const RESOLVERS: [Resolver; 3] = [Resolver::Cached, Resolver::Beneath, Resolver::Walk];

#[test]
fn what_is_inside_is_found() {
    let folder = Folder::new("inside");
    for resolver in RESOLVERS {
        let root = folder.root(resolver);
        let is_file =
            |name: &[u8]| matches!(root.find(name, false, &[], Pace::Whole), Ok(Found::File { .. }));
        assert!(is_file(b"a") && is_file(b"sub/b"), "{resolver:?}");
        assert!(matches!(root.find(b"sub", false, &[], Pace::Whole), Ok(Found::Folder)), "{resolver:?}");
        assert!(matches!(root.find(b"", false, &[], Pace::Whole), Ok(Found::Folder)), "{resolver:?}");
        let index = [b"x".to_vec(), b"b".to_vec()];
        let found = root.find(b"sub", true, &index, Pace::Whole);
        assert!(matches!(found, Ok(Found::File { index: Some(1), .. })), "{resolver:?}");
        // Links work where the kernel can say where they lead.
        assert_eq!(is_file(b"in") && is_file(b"folder/b"), resolver != Resolver::Walk, "{resolver:?}");
    }
}

#[test]
fn nothing_outside_is() {
    let folder = Folder::new("outside");
    for resolver in RESOLVERS {
        let root = folder.root(resolver);
        for name in [
            &b"../secret"[..],
            b"sub/../../secret",
            b"sub/out",
            b"up/secret",
            b"absolute",
            b"loop",
            b"/etc/passwd",
            b"a/b",
            b"missing",
            b"a\0b",
            b"..",
        ] {
            let found = root.find(name, false, &[], Pace::Whole);
            assert!(found.is_err(), "{resolver:?} {} {found:?}", String::from_utf8_lossy(name));
        }
        let index = [b"../secret".to_vec()];
        assert!(root.find(b"", true, &index, Pace::Whole).is_err(), "{resolver:?}");
    }
}

/// What the server chooses by itself, beside a file or for a list, stays inside as well.
#[test]
fn what_is_chosen_here_stays_inside() {
    let folder = Folder::new("chosen");
    for resolver in RESOLVERS {
        let link = Root::file(&folder.0.join("www/sub/out")).unwrap().with_resolver(resolver);
        for root in [folder.root(resolver), link] {
            for name in
                [&b"../secret"[..], b"sub/out", b"out", b"../../secret", b"absolute", b"", b".", b"loop"]
            {
                let found = root.regular(name, Pace::Whole);
                assert!(found.is_err(), "{resolver:?} {} {found:?}", String::from_utf8_lossy(name));
            }
        }
        let root = folder.root(resolver);
        assert!(root.regular(b"sub/b", Pace::Whole).is_ok() && root.regular(b"sub", Pace::Whole).is_err());
        assert!(root.folder(b"").is_ok() && root.folder(b"sub").is_ok(), "{resolver:?}");
        for name in [&b"up"[..], b"..", b"a", b"missing", b"loop"] {
            assert!(root.folder(name).is_err(), "{resolver:?}");
        }
        // What is listed of links: a file or a folder behind it, or nothing.
        let behind = |name: &[u8]| {
            let kind = root.behind(name).map(|stat| FileType::from_raw_mode(stat.st_mode));
            kind.is_ok_and(|kind| kind != FileType::Symlink)
        };
        for name in [&b"sub/out"[..], b"absolute", b"up", b"loop"] {
            assert!(!behind(name), "{resolver:?} {}", String::from_utf8_lossy(name));
        }
        assert_eq!(behind(b"in") && behind(b"folder"), resolver != Resolver::Walk, "{resolver:?}");
    }
}

#[test]
fn the_loop_waits_for_nobody() {
    let folder = Folder::new("waits");
    for resolver in [Resolver::Beneath, Resolver::Walk] {
        let found = folder.root(resolver).find(b"a", false, &[], Pace::Cached);
        assert_eq!(found.err(), Some(Errno::AGAIN), "{resolver:?}");
    }
}

#[test]
fn a_single_file_may_be_a_link_to_anywhere() {
    let folder = Folder::new("single");
    for resolver in RESOLVERS {
        let root = Root::file(&folder.0.join("www/sub/out")).unwrap().with_resolver(resolver);
        assert!(
            matches!(root.find(b"whatever", true, &[], Pace::Whole), Ok(Found::File { .. })),
            "{resolver:?}"
        );
    }
}

#[test]
fn what_is_wrong_is_said_at_the_start() {
    let folder = Folder::new("wrong");
    let tree = |name: &str| Root::tree(&folder.0.join(name)).unwrap_err();
    let file = |name: &str| Root::file(&folder.0.join(name)).unwrap_err();
    assert_eq!(tree("nothing").kind(), io::ErrorKind::NotFound);
    assert!(tree("nothing").to_string().ends_with("there is no such folder: create it, or name another"));
    assert_eq!(tree("secret").kind(), io::ErrorKind::NotADirectory);
    assert!(tree("secret").to_string().contains("serve it as a single file"));
    assert_eq!(file("www").kind(), io::ErrorKind::IsADirectory);
    assert!(file("nothing").to_string().contains("there is no such file"));
    assert!(Root::file(Path::new("/")).is_err());
}
