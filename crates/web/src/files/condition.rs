//! Conditional requests (RFC 9110 13): what a client already has, and whether it gets the file, a part of it, or neither.
//! Validators are made here from what the file system says of a file, or from what a handler says of its answer; nothing is
//! opened or read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::root::Facts;

/// A file that was changed so shortly before may change again within the same tick of the clock that stamps it (at most
/// 10 ms on Linux), and keep its tag: until then the tag is weak (RFC 9110 8.8.1).
const TICK: Duration = Duration::from_millis(50);
/// The same where a stamp has no fraction: file systems that count in seconds, or in pairs of them.
const TICK_COARSE: Duration = Duration::from_secs(2);
/// The last second of the year 9999, behind which a date has no form (RFC 9110 5.6.7).
const DATE_MAX_S: i64 = 253_402_300_799;

/// The condition fields of a request, and its `Range`.
#[derive(Debug, Default)]
pub(crate) struct Conditions<'a> {
    if_match: Vec<&'a [u8]>,
    if_none_match: Vec<&'a [u8]>,
    if_modified_since: Option<&'a [u8]>,
    if_unmodified_since: Option<&'a [u8]>,
    if_range: Option<&'a [u8]>,
    range: Option<&'a [u8]>,
}

/// By what a client knows the file's state.
#[derive(Debug)]
pub(crate) struct Validators {
    /// With its quotes, without the mark of a weak one. Empty, which no tag is, for an answer without one.
    tag: String,
    weak: bool,
    /// Whole seconds since the epoch, as a date can tell them; none for an answer that says nothing of it.
    modified_s: Option<i64>,
    now_s: i64,
    /// There are several representations, so that a date is not one's own: RFC 9110 8.8.1 calls it weak then.
    shared: bool,
}

/// What the conditions come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// 200, or 206 for the range.
    Send(Option<&'a [u8]>),
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

impl<'a> Conditions<'a> {
    pub(crate) fn read(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Conditions<'a> {
        let mut conditions = Conditions::default();
        for (name, value) in fields {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is("if-none-match") {
                conditions.if_none_match.push(value);
            } else if is("if-modified-since") {
                once(&mut conditions.if_modified_since, value);
            } else if is("range") {
                once(&mut conditions.range, value);
            } else if is("if-range") {
                once(&mut conditions.if_range, value);
            } else if is("if-match") {
                conditions.if_match.push(value);
            } else if is("if-unmodified-since") {
                once(&mut conditions.if_unmodified_since, value);
            }
        }
        conditions
    }

    /// Judges in the order of RFC 9110 13.2.2. `get` is false for HEAD, to which ranges do not apply.
    pub(crate) fn judge(&self, file: &Validators, get: bool) -> Verdict<'a> {
        if !self.if_match.is_empty() {
            if !listed(&self.if_match, |tag| tag.strongly_is(file)) {
                return Verdict::Failed;
            }
        } else if file.changed_since(self.if_unmodified_since) == Some(true) {
            return Verdict::Failed;
        }
        if !self.if_none_match.is_empty() {
            if listed(&self.if_none_match, |tag| tag.weakly_is(file)) {
                return Verdict::NotModified;
            }
        } else if file.changed_since(self.if_modified_since) == Some(false) {
            return Verdict::NotModified;
        }
        let same = self.if_range.is_none_or(|validator| file.is_exactly(validator));
        Verdict::Send(self.range.filter(|_| get && same))
    }
}

/// A field that may come once. Sent twice it says nothing, so it is kept as a value that never is valid.
fn once<'a>(slot: &mut Option<&'a [u8]>, value: &'a [u8]) {
    *slot = Some(if slot.is_some() { b"" } else { value });
}

impl Validators {
    pub(in crate::files) fn new(facts: &Facts, now: SystemTime) -> Validators {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let modified = Duration::new(u64::try_from(facts.modified_s).unwrap_or(0), facts.modified_ns);
        let tick = if facts.modified_ns == 0 { TICK_COARSE } else { TICK };
        Validators {
            tag: tag(facts),
            weak: now.abs_diff(modified) < tick,
            modified_s: Some(facts.modified_s.clamp(0, DATE_MAX_S)),
            now_s: i64::try_from(now.as_secs()).unwrap_or(DATE_MAX_S),
            shared: false,
        }
    }

    /// The same for one of several representations, which is in this coding or in none: its tag is its own, also where a copy
    /// has the file's inode.
    pub(super) fn of_several(mut self, coding: Option<&str>) -> Validators {
        if let Some(coding) = coding {
            self.tag.pop();
            self.tag.extend(["-", coding, "\""]);
        }
        self.shared = true;
        self
    }

    /// Whether the file has rested for so long that another change would change its stamp.
    pub(super) fn has_rested(&self) -> bool {
        !self.weak
    }

    /// Those of an answer that is no file: a strong tag with its quotes, and a date in the form of a field.
    pub(crate) fn of_answer(tag: Option<&str>, modified: Option<&str>) -> Validators {
        Validators {
            tag: tag.unwrap_or_default().to_owned(),
            weak: false,
            modified_s: modified.and_then(|text| date(text.as_bytes())),
            now_s: 0,
            shared: false,
        }
    }

    /// None when one of the dates is not there, or is none.
    fn changed_since(&self, field: Option<&[u8]>) -> Option<bool> {
        Some(self.modified_s? > date(field?)?)
    }

    /// The value of `ETag`.
    pub(crate) fn tag(&self) -> String {
        if self.weak { format!("W/{}", self.tag) } else { self.tag.clone() }
    }

    /// The value of `Last-Modified`. RFC 9110 8.8.2.1: it MUST NOT be later than the answer itself.
    pub(crate) fn modified(&self) -> String {
        let seconds = u64::try_from(self.modified_s.unwrap_or(0).min(self.now_s)).unwrap_or(0);
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// RFC 9110 13.1.5: a tag by strong comparison, or a date that is the very one, of a file that has rested since.
    fn is_exactly(&self, validator: &[u8]) -> bool {
        match Tag::read(validator) {
            Some((tag, b"")) => tag.strongly_is(self),
            Some(_) => false,
            None => {
                !self.shared
                    && date(validator).is_some_and(|date| self.modified_s == Some(date) && self.now_s > date)
            }
        }
    }
}

/// Inode, size and time of change: whoever replaces a file, or writes to it, changes one of them.
fn tag(facts: &Facts) -> String {
    let mut tag = String::with_capacity(48);
    tag.push('"');
    for (index, number) in
        [facts.inode, facts.size, facts.modified_s.cast_unsigned(), u64::from(facts.modified_ns)]
            .into_iter()
            .enumerate()
    {
        if index > 0 {
            tag.push('-');
        }
        push_hexadecimal(&mut tag, number);
    }
    tag.push('"');
    tag
}

/// Without the formatting machinery, which would take longer than finding the file.
fn push_hexadecimal(text: &mut String, number: u64) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
    for index in (0..digits).rev() {
        let digit = (number >> (index * 4) & 0xf) as usize;
        text.push(char::from(b"0123456789abcdef"[digit]));
    }
}

/// A date in one of the three forms that RFC 9110 5.6.7 says MUST be accepted; one that is not a date is ignored.
fn date(value: &[u8]) -> Option<i64> {
    let time = httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// An entity tag (RFC 9110 8.8.3).
struct Tag<'a> {
    weak: bool,
    /// With its quotes.
    opaque: &'a [u8],
}

impl<'a> Tag<'a> {
    /// The tag that `text` begins with, and what is behind it.
    fn read(text: &'a [u8]) -> Option<(Tag<'a>, &'a [u8])> {
        let quoted = text.strip_prefix(b"W/");
        let (weak, quoted) = (quoted.is_some(), quoted.unwrap_or(text));
        let inner = quoted.strip_prefix(b"\"")?;
        let end = inner.iter().position(|&byte| byte == b'"')? + 2;
        Some((Tag { weak, opaque: &quoted[..end] }, &quoted[end..]))
    }

    /// RFC 9110 8.8.3.2: both are strong, and the same.
    fn strongly_is(&self, file: &Validators) -> bool {
        !self.weak && !file.weak && self.opaque == file.tag.as_bytes()
    }

    fn weakly_is(&self, file: &Validators) -> bool {
        self.opaque == file.tag.as_bytes()
    }
}

/// Whether a list of tags has one that fits; `*` fits every file that is there. What is malformed ends its line.
fn listed(lines: &[&[u8]], fits: impl Fn(&Tag<'_>) -> bool) -> bool {
    lines.iter().any(|line| {
        let mut rest = line.trim_ascii();
        if rest == b"*" {
            return true;
        }
        loop {
            while let [b',' | b' ' | b'\t', behind @ ..] = rest {
                rest = behind;
            }
            match Tag::read(rest) {
                Some((tag, _)) if fits(&tag) => return true,
                Some((_, behind)) => rest = behind,
                None => return false,
            }
        }
    })
}

#[cfg(test)]
mod tests;
