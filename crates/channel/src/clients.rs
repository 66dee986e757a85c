//! Where the clients that acknowledge are: a cursor for each name, which moves only when the client says so.
//!
//! Not durable; `channel` writes to the journal first.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::error::ChannelError;
use crate::event::EventId;

#[derive(Debug, Default)]
pub(crate) struct Clients {
    cursors: BTreeMap<Rc<str>, EventId>,
    max: usize,
}

impl Clients {
    pub(crate) fn new(max: usize, loaded: Vec<(String, EventId)>) -> Clients {
        Clients { cursors: loaded.into_iter().map(|(name, id)| (name.into(), id)).collect(), max }
    }

    pub(crate) fn cursor(&self, client: &str) -> Option<EventId> {
        self.cursors.get(client).copied()
    }

    /// Makes room for one more client, if it is a new one: the one that fell furthest behind goes, if what it has not read is
    /// gone anyway. Says who had to go.
    pub(crate) fn make_room(
        &mut self,
        client: &str,
        floor: EventId,
    ) -> Result<Option<Rc<str>>, ChannelError> {
        if self.max == 0 {
            return Err(ChannelError::NoAcknowledgements);
        }
        if self.cursors.contains_key(client) || self.cursors.len() < self.max {
            return Ok(None);
        }
        let behind = self.cursors.iter().min_by_key(|(_, id)| **id).filter(|(_, id)| **id < floor);
        let Some((name, _)) = behind else { return Err(ChannelError::TooManyClients) };
        let name = Rc::clone(name);
        self.cursors.remove(&name);
        Ok(Some(name))
    }

    /// Never backwards.
    pub(crate) fn set(&mut self, client: &str, id: EventId) {
        match self.cursors.get_mut(client) {
            Some(cursor) => *cursor = (*cursor).max(id),
            None => {
                self.cursors.insert(client.into(), id);
            }
        }
    }

    pub(crate) fn forget(&mut self, client: &str) {
        self.cursors.remove(client);
    }

    pub(crate) fn list(&self) -> Vec<(Rc<str>, EventId)> {
        self.cursors.iter().map(|(name, id)| (Rc::clone(name), *id)).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cursors.is_empty()
    }
}
