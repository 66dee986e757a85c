//! The `Range` field (RFC 9110 14.1 and 14.2): from its value and the file's size to the parts to send. It reads no file and
//! writes no field; whether a range is wanted at all is decided in `condition`.

use std::ops::Range;

/// Ranges in one request; more are a load on the server and of no use to a client, which then gets the whole file.
const RANGES_MAX: usize = 16;

/// What a `Range` field comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parts {
    /// The field is ignored: not bytes, malformed, or too many ranges.
    Whole,
    /// 416: none of the ranges is within the file.
    Unsatisfiable,
    /// One part or more, in the order of the request. None is empty, none touches another.
    Some(Vec<Range<u64>>),
}

/// Reads the value of a `Range` field for a file of this size.
pub(super) fn parts(value: &[u8], size: u64) -> Parts {
    let Some(specs) = specs(value) else { return Parts::Whole };
    let mut parts = Vec::new();
    let mut count = 0;
    for spec in specs {
        count += 1;
        let Some(spec) = Spec::read(spec) else { return Parts::Whole };
        if count > RANGES_MAX {
            return Parts::Whole;
        }
        if size == 0 && matches!(spec, Spec::Last(1..)) {
            // RFC 9110 14.1.2: it is satisfiable, with the whole; but no Content-Range can tell of no bytes.
            return Parts::Whole;
        }
        if let Some(part) = spec.within(size) {
            merge(&mut parts, part);
        }
    }
    match (count, parts.is_empty()) {
        (0, _) => Parts::Whole,
        (_, true) => Parts::Unsatisfiable,
        (_, false) => Parts::Some(parts),
    }
}

/// The list behind `bytes=`. RFC 9110 14.1: a unit's case does not matter. 5.6.1.2: empty elements MUST be accepted.
fn specs(value: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let at = value.iter().position(|&byte| byte == b'=')?;
    let (unit, list) = (&value[..at], &value[at + 1..]);
    let trimmed = |spec: &'_ [u8]| !spec.trim_ascii().is_empty();
    unit.eq_ignore_ascii_case(b"bytes")
        .then(|| list.split(|&byte| byte == b',').filter(move |spec| trimmed(spec)).map(<[u8]>::trim_ascii))
}

enum Spec {
    /// `first-` or `first-last`; both ends belong to it.
    From(u64, u64),
    /// `-length`.
    Last(u64),
}

impl Spec {
    fn read(text: &[u8]) -> Option<Spec> {
        let dash = text.iter().position(|&byte| byte == b'-')?;
        let (first, last) = (&text[..dash], &text[dash + 1..]);
        match (first, last) {
            (b"", last) => number(last).map(Spec::Last),
            (first, b"") => number(first).map(|first| Spec::From(first, u64::MAX)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                // RFC 9110 14.1.1: an int-range whose last position is before its first is invalid.
                (first <= last).then_some(Spec::From(first, last))
            }
        }
    }

    /// What of it is in the file, if anything is.
    fn within(self, size: u64) -> Option<Range<u64>> {
        let part = match self {
            Spec::From(first, last) => first..last.saturating_add(1).min(size),
            Spec::Last(length) => size.saturating_sub(length)..size,
        };
        (part.start < part.end).then_some(part)
    }
}

/// Digits only. A number too large for us is beyond the end of every file.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |number: u64, digit: &u8| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, add))
}

/// Adds a part, joined with those that it overlaps or touches (RFC 9110 15.3.7.2); it takes the place of the first of them,
/// because parts SHOULD come in the order they were asked for.
fn merge(parts: &mut Vec<Range<u64>>, part: Range<u64>) {
    let mut joined = part;
    let mut place = parts.len();
    let mut index = parts.len();
    // From the back, so that a removal moves nothing that is still to be looked at; each join may reach one looked at
    // before, so it begins again.
    while index > 0 {
        index -= 1;
        if parts[index].start <= joined.end && joined.start <= parts[index].end {
            let other = parts.remove(index);
            joined = joined.start.min(other.start)..joined.end.max(other.end);
            place = place.min(index);
            index = parts.len();
        }
    }
    parts.insert(place.min(parts.len()), joined);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(parts: &[(u64, u64)]) -> Parts {
        Parts::Some(parts.iter().map(|&(start, end)| start..end).collect())
    }

    #[test]
    fn one_range() {
        for (value, expected) in [
            ("bytes=0-0", some(&[(0, 1)])),
            ("bytes=0-", some(&[(0, 100)])),
            ("bytes=10-19", some(&[(10, 20)])),
            ("bytes=90-1000", some(&[(90, 100)])),
            ("bytes=99-99", some(&[(99, 100)])),
            ("bytes=-1", some(&[(99, 100)])),
            ("bytes=-100", some(&[(0, 100)])),
            ("bytes=-1000", some(&[(0, 100)])),
            ("bytes=0-99999999999999999999999999", some(&[(0, 100)])),
            ("bytes=-99999999999999999999999999", some(&[(0, 100)])),
            ("BYTES=0-1", some(&[(0, 2)])),
            ("bytes= 0-1 ", some(&[(0, 2)])),
            ("bytes=,0-1,", some(&[(0, 2)])),
            ("bytes=00-01", some(&[(0, 2)])),
        ] {
            assert_eq!(parts(value.as_bytes(), 100), expected, "{value}");
        }
    }

    #[test]
    fn ranges_outside() {
        for value in [
            "bytes=100-",
            "bytes=100-200",
            "bytes=-0",
            "bytes=200-,300-400,-0",
            "bytes=99999999999999999999999-",
        ] {
            assert_eq!(parts(value.as_bytes(), 100), Parts::Unsatisfiable, "{value}");
        }
        assert_eq!(parts(b"bytes=0-", 0), Parts::Unsatisfiable);
        assert_eq!(parts(b"bytes=-5", 0), Parts::Whole);
        assert_eq!(parts(b"bytes=18446744073709551615-18446744073709551615", u64::MAX), Parts::Unsatisfiable);
    }

    #[test]
    fn malformed_is_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes 0-1",
            "bytes=1",
            "bytes=-",
            "bytes=a-b",
            "bytes=2-1",
            "bytes=0-1-2",
            "bytes=0-1;2-3",
            "bytes=+0-1",
            "bytes=0x0-1",
            "bytes=0 -1",
            "bytes=0- 1",
            "bytes=--1",
            "lines=0-1",
            "bytes=0-1,x",
            "bytes =0-1",
            "bytes=-1-",
        ] {
            assert_eq!(parts(value.as_bytes(), 100), Parts::Whole, "{value}");
        }
    }

    #[test]
    fn several_ranges() {
        for (value, expected) in [
            ("bytes=0-1,10-11", some(&[(0, 2), (10, 12)])),
            ("bytes=10-11 , 0-1", some(&[(10, 12), (0, 2)])),
            ("bytes=0-1,200-", some(&[(0, 2)])),
            ("bytes=0-9,5-14", some(&[(0, 15)])),
            ("bytes=0-9,10-19", some(&[(0, 20)])),
            ("bytes=0-0,-1", some(&[(0, 1), (99, 100)])),
            ("bytes=0-9,20-29,5-24", some(&[(0, 30)])),
            ("bytes=20-29,50-59,0-9,5-24", some(&[(0, 30), (50, 60)])),
            ("bytes=0-,0-,0-", some(&[(0, 100)])),
        ] {
            assert_eq!(parts(value.as_bytes(), 100), expected, "{value}");
        }
    }

    #[test]
    fn too_many_ranges_are_the_whole() {
        let list = |count: u64| {
            format!("bytes={}", (0..count).map(|at| format!("{0}-{0},", at * 2)).collect::<String>())
        };
        assert!(matches!(parts(list(16).as_bytes(), 100), Parts::Some(parts) if parts.len() == 16));
        assert_eq!(parts(list(17).as_bytes(), 100), Parts::Whole);
    }

    #[test]
    fn parts_cover_what_was_asked_and_never_touch() {
        let mut seed = 1u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % 40
        };
        for _ in 0..2000 {
            let asked: Vec<(u64, u64)> = (0..6).map(|_| (random(), random() % 8)).collect();
            let list: Vec<String> = asked.iter().map(|(at, more)| format!("{at}-{}", at + more)).collect();
            let Parts::Some(parts) = parts(format!("bytes={}", list.join(",")).as_bytes(), 1000) else {
                panic!("all of them are within")
            };
            for byte in 0..60 {
                let wanted = asked.iter().any(|(at, more)| (*at..=at + more).contains(&byte));
                assert_eq!(
                    parts.iter().filter(|part| part.contains(&byte)).count(),
                    usize::from(wanted),
                    "{list:?}"
                );
            }
            for (index, part) in parts.iter().enumerate() {
                assert!(
                    parts[index + 1..].iter().all(|other| other.end < part.start || part.end < other.start)
                );
            }
        }
    }
}
