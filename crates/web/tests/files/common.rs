//! A folder of files and a site over it, on the simulated network.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test that called it")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ropewalk_net::{Address, listen};
use ropewalk_reactor::{Peer, Simulation};

use ropewalk_web::{Files, Handler, Site};

/// Sun, 06 Nov 1994 08:49:37 GMT, and a nanosecond.
pub(crate) const MODIFIED: Duration = Duration::new(784_111_777, 1);
pub(crate) const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
pub(crate) const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

/// A folder that is removed with the test; `www` in it is what is served.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ropewalk-files-{}-{serial}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("www")).unwrap();
        Folder(path)
    }

    /// The folder around the one that is served.
    pub(crate) fn outside(&self) -> &Path {
        &self.0
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.0.join("www")
    }

    /// Writes a file of long ago, and the folders on the way to it.
    pub(crate) fn write(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        touch(&path, UNIX_EPOCH + MODIFIED);
        path
    }

    pub(crate) fn files(&self) -> Files {
        Files::new(self.root()).unwrap()
    }

    /// The site twice: reading on the loop where that can be done, and reading in threads only.
    pub(crate) fn sites(&self, options: impl Fn(Files) -> Files) -> [Web; 2] {
        [false, true].map(|in_threads| Web::new(options(self.files()).in_threads(in_threads)))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn touch(path: &Path, modified: SystemTime) {
    File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

/// How many descriptors of this process are open on this file.
pub(crate) fn open_descriptors(path: &Path) -> usize {
    let links =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link == path).count()
}

pub(crate) struct Web {
    pub(crate) simulation: Simulation,
    address: std::net::SocketAddr,
}

/// An answer taken apart.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Web {
    pub(crate) fn new(handler: impl Handler) -> Web {
        Web::of(Site::new(handler))
    }

    pub(crate) fn of(site: Site) -> Web {
        let simulation = Simulation::new(7);
        let endpoint = "tcp:80:interface=127.0.0.1".parse().unwrap();
        let port = listen(simulation.reactor(), &endpoint, site).unwrap();
        let Address::Inet(address) = *port.address() else { panic!("a TCP port has an address") };
        Web { simulation, address }
    }

    pub(crate) fn connect(&self) -> Peer {
        let peer = self.simulation.network().connect(self.address);
        self.simulation.advance(Duration::from_millis(10));
        peer
    }

    /// Sends a request whose answer ends the connection, and takes the answer.
    pub(crate) fn ask_with(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> Reply {
        let peer = self.connect();
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
        peer.write(request.as_bytes());
        Reply::read(&self.rest(&peer))
    }

    pub(crate) fn ask(&self, method: &str, target: &str) -> Reply {
        self.ask_with(method, target, &[])
    }

    pub(crate) fn get(&self, target: &str) -> Reply {
        self.ask("GET", target)
    }

    pub(crate) fn get_with(&self, target: &str, name: &str, value: &str) -> Reply {
        self.ask_with("GET", target, &[(name, value)])
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&self, peer: &Peer) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..10_000 {
            self.simulation.advance(Duration::from_millis(5));
            bytes.extend(peer.take());
            if peer.is_ended() {
                return bytes;
            }
        }
        panic!("the answer does not end: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(1000)]));
    }
}

impl Reply {
    pub(crate) fn read(bytes: &[u8]) -> Reply {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head[9..12].parse().unwrap();
        Reply { status, head, body: bytes[end..].to_vec() }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The field, which must be there.
    pub(crate) fn need(&self, name: &str) -> &str {
        self.field(name).unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
