//! A `Set-Cookie` value taken apart, as RFC 6265 section 5.2 has a user agent do it: forgiving in everything but control characters.
//! Its dates are those of section 5.1.1. Nothing here knows a jar or a host.

use std::time::{Duration, SystemTime};

/// Name and value together; longer ones are passed over.
const PAIR_BYTES_MAX: usize = 4096;
/// An attribute's value; longer ones are as if they were not there.
const ATTRIBUTE_BYTES_MAX: usize = 1024;
/// No cookie lives longer than 400 days, whatever it says.
const AGE_MAX: Duration = Duration::from_secs(400 * 24 * 3600);

#[derive(Debug)]
pub(super) struct SetCookie<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    /// In lower case, without a dot in front.
    pub(super) domain: Option<String>,
    /// One that begins with a slash.
    pub(super) path: Option<&'a str>,
    pub(super) secure: bool,
    pub(super) http_only: bool,
    date: Option<SystemTime>,
    max_age: Option<i64>,
}

impl<'a> SetCookie<'a> {
    pub(super) fn parse(text: &'a str) -> Option<SetCookie<'a>> {
        if text.bytes().any(|byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
            return None;
        }
        let mut parts = text.split(';');
        let pair = parts.next()?;
        let (name, value) = pair.split_once('=').unwrap_or(("", pair));
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() && value.is_empty() || name.len() + value.len() > PAIR_BYTES_MAX {
            return None;
        }
        let (domain, path, date, max_age) = (None, None, None, None);
        let mut set = SetCookie { name, value, domain, path, secure: false, http_only: false, date, max_age };
        parts.for_each(|part| set.attribute(part));
        Some(set)
    }

    /// The last attribute of a name counts.
    fn attribute(&mut self, part: &'a str) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim();
        if value.len() > ATTRIBUTE_BYTES_MAX {
            return;
        }
        match name.trim().to_ascii_lowercase().as_str() {
            "domain" => {
                let domain = value.strip_prefix('.').unwrap_or(value).to_ascii_lowercase();
                self.domain = Some(domain).filter(|domain| !domain.is_empty());
            }
            "path" => self.path = Some(value).filter(|path| path.starts_with('/')),
            "secure" => self.secure = true,
            "httponly" => self.http_only = true,
            "expires" => self.date = date(value).or(self.date),
            "max-age" => self.max_age = age(value).or(self.max_age),
            _ => {}
        }
    }

    /// When it goes. Max-Age counts before Expires; what is in the past takes a cookie away.
    pub(super) fn expires(&self, now: SystemTime) -> Option<SystemTime> {
        let at = match (self.max_age, self.date) {
            (Some(seconds), _) => match u64::try_from(seconds) {
                Ok(seconds @ 1..) => now + Duration::from_secs(seconds).min(AGE_MAX),
                _ => SystemTime::UNIX_EPOCH,
            },
            (None, Some(date)) => date,
            (None, None) => return None,
        };
        Some(at.min(now + AGE_MAX))
    }
}

/// A number of seconds, however large.
fn age(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(i64::MAX).saturating_mul(sign))
}

/// The folder of a path: RFC 6265 5.1.4.
pub(super) fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &path[..at],
    }
}

/// A date in one of the many ways that servers write it (RFC 6265 5.1.1): the first part that looks like a time is the time, and
/// so on.
fn date(text: &str) -> Option<SystemTime> {
    let is_delimiter = |c: char| matches!(c, '\t' | ' '..='/' | ';'..='@' | '['..='`' | '{'..='~');
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(is_delimiter).filter(|token| !token.is_empty()) {
        if time.is_none()
            && let Some(found) = clock(token)
        {
            time = Some(found);
        } else if day.is_none()
            && let Some(found) = leading(token, 1, 2)
        {
            day = Some(found);
        } else if month.is_none()
            && let Some(found) = month_of(token)
        {
            month = Some(found);
        } else if year.is_none()
            && let Some(found) = leading(token, 2, 4)
        {
            year = Some(match found {
                70..=99 => found + 1900,
                0..=69 => found + 2000,
                _ => found,
            });
        }
    }
    let ((hour, minute, second), day, month, year) = (time?, day?, month?, year?);
    let is_date = (1..=31).contains(&day) && year >= 1601 && hour <= 23 && minute <= 59 && second <= 59;
    if !is_date {
        return None;
    }
    let days = days_since_epoch(i64::from(year), i64::from(month), i64::from(day));
    let seconds = days * 86_400 + i64::from(hour * 3600 + minute * 60 + second);
    // What was before 1970 is over either way.
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// `hh:mm:ss` at the beginning, with one or two digits each.
fn clock(token: &str) -> Option<(u32, u32, u32)> {
    let mut parts = token.splitn(3, ':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next()?);
    let whole =
        |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| leading(part, 1, 2)).flatten();
    Some((whole(hour)?, whole(minute)?, leading(second, 1, 2)?))
}

/// A number of so many digits, and then none.
fn leading(token: &str, fewest: usize, most: usize) -> Option<u32> {
    let digits = token.bytes().take_while(u8::is_ascii_digit).count();
    (fewest..=most).contains(&digits).then(|| token[..digits].parse().ok()).flatten()
}

fn month_of(token: &str) -> Option<u32> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let short = token.get(..3)?.to_ascii_lowercase();
    MONTHS.iter().position(|month| *month == short).and_then(|at| u32::try_from(at + 1).ok())
}

/// Days from 1970-01-01 in the Gregorian calendar; the years begin in March, so that the leap day is the last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_every_kind() {
        let at =
            |text: &str| date(text).map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "06 november 1994 8:49:37",
            "Sun, 06-Nov-1994 08:49:37 UTC",
        ] {
            assert_eq!(at(text), Some(784_111_777), "{text}");
        }
        assert_eq!(at("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        assert_eq!(at("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(at("Mon, 01 Jan 1601 00:00:00 GMT"), Some(0));
        for text in
            ["", "tomorrow", "06 Nov 1994", "32 Nov 1994 08:49:37", "6 Nov 1994 24:00:00", "6 Nov 1600 0:0:0"]
        {
            assert_eq!(at(text), None, "{text}");
        }
    }

    #[test]
    fn ages_of_every_size() {
        for (text, seconds) in [
            ("7", Some(7)),
            ("-7", Some(-7)),
            ("99999999999999999999", Some(i64::MAX)),
            ("", None),
            ("7s", None),
        ] {
            assert_eq!(age(text), seconds, "{text}");
        }
    }
}
