//! Server-Sent Events, read as a browser does (the HTML standard, section 9.2.6): bytes in, events out, however they are cut.

use std::collections::VecDeque;

/// An event of an event stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TestEvent {
    /// The last id that the stream has named, at this event or before.
    pub id: String,
    /// Its type, `message` unless named.
    pub name: String,
    /// Its lines, with a newline between them.
    pub data: String,
}

/// Bytes of a stream, on their way to events.
#[derive(Default)]
pub(super) struct Events {
    /// A line that has not come whole.
    line: Vec<u8>,
    /// The last line ended with a carriage return: a newline behind it belongs to that.
    returned: bool,
    id: String,
    name: String,
    data: Option<String>,
    ready: VecDeque<TestEvent>,
}

impl Events {
    pub(super) fn pop(&mut self) -> Option<TestEvent> {
        self.ready.pop_front()
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let after_return = std::mem::replace(&mut self.returned, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    self.line(&String::from_utf8_lossy(&line));
                }
                _ => self.line.push(byte),
            }
        }
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            if let Some(data) = self.data.take() {
                let name = if name.is_empty() { "message".to_owned() } else { name };
                self.ready.push_back(TestEvent { id: self.id.clone(), name, data });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // A comment, a time to wait before connecting again, or what nobody knows.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_do_not_depend_on_how_they_are_cut() {
        let text = "\u{feff}: hello\nid: 7\ndata: a\r\ndata\rdata:  b\n\nevent: x\ndata: c\r\n\r\nevent: lost\n\nid\ndata:d\n\n";
        let event = |id: &str, name: &str, data: &str| TestEvent {
            id: id.into(),
            name: name.into(),
            data: data.into(),
        };
        let expected = [event("7", "message", "a\n\n b"), event("7", "x", "c"), event("", "message", "d")];
        for size in 1..text.len() {
            let mut events = Events::default();
            text.as_bytes().chunks(size).for_each(|piece| events.feed(piece));
            let found: Vec<TestEvent> = std::iter::from_fn(|| events.pop()).collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }
}
