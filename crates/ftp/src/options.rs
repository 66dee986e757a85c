//! `FtpOptions`: what a server is told before it starts. Every limit has a value and a reason; the session looks them up here.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::tls::TlsServer;

use crate::observe::Observer;

/// How a server behaves.
///
/// ```
/// use ropewalk_ftp::{FtpLimits, FtpOptions};
/// let options = FtpOptions {
///     passive_ports: Some(50_000..=50_099),
///     masquerade: Some([192, 0, 2, 1].into()),
///     limits: FtpLimits { sessions_per_peer_max: 4, ..FtpLimits::default() },
///     ..FtpOptions::default()
/// };
/// # drop(options);
/// ```
#[derive(Clone, Default)]
pub struct FtpOptions {
    /// The text of 220, which ought not to say more than clients need.
    pub greeting: Option<String>,
    /// For AUTH TLS, and for data connections after PROT P. Without it neither is offered.
    pub tls: Option<TlsServer>,
    /// Nobody logs in, and nothing is transferred, without TLS.
    pub tls_required: bool,
    /// An upload over TLS counts as whole only if its client has said farewell (`close_notify`), so that nobody in between can cut it
    /// off. Not unless asked for: lftp and others never say it.
    pub farewell_required: bool,
    /// Ports for passive data connections; any unless given. A firewall in front has to let them through.
    pub passive_ports: Option<RangeInclusive<u16>>,
    /// What PASV says instead of this machine's own address: that of the router in front.
    pub masquerade: Option<Ipv4Addr>,
    /// Limits and deadlines.
    pub limits: FtpLimits,
    /// Who hears of transfers and commands: the logs.
    pub observers: Vec<Rc<dyn Observer>>,
}

/// Limits, and how long things may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FtpLimits {
    /// Sessions at once. 1000: beyond, 421.
    pub sessions_max: usize,
    /// Sessions at once of one address (IPv6: one /64). 20: clients open up to ten.
    pub sessions_per_peer_max: usize,
    /// Bytes of a command line. 4608: a path of 4096 and what is around it.
    pub line_bytes_max: usize,
    /// Commands that wait while one is worked on; those beyond stay in the network. 32.
    pub pipelined_max: usize,
    /// Commands in a second; those beyond wait for the next. 500: a mirror of many small files needs four each.
    pub commands_per_second_max: u32,
    /// From the connection on, to be logged in. 60 s.
    pub login: Duration,
    /// Wrong passwords in one session before it is closed. 3.
    pub failures_max: u32,
    /// Wrong passwords from one address within ten minutes before no more are tried. 20.
    pub failures_per_peer_max: u32,
    /// The first wrong password's answer is put off so long, each further one's twice as long. 1 s.
    pub failure_delay: Duration,
    /// Without a command and without a transfer. 300 s, as others have it.
    pub idle: Duration,
    /// For a data connection to be made, either way; a passive port is closed then. 30 s.
    pub data_connect: Duration,
    /// A transfer of which nothing moves. 60 s.
    pub stall: Duration,
    /// Entries of a folder that STAT shows on the control connection. 1000: a longer list is LIST's business.
    pub stat_entries_max: usize,
}

impl Default for FtpLimits {
    fn default() -> FtpLimits {
        FtpLimits {
            sessions_max: 1000,
            sessions_per_peer_max: 20,
            line_bytes_max: 4608,
            pipelined_max: 32,
            commands_per_second_max: 500,
            login: Duration::from_secs(60),
            failures_max: 3,
            failures_per_peer_max: 20,
            failure_delay: Duration::from_secs(1),
            idle: Duration::from_secs(300),
            data_connect: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            stat_entries_max: 1000,
        }
    }
}

/// One IPv6 subscriber has a whole /64.
pub(crate) fn group(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        v4 => v4,
    }
}
