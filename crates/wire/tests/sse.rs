//! Server-sent events, checked with a reader written after the HTML standard's own words.
//!
//! The reader is for these tests only; Ropewalk has no client for event streams here.

use proptest::prelude::*;
use ropewalk_wire::sse::{encode_comment, encode_event, encode_retry};

/// `(last event id, event type, data)` of each event that a browser would fire.
type Fired = (String, String, String);

/// "Interpreting an event stream", HTML standard 9.2.6; also counts comments and tells the reconnection time.
#[derive(Default)]
struct Reader {
    last_id: String,
    event: String,
    data: String,
    fired: Vec<Fired>,
    comments: usize,
    retry: Option<u64>,
}

impl Reader {
    fn read(stream: &[u8]) -> Reader {
        let stream = std::str::from_utf8(stream).expect("events are UTF-8");
        assert!(stream.is_empty() || stream.ends_with("\n\n"), "what was written is whole");
        let mut reader = Reader::default();
        let unified = stream.replace("\r\n", "\n").replace('\r', "\n");
        unified.split_terminator('\n').for_each(|line| reader.line(line));
        reader
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            return self.fire();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.comments += 1,
            "event" => self.event = value.to_owned(),
            "data" => self.data = format!("{}{value}\n", self.data),
            "id" if !value.contains('\0') => self.last_id = value.to_owned(),
            "retry" => self.retry = value.parse().ok(),
            _ => panic!("unknown field {field:?}"),
        }
    }

    fn fire(&mut self) {
        let (event, mut data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
        if data.pop().is_some() {
            let event = if event.is_empty() { "message".to_owned() } else { event };
            self.fired.push((self.last_id.clone(), event, data));
        }
    }
}

fn encoded(id: Option<&str>, event: Option<&str>, data: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode_event(&mut out, id, event, data);
    out
}

#[test]
fn events_have_these_bytes() {
    for (id, event, data, bytes) in [
        (None, None, "a", "data: a\n\n"),
        (None, None, "", "data: \n\n"),
        (Some("7"), Some("line"), "a\nb", "id: 7\nevent: line\ndata: a\ndata: b\n\n"),
        (Some(""), None, " a", "id: \ndata:  a\n\n"),
        (None, None, "a\r\nb\rc\n", "data: a\ndata: b\ndata: c\ndata: \n\n"),
        (None, None, "\n\r", "data: \ndata: \ndata: \n\n"),
        (Some("1\n2\r\0"), Some("x\r\ndata: forged"), "a", "id: 12\nevent: xdata: forged\ndata: a\n\n"),
    ] {
        assert_eq!(String::from_utf8_lossy(&encoded(id, event, data)), bytes);
    }
}

#[test]
fn comments_and_retries_fire_nothing() {
    let mut out = Vec::new();
    encode_comment(&mut out, "");
    encode_comment(&mut out, "a\n\ndata: forged");
    encode_retry(&mut out, 1500);
    assert_eq!(out, b": \n\n: a\n: \n: data: forged\n\nretry: 1500\n\n");
    let reader = Reader::read(&out);
    assert_eq!((reader.fired, reader.comments, reader.retry), (Vec::new(), 4, Some(1500)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_fires_one_event_with_the_same_text(
        id in "[a:\r\n\0 é]{0,6}",
        event in "[a:\r\n\0 é]{0,6}",
        data in "(id: |data: |event: |[a:\r\n\0 é]){0,12}",
        comment in "[a:\r\n ]{0,8}",
    ) {
        let mut out = Vec::new();
        encode_comment(&mut out, &comment);
        encode_event(&mut out, Some(&id), Some(&event), &data);
        encode_comment(&mut out, &comment);
        let one_line = |text: &str| text.replace(['\r', '\n', '\0'], "");
        let event = Some(one_line(&event)).filter(|event| !event.is_empty()).unwrap_or("message".to_owned());
        let data = data.replace("\r\n", "\n").replace('\r', "\n");
        prop_assert_eq!(Reader::read(&out).fired, vec![(one_line(&id), event, data)]);
    }
}
