//! Figures of a server: what it has done and what it has refused. Everything that happens adds one here; `FtpStatistics` is a copy.

use std::cell::Cell;

/// Figures of one server, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FtpStatistics {
    /// Sessions now.
    pub sessions: usize,
    /// Sessions in all.
    pub sessions_total: u64,
    /// Connections beyond a limit: 421.
    pub refused: u64,
    /// Logins.
    pub logins: u64,
    /// Wrong passwords and unknown users.
    pub logins_failed: u64,
    /// Commands.
    pub commands: u64,
    /// Lines that were too long, or no command.
    pub malformed: u64,
    /// Transfers now.
    pub transfers: usize,
    /// Files sent whole.
    pub downloads: u64,
    /// Files received whole.
    pub uploads: u64,
    /// Transfers that did not come to their end.
    pub broken: u64,
    /// Of these, by ABOR or from outside.
    pub aborted: u64,
    /// Bytes of files sent over data connections, without what TLS adds.
    pub bytes_sent: u64,
    /// Bytes of files received.
    pub bytes_received: u64,
    /// Data connections that nobody may ask for: PORT and EPRT to another address or to a port below 1024.
    pub bounces: u64,
    /// Connections to a passive port from another address than the control connection's.
    pub strangers: u64,
    /// Sessions that were idle, or not logged in, for too long.
    pub timed_out: u64,
}

/// Where the figures are kept; sessions and transfers that stand now are counted elsewhere.
#[derive(Default)]
pub(crate) struct Figures(Cell<FtpStatistics>);

impl Figures {
    pub(crate) fn add(&self, change: impl FnOnce(&mut FtpStatistics)) {
        let mut figures = self.0.get();
        change(&mut figures);
        self.0.set(figures);
    }

    pub(crate) fn copy(&self) -> FtpStatistics {
        self.0.get()
    }
}
