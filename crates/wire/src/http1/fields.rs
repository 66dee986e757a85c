//! Field lines, byte by byte: `field-name ":" OWS field-value OWS CRLF`, up to the empty line (RFC 9112 5).
//!
//! The same scanner reads a request's header section and a chunked body's trailer section. It knows what a field looks
//! like, not what any field means: whoever calls [`FieldScanner::scan`] is told of each field as soon as it is whole.

use super::Refusal;
use super::bytes::{is_ows, is_token, token_end, value_end};

/// One field by its offsets; the value is without the whitespace around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FieldSpan {
    name_start: u32,
    name_end: u32,
    value_start: u32,
    value_end: u32,
}

impl FieldSpan {
    #[inline]
    pub(super) fn name<'a>(&self, raw: &'a [u8]) -> &'a [u8] {
        raw.get(self.name_start as usize..self.name_end as usize).unwrap_or_default()
    }

    #[inline]
    pub(super) fn value<'a>(&self, raw: &'a [u8]) -> &'a [u8] {
        raw.get(self.value_start as usize..self.value_end as usize).unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    LineStart,
    Name,
    ValueStart,
    Value,
    ValueLf,
    EndLf,
}

/// The scanner's place. Offsets count from the first byte of the window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FieldScanner {
    part: Part,
    pub(super) at: u32,
    name_start: u32,
    name_end: u32,
    value_start: u32,
    value_end: u32,
}

impl FieldScanner {
    pub(super) fn starting_at(at: u32) -> Self {
        Self { at, ..Self::default() }
    }

    /// Continues in `window`; `true` when the empty line was read and `at` is behind it.
    ///
    /// `too_many` is the refusal for a field beyond `fields_max`, given at the first byte of its name.
    #[inline]
    pub(super) fn scan(
        &mut self,
        window: &[u8],
        spans: &mut Vec<FieldSpan>,
        (fields_max, too_many): (usize, Refusal),
        mut on_field: impl FnMut(FieldSpan, usize) -> Result<(), Refusal>,
    ) -> Result<bool, Refusal> {
        // A copy, so that it lives in registers; a refusal is final and need not be stored.
        let mut line = *self;
        loop {
            // A part that is already behind is passed through: only the first line of a window begins within.
            if line.part == Part::LineStart && line.scan_start(window)? && spans.len() >= fields_max {
                return Err(too_many);
            }
            if line.part == Part::EndLf {
                let ended = line.scan_lf(window)?;
                *self = line;
                return Ok(ended);
            }
            if !(line.scan_name(window)? && line.scan_value(window)? && line.scan_value_lf(window)?) {
                *self = line;
                return Ok(false);
            }
            line.part = Part::LineStart;
            let span = line.span();
            on_field(span, spans.len())?;
            spans.push(span);
        }
    }

    /// `true` when a field begins here.
    #[inline]
    fn scan_start(&mut self, window: &[u8]) -> Result<bool, Refusal> {
        match window.get(self.at as usize) {
            None => return Ok(false),
            Some(b'\r') => {
                self.at += 1;
                self.part = Part::EndLf;
                return Ok(false);
            }
            Some(&byte) if is_token(byte) => {}
            // RFC 9112 5.2 obs-fold, and 2.2 whitespace before the first field: both MUST be rejected or rewritten.
            Some(b' ' | b'\t') => return Err(Refusal::FoldedLine),
            Some(b':') => return Err(Refusal::EmptyFieldName),
            Some(b'\n') => return Err(Refusal::BareLf),
            Some(_) => return Err(Refusal::BadFieldName),
        }
        self.name_start = self.at;
        self.part = Part::Name;
        Ok(true)
    }

    #[inline]
    fn scan_name(&mut self, window: &[u8]) -> Result<bool, Refusal> {
        if self.part != Part::Name {
            return Ok(self.part != Part::LineStart);
        }
        let at = token_end(window, self.at as usize);
        self.at = at as u32;
        match window.get(at) {
            None => return Ok(false),
            Some(b':') => {}
            // RFC 9112 5.1: whitespace between the name and the colon MUST be answered with 400.
            Some(b' ' | b'\t') => return Err(Refusal::SpaceBeforeColon),
            Some(b'\n') => return Err(Refusal::BareLf),
            Some(_) => return Err(Refusal::BadFieldName),
        }
        self.name_end = at as u32;
        self.at += 1;
        self.part = Part::ValueStart;
        Ok(true)
    }

    #[inline]
    fn scan_value(&mut self, window: &[u8]) -> Result<bool, Refusal> {
        if self.part == Part::ValueStart {
            while window.get(self.at as usize).is_some_and(|&byte| is_ows(byte)) {
                self.at += 1;
            }
            self.value_start = self.at;
            self.part = if (self.at as usize) < window.len() { Part::Value } else { Part::ValueStart };
        }
        if self.part != Part::Value {
            return Ok(self.part == Part::ValueLf);
        }
        let at = value_end(window, self.at as usize);
        self.at = at as u32;
        match window.get(at) {
            None => return Ok(false),
            Some(b'\r') => {}
            Some(b'\n') => return Err(Refusal::BareLf),
            // RFC 9110 5.5: CR, LF and NUL MUST be rejected or replaced; other controls are as invalid.
            Some(_) => return Err(Refusal::BadFieldValue),
        }
        let value = window.get(self.value_start as usize..at).unwrap_or_default();
        let trailing = value.iter().rev().take_while(|&&byte| is_ows(byte)).count();
        self.value_end = (at - trailing) as u32;
        self.at += 1;
        self.part = Part::ValueLf;
        Ok(true)
    }

    #[inline]
    fn scan_value_lf(&mut self, window: &[u8]) -> Result<bool, Refusal> {
        Ok(self.part == Part::ValueLf && self.scan_lf(window)?)
    }

    /// RFC 9112 2.2: a CR without LF behind it MUST be taken as invalid or replaced.
    #[inline]
    fn scan_lf(&mut self, window: &[u8]) -> Result<bool, Refusal> {
        match window.get(self.at as usize) {
            None => Ok(false),
            Some(b'\n') => {
                self.at += 1;
                Ok(true)
            }
            Some(_) => Err(Refusal::BareCr),
        }
    }

    #[inline]
    fn span(&self) -> FieldSpan {
        let Self { name_start, name_end, value_start, value_end, .. } = *self;
        FieldSpan { name_start, name_end, value_start, value_end }
    }
}

/// The fields of a head in the order they were sent: `(name, value)`, the name in the sender's case.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    pub(super) raw: &'a [u8],
    pub(super) spans: std::slice::Iter<'a, FieldSpan>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let span = self.spans.next()?;
        // A name is made of token bytes, so this never is the empty string.
        Some((std::str::from_utf8(span.name(self.raw)).unwrap_or_default(), span.value(self.raw)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }
}

impl ExactSizeIterator for Fields<'_> {}
