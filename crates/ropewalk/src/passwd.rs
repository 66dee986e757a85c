//! `ropewalk passwd`: puts a user into a file of passwords, changes one, or removes one. The file and the hashes are
//! `ropewalk-ftp`'s.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ropewalk_ftp::{PasswordFile, Permissions, Record};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Wrong usage, and what stands in the way.
const EXIT_USAGE: u8 = 2;

#[derive(Args)]
pub(crate) struct PasswdArgs {
    /// The file; it is made if it is not there
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The user
    #[arg(value_name = "USER")]
    user: String,
    /// The folder that this user sees, from the served one on [default: all of it]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// What may be done: read, write, delete, list, make [default: rl]
    #[arg(long, value_name = "rwdlm")]
    permissions: Option<Permissions>,
    /// Bytes in a second that an upload may take
    #[arg(long, value_name = "BYTES")]
    upload: Option<u64>,
    /// Bytes in a second that a download may take
    #[arg(long, value_name = "BYTES")]
    download: Option<u64>,
    /// Sessions at once
    #[arg(long, value_name = "N")]
    sessions: Option<usize>,
    /// Remove the user
    #[arg(long, conflicts_with_all = ["home", "permissions", "upload", "download", "sessions", "stdin"])]
    delete: bool,
    /// Read the password from standard input instead of the terminal
    #[arg(long)]
    stdin: bool,
}

/// Does it, or says in one line why not.
pub(crate) fn run(program: &str, args: &PasswdArgs) -> ExitCode {
    let done = if args.delete { remove(args) } else { put(args) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody listens there is nobody to tell.
            let _ = writeln!(io::stderr(), "{program}: {error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn remove(args: &PasswdArgs) -> Result<(), String> {
    match PasswordFile::remove(&args.file, &args.user) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("{}: there is no user {}", args.file.display(), args.user)),
        Err(error) => Err(error.to_string()),
    }
}

fn put(args: &PasswdArgs) -> Result<(), String> {
    let known = match PasswordFile::records(&args.file) {
        Ok(records) => records.into_iter().find(|record| record.name == args.user),
        Err(error) if args.file.exists() => return Err(error.to_string()),
        Err(_) => None,
    };
    let password = if args.stdin { first_line(io::stdin().lock())? } else { ask(&args.user)? };
    let mut record = Record::new(&args.user, &password).map_err(|error| error.to_string())?;
    if let Some(known) = known {
        // Whoever only gets another password keeps everything else.
        record.permissions = known.permissions;
        record.bandwidth = known.bandwidth;
        record.sessions_max = known.sessions_max;
        record.home = known.home;
    }
    record.permissions = args.permissions.unwrap_or(record.permissions);
    record.bandwidth.upload = args.upload.or(record.bandwidth.upload);
    record.bandwidth.download = args.download.or(record.bandwidth.download);
    record.sessions_max = args.sessions.or(record.sessions_max);
    record.home = args.home.clone().unwrap_or(record.home);
    PasswordFile::put(&args.file, &record).map_err(|error| error.to_string())
}

fn first_line(mut input: impl BufRead) -> Result<Vec<u8>, String> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line).map_err(|error| format!("the password cannot be read: {error}"))?;
    while matches!(line.last(), Some(b'\n' | b'\r')) {
        line.pop();
    }
    Ok(line)
}

/// Asks at the terminal, twice, without showing what is typed.
fn ask(user: &str) -> Result<Vec<u8>, String> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let terminal = terminal.map_err(|_| "there is no terminal to ask at; use --stdin".to_owned())?;
    let silence = Silence::new(&terminal).map_err(|error| format!("the terminal: {error}"))?;
    let once = question(&terminal, &format!("Password for {user}: "))?;
    let again = question(&terminal, "Once more: ")?;
    drop(silence);
    if once == again { Ok(once) } else { Err("these were two different passwords".to_owned()) }
}

fn question(mut terminal: &File, text: &str) -> Result<Vec<u8>, String> {
    let asked = terminal.write_all(text.as_bytes());
    asked.map_err(|error| format!("the terminal: {error}"))?;
    let line = first_line(BufReader::new(terminal));
    // The line end was not shown either.
    let _ = terminal.write_all(b"\n");
    line
}

/// A terminal that does not show what is typed, until this is dropped.
struct Silence<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silence<'a> {
    fn new(terminal: &'a File) -> io::Result<Silence<'a>> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Silence { terminal, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}
