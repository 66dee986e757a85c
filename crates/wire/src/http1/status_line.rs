//! The status line, byte by byte: `HTTP-version SP status-code SP [ reason-phrase ] CRLF` (RFC 9112 4).
//!
//! It stops at the first byte that cannot be HTTP and continues where the last window ended. It keeps no bytes and knows no
//! limits: [`ResponseHead`](super::ResponseHead) owns both. Not the writing of one: that is the encoder's.

use super::bytes::value_end;
use super::{Refusal, Version};

/// `HTTP/1.1 200`: what every status line begins with, by its places.
const FIXED_BYTES: u32 = 12;
const VERSION_MINOR_AT: u32 = 7;
const STATUS_AT: u32 = 9;

/// The scanner and what it found. Offsets count from the head's first byte.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StatusLine {
    pub(super) version: Version,
    pub(super) status: u16,
    /// Behind the line's LF, once it is complete.
    pub(super) at: u32,
    pub(super) reason: (u32, u32),
    part: Part,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Fixed,
    Space,
    Reason,
    Lf,
    Complete,
}

impl StatusLine {
    pub(super) fn is_complete(&self) -> bool {
        self.part == Part::Complete
    }

    /// Continues in `window`, which begins with the head's first byte. `true` when the line is complete.
    pub(super) fn scan(&mut self, window: &[u8]) -> Result<bool, Refusal> {
        while let Some(&byte) = window.get(self.at as usize) {
            match self.part {
                Part::Fixed => self.fixed(byte)?,
                Part::Space => self.space(byte)?,
                Part::Reason => {
                    let end = value_end(window, self.at as usize);
                    self.at = end as u32;
                    self.reason.1 = self.at;
                    match window.get(end) {
                        None => return Ok(false),
                        Some(b'\r') => self.part = Part::Lf,
                        Some(b'\n') => return Err(Refusal::BareLf),
                        Some(_) => return Err(Refusal::BadStatusLine),
                    }
                }
                Part::Lf if byte == b'\n' => self.part = Part::Complete,
                Part::Lf => return Err(Refusal::BareCr),
                Part::Complete => return Ok(true),
            }
            self.at += 1;
        }
        Ok(self.is_complete())
    }

    fn fixed(&mut self, byte: u8) -> Result<(), Refusal> {
        let fits = match self.at {
            VERSION_MINOR_AT => {
                self.version = if byte == b'0' { Version::Http10 } else { Version::Http11 };
                matches!(byte, b'0' | b'1')
            }
            STATUS_AT.. => {
                // RFC 9110 15: the first digit is the class, so it is never 0. Classes that nobody knows are let through.
                let digit = byte.wrapping_sub(b'0');
                self.status = self.status * 10 + u16::from(digit);
                digit <= 9 && (self.at > STATUS_AT || digit > 0)
            }
            at => byte == b"HTTP/1.1 "[at as usize],
        };
        if !fits {
            return Err(Refusal::BadStatusLine);
        }
        if self.at + 1 == FIXED_BYTES {
            self.part = Part::Space;
        }
        Ok(())
    }

    /// RFC 9112 4: the space MUST be sent even if the phrase is absent. Servers forget it, and nothing hangs on it.
    fn space(&mut self, byte: u8) -> Result<(), Refusal> {
        self.reason = (self.at + 1, self.at + 1);
        self.part = match byte {
            b' ' => Part::Reason,
            b'\r' => Part::Lf,
            b'\n' => return Err(Refusal::BareLf),
            _ => return Err(Refusal::BadStatusLine),
        };
        Ok(())
    }
}
