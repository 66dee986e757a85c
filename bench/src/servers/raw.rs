//! Connections without a protocol: what comes is sent back, or counted and thrown away, or bytes are sent for as long as the peer
//! takes them. One file per library; all of them read and write pieces of the same size.

pub(super) mod mio;
pub(super) mod ropewalk;
pub(super) mod tokio;

use clap::ValueEnum;

/// What one read takes and one write gives: the loop's buffer of this project.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

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
