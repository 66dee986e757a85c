//! The boundary between parts, as a `Content-Type` names it. Called by whoever has a body to decode.

use super::parameters;

/// What stands between the parts of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary(Vec<u8>);

impl Boundary {
    /// RFC 2046 section 5.1.1.
    const BYTES_MAX: usize = 70;

    /// The boundary of a `Content-Type` that is `multipart/form-data`; none for another type, and for one without a boundary that can
    /// be one. More characters are taken than the RFC has: programs draw theirs with stars.
    #[must_use]
    pub fn of(content_type: &[u8]) -> Option<Boundary> {
        let (kind, parameters) = parameters::parse(content_type)?;
        let mut boundaries = parameters.into_iter().filter(|(name, _)| name == "boundary");
        let (_, boundary) = boundaries.next()?;
        let alone = boundaries.next().is_none();
        (kind == "multipart/form-data" && alone).then(|| Boundary::new(&boundary))?
    }

    /// A boundary that can be one: 1 to 70 visible characters, or spaces but for the last.
    #[must_use]
    pub fn new(text: &[u8]) -> Option<Boundary> {
        let fine = text.iter().all(|byte| matches!(byte, b' '..=b'~')) && !text.ends_with(b" ");
        (fine && !text.is_empty() && text.len() <= Boundary::BYTES_MAX).then(|| Boundary(text.to_vec()))
    }

    /// It as it was named.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
