//! What holds for a channel, and for all of them: plain values with their defaults.

use std::time::Duration;

use crate::name::matches;
use crate::retention::Retention;

/// What holds for one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelOptions {
    /// How much history is kept.
    pub retention: Retention,
    /// The largest event, in bytes: 1 MiB.
    pub event_bytes_max: usize,
    /// What becomes of a viewer that is so slow that events are gone before it has read them.
    pub slow: Slow,
    /// Named clients whose acknowledgements are kept, 1 000; 0 turns them off.
    pub clients_max: usize,
}

impl Default for ChannelOptions {
    fn default() -> ChannelOptions {
        ChannelOptions {
            retention: Retention::default(),
            event_bytes_max: 1024 * 1024,
            slow: Slow::Gap,
            clients_max: 1_000,
        }
    }
}

/// What becomes of a viewer that is too slow for the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slow {
    /// It is told how much it has missed, and goes on from the earliest event that is kept.
    #[default]
    Gap,
    /// Its connection is closed. When it comes back it is told.
    Disconnect,
}

/// What holds for all channels of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelsOptions {
    /// At most so many channels, 10 000, in memory and in the journal. Beyond, [`crate::ChannelError::TooManyChannels`].
    pub channels_max: usize,
    /// Bytes of memory for the events of all channels together, 512 MiB. Where it is used up, idle channels that a journal has are let
    /// go of; where that does not help, what would make it more is refused as [`crate::ChannelError::MemoryFull`].
    pub memory_bytes_max: usize,
    /// Events that may wait for the journal, 100 000. Beyond, [`crate::ChannelError::Busy`].
    pub waiting_max: usize,
    /// Bytes that may wait for the journal, 64 MiB.
    pub waiting_bytes_max: usize,
    /// How long nobody must have used a channel before it may go, 60 s.
    pub idle: Duration,
    /// What holds for a channel whose name none of `patterns` is about.
    pub channel: ChannelOptions,
    /// What holds for others: the first pattern counts. `*` stands for any run of letters.
    pub patterns: Vec<(String, ChannelOptions)>,
}

impl Default for ChannelsOptions {
    fn default() -> ChannelsOptions {
        ChannelsOptions {
            channels_max: 10_000,
            memory_bytes_max: 512 * 1024 * 1024,
            waiting_max: 100_000,
            waiting_bytes_max: 64 * 1024 * 1024,
            idle: Duration::from_secs(60),
            channel: ChannelOptions::default(),
            patterns: Vec::new(),
        }
    }
}

impl ChannelsOptions {
    /// What holds for a channel of this name.
    #[must_use]
    pub fn of(&self, name: &str) -> ChannelOptions {
        let found = self.patterns.iter().find(|(pattern, _)| matches(pattern, name));
        found.map_or(self.channel, |(_, options)| *options)
    }
}
