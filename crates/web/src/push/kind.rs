//! What the faces look like: a batch of events as each kind of viewer reads it.
//!
//! Bytes only; when to write them is the feed's business. A face that is added is a kind here.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ropewalk_channel::{Batch, Data, Event, Gap};
use ropewalk_wire::sse;

/// How a viewer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Server-Sent Events. Bytes are an event of the type `binary`, in base64, so that who reads text only is not fooled; a gap is
    /// one of the type `gap`.
    Sse,
    /// A JSON object in each line.
    Json,
    /// Every event as it is, with a line end behind it.
    Raw,
    /// A long poll that waits.
    Poll,
}

impl Kind {
    /// Kinds that a stream of events may have.
    pub(super) const STREAMS: usize = 3;

    /// A batch as this kind reads it.
    pub(super) fn encode(self, batch: &Batch) -> Vec<u8> {
        let mut out = Vec::new();
        if self == Kind::Poll {
            encode_poll(&mut out, batch);
            return out;
        }
        if let Some(gap) = &batch.gap {
            self.encode_gap(&mut out, gap);
        }
        for event in &batch.events {
            match self {
                Kind::Sse => encode_sse(&mut out, event),
                Kind::Raw => {
                    out.extend_from_slice(event.data.as_bytes());
                    out.push(b'\n');
                }
                Kind::Json | Kind::Poll => {
                    encode_json(&mut out, event);
                    out.push(b'\n');
                }
            }
        }
        out
    }

    fn encode_gap(self, out: &mut Vec<u8>, gap: &Gap) {
        match self {
            Kind::Sse => sse::encode_event(out, Some(&gap.resumed.to_string()), Some("gap"), &gap_text(gap)),
            Kind::Raw => {
                let lines = gap.missed.map(|missed| format!("{missed} ")).unwrap_or_default();
                out.extend_from_slice(b"--- ");
                out.extend_from_slice(lines.as_bytes());
                out.extend_from_slice(b"lines were lost here: this reader was too slow ---\n");
            }
            Kind::Json | Kind::Poll => {
                put(out, format_args!("{{\"id\":\"{}\",\"gap\":{}}}\n", gap.resumed, gap_text(gap)));
            }
        }
    }

    /// What says that a silent stream is alive.
    pub(super) fn heartbeat(self) -> &'static [u8] {
        match self {
            Kind::Sse => b":\n\n",
            Kind::Json => b"\n",
            Kind::Raw | Kind::Poll => b"",
        }
    }

    /// The type of the answer that streams it.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Kind::Sse => "text/event-stream; charset=utf-8",
            Kind::Json => "application/x-ndjson",
            Kind::Raw => "application/octet-stream",
            Kind::Poll => "application/json",
        }
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes everything");
}

pub(super) fn gap_text(gap: &Gap) -> String {
    let missed = gap.missed.map(|missed| format!(",\"missed\":{missed}")).unwrap_or_default();
    format!("{{\"asked\":\"{}\",\"resumed\":\"{}\"{missed}}}", gap.asked, gap.resumed)
}

fn encode_sse(out: &mut Vec<u8>, event: &Event) {
    let id = event.id.to_string();
    match &event.data {
        Data::Text(text) => sse::encode_event(out, Some(&id), None, text),
        Data::Binary(bytes) => sse::encode_event(out, Some(&id), Some("binary"), &STANDARD.encode(bytes)),
    }
}

/// `{"id":"…","data":"…"}`, or `{"id":"…","base64":"…"}` for bytes.
fn encode_json(out: &mut Vec<u8>, event: &Event) {
    out.push(b'{');
    encode_members(out, event);
    out.push(b'}');
}

/// The same without the braces.
pub(super) fn encode_members(out: &mut Vec<u8>, event: &Event) {
    put(out, format_args!("\"id\":\"{}\",", event.id));
    match &event.data {
        Data::Text(text) => {
            out.extend_from_slice(b"\"data\":");
            serde_json::to_writer(&mut *out, &**text).expect("a vector takes every text");
        }
        Data::Binary(bytes) => put(out, format_args!("\"base64\":\"{}\"", STANDARD.encode(bytes))),
    }
}

fn encode_poll(out: &mut Vec<u8>, batch: &Batch) {
    out.extend_from_slice(b"{\"events\":[");
    for (place, event) in batch.events.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        encode_json(out, event);
    }
    put(out, format_args!("],\"next\":\"{}\"", batch.next));
    if let Some(gap) = &batch.gap {
        put(out, format_args!(",\"gap\":{}", gap_text(gap)));
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use ropewalk_channel::{EventId, GapReason};

    use super::*;

    #[test]
    fn every_kind_says_the_same_in_its_way() {
        let event = |id, data: Data| Event { id: EventId(id), at_ms: 0, data };
        let gap = Gap { asked: EventId(1), resumed: EventId(3), reason: GapReason::Dropped, missed: Some(2) };
        let batch = Batch {
            gap: Some(gap),
            events: vec![event(4, "a \"b\"\nc".into()), event(5, vec![0xff, 0].into()), event(6, "".into())],
            next: EventId(6),
            more: false,
        };
        let said = |kind: Kind| String::from_utf8_lossy(&kind.encode(&batch)).into_owned();
        assert_eq!(
            said(Kind::Sse),
            "id: 3\nevent: gap\ndata: {\"asked\":\"1\",\"resumed\":\"3\",\"missed\":2}\n\n\
             id: 4\ndata: a \"b\"\ndata: c\n\nid: 5\nevent: binary\ndata: /wA=\n\nid: 6\ndata: \n\n"
        );
        assert_eq!(
            said(Kind::Json),
            "{\"id\":\"3\",\"gap\":{\"asked\":\"1\",\"resumed\":\"3\",\"missed\":2}}\n\
             {\"id\":\"4\",\"data\":\"a \\\"b\\\"\\nc\"}\n{\"id\":\"5\",\"base64\":\"/wA=\"}\n{\"id\":\"6\",\"data\":\"\"}\n"
        );
        assert_eq!(
            said(Kind::Poll),
            "{\"events\":[{\"id\":\"4\",\"data\":\"a \\\"b\\\"\\nc\"},{\"id\":\"5\",\"base64\":\"/wA=\"},{\"id\":\"6\",\"data\":\"\"}],\
             \"next\":\"6\",\"gap\":{\"asked\":\"1\",\"resumed\":\"3\",\"missed\":2}}"
        );
        let raw = Kind::Raw.encode(&batch);
        assert!(raw.starts_with(
            b"--- 2 lines were lost here: this reader was too slow ---\na \"b\"\nc\n\xff\0\n\n"
        ));
    }
}
