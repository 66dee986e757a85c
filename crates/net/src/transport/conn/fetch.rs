//! Files on their way out: what must come from the disk before it can be sent is got here. What the system has in memory is
//! taken at once; for everything else a thread of the pool waits, and the connection goes on when it is done. `send` calls it
//! when a file is the next thing to send and its bytes are not at hand.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use ropewalk_reactor::{Failure, Outcome, Readiness};

use super::super::part::{Errand, FilePart};
use super::{Conn, Outbox, flag};
use crate::protocol::Lost;

impl Conn {
    /// Queues a part of a file.
    pub(crate) fn send_file(&self, mut part: FilePart) {
        if self.has(flag::CLOSED | flag::CLOSING | flag::ABORTING | flag::SHUT) {
            return part.fail(&Lost::Closed);
        }
        if part.len() == 0 {
            return part.finish();
        }
        if let Some(error) = part.lacks() {
            let lost = Lost::File(Arc::new(error));
            part.fail(&lost);
            return self.abort(lost);
        }
        let mut output = self.output.take().unwrap_or_else(Outbox::take);
        output.push_file(part);
        self.queued(output);
    }

    /// Sends on in the next turn: others have their turn first.
    pub(super) fn send_next_turn(&self) {
        self.set(flag::PENDING);
        self.origin.reactor.ready_again(self.key, Readiness::NONE);
    }

    pub(crate) fn buffered_in_memory(&self) -> usize {
        let output = self.output.take();
        let held = output.as_ref().map_or(0, |output| output.len() - output.in_files());
        self.output.set(output);
        usize::try_from(held).unwrap_or(usize::MAX)
    }

    fn with_file<T>(&self, then: impl FnOnce(&mut FilePart) -> T) -> Option<T> {
        let mut output = self.output.take()?;
        let value = output.front_file().map(then);
        self.output.set(Some(output));
        value
    }

    /// Gets what the file at the front of the output wants.
    pub(super) fn fetch(self: &Rc<Self>) {
        let Some(errand) = self.with_file(|part| part.errand()) else { return };
        // The simulation's runs must not depend on what this machine has in memory.
        let is_real = self.with_socket(|socket| socket.descriptor().is_some()).unwrap_or(false);
        let at_once = if errand.wanted && is_real { errand.try_run() } else { None };
        if let Some(outcome) = at_once {
            return self.fetched(&errand, outcome.map_err(Arc::new));
        }
        self.set(flag::PENDING);
        let (conn, job) = (Rc::downgrade(self), errand.clone());
        let done = self.origin.reactor.defer_to_thread(move || job.run().map_err(Arc::new));
        let gone_on = done.add_both(move |outcome: Outcome<Result<Vec<u8>, Arc<std::io::Error>>>| {
            if let Some(conn) = conn.upgrade() {
                // A pool that takes no job: a turn that waits for the disk is better than a file that never goes on.
                let outcome = outcome.unwrap_or_else(|_| errand.run().map_err(Arc::new));
                conn.fetched(&errand, outcome);
            }
        });
        drop(gone_on);
    }

    fn fetched(self: &Rc<Self>, errand: &Errand, outcome: Result<Vec<u8>, Arc<std::io::Error>>) {
        if !self.with_file(|part| part.awaits(errand)).unwrap_or(false) {
            // Readiness that said nothing has made it go on, and ask once more.
            return;
        }
        self.set(flag::PENDING);
        let outcome = outcome.map_err(Lost::File).and_then(|bytes| self.transform(errand, bytes));
        if self.has(flag::CLOSED | flag::ABORTING) {
            return;
        }
        match outcome {
            Ok(()) => self.send_next_turn(),
            Err(lost) => self.abort(lost),
        }
    }

    /// Hands bytes to the file at the front, as its transform makes them. Nothing is held while that runs.
    fn transform(&self, errand: &Errand, bytes: Vec<u8>) -> Result<(), Lost> {
        let mut transform = self.with_file(FilePart::take_transform).flatten();
        let bytes = match &mut transform {
            None => bytes,
            Some(transform) => catch_unwind(AssertUnwindSafe(|| transform(bytes))).map_err(|payload| {
                let failure = Failure::from_panic(payload);
                tracing::error!(connection = %self.origin.name, "a file's transform: {failure}");
                Lost::Panicked
            })?,
        };
        if let Some(mut output) = self.output.take() {
            output.feed(errand.length, bytes, transform);
            self.output.set(Some(output));
        }
        Ok(())
    }
}
