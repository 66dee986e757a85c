//! `ropewalk ftp`: its options, what is wrong with them, and the service that they come to. What an FTP server does is in
//! `ropewalk-ftp`.

use std::future::{Future, ready};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ropewalk_app::{Activity, App, Bound, Ground, LogWriter, Service, StartError};
use ropewalk_ftp::{
    Accounts, Anonymous, CommonLog, Direction, FtpOptions, FtpServer, LocalStorage, Observer, PasswordFile,
    RunningSession, RunningTransfer, Xferlog,
};
use ropewalk_net::tls::{Identity, TlsServer, TlsServerOptions};
use ropewalk_net::{Opened, Port, ServerEndpoint, ServerOptions, listen_on};
use ropewalk_reactor::{LoopingCall, Name, Reactor, Share};

use crate::kinds::local;

/// How the names begin by which they are ended.
const TRANSFER: char = 't';
const SESSION: char = 's';
const FTP_ENDPOINT: &str = "tcp:2121";
/// How often certificates are looked at; HUP reads them at once.
const CHECK_EVERY: Duration = Duration::from_secs(60);

/// Without --users anybody may read, and nobody may write.
#[derive(Args)]
pub(crate) struct FtpArgs {
    /// The folder
    #[arg(default_value = ".")]
    root: PathBuf,
    /// Where to serve it; ssl: begins with TLS at once
    #[arg(long, value_name = "ENDPOINT", default_value = FTP_ENDPOINT)]
    listen: ServerEndpoint,
    /// Who may come in: a file that ropewalk passwd has made
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Let anybody read beside these users
    #[arg(long, requires = "users")]
    anonymous: bool,
    /// The certificate for AUTH TLS
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Refuse logins and data in the clear
    #[arg(long)]
    require_tls: bool,
    /// The ports of passive data connections, such as 50000-50099 [default: any]
    #[arg(long, value_name = "A-B", value_parser = ports)]
    passive_ports: Option<RangeInclusive<u16>>,
    /// The address that PASV tells clients: the one by which they reach a router in front
    #[arg(long, value_name = "ADDRESS")]
    masquerade: Option<Ipv4Addr>,
    /// Where a line for each transfer goes, in the xferlog format
    #[arg(long, value_name = "FILE")]
    xferlog: Option<PathBuf>,
}

/// Adds the service, or says what is wrong.
pub(crate) fn serve(app: &mut App, args: FtpArgs) -> Result<(), StartError> {
    let listen = local(args.listen.clone());
    let tls = args.tls(&listen)?;
    if args.require_tls && tls.is_none() {
        return Err(StartError::new("--require-tls wants a certificate: --cert FILE and --key FILE"));
    }
    let mut observers: Vec<Rc<dyn Observer>> = Vec::new();
    if let Some(path) = &args.xferlog {
        let log = LogWriter::file(path).map_err(StartError::new)?;
        observers.push(Rc::new(Xferlog::new(move |line: &[u8]| log.write(line))));
    }
    if let Some(log) = app.access_log().cloned() {
        observers.push(Rc::new(CommonLog::new(move |line: &[u8]| log.write(line))));
    }
    let options = FtpOptions {
        tls: tls.clone(),
        tls_required: args.require_tls,
        passive_ports: args.passive_ports.clone(),
        masquerade: args.masquerade,
        observers,
        ..FtpOptions::default()
    };
    let server = FtpServer::new(args.accounts()?, options);
    let listen = app.endpoint("ftp", listen);
    app.add(FtpService { listen, server, tls, opened: None, port: None, watch: None });
    Ok(())
}

impl FtpArgs {
    /// One TLS for control and data connections: from the endpoint if it has one, else from the files.
    fn tls(&self, listen: &ServerEndpoint) -> Result<Option<TlsServer>, StartError> {
        let options = match (listen.tls(), &self.cert, &self.key) {
            (Some(_), Some(_), _) => {
                return Err(StartError::new(
                    "an ssl: endpoint names its certificate itself; leave --cert and --key out",
                ));
            }
            (Some(files), None, _) => files.options(),
            (None, Some(cert), Some(key)) => TlsServerOptions::new(Identity::files(cert, key)),
            _ => return Ok(None),
        };
        TlsServer::new(options).map(Some).map_err(StartError::new)
    }

    fn accounts(&self) -> Result<Arc<dyn Accounts>, StartError> {
        let storage = LocalStorage::new(&self.root).map_err(StartError::new)?;
        let anonymous = Anonymous::new(Arc::new(storage));
        let Some(path) = &self.users else { return Ok(Arc::new(anonymous)) };
        let users = PasswordFile::open(path, &self.root).map_err(StartError::new)?;
        Ok(if self.anonymous { Arc::new((anonymous, users)) } else { Arc::new(users) })
    }
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let read = || {
        let (first, last) = text.split_once('-')?;
        let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
        (first >= 1024 && first <= last).then_some(first..=last)
    };
    read().ok_or_else(|| "write the first and the last port, from 1024 on, such as 50000-50099".to_owned())
}

/// The server at its endpoint.
struct FtpService {
    listen: ServerEndpoint,
    server: FtpServer,
    tls: Option<TlsServer>,
    opened: Option<Opened>,
    port: Option<Port>,
    watch: Option<LoopingCall>,
}

impl Service for FtpService {
    fn name(&self) -> &str {
        "ftp"
    }

    fn bind(&mut self, ground: &Ground<'_>) -> Result<(), StartError> {
        self.opened = Some(ground.open(&self.listen, Share::Alone)?);
        Ok(())
    }

    fn start(&mut self, reactor: &Reactor) -> Result<Vec<Bound>, StartError> {
        let opened = self.opened.take().ok_or_else(|| StartError::new("it has not bound"))?;
        let options =
            ServerOptions { name: Name::new("ftp"), tls: self.tls.clone(), ..ServerOptions::default() };
        let port = listen_on(reactor, &self.listen, opened, Rc::new(self.server.clone()), options)
            .map_err(|error| StartError::new(format!("{}: {error}; choose another endpoint", self.listen)))?;
        let bound = Bound { endpoint: port.endpoint(), url: None, tls: self.tls.clone() };
        // A port with TLS of its own looks after the files by itself.
        if let Some(tls) = self.tls.clone().filter(|_| self.listen.tls().is_none()) {
            let handle = reactor.downgrade();
            let watch = LoopingCall::new(reactor, move |_| {
                if let Some(reactor) = handle.upgrade() {
                    look_after(&reactor, &tls);
                }
            });
            watch.start(CHECK_EVERY, false);
            self.watch = Some(watch);
        }
        self.port = Some(port);
        Ok(vec![bound])
    }

    fn stop(&mut self) -> Pin<Box<dyn Future<Output = ()>>> {
        if let Some(port) = self.port.take() {
            port.stop_listening();
        }
        if let Some(watch) = self.watch.take() {
            watch.stop();
        }
        Box::pin(ready(()))
    }

    fn busy(&self) -> usize {
        self.server.statistics().sessions
    }

    fn ports(&self) -> Vec<Port> {
        self.port.iter().cloned().collect()
    }

    fn descriptors(&self) -> Vec<(String, OwnedFd)> {
        let descriptor = self.port.as_ref().and_then(Port::descriptor);
        descriptor.map(|fd| (self.listen.to_string(), fd)).into_iter().collect()
    }

    fn has_certificates(&self) -> bool {
        self.tls.is_some()
    }

    /// What is transferred, and behind it who is here.
    fn activities(&self) -> Vec<Activity> {
        let transfers = self.server.transfers().list();
        let sessions = self.server.sessions().list();
        transfers.iter().map(of_transfer).chain(sessions.iter().map(of_session)).collect()
    }

    fn end(&mut self, id: &str) -> bool {
        let number = |kind: char| id.strip_prefix(kind).and_then(|number| number.parse().ok());
        match (number(TRANSFER), number(SESSION)) {
            (Some(transfer), _) => self.server.transfers().kill(transfer),
            (_, Some(session)) => self.server.sessions().end(session),
            _ => false,
        }
    }
}

fn of_transfer(transfer: &RunningTransfer) -> Activity {
    let (does, way) = match transfer.direction {
        Direction::Download => ("gets", "download"),
        Direction::Upload => ("puts", "upload"),
    };
    let path = transfer.path.to_string();
    let (user, seconds) = (&transfer.user, transfer.running.as_secs());
    Activity::new(format!("{user} {does} {path}: {} in {seconds} s", amount(transfer.bytes)))
        .endable(format!("{TRANSFER}{}", transfer.id))
        .with("kind", way)
        .with("user", user.as_str())
        .with("peer", transfer.peer.to_string())
        .with("path", path)
        .with("bytes", transfer.bytes)
        .with("seconds", transfer.running.as_secs_f64())
}

fn of_session(session: &RunningSession) -> Activity {
    let user = session.user.as_deref();
    let (who, peer, seconds) =
        (user.unwrap_or("nobody yet"), session.peer.to_string(), session.running.as_secs());
    let tls = if session.secure { " with TLS" } else { "" };
    Activity::new(format!("{who} from {peer}{tls}, for {seconds} s"))
        .endable(format!("{SESSION}{}", session.id))
        .with("kind", "session")
        .with("user", user)
        .with("peer", peer)
        .with("secure", session.secure)
        .with("seconds", session.running.as_secs_f64())
}

/// Bytes as people say them.
fn amount(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} bytes");
    }
    let (mut amount, mut unit) = (bytes as f64 / 1000.0, 0);
    while amount >= 999.95 && unit + 1 < UNITS.len() {
        (amount, unit) = (amount / 1000.0, unit + 1);
    }
    format!("{amount:.1} {}", UNITS[unit])
}

fn look_after(reactor: &Reactor, tls: &TlsServer) {
    let tls = tls.clone();
    let job = move || match tls.reload_if_changed() {
        Ok(true) => tracing::info!("the certificates have changed and were read again"),
        Ok(false) => {}
        Err(error) => tracing::error!("the old certificates stay in use: {error}"),
    };
    // A pool that is full has more important things to do; the next look comes.
    drop(reactor.defer_to_thread(job));
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn amounts() {
        let said = [0, 999, 1000, 1_250_000, 999_949_999, 999_950_000, u64::MAX].map(amount);
        assert_eq!(said, ["0 bytes", "999 bytes", "1.0 kB", "1.2 MB", "999.9 MB", "1.0 GB", "18446744.1 TB"]);
    }
}
