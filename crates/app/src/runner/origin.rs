//! How this process was started: which program, in which folder, with which words. It is looked at once, before anything changes, and is
//! what starts the next process.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::runner::Handover;
use crate::service::StartError;

/// The hidden option that says which process has started this one.
pub(crate) const HANDOVER: &str = "--handover";

/// How a process was started.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// Where the program is: by the name it was called by, so that a link that is set anew means the new one.
    pub(crate) program: PathBuf,
    arguments: Vec<OsString>,
    /// Where it stood: what relative paths are meant from.
    pub(crate) folder: PathBuf,
}

impl Origin {
    /// As it was when this was asked for the first time.
    pub(crate) fn of_this_process() -> Result<Origin, StartError> {
        static FIRST: OnceLock<Result<Origin, StartError>> = OnceLock::new();
        FIRST.get_or_init(Origin::look).clone()
    }

    fn look() -> Result<Origin, StartError> {
        let found = |error| StartError::new(format!("this program is not found: {error}"));
        let mut words = std::env::args_os();
        let called = words.next().unwrap_or_default();
        let exact = std::env::current_exe().map_err(found)?;
        let program = by_name(&called).filter(|named| is_same(named, &exact)).unwrap_or(exact);
        let folder = std::env::current_dir().map_err(found)?;
        let is_own = |word: &OsStr| word.to_string_lossy().starts_with(HANDOVER);
        let arguments = words.filter(|word| !is_own(word)).collect();
        Ok(Origin { program, arguments, folder })
    }

    /// The same once more, told who starts it.
    pub(crate) fn command(&self, handover: Handover) -> Command {
        let mut command = Command::new(&self.program);
        // In front: behind `--` it would be a word like any other.
        command
            .arg(format!("{HANDOVER}={}", handover.word()))
            .args(&self.arguments)
            .current_dir(&self.folder);
        command
    }

    /// The words behind the program's name.
    pub(crate) fn arguments(&self) -> &[OsString] {
        &self.arguments
    }
}

/// The file that a shell would have started.
fn by_name(called: &OsStr) -> Option<PathBuf> {
    let path = Path::new(called);
    if path.components().count() > 1 {
        return std::path::absolute(path).ok();
    }
    let folders = std::env::var_os("PATH")?;
    let found =
        std::env::split_paths(&folders).map(|folder| folder.join(path)).find(|file| file.is_file())?;
    std::path::absolute(found).ok()
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => one.dev() == other.dev() && one.ino() == other.ino(),
        _ => false,
    }
}
