//! What channels without a journal take along when another process of the program goes on: their kept events, their ids, and where
//! their clients are. From then on nothing is published here, until that process has failed.
//!
//! Not a journal: nothing of it is on disk, and a process that dies takes it with it. Called by who hands over.

use std::rc::Rc;

use crate::channel::Channel;
use crate::event::{Data, Event, EventId};

/// The form of it; one that is not known is not understood at all.
const VERSION: u64 = 1;

/// A channel's history, as it is put down and taken up.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// Everything up to here is gone.
    pub(crate) floor: EventId,
    /// The last event's id, or the place before the first.
    pub(crate) last: EventId,
    /// No id up to here is given again.
    pub(crate) given: EventId,
    pub(crate) events: Vec<Event>,
    pub(crate) clients: Vec<(Rc<str>, EventId)>,
}

impl History {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put(out, VERSION);
        [self.floor, self.last, self.given].into_iter().for_each(|id| put(out, id.0));
        put(out, self.events.len() as u64);
        for event in &self.events {
            put(out, event.id.0);
            put(out, event.at_ms);
            put(out, u64::from(event.data.text().is_some()));
            put_bytes(out, event.data.as_bytes());
        }
        put(out, self.clients.len() as u64);
        for (name, id) in &self.clients {
            put_bytes(out, name.as_bytes());
            put(out, id.0);
        }
    }

    /// None if it is torn, of another version, or no history that could have been.
    pub(crate) fn read(from: &mut Reader<'_>) -> Option<History> {
        if from.number()? != VERSION {
            return None;
        }
        let mut history =
            History { floor: from.id()?, last: from.id()?, given: from.id()?, ..History::default() };
        let mut last = history.floor;
        for _ in 0..from.number()? {
            let (id, at_ms, is_text, bytes) =
                (from.id()?, from.number()?, from.number()? == 1, from.bytes()?);
            if id <= last {
                return None;
            }
            last = id;
            let data = if is_text {
                Data::from(std::str::from_utf8(bytes).ok()?)
            } else {
                Data::from(bytes.to_vec())
            };
            history.events.push(Event { id, at_ms, data });
        }
        for _ in 0..from.number()? {
            let name = std::str::from_utf8(from.bytes()?).ok()?;
            history.clients.push((name.into(), from.id()?));
        }
        (last == history.last && last <= history.given).then_some(history)
    }
}

impl Channel {
    /// The history of a channel without a journal, for [`Channel::unpack`] in the next process. From now on publishing fails as
    /// [`ChannelError::Busy`](crate::ChannelError::Busy), for this channel and for those that share its memory, until
    /// [`Channel::go_on`].
    ///
    /// ```
    /// use ropewalk_channel::{Channel, Limit, Retention, Since};
    /// use ropewalk_reactor::Simulation;
    /// let simulation = Simulation::new(1);
    /// let channel = Channel::in_memory(simulation.reactor(), Retention::default());
    /// let first = channel.publish_now("one")?;
    /// let next = Channel::in_memory(simulation.reactor(), Retention::default());
    /// assert!(next.unpack(&channel.pack()));
    /// assert!(channel.publish_now("lost").is_err() && next.publish_now("two")? > first);
    /// let batch = next.since(Since::After(first), Limit::default());
    /// assert!(batch.gap.is_none() && batch.events.len() == 1);
    /// # Ok::<(), ropewalk_channel::ChannelError>(())
    /// ```
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        self.shut(true);
        let mut out = Vec::new();
        self.history().write(&mut out);
        out
    }

    /// Takes up what a channel of another process was, in the place of its own events, which nobody may have seen. False: it is not
    /// understood, and nothing has changed.
    pub fn unpack(&self, packed: &[u8]) -> bool {
        let mut reader = Reader(packed);
        let history = History::read(&mut reader).filter(|_| reader.0.is_empty() && !self.is_durable());
        let understood = history.is_some();
        history.into_iter().for_each(|history| self.take_up(history));
        understood
    }

    /// The other process goes on with nothing: what is published is published here again.
    pub fn go_on(&self) {
        self.shut(false);
    }
}

/// What is read, from its front.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    pub(crate) fn id(&mut self) -> Option<EventId> {
        self.number().map(EventId).filter(|id| *id <= EventId::MAX)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

pub(crate) fn put(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_be_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ropewalk_reactor::Simulation;

    use crate::{Channels, ChannelsOptions, Limit, Since};

    use super::*;

    fn channels(simulation: &Simulation) -> Channels {
        Channels::in_memory(simulation.reactor(), ChannelsOptions::default())
    }

    #[test]
    fn everything_in_memory_goes_along() {
        let simulation = Simulation::new(1);
        let old = channels(&simulation);
        let a = old.channel_now("a").unwrap();
        let first = a.publish_now("one").unwrap();
        a.publish_now(vec![0xff, 0]).unwrap();
        let gone = old.channel_now("gone").unwrap();
        let mark = gone.publish_now("x").unwrap();
        drop(old.remove("gone"));
        drop(a.begin("ann", first));
        let packed = old.pack();
        assert!(a.publish_now("too late").is_err() && old.channel_now("b").is_err());
        // 1. The next one goes on, also where its clock is behind.
        for later in [Duration::ZERO, Duration::from_secs(3)] {
            let simulation = Simulation::new(2);
            simulation.advance(later);
            let new = channels(&simulation);
            assert!(new.unpack(&packed));
            let b = new.channel_now("a").unwrap();
            let batch = b.since(Since::After(first), Limit::default());
            assert!(batch.gap.is_none() && !batch.more && batch.events.len() == 1);
            assert_eq!(batch.events[0].data, Data::from(vec![0xff, 0]));
            assert_eq!(batch.next, b.last());
            let next = b.publish_now("two").unwrap();
            let batch = b.since(Since::After(batch.next), Limit::default());
            assert!(batch.gap.is_none() && batch.next == next && batch.events.len() == 1);
            assert!(new.channel_now("gone").unwrap().publish_now("y").unwrap() > mark);
            assert_eq!(b.cursor("ann"), Some(first));
        }
        // 2. Or it does not, and the old one does.
        old.go_on();
        assert!(a.publish_now("in time").is_ok());
    }

    #[test]
    fn an_empty_channel_keeps_its_place() {
        let (one, two) = (Simulation::new(1), Simulation::new(2));
        let old = channels(&one);
        let place = old.channel_now("a").unwrap().last();
        let new = channels(&two);
        two.advance(Duration::from_secs(1));
        assert!(new.unpack(&old.pack()));
        let a = new.channel_now("a").unwrap();
        let batch = a.since(Since::After(place), Limit::default());
        assert!(batch.gap.is_none() && batch.events.is_empty() && !batch.more);
        a.publish_now("x").unwrap();
        assert_eq!(a.since(Since::After(place), Limit::default()).events.len(), 1);
    }

    #[test]
    fn what_is_torn_changes_nothing() {
        let simulation = Simulation::new(1);
        let old = channels(&simulation);
        old.channel_now("a").unwrap().publish_now("one").unwrap();
        let packed = old.pack();
        let new = channels(&simulation);
        for end in 0..packed.len() {
            assert!(!new.unpack(&packed[..end]), "cut at {end}");
        }
        assert!(!new.unpack(&[&packed[..], b"more"].concat()));
        assert!(!new.knows("a"));
        let one = Channel::in_memory(simulation.reactor(), crate::Retention::default());
        one.publish_now("x").unwrap();
        let (packed, last) = (one.pack(), one.last());
        let other = Channel::in_memory(simulation.reactor(), crate::Retention::default());
        for at in 0..packed.len() {
            assert!(!other.unpack(&packed[..at]));
        }
        assert!(other.unpack(&packed) && other.last() == last);
    }
}
