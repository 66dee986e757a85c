//! The memory that all channels of a registry take together, and what waits for the journal.
//!
//! Not a limit of one channel. Each channel books what it has; the registry makes room.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::error::ChannelError;
use crate::options::ChannelsOptions;

/// What an event takes beside its data: itself, and what the allocator adds.
pub(crate) const EVENT_BYTES: usize = 64;

/// Lets go of channels until there is room for so many bytes, if it can.
type Relief = Rc<dyn Fn(usize)>;

pub(crate) struct Ledger {
    bytes: Cell<usize>,
    bytes_max: usize,
    waiting: Cell<usize>,
    waiting_max: usize,
    waiting_bytes: Cell<usize>,
    waiting_bytes_max: usize,
    relief: RefCell<Option<Relief>>,
    /// Another process is about to have what is here.
    shut: Cell<bool>,
}

impl Ledger {
    pub(crate) fn new(options: &ChannelsOptions) -> Ledger {
        Ledger {
            bytes: Cell::new(0),
            bytes_max: options.memory_bytes_max,
            waiting: Cell::new(0),
            waiting_max: options.waiting_max,
            waiting_bytes: Cell::new(0),
            waiting_bytes_max: options.waiting_bytes_max,
            relief: RefCell::new(None),
            shut: Cell::new(false),
        }
    }

    /// For a channel of its own: what it keeps is its only limit.
    pub(crate) fn unlimited() -> Ledger {
        Ledger::new(&ChannelsOptions { memory_bytes_max: usize::MAX, ..ChannelsOptions::default() })
    }

    pub(crate) fn on_full(&self, relief: Relief) {
        *self.relief.borrow_mut() = Some(relief);
    }

    /// Whether nothing may be published now.
    pub(crate) fn is_shut(&self) -> bool {
        self.shut.get()
    }

    pub(crate) fn shut(&self, shut: bool) {
        self.shut.set(shut);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.get()
    }

    fn has_room(&self, more: usize) -> bool {
        // What waits for the journal will be there when it has been written.
        let waiting = self.waiting_bytes.get() + self.waiting.get() * EVENT_BYTES;
        self.bytes.get().saturating_add(waiting).saturating_add(more) <= self.bytes_max
    }

    /// Whether so many more bytes may be kept; makes room first, if it can.
    pub(crate) fn admit(&self, more: usize) -> Result<(), ChannelError> {
        if self.has_room(more) {
            return Ok(());
        }
        let relief = self.relief.borrow().clone();
        if let Some(relief) = relief {
            relief(more);
        }
        if self.has_room(more) { Ok(()) } else { Err(ChannelError::MemoryFull) }
    }

    /// A channel that had `before` bytes has `after` now.
    pub(crate) fn book(&self, before: usize, after: usize) {
        self.bytes.set(self.bytes.get() - before + after);
    }

    /// An event of so many bytes begins to wait.
    pub(crate) fn wait(&self, bytes: usize) -> Result<(), ChannelError> {
        let sum = self.waiting_bytes.get().saturating_add(bytes);
        if self.waiting.get() >= self.waiting_max || sum > self.waiting_bytes_max {
            return Err(ChannelError::Busy);
        }
        self.waiting.set(self.waiting.get() + 1);
        self.waiting_bytes.set(sum);
        Ok(())
    }

    /// It waits no more.
    pub(crate) fn waited(&self, bytes: usize) {
        self.waiting.set(self.waiting.get() - 1);
        self.waiting_bytes.set(self.waiting_bytes.get() - bytes);
    }
}
