//! Times as FTP writes them: `YYYYMMDDHHMMSS[.sss]` in UTC (RFC 3659 2.3). It reads no clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_SECONDS: i64 = 86_400;

/// A time as year, month, day, hour, minute and second, in UTC.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// let time = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
/// assert_eq!(ropewalk_wire::ftp::calendar(time), [2026, 1, 1, 0, 0, 0]);
/// ```
#[must_use]
pub fn calendar(time: SystemTime) -> [i64; 6] {
    let seconds = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(0),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(0),
    };
    let (days, rest) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
    let [year, month, day] = date(days);
    [year, month, day, rest / 3600, rest / 60 % 60, rest % 60]
}

/// The date of a day since 1970-01-01, in eras of 400 years that begin in March.
fn date(days: i64) -> [i64; 3] {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    [year_of_era + era * 400 + i64::from(month <= 2), month, day]
}

/// The day since 1970-01-01 of a date.
fn days([year, month, day]: [i64; 3]) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let from_march = (month + 9) % 12;
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

/// A time as MDTM and `modify=` have it.
///
/// ```
/// use ropewalk_wire::ftp::{format_time, parse_time};
/// let time = parse_time(b"20260102030405.678").expect("it is one");
/// assert_eq!(format_time(time), "20260102030405");
/// ```
#[must_use]
pub fn format_time(time: SystemTime) -> String {
    let [year, month, day, hour, minute, second] = calendar(time);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
}

/// Reads a time; `None` if it is none, or is before 1970. The 60th second of a minute is the next one's first, and fractions are kept to the
/// nanosecond.
#[must_use]
pub fn parse_time(text: &[u8]) -> Option<SystemTime> {
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    if whole.len() != 14 || !whole.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |from: usize, to: usize| {
        whole[from..to].iter().fold(0i64, |value, digit| value * 10 + i64::from(digit - b'0'))
    };
    let (year, month, day) = (number(0, 4), number(4, 6), number(6, 8));
    let (hour, minute, second) = (number(8, 10), number(10, 12), number(12, 14));
    if hour > 23 || minute > 59 || second > 60 || !(1..=12).contains(&month) || day < 1 {
        return None;
    }
    let day_number = days([year, month, day]);
    // A day that the month does not have would be another one.
    if date(day_number) != [year, month, day] {
        return None;
    }
    let seconds = day_number * DAY_SECONDS + hour * 3600 + minute * 60 + second;
    let nanos = fraction.map_or(Some(0), nanoseconds)?;
    Some(UNIX_EPOCH + Duration::new(u64::try_from(seconds).ok()?, nanos))
}

fn nanoseconds(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    Some(padded.fold(0, |value, digit| value * 10 + u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_four_hundred_years_goes_there_and_back() {
        let (mut month_before, mut days_seen) = (0, 0);
        for day in 0..146_097 {
            let [year, month, of_month] = date(day);
            assert_eq!(days([year, month, of_month]), day);
            days_seen += i64::from(month != month_before && month == 2);
            month_before = month;
        }
        assert_eq!((days_seen, date(0), date(11_016)), (400, [1970, 1, 1], [2000, 2, 29]));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "2026",
            "20260230000000",
            "20261301000000",
            "20260100000000",
            "20260101240000",
            "20260101006000",
            "20260101000061",
            "2026010100000x",
            "20260101000000.",
            "20260101000000.x",
            "19691231235959",
            "202601010000000",
        ] {
            assert_eq!(parse_time(bad.as_bytes()), None, "{bad}");
        }
        let leap = parse_time(b"20240229235960").map(format_time);
        assert_eq!(leap.as_deref(), Some("20240301000000"));
    }
}
