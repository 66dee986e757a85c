//! Connections without a protocol: what comes is sent back, or counted and thrown away, or bytes are sent for as long as the peer
//! takes them. One file per library; all of them read and write pieces of the same size.

pub(super) mod mio;
pub(super) mod ropewalk;
pub(super) mod tokio;

use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;

use clap::ValueEnum;

use super::Setup;

/// What one read takes and one write gives: the loop's buffer of this project.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// What may wait to be read on each connection of a stream, on either side. Left to itself the system lets it grow with how late a reader
/// is, up to megabytes; then bytes are copied from memory or from a cache as it happens, and that is most of what is measured.
const WAITING_BYTES_MAX: usize = 256 * 1024;

/// Holds what waits on this socket, or on those that it accepts, to what is the same for everybody.
pub(crate) fn hold_queue(socket: impl AsFd) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_recv_buffer_size(socket, WAITING_BYTES_MAX)?)
}

fn listen(setup: &Setup) -> io::Result<TcpListener> {
    let listener = setup.listen()?;
    hold_queue(&listener)?;
    Ok(listener)
}

/// What is given: the same memory for everybody, so that caches do not count whose it is.
pub(crate) static PIECE: [u8; PIECE_BYTES] = [b'.'; PIECE_BYTES];

/// What is done with bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Way {
    /// Sends them back.
    #[default]
    Echo,
    /// Counts them; the peer that ends its direction is told how many there were, in decimal.
    Take,
    /// Sends for as long as the peer takes.
    Give,
}

impl Way {
    /// Its name on the command line of a child.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Echo => "echo",
            Way::Take => "take",
            Way::Give => "give",
        }
    }
}
