//! Compressing a file that was put aside, in slices, so that the thread that writes the log comes back to its lines meanwhile.
//! The result appears whole, under its name, or not at all.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{FlockOperation, flock};

use super::archive::{Archive, Aside, remove};

/// What is compressed at a time: some milliseconds.
const SLICE_BYTES: u64 = 256 * 1024;

/// One file on its way.
pub(super) struct Packing {
    aside: Aside,
    source: File,
    from: PathBuf,
    out: GzEncoder<File>,
    part: PathBuf,
    to: PathBuf,
}

impl Packing {
    /// Begins. `None` if somebody still writes to the file: another process whose log it is, too.
    pub(super) fn begin(archive: &Archive, aside: &Aside) -> io::Result<Option<Packing>> {
        let from = archive.path(aside);
        let source = File::open(&from)?;
        if flock(&source, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        let part = archive.part(aside);
        // What an earlier process left there is written over.
        let out = File::create(&part)?;
        out.set_permissions(source.metadata()?.permissions())?;
        let to = archive.path(&aside.packed(true));
        let aside = aside.clone();
        Ok(Some(Packing { aside, source, from, out: GzEncoder::new(out, Compression::default()), part, to }))
    }

    /// The file.
    pub(super) fn aside(&self) -> &Aside {
        &self.aside
    }

    /// Compresses a slice; true when all is done.
    pub(super) fn step(&mut self) -> io::Result<bool> {
        let read = io::copy(&mut Read::by_ref(&mut self.source).take(SLICE_BYTES), &mut self.out)?;
        if read == SLICE_BYTES {
            return Ok(false);
        }
        self.out.try_finish()?;
        // The only copy is not given up before the other one is on the disk.
        self.out.get_ref().sync_all()?;
        fs::rename(&self.part, &self.to)?;
        remove(&self.from)?;
        Ok(true)
    }

    /// Takes back what was begun.
    pub(super) fn give_up(self) {
        // It is begun anew when the log is opened again, over what stays here.
        let _ = remove(&self.part);
    }
}
