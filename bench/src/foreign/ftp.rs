//! FTP servers side by side: `ropewalk ftp`, vsftpd, proftpd and pyftpdlib, each with a configuration of its own in a scratch folder.
//!
//! All of them serve `root` below it, let anybody in as anonymous and take uploads into `root/incoming`; ours takes those from a
//! user with a password, since its anonymous guests may only read.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::{Program, Scratch, free_address, pinned, program, python, ropewalk};

/// Who uploads and downloads at `ropewalk`.
const USER: (&str, &str) = ("bench", "walk the rope");

/// Who does at the others, and who logs in everywhere.
pub(crate) const GUEST: (&str, &str) = ("anonymous", "bench@");

/// A user that every Debian has and whose home is there, which vsftpd wants.
const SERVANT: &str = "daemon";

const PYTHON: &str = "
import logging, sys, warnings
warnings.simplefilter('ignore')
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer
logging.basicConfig(level=logging.CRITICAL)
authorizer = DummyAuthorizer()
authorizer.add_anonymous(sys.argv[1], perm='elradfmw')
FTPHandler.authorizer = authorizer
server = FTPServer(('127.0.0.1', 0), FTPHandler)
server.max_cons, server.max_cons_per_ip = 100000, 0
print('listening on tcp:%d' % server.address[1])
server.serve_forever()
";

/// One of them, running.
pub(crate) struct Ftpd {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
    /// Who may upload.
    pub(crate) user: (&'static str, &'static str),
    /// Its own things, and what it serves.
    pub(crate) scratch: Scratch,
}

/// How one is started; none where it is missing, which has been said then.
pub(crate) type Start = fn(usize) -> io::Result<Option<Ftpd>>;

/// Everybody, in the order of the results.
pub(crate) const FTPDS: [(&str, Start); 4] =
    [("ropewalk", ours), ("vsftpd", vsftpd), ("proftpd", proftpd), ("pyftpdlib", pyftpdlib)];

fn served(name: &str) -> io::Result<Scratch> {
    let scratch = Scratch::temporary(name)?;
    scratch.folder("root")?;
    let incoming = scratch.folder("root/incoming")?;
    fs::set_permissions(incoming, Permissions::from_mode(0o777))?;
    Ok(scratch)
}

fn ours(core: usize) -> io::Result<Option<Ftpd>> {
    let Some(path) = ropewalk() else { return Ok(None) };
    let scratch = served("ropewalk")?;
    let users = scratch.path("users");
    let mut passwd = Command::new(&path)
        .arg("passwd")
        .args([users.as_os_str(), USER.0.as_ref()])
        .args(["--permissions", "rwdlm", "--stdin"])
        .stdin(Stdio::piped())
        .spawn()?;
    writeln!(passwd.stdin.take().expect("it was asked to be piped"), "{}", USER.1)?;
    if !passwd.wait()?.success() {
        return Err(io::Error::other("ropewalk passwd has failed"));
    }
    let mut command = pinned(&path, core, true)?;
    command.args(["ftp", "--listen", "tcp:0", "--anonymous", "--access-log", "none", "--log-level", "warn"]);
    command.arg("--users").arg(users).arg(scratch.path("root"));
    let (program, address) = Program::listening(command, &scratch)?;
    Ok(Some(Ftpd { program, address, user: USER, scratch }))
}

fn vsftpd(core: usize) -> io::Result<Option<Ftpd>> {
    let remedy = "get it with `apt-get download vsftpd libwrap0` and `dpkg -x` into the folder of peers";
    let Some(path) = program("vsftpd", remedy) else { return Ok(None) };
    let (scratch, address) = (served("vsftpd")?, free_address()?);
    let text = format!(
        "listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\n\
         write_enable=YES\nanon_upload_enable=YES\nanon_other_write_enable=YES\nanon_umask=022\nanon_root={root}\n\
         ftp_username={SERVANT}\nnopriv_user=nobody\nsecure_chroot_dir={empty}\nxferlog_enable=NO\nmax_clients=0\nmax_per_ip=0\n",
        port = address.port(),
        root = scratch.path("root").display(),
        empty = scratch.folder("empty")?.display(),
    );
    let mut command = pinned(&path, core, true)?;
    command.arg(scratch.write("vsftpd.conf", &text)?);
    let program = Program::start(command, &scratch)?;
    Ok(Some(Ftpd { program, address, user: GUEST, scratch }))
}

fn proftpd(core: usize) -> io::Result<Option<Ftpd>> {
    let remedy = "get it with `apt-get download proftpd-core libhiredis0.14 libhashkit2 libmemcached11 libmemcachedutil2 \
                  libpcre2-posix3` and `dpkg -x` into the folder of peers";
    let Some(path) = program("proftpd", remedy) else { return Ok(None) };
    let (scratch, address) = (served("proftpd")?, free_address()?);
    // Its delays, which hide which users there are, are off: they would be all that its logins show.
    let text = format!(
        "ServerType standalone\nDefaultAddress 127.0.0.1\nSocketBindTight on\nPort {port}\nUseIPv6 off\nUseReverseDNS off\n\
         User {SERVANT}\nGroup nogroup\nMaxInstances none\nPidFile {own}/pid\nScoreboardFile {own}/scoreboard\nDelayEngine off\n\
         WtmpLog off\nTransferLog none\nSystemLog none\nAuthPAM off\nAllowOverwrite on\nUseSendfile on\nRequireValidShell off\n\
         <Anonymous {own}/root>\n  User {SERVANT}\n  Group nogroup\n  UserAlias anonymous {SERVANT}\n  RequireValidShell off\n\
         </Anonymous>\n",
        port = address.port(),
        own = scratch.path("").display(),
    );
    let mut command = pinned(&path, core, true)?;
    command.arg("-n").arg("-c").arg(scratch.write("proftpd.conf", &text)?);
    let program = Program::start(command, &scratch)?;
    Ok(Some(Ftpd { program, address, user: GUEST, scratch }))
}

fn pyftpdlib(core: usize) -> io::Result<Option<Ftpd>> {
    let Some(mut command) = python("pyftpdlib", "pyftpdlib", core)? else { return Ok(None) };
    let scratch = served("pyftpdlib")?;
    command.args(["-c", PYTHON]).arg(scratch.path("root"));
    let (program, address) = Program::listening(command, &scratch)?;
    Ok(Some(Ftpd { program, address, user: GUEST, scratch }))
}
