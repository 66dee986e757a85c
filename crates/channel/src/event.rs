//! What a channel carries: an event and its id.
//!
//! Not the log and not an encoding on the wire. Stores make events, faces print them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The place of an event in its log: strictly rising, never given twice, not even after a restart.
///
/// Printed and parsed as a plain decimal number. It stays below 2^53, so that JavaScript can hold it as a
/// number. The next event's id need not be the next number: a log that was loaded again has holes.
///
/// ```
/// use ropewalk_channel::EventId;
///
/// let id: EventId = "1700000000000000".parse()?;
/// assert_eq!(id.to_string(), "1700000000000000");
/// assert!("+1".parse::<EventId>().is_err());
/// # Ok::<(), ropewalk_channel::ParseEventIdError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u64);

impl EventId {
    /// Not the id of any event: as a place to resume from it means "the earliest that is kept".
    pub const EARLIEST: EventId = EventId(0);

    /// The largest id there can be: the largest integer that JavaScript holds exactly.
    pub const MAX: EventId = EventId((1 << 53) - 1);

    /// The id after this one, or none at [`EventId::MAX`].
    pub fn next(self) -> Option<EventId> {
        (self < EventId::MAX).then(|| EventId(self.0 + 1))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for EventId {
    type Err = ParseEventIdError;

    /// Digits only, at most [`EventId::MAX`]: what a peer sends as `Last-Event-ID` or `?since=`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The parser of std also takes a leading plus sign, which no face of ours ever printed.
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseEventIdError(()));
        }
        let id = EventId(text.parse().map_err(|_| ParseEventIdError(()))?);
        if id <= EventId::MAX { Ok(id) } else { Err(ParseEventIdError(())) }
    }
}

/// The text is not an event id: not all digits, empty, or larger than [`EventId::MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseEventIdError(());

impl fmt::Display for ParseEventIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event id is a decimal number of at most {}", EventId::MAX)
    }
}

impl std::error::Error for ParseEventIdError {}

/// One published event. A clone shares the data, also on another thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the log.
    pub id: EventId,
    /// When it was published, in milliseconds since the Unix epoch, as the publisher's clock had it.
    pub at_ms: u64,
    /// What was published, as it was: line ends and control characters are data here, the faces encode them.
    pub data: Data,
}

/// What was published: text, which every face shows as it is, or bytes, which those of text show in base64.
///
/// ```
/// use ropewalk_channel::Data;
///
/// assert_eq!(Data::from("line").text(), Some("line"));
/// assert_eq!(Data::from(vec![0xff]).text(), None);
/// assert_eq!(Data::from("line").as_bytes(), b"line");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// UTF-8.
    Text(Arc<str>),
    /// Anything.
    Binary(Arc<[u8]>),
}

impl Data {
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Data::Text(text) => Some(text),
            Data::Binary(_) => None,
        }
    }

    /// The bytes of either.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Data::Text(text) => text.as_bytes(),
            Data::Binary(bytes) => bytes,
        }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether there is none; an empty text is an event like any other.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Data {
        Data::Text(text.into())
    }
}

impl From<String> for Data {
    fn from(text: String) -> Data {
        Data::Text(text.into())
    }
}

impl From<Arc<str>> for Data {
    fn from(text: Arc<str>) -> Data {
        Data::Text(text)
    }
}

impl From<Vec<u8>> for Data {
    fn from(bytes: Vec<u8>) -> Data {
        Data::Binary(bytes.into())
    }
}

impl From<Arc<[u8]>> for Data {
    fn from(bytes: Arc<[u8]>) -> Data {
        Data::Binary(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_digits_and_nothing_else() {
        assert_eq!("0".parse(), Ok(EventId::EARLIEST));
        assert_eq!("9007199254740991".parse(), Ok(EventId::MAX));
        for bad in ["", "+1", "-1", " 1", "1 ", "1.0", "0x1", "9007199254740992", "99999999999999999999", "१"]
        {
            assert!(bad.parse::<EventId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_last_id_has_no_next() {
        assert_eq!(EventId(7).next(), Some(EventId(8)));
        assert_eq!(EventId::MAX.next(), None);
    }
}
