//! Raw TCP viewers: every event is a line, for `nc` and scripts. What they send is thrown away, except that a feed with a
//! token wants it as the first line.

use std::rc::Rc;
use std::time::Duration;

use ropewalk_channel::{EventId, Since};
use ropewalk_net::{Address, Factory, Frozen, Lost, Protocol, Transport};

use super::kind::Kind;
use super::viewer::{Line, Viewer};
use super::{Feed, Joining, stream};
use crate::constant_time_eq;

/// How long a viewer may take to send the token.
const TOKEN_PATIENCE: Duration = Duration::from_secs(10);
/// Whose record it is that travels to another process, and its form: the id of the last event, in eight bytes.
const RECORD: (&str, u32) = ("ropewalk-raw", 1);
/// A longer first line is no token.
const TOKEN_BYTES_MAX: usize = 1024;

/// Makes raw viewers of one feed.
pub struct RawViewers {
    feed: Feed,
    history: usize,
    token: Option<Rc<str>>,
}

impl RawViewers {
    /// Viewers that begin with the last `history` events.
    #[must_use]
    pub fn new(feed: &Feed, history: usize) -> RawViewers {
        RawViewers { feed: feed.clone(), history, token: None }
    }

    /// The same, wanting this token as the first line from everybody.
    #[must_use]
    pub fn token(mut self, token: Option<&str>) -> RawViewers {
        self.token = token.map(Rc::from);
        self
    }
}

impl RawViewers {
    fn viewer(&self) -> RawViewer {
        RawViewer {
            feed: self.feed.clone(),
            since: stream::last(self.history),
            token: self.token.clone(),
            said: Vec::new(),
            viewer: None,
        }
    }
}

impl Factory for RawViewers {
    fn build_protocol(&self, _peer: &Address) -> Option<Box<dyn Protocol>> {
        Some(Box::new(self.viewer()))
    }

    /// Only who has said the token comes here.
    fn thaw(&self, _peer: &Address, frozen: &Frozen) -> Option<Box<dyn Protocol>> {
        let (true, Ok(cursor)) =
            ((&*frozen.kind, frozen.version) == RECORD, frozen.bytes.as_slice().try_into())
        else {
            return None;
        };
        let since = Since::After(EventId(u64::from_be_bytes(cursor)));
        Some(Box::new(RawViewer { since, ..self.viewer() }))
    }

    fn overflow(&self) -> &[u8] {
        b"too many viewers; try again later\n"
    }
}

struct RawViewer {
    feed: Feed,
    /// Where it begins.
    since: Since,
    token: Option<Rc<str>>,
    said: Vec<u8>,
    viewer: Option<Rc<Viewer>>,
}

impl RawViewer {
    fn join(&mut self, transport: &Transport) {
        transport.set_deadline(None);
        self.said = Vec::new();
        let joining = Joining { since: self.since, name: None, until: None };
        self.viewer = Some(self.feed.join(Line::Stream(transport.clone(), Kind::Raw), &joining));
    }
}

impl Protocol for RawViewer {
    fn connection_made(&mut self, transport: &Transport) {
        match self.token {
            None => self.join(transport),
            Some(_) => transport.set_deadline(Some(transport.reactor().now() + TOKEN_PATIENCE)),
        }
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        let Some(token) = self.token.clone().filter(|_| self.viewer.is_none()) else { return };
        let room = TOKEN_BYTES_MAX - self.said.len();
        self.said.extend_from_slice(&data[..data.len().min(room)]);
        let line = match self.said.iter().position(|&byte| byte == b'\n') {
            Some(end) => &self.said[..end],
            None if self.said.len() < TOKEN_BYTES_MAX => return,
            None => &self.said[..],
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if constant_time_eq(line, token.as_bytes()) {
            self.join(transport);
        } else {
            transport.write(b"the first line must be the token\n");
            transport.lose_connection_lingering();
        }
    }

    fn read_ended(&mut self, transport: &Transport) {
        // `nc` with its input at the end still reads: a raw viewer may be silent for ever.
        if self.viewer.is_none() {
            transport.lose_connection();
        }
    }

    fn woken(&mut self, _transport: &Transport) {
        if let Some(viewer) = &self.viewer {
            self.feed.catch_up(viewer);
        }
    }

    fn connection_lost(&mut self, _transport: &Transport, _lost: &Lost) {
        if let Some(viewer) = self.viewer.take() {
            self.feed.leave(&viewer);
        }
    }

    fn freezable(&self) -> bool {
        self.viewer.is_some()
    }

    fn freeze(&mut self, _transport: &Transport) -> Option<Frozen> {
        let cursor = self.viewer.as_ref()?.cursor.get();
        let (kind, version) = RECORD;
        Some(Frozen { kind: kind.to_owned(), version, bytes: cursor.0.to_be_bytes().to_vec() })
    }

    fn thawed(&mut self, transport: &Transport) {
        self.join(transport);
    }
}
