//! What holds for a whole program, as its command line says it.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ropewalk_net::ServerEndpoint;
use ropewalk_web::TrustedProxies;

use crate::logfile::Rotation;
use crate::output::LogSettings;
use crate::runner::{Handover, Privileges};

/// What holds for the whole program.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What requests in flight get when the program stops. 5 s.
    pub grace: Duration,
    /// Event loops, each on a thread of its own. 1.
    pub workers: usize,
    /// Where the access log goes.
    pub access_log: AccessLog,
    /// Where the program's own log goes.
    pub log: LogSettings,
    /// When the files of these logs are put aside, and what is kept.
    pub rotation: Rotation,
    /// Proxies that are believed about their clients.
    pub trusted_proxies: TrustedProxies,
    /// Other endpoints than those that services name themselves.
    pub listen: Vec<Listen>,
    /// The folder of the pid file, the control socket and the state. Without one there are none.
    pub rundir: Option<PathBuf>,
    /// A state file to begin with, instead of the last run's.
    pub state: Option<PathBuf>,
    /// Who the program becomes once it has bound.
    pub privileges: Privileges,
    /// Permissions that new files do not get.
    pub umask: Option<u32>,
    /// Which process has started this one, if it was this program itself.
    pub handover: Option<Handover>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            grace: Duration::from_secs(5),
            workers: 1,
            access_log: AccessLog::default(),
            log: LogSettings::default(),
            rotation: Rotation::default(),
            trusted_proxies: TrustedProxies::default(),
            listen: Vec::new(),
            rundir: None,
            state: None,
            privileges: Privileges::default(),
            umask: None,
            handover: None,
        }
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessLog {
    /// To standard output.
    #[default]
    StandardOutput,
    /// To the end of a file.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// Another endpoint for a service: `tcp:9000` for the first that listens, `web=tcp:9000` for the one of this name.
///
/// ```
/// let listen: ropewalk_app::Listen = "web=tcp:9000:interface=127.0.0.1".parse().unwrap();
/// assert_eq!(listen.service.as_deref(), Some("web"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Whose it is; the first service that listens unless said.
    pub service: Option<String>,
    /// Where it listens.
    pub endpoint: ServerEndpoint,
}

impl FromStr for Listen {
    type Err = ropewalk_net::EndpointError;

    fn from_str(text: &str) -> Result<Listen, Self::Err> {
        let named = text.split_once('=').filter(|(name, _)| !name.contains(':') && !name.is_empty());
        let (service, endpoint) = named.map_or((None, text), |(name, rest)| (Some(name.to_owned()), rest));
        Ok(Listen { service, endpoint: endpoint.parse()? })
    }
}
