//! Why a channel could not do it. Grouped by who is to blame: the publisher or reader, us, or the place where it is kept.

use std::fmt;

/// What a channel or the registry refuses.
///
/// What a journal fails with is not here: it comes as it is, as the failure of the deferred.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelError {
    /// The publisher: an event larger than one may be, or than all the history that is kept.
    TooLarge {
        /// Bytes of the event.
        bytes: usize,
        /// What is allowed.
        bytes_max: usize,
    },
    /// The caller: this is no name of a channel, or of a client.
    Name(&'static str),
    /// Us: there are as many channels as there may be, and none is idle.
    TooManyChannels,
    /// Us: the events of all channels take as much memory as they may, and nothing that can be let go of.
    MemoryFull,
    /// Us: so many events wait for the journal that another would only add to the heap; or another process is about to go on with the
    /// channels.
    Busy,
    /// Us: as many clients have a cursor as may.
    TooManyClients,
    /// The caller: acknowledgements are off for this channel.
    NoAcknowledgements,
    /// The channel was removed.
    Closed,
    /// Misuse: it takes time, and was asked for at once; there is a journal behind the channel.
    NotAtOnce,
    /// Us: the ids have reached [`crate::EventId::MAX`].
    Exhausted,
    /// The journal has broken its promise.
    Journal(&'static str),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChannelError::TooLarge { bytes, bytes_max } => {
                write!(f, "an event of {bytes} bytes is larger than the {bytes_max} that are allowed")
            }
            ChannelError::Name(why) => f.write_str(why),
            ChannelError::TooManyChannels => f.write_str("there are as many channels as there may be"),
            ChannelError::MemoryFull => {
                f.write_str("the events of all channels take all the memory they may")
            }
            ChannelError::Busy => {
                f.write_str("too many events wait to be written, or the program is being replaced")
            }
            ChannelError::TooManyClients => f.write_str("as many clients acknowledge as may"),
            ChannelError::NoAcknowledgements => f.write_str("this channel keeps no acknowledgements"),
            ChannelError::Closed => f.write_str("the channel was removed"),
            ChannelError::NotAtOnce => f.write_str("the channel is durable: publishing takes a moment"),
            ChannelError::Exhausted => f.write_str("the log has given out its last event id"),
            ChannelError::Journal(why) => write!(f, "the journal: {why}"),
        }
    }
}

impl std::error::Error for ChannelError {}
