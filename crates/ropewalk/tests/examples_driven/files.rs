//! The FTP server in memory: everybody reads, and who is known leaves a file.

use crate::ftp_memory;
use crate::support::{Ground, SECOND};
use ropewalk::ftp::MemoryStorage;

#[test]
fn everybody_reads_and_ada_writes() {
    let storage = MemoryStorage::new(1 << 20);
    let ground = Ground::new(1, ftp_memory::server(&storage).unwrap());
    let ask = |peer: &ropewalk::reactor::Peer, line: &str| {
        peer.write(line.as_bytes());
        ground.advance(SECOND);
        String::from_utf8(peer.take()).unwrap()
    };
    let guest = ground.connect();
    assert!(
        ask(&guest, "USER anonymous\r\nPASS me@\r\nTYPE I\r\n")
            .ends_with("230 Logged in\r\n200 Type is I\r\n")
    );
    assert_eq!(ask(&guest, "SIZE readme.txt\r\n"), "213 35\r\n");
    assert_eq!(ask(&guest, "DELE readme.txt\r\n"), "550 Permission denied\r\n");
    let ada = ground.connect();
    assert!(ask(&ada, "USER ada\r\nPASS lovelace\r\n").ends_with("230 Logged in\r\n"));
    let reply = ask(&ada, "EPSV\r\n");
    let port: u16 = reply.split('|').nth(3).unwrap().parse().unwrap();
    let data = ground.simulation.network().connect(([127, 0, 0, 1], port).into());
    ask(&ada, "STOR note.txt\r\n");
    data.write(b"hello");
    data.shutdown_write();
    assert_eq!(ask(&ada, "NOOP\r\n"), "226 It has come whole\r\n200 NOOP done\r\n");
    assert_eq!(storage.take("/note.txt").unwrap(), b"hello");
    let wrong = ground.connect();
    assert!(!ask(&wrong, "USER ada\r\nPASS byron\r\n").contains("230"));
}
