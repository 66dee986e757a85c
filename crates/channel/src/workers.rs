//! Channels on several workers: they live at home, and another worker follows those that it uses.
//!
//! ```text
//!   home: Channels ── Follower (a cursor) ──► door ──► replica: Channels ── its own listeners and viewers
//!            ▲                                             │
//!            └──────────────── door ◄───────────── publish, acknowledge, remove
//! ```
//!
//! A replica is a registry like any other, whose journal is the way home: it loads a channel from there, appends there, and gets
//! what everybody appends from there, in order, as events that share their bytes. Each event is posted once per worker. A
//! worker that is behind costs home a cursor; what is gone meanwhile is a gap. So a replica may be a moment behind: who wants what was
//! answered before asks home how far it is ([`Channel::reach`](crate::Channel::reach)).
//!
//! Not threads: whoever makes the workers hands a [`Home`] to each. What is on home's side of the doors is in `home`, what is on the
//! worker's in `replica`. Who is there each worker knows of itself; a survey (`count`) asks all of them, and home.

use ropewalk_reactor::{Outcome, Sender};

use crate::event::{Data, Event, EventId};
use crate::journal::Loaded;
use crate::retention::Retention;
use crate::survey::{Question, Seen, Survey};

pub(crate) mod count;
pub(crate) mod home;
pub(crate) mod replica;

/// Messages that a door holds. A worker asks again when there is no room; home remembers a place.
const DOOR: usize = 1_024;

/// The way home for other workers: it may be sent anywhere, and a clone is the same. See
/// [`Channels::home`](crate::Channels::home) and [`Channels::replica`](crate::Channels::replica).
#[derive(Clone, Debug)]
pub struct Home(pub(crate) Sender<Asked>);

/// What a worker asks of home.
pub(crate) enum Asked {
    /// It is there, and hears through this door; its number is in the others.
    Hello(u64, Sender<Told>),
    /// It begins to follow a channel.
    Open {
        worker: u64,
        ticket: u64,
        name: String,
        retention: Retention,
    },
    /// It follows it no more.
    Close {
        worker: u64,
        name: String,
    },
    Publish {
        worker: u64,
        ticket: u64,
        name: String,
        data: Vec<Data>,
    },
    Acknowledge {
        worker: u64,
        ticket: u64,
        name: String,
        client: String,
        id: Option<EventId>,
    },
    /// A client that acknowledges begins: here, unless it has a place.
    Begin {
        worker: u64,
        ticket: u64,
        name: String,
        client: String,
        place: EventId,
    },
    /// How far the channel is now.
    Look {
        worker: u64,
        ticket: u64,
        name: String,
    },
    /// Which channels there are.
    Names {
        worker: u64,
        ticket: u64,
    },
    Survey {
        worker: u64,
        ticket: u64,
        question: Question,
    },
    /// What home wanted to know for a survey.
    Counted {
        worker: u64,
        ticket: u64,
        seen: Seen,
    },
    Remove {
        worker: u64,
        ticket: u64,
        name: String,
    },
}

/// What home tells a worker.
pub(crate) enum Told {
    Opened(u64, Outcome<Loaded>),
    Published(u64, Outcome<Vec<EventId>>),
    Done(u64, Outcome<()>),
    Placed(u64, Outcome<EventId>),
    Names(u64, Vec<String>),
    Surveyed(u64, Outcome<Survey>),
    /// Who is there, on this worker? The number is home's.
    Count(u64, Question),
    /// What follows on a channel; first, if events are gone that this worker never had, up to where.
    Events {
        name: String,
        gone: Option<EventId>,
        events: Vec<Event>,
    },
    /// The channel was removed.
    Removed {
        name: String,
    },
}
