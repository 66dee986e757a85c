//! Home's surveys: it asks every worker who is there, and adds up what they say. Called by the registry at home, and by the door.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::time::Duration;

use ropewalk_reactor::{Deferred, Firing, Reactor, deferred};

use crate::survey::{Question, Seen, Survey};

/// A worker that has not answered after so long is not waited for: its loop is held, or has ended.
const PATIENCE: Duration = Duration::from_secs(1);

/// Surveys that are not complete yet.
#[derive(Default)]
pub(crate) struct Counting {
    next: Cell<u64>,
    open: RefCell<BTreeMap<u64, Open>>,
}

struct Open {
    question: Question,
    survey: Survey,
    /// Workers that have not answered.
    left: BTreeSet<u64>,
    firing: Firing<Survey>,
}

impl Counting {
    /// Begins with what home sees; `ask` asks a worker, under a ticket. Fires when all have answered.
    pub(crate) fn begin(
        self: &Rc<Self>,
        reactor: &Reactor,
        question: Question,
        survey: Survey,
        workers: Vec<u64>,
        ask: impl Fn(u64, u64, Question),
    ) -> Deferred<Survey> {
        if workers.is_empty() {
            return deferred::succeed(reactor, survey);
        }
        let ticket = self.next.replace(self.next.get() + 1);
        let (firing, deferred) = Deferred::new(reactor);
        let left = workers.iter().copied().collect();
        self.open.borrow_mut().insert(ticket, Open { question: question.clone(), survey, left, firing });
        workers.into_iter().for_each(|worker| ask(worker, ticket, question.clone()));
        let weak: Weak<Counting> = Rc::downgrade(self);
        reactor.call_later(PATIENCE, move || {
            if let Some(counting) = weak.upgrade() {
                counting.end(ticket);
            }
        });
        deferred
    }

    /// What a worker sees.
    pub(crate) fn counted(&self, worker: u64, ticket: u64, seen: Seen) {
        let mut open = self.open.borrow_mut();
        // It may have taken too long.
        let Some(survey) = open.get_mut(&ticket) else { return };
        if survey.left.remove(&worker) {
            survey.survey.add(&survey.question, seen);
        }
        let complete = survey.left.is_empty();
        drop(open);
        if complete {
            self.end(ticket);
        }
    }

    fn end(&self, ticket: u64) {
        let open = self.open.borrow_mut().remove(&ticket);
        if let Some(open) = open {
            // Whoever asked may have left.
            let _ = open.firing.callback(open.survey);
        }
    }
}
