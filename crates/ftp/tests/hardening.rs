//! Attacks, a sentence each, and what they come to.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use common::{Ground, PATIENCE};
use ropewalk_ftp::{Change, FtpLimits, FtpOptions, FtpPath, LocalStorage, Storage, Writing};

/// A folder with a root and something outside of it, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ropewalk-ftp-hard-{}-{serial}", std::process::id()));
        fs::create_dir_all(path.join("root/inner")).unwrap();
        fs::create_dir(path.join("outside")).unwrap();
        fs::write(path.join("outside/secret"), "secret").unwrap();
        fs::write(path.join("root/file"), "file").unwrap();
        Folder(path)
    }

    fn storage(&self) -> LocalStorage {
        LocalStorage::new(self.0.join("root")).unwrap()
    }

    fn ground(&self) -> Ground {
        Ground::over(1, FtpOptions::default(), Arc::new(self.storage()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn climbing_out_with_dots_ends_at_the_root() {
    let folder = Folder::new();
    let ground = folder.ground();
    let client = ground.ada();
    client.expect("CWD ../../../..", "250");
    assert_eq!(client.say("PWD"), "257 \"/\" is the folder\r\n");
    for path in
        ["../outside/secret", "/../outside/secret", "inner/../../outside/secret", "./.././../outside/secret"]
    {
        client.expect(&format!("SIZE {path}"), "550");
        assert!(client.fetch(&format!("RETR {path}")).1.starts_with("550"), "{path}");
        client.expect(&format!("DELE {path}"), "550");
        assert!(client.store(&format!("STOR {path}"), b"x").starts_with("550"));
    }
    client.expect("RNFR file", "350");
    client.expect("RNTO ../outside/mine", "550");
    client.expect("MKD ../outside/mine", "550");
    assert_eq!(fs::read(folder.0.join("outside/secret")).unwrap(), b"secret");
}

#[test]
fn links_to_the_outside_lead_nowhere_for_every_command() {
    let folder = Folder::new();
    std::os::unix::fs::symlink("../outside", folder.0.join("root/way")).unwrap();
    std::os::unix::fs::symlink("../outside/secret", folder.0.join("root/leaf")).unwrap();
    let ground = folder.ground();
    let client = ground.ada();
    for line in [
        "CWD way",
        "SIZE leaf",
        "MDTM leaf",
        "MLST way/secret",
        "MKD way/x",
        "RMD way",
        "DELE way/secret",
        "STAT way/secret",
        "SITE CHMOD 777 leaf",
        "MFMT 20200101000000 leaf",
        "RNFR way/secret",
    ] {
        client.expect(line, "550");
    }
    for line in ["RETR leaf", "RETR way/secret", "LIST way", "MLSD way", "NLST way/*"] {
        assert!(client.fetch(line).1.starts_with("550"), "{line}");
    }
    for line in ["STOR way/x", "APPE leaf", "STOU way/x"] {
        assert!(client.store(line, b"x").starts_with("550"), "{line}");
    }
    client.expect("RNFR file", "350");
    client.expect("RNTO way/file", "550");
    assert_eq!(client.fetch_text("NLST"), "file\r\ninner\r\n");
    // The link itself may go, and what it led to stays.
    client.expect("DELE leaf", "250");
    assert_eq!(fs::read_dir(folder.0.join("outside")).unwrap().count(), 1);
}

#[test]
fn names_that_nobody_is_shown_are_nobodys_to_keep_files_under() {
    // 1. A client uploads under the name of an unfinished upload, which no list shows. 2. Its files are there, and whoever looks after
    //    the server never sees them.
    let folder = Folder::new();
    fs::write(folder.0.join("root/.ropewalk-upload-7"), "of somebody else").unwrap();
    let ground = folder.ground();
    let client = ground.ada();
    for line in ["STOR .ropewalk-upload-1", "APPE inner/.ropewalk-upload-1", "STOR .ropewalk-upload-1/x"] {
        assert!(client.store(line, b"x").starts_with("550"), "{line}");
    }
    client.expect("MKD .ropewalk-upload-2", "550");
    client.expect("DELE .ropewalk-upload-7", "550");
    client.expect("SIZE .ropewalk-upload-7", "550");
    assert!(client.fetch("RETR .ropewalk-upload-7").1.starts_with("550"));
    client.expect("RNFR .ropewalk-upload-7", "550");
    client.expect("RNFR file", "350");
    client.expect("RNTO .ropewalk-upload-3", "550");
    assert_eq!(client.fetch_text("NLST"), "file\r\ninner\r\n");
}

#[test]
fn a_folder_that_is_swapped_for_a_link_in_the_middle_never_opens_the_outside() {
    let folder = Folder::new();
    let storage = folder.storage();
    let done = Arc::new(AtomicBool::new(false));
    let (root, stop) = (folder.0.join("root"), Arc::clone(&done));
    fs::create_dir(root.join("swap")).unwrap();
    let swapper = std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let _ = fs::rename(root.join("swap"), root.join("aside"));
            let _ = std::os::unix::fs::symlink("../outside", root.join("swap"));
            let _ = fs::remove_file(root.join("swap"));
            let _ = fs::rename(root.join("aside"), root.join("swap"));
        }
    });
    let secret = FtpPath::root().join(b"swap/secret").unwrap();
    let mine = FtpPath::root().join(b"swap/mine").unwrap();
    for _ in 0..3000 {
        assert!(storage.read(&secret).is_err());
        assert!(storage.change(&secret, &Change::RemoveFile).is_err());
        if let Ok(upload) = storage.write(&mine, Writing::Whole) {
            let _ = upload.commit();
        }
    }
    done.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    let outside: Vec<_> =
        fs::read_dir(folder.0.join("outside")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(outside, ["secret"]);
}

#[test]
fn a_server_does_not_talk_to_others_on_behalf_of_a_client() {
    let ground = Ground::new(1);
    let client = ground.ada();
    for line in [
        "PORT 192,0,2,1,10,10",
        "PORT 127,0,0,1,0,25",
        "PORT 127,0,0,1,3,255",
        "EPRT |1|192.0.2.1|8080|",
        "EPRT |2|::1|8080|",
        "EPRT |1|127.0.0.1|22|",
        "PORT 0,0,0,0,10,10",
    ] {
        client.expect(line, "504");
    }
    client.expect("RETR hello.txt", "425");
    assert_eq!(ground.server.statistics().bounces, 7);
}

#[test]
fn a_stranger_at_a_passive_port_gets_nothing_and_takes_nobodys_place() {
    let ground = Ground::new(1);
    let client = ground.ada();
    let to = client.passive();
    let network = ground.simulation.network();
    let thief = network.connect_from([192, 0, 2, 66].into(), to);
    ground.advance(1000);
    assert!(thief.is_ended());
    let data = network.connect(to);
    client.expect("RETR hello.txt", "1");
    assert_eq!(ground.drain(&data), b"hello\nworld\n");
    assert_eq!(client.code(), "226");
    assert_eq!(thief.take(), b"");
    assert_eq!(ground.server.statistics().strangers, 1);
}

#[test]
fn asking_for_passive_ports_all_the_time_holds_one() {
    let options = FtpOptions { passive_ports: Some(50_000..=50_009), ..FtpOptions::default() };
    let ground = Ground::with(1, options);
    let (greedy, modest) = (ground.ada(), ground.ada());
    for _ in 0..100 {
        greedy.passive();
    }
    for _ in 0..9 {
        modest.passive();
    }
}

#[test]
fn a_line_without_an_end_costs_no_memory_and_is_no_command() {
    let ground = Ground::new(1);
    let client = ground.ada();
    for _ in 0..200 {
        client.control.write(&[b'x'; 20_000]);
        ground.advance(10);
    }
    client.send("");
    assert_eq!(client.code(), "500");
    client.expect("NOOP", "200");
}

#[test]
fn a_flood_of_telnet_is_answered_sixteen_times() {
    let ground = Ground::new(1);
    let client = ground.client();
    for _ in 0..100 {
        client.write(&b"\xff\xfd\x18\xff\xf4\xff\xf2\xff\xfb\x01".repeat(50));
        ground.advance(10);
    }
    ground.advance(1000);
    assert_eq!(client.control.take().len(), 16 * 3);
    client.expect("NOOP", "200");
}

#[test]
fn a_name_cannot_write_a_line_of_its_own_into_a_reply_or_a_list() {
    let folder = Folder::new();
    fs::write(folder.0.join("root/evil\r\n200 yes"), "").unwrap();
    let ground = folder.ground();
    let client = ground.ada();
    let list = client.fetch_text("LIST");
    assert_eq!(list.lines().count(), 3, "{list:?}");
    assert!(!client.fetch_text("NLST").contains("200 yes"));
    let status = client.expect("STAT /", "213");
    assert!(!status.contains("\r\n200"), "{status:?}");
    client.write(b"MKD a\rb\r\n");
    assert_eq!(client.code(), "553");
}

#[test]
fn commands_that_were_slipped_in_behind_auth_are_never_run() {
    // Without TLS: what follows is a command again, since AUTH was refused.
    let ground = Ground::new(1);
    let client = ground.client();
    client.write(b"AUTH TLS\r\nNOOP\r\n");
    assert_eq!((client.code(), client.code()), ("502".to_owned(), "200".to_owned()));
}

#[test]
fn guessing_over_many_connections_is_as_slow() {
    let limits = FtpLimits { failures_per_peer_max: 6, sessions_per_peer_max: 20, ..FtpLimits::default() };
    let ground = Ground::with(1, FtpOptions { limits, ..FtpOptions::default() });
    let clients: Vec<_> = (0..10).map(|_| ground.client()).collect();
    for client in &clients {
        client.expect("USER ada", "331");
    }
    for client in &clients[..6] {
        client.expect("PASS wrong", "530");
    }
    for client in &clients[6..] {
        client.expect("PASS x", "421");
    }
    assert_eq!(ground.server.statistics().logins, 0);
}

#[test]
fn a_wrong_name_sounds_like_a_wrong_password() {
    let ground = Ground::new(1);
    let client = ground.client();
    let known = (client.say("USER ada"), client.say("PASS wrong"));
    let unknown = (client.say("USER nobody"), client.say("PASS wrong"));
    assert_eq!(known, unknown);
}

#[test]
fn an_upload_that_is_broken_off_replaces_nothing() {
    let folder = Folder::new();
    let ground = folder.ground();
    let client = ground.ada();
    let data = client.data();
    client.expect("STOR file", "1");
    data.write(&[b'x'; 10_000]);
    ground.advance(100);
    data.reset();
    assert_eq!(client.code(), "426");
    client.expect("NOOP", "200");
    ground.advance(1000);
    assert_eq!(fs::read(folder.0.join("root/file")).unwrap(), b"file");
    assert_eq!(fs::read_dir(folder.0.join("root")).unwrap().count(), 2, "nothing is left beside it");
}

#[test]
fn a_thousand_connections_that_say_nothing_are_gone_in_a_minute() {
    let limits = FtpLimits { sessions_per_peer_max: 2000, sessions_max: 1000, ..FtpLimits::default() };
    let ground = Ground::with(1, FtpOptions { limits, ..FtpOptions::default() });
    let network = ground.simulation.network();
    let silent: Vec<_> = (0..1100).map(|_| network.connect(ground.address)).collect();
    ground.advance(1000);
    assert_eq!(ground.server.statistics().sessions, 1000);
    ground.advance(61_000);
    let server = ground.server.clone();
    assert!(ground.simulation.run_until(PATIENCE, || server.statistics().sessions == 0));
    assert!(silent.iter().all(|peer| peer.text().contains("421")));
}
