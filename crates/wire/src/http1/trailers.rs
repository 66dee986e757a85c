//! The trailer section of a chunked body (RFC 9112 7.1.2): fields like those of a head, with less that they may say.
//!
//! It is made only when a first trailer comes, and it does not merge anything into the head. Its owner is
//! [`BodyDecoder`](super::BodyDecoder).

use super::fields::{FieldScanner, FieldSpan};
use super::{BodyLimits, Refusal};

/// How much is copied at once: what follows the section in the same input is copied in vain.
const BITE_BYTES: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Trailers {
    raw: Vec<u8>,
    lines: FieldScanner,
    fields: Vec<FieldSpan>,
}

impl Trailers {
    /// Feeds the next bytes; how many were consumed when the section is complete, otherwise all of them were.
    pub(super) fn feed(&mut self, input: &[u8], limits: &BodyLimits) -> Result<Option<usize>, Refusal> {
        let mut fed = 0;
        for bite in input.chunks(BITE_BYTES) {
            let before = self.raw.len();
            self.raw.extend_from_slice(bite);
            if self.scan(limits)? {
                return Ok(Some(fed + self.lines.at as usize - before));
            }
            fed += bite.len();
        }
        Ok(None)
    }

    fn scan(&mut self, limits: &BodyLimits) -> Result<bool, Refusal> {
        let bytes_max = limits.trailer_bytes_max.min(u32::MAX as usize - 1);
        let window = &self.raw[..self.raw.len().min(bytes_max)];
        let many = (limits.trailer_fields_max, Refusal::TooManyTrailers);
        let complete =
            self.lines.scan(window, &mut self.fields, many, |span, _| permit(span.name(window)))?;
        if !complete && self.raw.len() > bytes_max {
            return Err(Refusal::TrailersTooLarge);
        }
        Ok(complete)
    }

    pub(super) fn into_fields(self) -> Vec<(String, Vec<u8>)> {
        let own = |span: &FieldSpan| {
            let name = String::from_utf8_lossy(span.name(&self.raw)).into_owned();
            (name, span.value(&self.raw).to_vec())
        };
        self.fields.iter().map(own).collect()
    }
}

/// RFC 9110 6.5.1: fields for framing or routing MUST NOT be sent as trailers; to meet one is to meet a smuggler.
pub(super) fn permit(name: &[u8]) -> Result<(), Refusal> {
    let forbidden = [&b"content-length"[..], b"transfer-encoding", b"host"];
    if forbidden.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden)) {
        return Err(Refusal::ForbiddenTrailer);
    }
    Ok(())
}
