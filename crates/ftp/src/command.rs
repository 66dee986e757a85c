//! From a command to its reply. Each verb, or a few that belong together, has a file with the section of the RFC at its head; here is
//! what they share: who may say what when, and which reply an error of the system becomes.

mod abort;
mod access;
mod address;
mod facts;
mod features;
mod folder;
mod listing;
mod parameters;
mod rename;
mod retrieve;
mod security;
mod site;
mod status;
mod store;
mod transfer;

use std::io;
use std::rc::Rc;

use ropewalk_wire::ftp::{Command, Reply, Verb};

use crate::accounts::{Permissions, User};
use crate::path::FtpPath;
use crate::session::Core;

pub(crate) use security::replied;
pub(crate) use status::status;

/// What a command comes to. Both are replies; the error is one that ends it early.
type Answer = Result<Reply, Reply>;

/// Runs a command and answers its last reply.
pub(crate) async fn run(core: &Rc<Core>, command: &Command<'_>) -> Reply {
    let Some(verb) = command.verb else {
        core.server.figures.add(|figures| figures.malformed += 1);
        return Reply::new(500, "Nobody knows this command");
    };
    if let Err(refusal) = admit(core, verb) {
        return refusal;
    }
    if verb != Verb::Rnto {
        core.state.borrow_mut().renaming = None;
    }
    let (Ok(reply) | Err(reply)) = dispatch(core, verb, command.argument).await;
    reply
}

/// Whether this may be said now.
fn admit(core: &Core, verb: Verb) -> Result<(), Reply> {
    let before_login = matches!(
        verb,
        Verb::User
            | Verb::Pass
            | Verb::Acct
            | Verb::Auth
            | Verb::Pbsz
            | Verb::Prot
            | Verb::Ccc
            | Verb::Feat
            | Verb::Opts
            | Verb::Help
            | Verb::Noop
            | Verb::Quit
            | Verb::Syst
            | Verb::Rein
            | Verb::Lang
            | Verb::Abor
    );
    let before_tls = before_login && !matches!(verb, Verb::User | Verb::Pass | Verb::Acct);
    if core.server.options.tls_required && !core.is_secure() && !before_tls {
        return Err(Reply::new(530, "Encrypt the connection first: AUTH TLS"));
    }
    if !before_login && core.state.borrow().login.is_none() {
        return Err(Reply::new(530, "Log in first: USER and PASS"));
    }
    Ok(())
}

async fn dispatch(core: &Rc<Core>, verb: Verb, argument: &[u8]) -> Answer {
    match verb {
        Verb::User => access::user(core, argument),
        Verb::Pass => access::pass(core, argument).await,
        Verb::Acct => Ok(Reply::new(202, "No account is needed")),
        Verb::Rein => access::rein(core),
        Verb::Quit => access::quit(core),
        Verb::Cwd | Verb::Xcwd => folder::cwd(core, argument).await,
        Verb::Cdup | Verb::Xcup => folder::cwd(core, b"..").await,
        Verb::Pwd | Verb::Xpwd => Ok(folder::pwd(core)),
        Verb::Mkd | Verb::Xmkd => folder::mkd(core, argument).await,
        Verb::Rmd | Verb::Xrmd => folder::rmd(core, argument).await,
        Verb::Dele => folder::dele(core, argument).await,
        Verb::Rnfr => rename::rnfr(core, argument).await,
        Verb::Rnto => rename::rnto(core, argument).await,
        Verb::Type => parameters::kind(core, argument),
        Verb::Mode => parameters::mode(argument),
        Verb::Stru => parameters::structure(argument),
        Verb::Rest => parameters::rest(core, argument),
        Verb::Allo => parameters::allo(argument),
        Verb::Port => address::port(core, argument),
        Verb::Eprt => address::eprt(core, argument),
        Verb::Pasv => address::pasv(core),
        Verb::Epsv => address::epsv(core, argument),
        Verb::Retr => retrieve::retr(core, argument).await,
        Verb::Stor => store::stor(core, argument).await,
        Verb::Appe => store::appe(core, argument).await,
        Verb::Stou => store::stou(core, argument).await,
        Verb::List => listing::list(core, argument).await,
        Verb::Nlst => listing::nlst(core, argument).await,
        Verb::Mlsd => listing::mlsd(core, argument).await,
        Verb::Mlst => facts::mlst(core, argument).await,
        Verb::Size => facts::size(core, argument).await,
        Verb::Mdtm => facts::mdtm(core, argument).await,
        Verb::Mfmt => facts::mfmt(core, argument).await,
        Verb::Stat => status::stat(core, argument).await,
        Verb::Abor => Ok(abort::abor(core)),
        Verb::Site => site::site(core, argument).await,
        Verb::Auth => security::auth(core, argument),
        Verb::Pbsz => security::pbsz(core, argument),
        Verb::Prot => security::prot(core, argument),
        Verb::Ccc => security::ccc(core),
        Verb::Feat => Ok(features::feat(core)),
        Verb::Opts => features::opts(core, argument),
        Verb::Lang => features::lang(argument),
        Verb::Help => features::help(argument),
        Verb::Syst => Ok(Reply::new(215, "UNIX Type: L8")),
        Verb::Noop => Ok(Reply::new(200, "NOOP done")),
        _ => Err(Reply::new(502, "This command is not served here")),
    }
}

/// The user, if the permission is there.
fn permitted(core: &Core, has: impl Fn(Permissions) -> bool) -> Result<Rc<User>, Reply> {
    let user = core.user().ok_or_else(|| Reply::new(530, "Log in first: USER and PASS"))?;
    if has(user.permissions) { Ok(user) } else { Err(Reply::new(550, "Permission denied")) }
}

/// The path that an argument names; there has to be one.
fn path(core: &Core, argument: &[u8]) -> Result<FtpPath, Reply> {
    if argument.is_empty() {
        return Err(Reply::new(501, "A path is missing"));
    }
    path_or_folder(core, argument)
}

/// The path that an argument names, or the folder where one is.
fn path_or_folder(core: &Core, argument: &[u8]) -> Result<FtpPath, Reply> {
    core.state.borrow().folder.join(argument).map_err(|error| Reply::new(553, error.to_string()))
}

/// A command that has no argument may have none.
fn text(argument: &[u8]) -> Result<&str, Reply> {
    std::str::from_utf8(argument).map(str::trim).map_err(|_| Reply::new(501, "That is no UTF-8"))
}

/// Which reply an error of a storage becomes. Its text is for the log: it may tell of paths that are nobody's business.
fn refusal(error: &io::Error) -> Reply {
    use io::ErrorKind;
    let (code, text) = match error.kind() {
        ErrorKind::NotFound => (550, "No such file or folder"),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => (550, "Permission denied"),
        ErrorKind::AlreadyExists => (550, "It is there already"),
        ErrorKind::DirectoryNotEmpty => (550, "The folder is not empty"),
        ErrorKind::NotADirectory => (550, "It is no folder"),
        ErrorKind::IsADirectory => (550, "It is a folder"),
        ErrorKind::CrossesDevices => (550, "It cannot be moved there"),
        ErrorKind::InvalidFilename | ErrorKind::InvalidInput => (553, "That cannot be done with this name"),
        ErrorKind::StorageFull => (452, "No space is left"),
        ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => (552, "Your space is used up"),
        _ if is_loop(error) => (550, "No such file or folder"),
        _ => {
            tracing::warn!("FTP: a file operation failed: {error}");
            (451, "Something went wrong here; try again later")
        }
    };
    Reply::new(code, text)
}

fn is_loop(error: &io::Error) -> bool {
    rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::LOOP)
}
