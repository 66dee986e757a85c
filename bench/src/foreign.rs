//! Programs that are not this one: where they are found, how they are started on their core, and their end with all they have started.
//!
//! A peer is looked for in `PATH`, in `/usr/sbin`, and in a folder into which packages were unpacked (`ROPEWALK_BENCH_PEERS`, or
//! `target/foreign`): two of them, vsftpd and proftpd, cannot be installed side by side. Scenarios call this; their accounts are in `tree`.

pub(crate) mod daemon;
pub(crate) mod ftp;
pub(crate) mod hub;
pub(crate) mod tree;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::servers::LISTENING;

/// Names a folder with unpacked packages: `usr/sbin/vsftpd`, `usr/sbin/proftpd` and their libraries, and Python's below `python`.
const PEERS: &str = "ROPEWALK_BENCH_PEERS";

/// Names the program `ropewalk`; `cargo xtask bench` builds it and says so.
const PROGRAM: &str = "ROPEWALK_BENCH_PROGRAM";

/// Names that `--only` may say beside those of the servers of this program.
pub(crate) const NAMES: [&str; 5] = ["vsftpd", "proftpd", "pyftpdlib", "flask-websub", "nginx-quit"];

/// The program of this project as people start it.
pub(crate) fn ropewalk() -> Option<PathBuf> {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/ropewalk");
    let named = std::env::var_os(PROGRAM).map_or_else(|| PathBuf::from(built), PathBuf::from);
    let found = is_program(&named).then_some(named);
    if found.is_none() {
        eprintln!("  ropewalk is left out: run `cargo build --release`, or name the program by {PROGRAM}");
    }
    found
}

/// A program of others; where it is missing, how to get it is said.
pub(crate) fn program(name: &str, remedy: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let unpacked = ["usr/sbin", "usr/bin"].map(|folder| peers().join(folder));
    let mut folders =
        unpacked.into_iter().chain(std::env::split_paths(&path)).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|path| is_program(path)));
    if found.is_none() {
        eprintln!("  {name} is left out: {remedy}");
    }
    found
}

/// A command that runs Python with a package of others; where either is missing, how to get it is said.
pub(crate) fn python(module: &str, package: &str, core: usize) -> io::Result<Option<Command>> {
    let remedy = format!("get it with `apt-get install python3`, to measure {package}");
    let Some(python) = program("python3", &remedy) else { return Ok(None) };
    let folder = peers().join("python");
    let find = format!("import sys, importlib.util; sys.exit(importlib.util.find_spec('{module}') is None)");
    let there = Command::new(&python).env("PYTHONPATH", &folder).args(["-c", &find]).status()?;
    if !there.success() {
        eprintln!("  {package} is left out: `pip install --target {} {package}`", folder.display());
        return Ok(None);
    }
    let mut command = pinned(&python, core, true)?;
    command.env("PYTHONPATH", folder).env("PYTHONUNBUFFERED", "1");
    Ok(Some(command))
}

fn peers() -> PathBuf {
    let usual = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/foreign");
    std::env::var_os(PEERS).map_or_else(|| PathBuf::from(usual), PathBuf::from)
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// A command that stays on this core, with all that it starts; `tied` ends it with this process.
pub(crate) fn pinned(program: &Path, core: usize, tied: bool) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["become", "--core", &core.to_string()]);
    if tied {
        command.arg("--tied");
    }
    command.arg("--").arg(program);
    let libraries = peers().join("usr/lib/x86_64-linux-gnu");
    if program.starts_with(peers()) && libraries.exists() {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    Ok(command)
}

/// This program again under a sub-command, on this core, ended with this process.
pub(crate) fn again(command: &str, core: usize) -> io::Result<Command> {
    let mut program = Command::new(std::env::current_exe()?);
    program.args([command, "--tied", "--core", &core.to_string()]);
    Ok(program)
}

/// The child's side of `pinned`: it is on its core already, and becomes the program.
pub(crate) fn become_program(words: &[std::ffi::OsString]) -> io::Result<()> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "which program?"));
    };
    Err(Command::new(program).args(arguments).exec())
}

/// A port that was free a moment ago, for programs that do not say theirs.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// A running program. Dropped, it ends with all it has started.
pub(crate) struct Program {
    child: Child,
    /// Held open: who writes to a pipe that nobody reads is ended.
    _said: Option<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts it; what it complains of goes to a file of the scratch folder.
    pub(crate) fn start(mut command: Command, scratch: &Scratch) -> io::Result<Program> {
        let complaints = File::create(scratch.path("stderr"))?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(complaints).spawn()?;
        Ok(Program { child, _said: None })
    }

    /// The same, and waits for the line that says its port, as `ropewalk` and the scripts here do.
    pub(crate) fn listening(mut command: Command, scratch: &Scratch) -> io::Result<(Program, SocketAddr)> {
        let complaints = File::create(scratch.path("stderr"))?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(complaints).spawn()?;
        let mut said = BufReader::new(child.stdout.take().expect("it was asked to be piped"));
        let mut program = Program { child, _said: None };
        let mut line = String::new();
        while said.read_line(&mut line)? > 0 {
            if let Some(port) = port(&line) {
                program._said = Some(said);
                return Ok((program, SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
            }
            line.clear();
        }
        let why = fs::read_to_string(scratch.path("stderr")).unwrap_or_default();
        Err(io::Error::other(format!("it did not start: {why}")))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        end(self.child.id());
        let _ = self.child.wait();
    }
}

/// Ends a process and all that it has started.
pub(crate) fn end(root: u32) {
    for id in tree::members(root).unwrap_or_default() {
        if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
            // It may have ended with the one that started it.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The port in `listening on tcp:PORT…`.
pub(crate) fn port(line: &str) -> Option<u16> {
    let mut fields = line.trim().strip_prefix(LISTENING)?.split([':', ' ']);
    fields.next()?;
    fields.next()?.parse().ok()
}

/// A folder in memory, where the system has such a thing, that everybody may look into. Removed when it is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(what: &str) -> io::Result<Scratch> {
        let memory = Path::new("/dev/shm");
        let below = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        Scratch::below(&below, what)
    }

    /// The same among the temporary files (`TMPDIR`), which usually are on a disk.
    pub(crate) fn temporary(what: &str) -> io::Result<Scratch> {
        Scratch::below(&std::env::temp_dir(), what)
    }

    fn below(folder: &Path, what: &str) -> io::Result<Scratch> {
        let scratch = Scratch(folder.join(format!("ropewalk-bench-{}-{what}", std::process::id())));
        scratch.folder("")?;
        Ok(scratch)
    }

    pub(crate) fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.0.join(Path::new(name.as_ref()))
    }

    /// A folder in it.
    pub(crate) fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&path)?;
        Ok(path)
    }

    /// A file in it.
    pub(crate) fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_read_from_the_line_that_says_it() {
        assert_eq!(port("listening on tcp:40123:interface=127.0.0.1 (ftp)\n"), Some(40123));
        assert_eq!(port("listening on tcp:7\n"), Some(7));
        assert_eq!(port("something else"), None);
    }

    #[test]
    fn a_scratch_folder_goes_with_its_owner() {
        let scratch = Scratch::new("test").unwrap();
        let path = scratch.write("file", "text").unwrap();
        assert!(path.exists() && scratch.folder("a/b").unwrap().is_dir());
        drop(scratch);
        assert!(!path.exists());
    }
}
