//! An FTP server with accounts of its own and files in memory: what a program builds that has neither users of a system nor a disk.
//!
//! Run it with `cargo run --example ftp_memory`, and then `curl ftp://127.0.0.1:7021/readme.txt`; with
//! `curl -T Cargo.toml ftp://ada:lovelace@127.0.0.1:7021/` somebody who is known leaves a file, and a line on standard error tells of it.
//! Ctrl-C stops it, and everything is gone.

use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use ropewalk::ftp::{
    Accounts, Anonymous, Attempt, FtpOptions, FtpServer, MemoryStorage, Observer, Permissions, Transferred,
    User,
};

/// Bytes that all files may have together.
const BYTES_MAX: u64 = 64 << 20;

/// Ada may do everything, everybody else may read.
pub struct Members {
    storage: MemoryStorage,
    guests: Anonymous,
}

impl Members {
    /// The members of a server with these files.
    pub fn new(storage: MemoryStorage) -> Members {
        Members { guests: Anonymous::new(Arc::new(storage.clone())), storage }
    }
}

impl Accounts for Members {
    /// Runs in a thread pool: a database may be asked here. A real one keeps no passwords, only their hashes.
    fn login(&self, attempt: &Attempt) -> Option<User> {
        if attempt.user == "ada" && attempt.password == b"lovelace" {
            return Some(User::new("ada", Arc::new(self.storage.clone()), Permissions::ALL));
        }
        self.guests.login(attempt)
    }

    fn is_open(&self, user: &str) -> bool {
        self.guests.is_open(user)
    }
}

/// Says what has come and gone.
struct Told;

impl Observer for Told {
    fn transferred(&self, transfer: &Transferred<'_>) {
        let Transferred { user, direction, path, bytes, complete, .. } = transfer;
        let end = if *complete { "" } else { ", broken off" };
        tracing::info!("{user}: {direction:?} of {path}, {bytes} bytes{end}");
    }
}

/// The server, with something in it to read.
pub fn server(storage: &MemoryStorage) -> std::io::Result<FtpServer> {
    storage.put("/readme.txt", b"Nothing here outlives the program.\n")?;
    let options = FtpOptions { observers: vec![Rc::new(Told)], ..FtpOptions::default() };
    Ok(FtpServer::new(Members::new(storage.clone()), options))
}

fn main() -> ExitCode {
    ropewalk::main("ftp_memory", |app| {
        let server = server(&MemoryStorage::new(BYTES_MAX)).map_err(ropewalk::StartError::new)?;
        app.serve_factory("ftp", "tcp:7021:interface=127.0.0.1".parse()?, |_| Ok(Rc::new(server)));
        Ok(())
    })
}
