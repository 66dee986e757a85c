//! The request line, byte by byte: `method SP request-target SP HTTP-version CRLF` (RFC 9112 3).
//!
//! It stops at the first byte that cannot be HTTP and continues where the last window ended. It does not keep bytes and
//! knows no limits: [`Head`](super::Head) owns both and calls [`RequestLine::scan`] with a window that has them applied.

use super::Refusal;
use super::bytes::{path_end, query_end, token_end};
use super::target::{Target, may_begin};

/// Longer than any registered method (`UPDATEREDIRECTREF` has 17 bytes).
const METHOD_BYTES_MAX: usize = 32;

/// The version of a request. Answers always say HTTP/1.1 (RFC 9110 6.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0: closes unless it asks to stay, knows no chunks, no expectations and no upgrades.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Method,
    Target,
    Version,
    Complete,
}

/// The scanner and what it found. Offsets count from the head's first byte.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestLine {
    part: Part,
    pub(super) version: Version,
    pub(super) at: u32,
    pub(super) method_end: u32,
    /// Where the first '?' is; 0 while there is none.
    query_at: u32,
    pub(super) target_end: u32,
    pub(super) target: Target,
}

impl RequestLine {
    pub(super) fn is_complete(&self) -> bool {
        self.part == Part::Complete
    }

    /// Continues in `window`, which begins with the head's first byte. `true` when the line is complete.
    #[inline]
    pub(super) fn scan(&mut self, window: &[u8]) -> Result<bool, Refusal> {
        Ok((self.part != Part::Method || self.scan_method(window)?)
            && (self.part != Part::Target || self.scan_target(window)?)
            && (self.part != Part::Version || self.scan_version(window)?))
    }

    #[inline]
    fn scan_method(&mut self, window: &[u8]) -> Result<bool, Refusal> {
        let at = token_end(window, self.at as usize);
        self.at = at as u32;
        if at > METHOD_BYTES_MAX {
            return Err(Refusal::MethodTooLong);
        }
        match window.get(at) {
            None => return Ok(false),
            Some(b' ') if at > 0 => {}
            Some(b'\n') => return Err(Refusal::BareLf),
            Some(_) => return Err(Refusal::BadMethod),
        }
        self.method_end = at as u32;
        self.at = at as u32 + 1;
        self.part = Part::Target;
        Ok(true)
    }

    #[inline]
    fn scan_target(&mut self, window: &[u8]) -> Result<bool, Refusal> {
        let mut at = self.at as usize;
        if at == self.method_end as usize + 1 {
            match window.get(at) {
                None => return Ok(false),
                Some(b'\n') => return Err(Refusal::BareLf),
                Some(&first) if may_begin(&window[..at - 1], first) => {}
                Some(_) => return Err(Refusal::BadTarget),
            }
        }
        if self.query_at == 0 {
            at = path_end(window, at);
            if window.get(at) == Some(&b'?') {
                self.query_at = at as u32;
            }
        }
        if self.query_at != 0 {
            at = query_end(window, at);
        }
        self.at = at as u32;
        match window.get(at) {
            None => return Ok(false),
            Some(b' ') => {}
            Some(b'\n') => return Err(Refusal::BareLf),
            Some(_) => return Err(Refusal::BadTarget),
        }
        self.target_end = at as u32;
        self.at = at as u32 + 1;
        self.part = Part::Version;
        Ok(true)
    }

    #[inline]
    fn scan_version(&mut self, window: &[u8]) -> Result<bool, Refusal> {
        let start = self.target_end as usize + 1;
        let rest = window.get(start..).unwrap_or_default();
        if rest.starts_with(b"HTTP/1.1\r\n") {
            self.at = start as u32 + 10;
        } else if !self.scan_version_slowly(rest, start)? {
            return Ok(false);
        }
        let (target_start, target_end) = (self.method_end as usize + 1, self.target_end as usize);
        self.target = Target::locate(window, target_start, target_end, self.query_at as usize)?;
        self.part = Part::Complete;
        Ok(true)
    }

    /// The same for a version that is not whole yet, or not HTTP/1.1.
    fn scan_version_slowly(&mut self, rest: &[u8], start: usize) -> Result<bool, Refusal> {
        for (index, &byte) in rest.iter().enumerate().skip(self.at as usize - start) {
            let fits = match index {
                0..=4 => byte == b"HTTP/"[index],
                5 | 7 => byte.is_ascii_digit(),
                6 => byte == b'.',
                8 => byte == b'\r',
                _ if byte == b'\n' => {
                    self.at = (start + index) as u32 + 1;
                    return Ok(true);
                }
                _ => return Err(Refusal::BareCr),
            };
            match (fits, byte) {
                (true, _) if index == 7 => self.version = version(rest[5], byte)?,
                (true, _) => {}
                (false, b'\n') => return Err(Refusal::BareLf),
                (false, _) => return Err(Refusal::BadVersion),
            }
        }
        self.at = (start + rest.len()) as u32;
        Ok(false)
    }
}

/// RFC 9110 15.6.6: a major version that is not supported is answered with 505; of HTTP/1 only two minors exist.
fn version(major: u8, minor: u8) -> Result<Version, Refusal> {
    match (major, minor) {
        (b'1', b'0') => Ok(Version::Http10),
        (b'1', b'1') => Ok(Version::Http11),
        _ => Err(Refusal::VersionNotSupported),
    }
}
