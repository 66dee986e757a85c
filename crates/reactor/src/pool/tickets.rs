//! Who waits for which job: the numbers that jobs carry to the threads and back, for what waits on the loop cannot go along.
//!
//! A number is used again only when its job has come back or was taken out, so that it always means one job.

use super::job::Waiter;
use super::line::Place as Seat;
use crate::failure::Place;

pub(super) struct Entry {
    pub(super) waiter: Option<Box<dyn Waiter>>,
    /// Who put the job in.
    pub(super) place: Place,
    /// Where it waits, or has waited.
    pub(super) seat: Option<Seat>,
}

#[derive(Default)]
pub(super) struct Tickets {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
}

impl Tickets {
    pub(super) fn issue(&mut self, place: Place, waiter: Option<Box<dyn Waiter>>) -> u32 {
        let entry = Some(Entry { waiter, place, seat: None });
        if let Some(ticket) = self.free.pop() {
            self.entries[ticket as usize] = entry;
            return ticket;
        }
        self.entries.push(entry);
        u32::try_from(self.entries.len() - 1).expect("memory ends before two to the 32 jobs")
    }

    pub(super) fn entry(&mut self, ticket: u32) -> Option<&mut Entry> {
        self.entries.get_mut(ticket as usize)?.as_mut()
    }

    /// Takes the entry out; its number is free.
    pub(super) fn take(&mut self, ticket: u32) -> Option<Entry> {
        let entry = self.entries.get_mut(ticket as usize)?.take()?;
        self.free.push(ticket);
        Some(entry)
    }

    /// All who still wait.
    pub(super) fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.entries.into_iter().flatten()
    }
}
