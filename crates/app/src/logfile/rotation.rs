//! When a log file is put aside, and what is kept of those that were. What it means is done in `file` and `archive`; the command line
//! and programs write it.

use std::fmt;
use std::str::FromStr;

/// When a log file is put aside, and how many of them are kept. The default is never, and all.
///
/// ```
/// use ropewalk_app::{At, Rotation};
/// let rotation = Rotation { at: At::Daily, keep: Some(14), compress: true, ..Rotation::default() };
/// assert_eq!("100M".parse(), Ok(At::Size(100 << 20)));
/// # drop(rotation);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// When a new file is begun.
    pub at: At,
    /// So many files are kept beside the one that is written, and the oldest deleted. All of them, if it is `None`.
    pub keep: Option<usize>,
    /// All files together, the one that is written among them, may have so many bytes; the oldest are deleted for it.
    pub total_bytes: Option<u64>,
    /// Files that were put aside are compressed (gzip).
    pub compress: bool,
}

/// When a new log file is begun. It may also be asked for, whatever is written here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum At {
    /// Never by itself.
    #[default]
    Never,
    /// At local midnight, with the first line of the new day.
    Daily,
    /// Before the file would have more bytes than this.
    Size(u64),
    /// Whichever comes first.
    DailyOrSize(u64),
}

impl At {
    pub(super) fn daily(self) -> bool {
        matches!(self, At::Daily | At::DailyOrSize(_))
    }

    pub(super) fn size(self) -> Option<u64> {
        match self {
            At::Size(bytes) | At::DailyOrSize(bytes) => Some(bytes),
            At::Never | At::Daily => None,
        }
    }
}

/// What is neither `daily`, `never` nor a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtError;

impl fmt::Display for AtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write daily, never, a size such as 100M (k, M, G), or daily,100M")
    }
}

impl std::error::Error for AtError {}

/// `daily`, `never`, a number of bytes with `k`, `M` or `G` (of 1024) behind it or none, or `daily,SIZE`.
impl FromStr for At {
    type Err = AtError;

    fn from_str(text: &str) -> Result<At, AtError> {
        match text {
            "never" => Ok(At::Never),
            "daily" => Ok(At::Daily),
            _ => match text.strip_prefix("daily,") {
                Some(size) => Ok(At::DailyOrSize(bytes(size)?)),
                None => Ok(At::Size(bytes(text)?)),
            },
        }
    }
}

fn bytes(text: &str) -> Result<u64, AtError> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    // A sign is no digit, though `parse` would take it.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AtError);
    }
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes.filter(|bytes| *bytes > 0).ok_or(AtError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_four_ways() {
        assert_eq!("never".parse(), Ok(At::Never));
        assert_eq!("daily".parse(), Ok(At::Daily));
        assert_eq!("4096".parse(), Ok(At::Size(4096)));
        assert_eq!("64k".parse(), Ok(At::Size(65_536)));
        assert_eq!("daily,1G".parse(), Ok(At::DailyOrSize(1 << 30)));
        for wrong in [
            "",
            "0",
            "0k",
            "k",
            "+5",
            "-1",
            "5 M",
            "1T",
            "weekly",
            "daily,",
            "99999999999999999999",
            "99999999999999G",
        ] {
            assert_eq!(wrong.parse::<At>(), Err(AtError), "{wrong}");
        }
    }
}
