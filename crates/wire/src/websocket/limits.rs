//! What a peer may send, and why no more. The decoder keeps to it; the floors above choose.

/// How much a peer may send. Beyond it the connection fails with 1009.
///
/// ```
/// use ropewalk_wire::websocket::Limits;
/// let limits = Limits { message_bytes_max: 64 * 1024, ..Limits::default() };
/// assert_eq!(limits.fragments_max, 16_384);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message, decompressed. 1 MiB: events, chat and documents are kilobytes; what is larger is a transfer, and a
    /// program that means to have it says so. A message that is delivered whole is in memory up to this size.
    pub message_bytes_max: usize,
    /// Bytes of one frame's payload as they are sent. As for a message: it bounds nothing that the message's limit does not, but
    /// refuses at the first bytes what would come for minutes.
    pub frame_bytes_max: u64,
    /// Frames that one message may come in. 16,384: a megabyte in pieces of 64 bytes. Empty fragments cost a peer two bytes and
    /// this side work, and would go on for ever.
    pub fragments_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { message_bytes_max: 1024 * 1024, frame_bytes_max: 1024 * 1024, fragments_max: 16_384 }
    }
}

impl Limits {
    /// The same for messages and frames of so many bytes.
    #[must_use]
    pub fn of(message_bytes_max: usize) -> Limits {
        Limits { message_bytes_max, frame_bytes_max: message_bytes_max as u64, ..Limits::default() }
    }

    /// Bytes that a compressed message may have as it is sent. What cannot be compressed becomes a little larger.
    pub(super) fn packed_bytes_max(&self) -> usize {
        self.message_bytes_max.saturating_add(self.message_bytes_max / 64).saturating_add(64)
    }
}
