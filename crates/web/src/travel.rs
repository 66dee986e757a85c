//! What of an HTTP connection travels to the next process of the program: how many requests it has had, and of a request that waits
//! or streams its head and how far its answer has come. The next process asks the request again, of its own site: router, middleware
//! and authorisation have their say as at first.
//!
//! Not the connection's state, which is `server`'s, and no face's: a face says where its client is ([`Packed`]), and asks where that
//! was ([`Arrived`]). A place is a number that rises and that both processes understand.

use std::time::Duration;

use ropewalk_net::Frozen;
use ropewalk_reactor::Time;
use serde::{Deserialize, Serialize};

use crate::exchange::Exchange;

/// Whose records these are.
const KIND: &str = "ropewalk-http";
/// Which form they have: a line of JSON, in which what is not known is passed over, and behind it the head as it came.
const VERSION: u32 = 1;

/// A connection that travels.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Record {
    /// Requests that it has had.
    #[serde(default)]
    pub(crate) served: u32,
    /// The one that is not answered.
    #[serde(default)]
    pub(crate) asked: Option<Asked>,
}

/// A request that travels.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Asked {
    /// The type of the stream that was begun; none if nothing of the answer was sent.
    pub(crate) begun: Option<String>,
    /// The client has everything up to here.
    pub(crate) place: u64,
    /// How long it is to wait yet.
    pub(crate) left_ms: Option<u64>,
    /// The answer is the connection's last.
    pub(crate) close: bool,
    /// Bytes behind it were handed back, until it is answered.
    pub(crate) holding: bool,
    #[serde(skip)]
    pub(crate) head: Vec<u8>,
}

impl Record {
    pub(crate) fn freeze(&self) -> Frozen {
        let mut bytes = serde_json::to_vec(self).expect("a vector takes everything");
        bytes.push(b'\n');
        bytes.extend(self.asked.iter().flat_map(|asked| &asked.head));
        Frozen { kind: KIND.to_owned(), version: VERSION, bytes }
    }

    /// None if it is nobody's, newer than this program, or torn.
    pub(crate) fn read(frozen: &Frozen) -> Option<Record> {
        if frozen.kind != KIND || frozen.version != VERSION {
            return None;
        }
        let end = frozen.bytes.iter().position(|byte| *byte == b'\n')?;
        let mut record: Record = serde_json::from_slice(&frozen.bytes[..end]).ok()?;
        let head = &frozen.bytes[end + 1..];
        match &mut record.asked {
            Some(asked) => asked.head = head.to_vec(),
            None if head.is_empty() => {}
            None => return None,
        }
        Some(record)
    }
}

/// Left at a request that waits, for as long as it does: it may travel.
#[derive(Clone, Copy)]
pub(crate) struct Packed {
    pub(crate) place: u64,
    pub(crate) until: Time,
}

/// Left at a request that came from another process.
pub(crate) struct Arrived {
    /// The client has everything up to here.
    pub(crate) place: u64,
    /// How long it is to wait yet.
    pub(crate) left: Option<Duration>,
    /// The type of the stream that was begun there.
    pub(crate) begun: Option<String>,
}

impl Exchange {
    /// Whether the request may travel now, and from where it goes on.
    pub(crate) fn pack(&self, packed: Option<Packed>) {
        self.set_part::<Option<Packed>>(packed);
    }

    pub(crate) fn packed(&self) -> Option<Packed> {
        self.part::<Option<Packed>>().and_then(|packed| *packed)
    }

    /// Whether another process was asked this first.
    pub(crate) fn has_arrived(&self) -> bool {
        self.unusual.get() && self.part::<Arrived>().is_some()
    }

    /// The type of the stream that goes on here, if one had begun in another process.
    #[inline]
    pub(crate) fn begun_elsewhere(&self) -> Option<String> {
        if self.unusual.get() { self.arrived() } else { None }
    }

    #[cold]
    fn arrived(&self) -> Option<String> {
        self.part::<Arrived>()?.begun.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Record {
        let head = b"GET /\xe9 HTTP/1.1\r\nHost: h\r\n\r\n".to_vec();
        let begun = Some("text/event-stream".to_owned());
        let asked = Asked { begun, place: 7, left_ms: Some(20), close: true, holding: false, head };
        Record { served: 3, asked: Some(asked) }
    }

    #[test]
    fn records_come_back() {
        for record in [Record::default(), Record { served: 9, asked: None }, asked()] {
            assert_eq!(Record::read(&record.freeze()), Some(record));
        }
    }

    #[test]
    fn records_that_are_torn_newer_or_others_are_none() {
        let whole = asked().freeze();
        let line = whole.bytes.iter().position(|byte| *byte == b'\n').unwrap();
        for end in 0..=line {
            let torn = Frozen { bytes: whole.bytes[..end].to_vec(), ..whole.clone() };
            assert_eq!(Record::read(&torn), None, "cut at {end}");
        }
        assert_eq!(Record::read(&Frozen { version: VERSION + 1, ..whole.clone() }), None);
        assert_eq!(Record::read(&Frozen { kind: "other".to_owned(), ..whole.clone() }), None);
        let more = b"{\"served\":1}\nGET / HTTP/1.1\r\n\r\n".to_vec();
        assert_eq!(Record::read(&Frozen { bytes: more, ..whole.clone() }), None);
        // What a later program adds is passed over.
        let added = b"{\"served\":1,\"mood\":\"good\"}\n".to_vec();
        assert_eq!(Record::read(&Frozen { bytes: added, ..whole }), Some(Record { served: 1, asked: None }));
    }
}
