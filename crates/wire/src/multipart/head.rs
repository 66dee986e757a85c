//! The head of one part: a few fields, checked as strictly as a request's. Made by `decoder`.

use super::disposition::Disposition;
use super::{Malformed, parameters};

/// The fields of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartHead {
    fields: Vec<(String, Vec<u8>)>,
}

impl PartHead {
    /// Reads lines that each end with CRLF. A line that goes on in the next one (RFC 5322 section 2.2.3) is refused, as in a request: nobody
    /// writes them, and two readers may read them differently.
    pub(super) fn read(text: &[u8]) -> Result<PartHead, Malformed> {
        let mut fields = Vec::new();
        let mut rest = text;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let line = rest[..end].strip_suffix(b"\r").ok_or(Malformed::Field)?;
            rest = &rest[end + 1..];
            fields.push(field(line).ok_or(Malformed::Field)?);
        }
        Ok(PartHead { fields })
    }

    /// All fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The first field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// What the part says it is (RFC 7578 section 4.2).
    ///
    /// # Errors
    /// There is no `Content-Disposition`, or two, or it is not `form-data` with a name.
    pub fn disposition(&self) -> Result<Disposition, Malformed> {
        let mut values = self.fields().filter(|(name, _)| name.eq_ignore_ascii_case("content-disposition"));
        let (_, value) = values.next().ok_or(Malformed::Disposition)?;
        if values.next().is_some() {
            return Err(Malformed::Disposition);
        }
        let disposition = Disposition::read(value).ok_or(Malformed::Disposition)?;
        if disposition.kind != "form-data" || disposition.name.is_none() {
            return Err(Malformed::Disposition);
        }
        Ok(disposition)
    }

    /// The type that the sender says it is of, if that is text; `text/plain` is meant where there is none (RFC 7578 section 4.4).
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        std::str::from_utf8(self.field("content-type")?).ok()
    }
}

fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = memchr::memchr(b':', line)?;
    let name = std::str::from_utf8(&line[..colon]).ok()?;
    let value = line[colon + 1..].trim_ascii();
    let fine = !name.is_empty() && name.bytes().all(parameters::is_token);
    let clean = value.iter().all(|&byte| byte == b'\t' || !byte.is_ascii_control());
    (fine && clean).then(|| (name.to_owned(), value.to_vec()))
}
