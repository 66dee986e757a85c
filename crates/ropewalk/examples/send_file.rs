//! Files over a plain connection: a line asks for one, or for the rest of one from a byte on.
//!
//! Run it with `cargo run --example send_file`; it serves the folder `public` beside this file. Then
//! ```text
//! $ printf 'style.css\nindex.html 100\n' | nc 127.0.0.1 7009
//! ```
//! answers with the length of the one in a line, and the whole of it; and then with the other's from its hundredth byte on. Ask for
//! a large file and stop reading: it costs the server an open descriptor, and a minute later not even that.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use ropewalk::net::{FileSender, LineHandler, LineReceiver, LineTransport};
use ropewalk::{Factory, Lost, Transport};

/// What it serves.
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/public");

struct Shelf(PathBuf);

impl Shelf {
    /// Opens what a line asks for: a plain name in the folder, and where to begin.
    fn open(&self, line: &str) -> io::Result<FileSender> {
        let (name, from) = line.split_once(' ').unwrap_or((line, "0"));
        if name.contains('/') || name.starts_with('.') {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let from: u64 = from.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
        let file = FileSender::new(File::open(self.0.join(name))?)?;
        let length = file.len().checked_sub(from).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(file.with_part(from, length))
    }
}

impl LineHandler for Shelf {
    fn line_received(&mut self, transport: &LineTransport<'_>, line: &[u8]) {
        match self.open(&String::from_utf8_lossy(line)) {
            Ok(file) => {
                transport.send_line(file.len().to_string().as_bytes());
                // One at a time: whoever asks for a thousand does not have a thousand open.
                transport.pause_reading();
                let handle = Transport::clone(transport);
                drop(file.send(transport).add_both(move |_| handle.resume_reading()));
            }
            Err(error) => transport.send_line(format!("no: {error}").as_bytes()),
        }
    }

    fn connection_lost(&mut self, transport: &LineTransport<'_>, lost: &Lost) {
        let (_, sent) = transport.traffic();
        tracing::info!("{}: {sent} bytes, {lost}", transport.peer());
    }
}

/// The files of one folder, to whoever connects.
pub fn shelf(folder: &Path) -> impl Factory {
    let folder = folder.to_owned();
    move || LineReceiver::new(Shelf(folder.clone())).with_any_ending().with_max_length(300)
}

fn main() -> ExitCode {
    ropewalk::main("send_file", |app| {
        let endpoint = "tcp:7009:interface=127.0.0.1".parse()?;
        app.serve_factory("send_file", endpoint, |_| Ok(Rc::new(shelf(Path::new(FOLDER)))));
        Ok(())
    })
}
