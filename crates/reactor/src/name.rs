//! Names: what runs is always called something. A name is an index into one append-only table, so that the callback that
//! runs now can be published in one atomic word and read by the watchdog of another thread.
//! Timers, tasks, callbacks and connections carry one; it defaults to the caller's place.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::sync::{Mutex, PoisonError};

/// The name of something long-lived: a callback, a task, a timer, a kind of connection.
///
/// ```
/// use ropewalk_reactor::Name;
/// let name = Name::new("nightly report");
/// assert_eq!(name.to_string(), "nightly report");
/// assert!(Name::here().to_string().contains(".rs:"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(u32);

struct Table {
    labels: Vec<String>,
    places: BTreeMap<usize, u32>,
    texts: BTreeMap<String, u32>,
}

static TABLE: Mutex<Table> =
    Mutex::new(Table { labels: Vec::new(), places: BTreeMap::new(), texts: BTreeMap::new() });

/// Places seen by this thread, by their address: a hit costs a nanosecond and takes no lock.
const CACHE_SLOTS: usize = 64;

thread_local! {
    static CACHE: [Cell<(usize, u32)>; CACHE_SLOTS] = const { [const { Cell::new((0, 0)) }; CACHE_SLOTS] };
}

impl Name {
    /// The name of the place that calls this.
    #[must_use]
    #[track_caller]
    pub fn here() -> Name {
        Name::place(Location::caller())
    }

    /// The name of a place in the source.
    #[must_use]
    pub fn place(place: &'static Location<'static>) -> Name {
        let address = std::ptr::from_ref(place).addr();
        CACHE.with(|cache| {
            let slot = &cache[(address / std::mem::align_of::<Location<'_>>()) % CACHE_SLOTS];
            let (cached, index) = slot.get();
            if cached == address {
                return Name(index);
            }
            let name = Name::intern_place(address, place);
            slot.set((address, name.0));
            name
        })
    }

    /// A name of one's own choice. Equal texts are equal names; a name is kept for ever, so do not make one per request.
    #[must_use]
    pub fn new(text: &str) -> Name {
        let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
        Name(table.intern(text))
    }

    /// The index, for publishing in a word.
    pub(crate) fn index(self) -> u32 {
        self.0
    }

    /// The name behind an index that [`Name::index`] gave.
    pub(crate) fn from_index(index: u32) -> Name {
        Name(index)
    }

    fn intern_place(address: usize, place: &'static Location<'static>) -> Name {
        let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&index) = table.places.get(&address) {
            return Name(index);
        }
        let label = format!("{}:{}", place.file(), place.line());
        let index = table.intern(&label);
        table.places.insert(address, index);
        Name(index)
    }
}

impl Table {
    fn intern(&mut self, text: &str) -> u32 {
        if let Some(&index) = self.texts.get(text) {
            return index;
        }
        let index = u32::try_from(self.labels.len()).expect("names are a few thousand, made by hand");
        self.labels.push(text.to_owned());
        self.texts.insert(text.to_owned(), index);
        index
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
        f.write_str(table.labels.get(self.0 as usize).map_or("?", String::as_str))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_equal_names_and_places_differ_by_line() {
        assert_eq!(Name::new("a"), Name::new("a"));
        assert_ne!(Name::new("a"), Name::new("b"));
        let again = || Name::here();
        let (first, second) = (again(), again());
        assert_eq!(first, second, "the same place");
        let third = Name::here();
        assert_ne!(first, third);
        assert!(third.to_string().ends_with(&format!(":{}", line!() - 2)));
    }
}
