//! Tables: every condition alone, then those that come together, in the order of RFC 9110 13.2.2.

use super::*;

const NOW: u64 = 1_767_225_600;

fn file() -> Validators {
    let facts = Facts { inode: 10, size: 255, modified_s: 784_111_777, modified_ns: 1 };
    Validators::new(&facts, UNIX_EPOCH + Duration::from_secs(NOW))
}

const TAG: &str = "\"a-ff-2ebc98a1-1\"";
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

const SEND: Verdict<'static> = Verdict::Send(None);
const PART: Verdict<'static> = Verdict::Send(Some(b"bytes=0-1"));

fn judge<'a>(fields: &[(&'a str, &'a str)], get: bool) -> Verdict<'a> {
    let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
    Conditions::read(fields).judge(&file(), get)
}

#[test]
fn validators() {
    assert_eq!((file().tag(), file().modified()), (TAG.to_owned(), DATE.to_owned()));
}

#[test]
fn one_condition() {
    let weak = format!("W/{TAG}");
    let list = format!("\"x,y\", {weak} ,\"z\"");
    let strong_list = format!(",\"x\" \t,{TAG}");
    let old_dates = ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
    for (name, value, expected) in [
        ("If-Match", TAG, SEND),
        ("If-Match", "*", SEND),
        ("If-Match", "\"x\"", Verdict::Failed),
        ("If-Match", &weak, Verdict::Failed),
        ("If-Match", &list, Verdict::Failed),
        ("If-Match", &strong_list, SEND),
        ("If-Match", "", Verdict::Failed),
        ("If-Match", "nonsense", Verdict::Failed),
        ("If-Unmodified-Since", DATE, SEND),
        ("If-Unmodified-Since", AFTER, SEND),
        ("If-Unmodified-Since", BEFORE, Verdict::Failed),
        ("If-Unmodified-Since", "yesterday", SEND),
        ("If-None-Match", TAG, Verdict::NotModified),
        ("if-none-match", &weak, Verdict::NotModified),
        ("If-None-Match", &list, Verdict::NotModified),
        ("If-None-Match", "*", Verdict::NotModified),
        ("If-None-Match", " * ", Verdict::NotModified),
        ("If-None-Match", "\"x\"", SEND),
        ("If-None-Match", "\"x", SEND),
        ("If-None-Match", "a-ff-2ebc98a1-1", SEND),
        ("If-None-Match", "W/", SEND),
        ("If-Modified-Since", DATE, Verdict::NotModified),
        ("If-Modified-Since", AFTER, Verdict::NotModified),
        ("If-Modified-Since", BEFORE, SEND),
        ("If-Modified-Since", "0", SEND),
        ("If-Modified-Since", old_dates[0], Verdict::NotModified),
        ("If-Modified-Since", old_dates[1], Verdict::NotModified),
        ("If-Range", "\"x\"", SEND),
        ("Range", "bytes=0-1", PART),
    ] {
        assert_eq!(judge(&[(name, value)], true), expected, "{name}: {value}");
    }
}

#[test]
fn several_conditions() {
    let weak = format!("W/{TAG}");
    let range = ("Range", "bytes=0-1");
    for (fields, expected) in [
        // If-Match stands before If-Unmodified-Since, If-None-Match before If-Modified-Since.
        (vec![("If-Match", TAG), ("If-Unmodified-Since", BEFORE)], SEND),
        (vec![("If-None-Match", "\"x\""), ("If-Modified-Since", AFTER)], SEND),
        (vec![("If-None-Match", TAG), ("If-Modified-Since", BEFORE)], Verdict::NotModified),
        (vec![("If-Match", "\"x\""), ("If-None-Match", TAG)], Verdict::Failed),
        (vec![("If-Match", TAG), ("If-None-Match", TAG)], Verdict::NotModified),
        (vec![("If-Unmodified-Since", BEFORE), ("If-Modified-Since", AFTER)], Verdict::Failed),
        (vec![("If-None-Match", "\"x\""), ("If-None-Match", TAG)], Verdict::NotModified),
        (vec![("If-Match", "\"x\""), ("If-Match", TAG)], SEND),
        // A 304 or 412 wins over a range.
        (vec![range, ("If-None-Match", TAG)], Verdict::NotModified),
        (vec![range, ("If-Match", "\"x\"")], Verdict::Failed),
        (vec![range, ("If-Match", TAG)], PART),
        (vec![range, ("If-Range", TAG)], PART),
        (vec![range, ("If-Range", &weak)], SEND),
        (vec![range, ("If-Range", "\"x\"")], SEND),
        (vec![range, ("If-Range", DATE)], PART),
        (vec![range, ("If-Range", AFTER)], SEND),
        (vec![range, ("If-Range", BEFORE)], SEND),
        (vec![range, ("If-Range", "nonsense")], SEND),
        // What may come once and comes twice says nothing.
        (vec![("If-Modified-Since", DATE), ("If-Modified-Since", DATE)], SEND),
        (vec![range, ("If-Range", TAG), ("If-Range", TAG)], SEND),
        (vec![range, range], Verdict::Send(Some(b""))),
    ] {
        assert_eq!(judge(&fields, true), expected, "{fields:?}");
    }
    assert_eq!(judge(&[range], false), SEND, "a range does not apply to HEAD");
}

#[test]
fn a_file_that_was_just_changed_has_a_weak_tag() {
    let at = |modified_s, modified_ns, now: Duration| {
        let facts = Facts { inode: 1, size: 1, modified_s, modified_ns };
        Validators::new(&facts, UNIX_EPOCH + now).tag().starts_with("W/")
    };
    assert!(at(100, 1, Duration::from_millis(100_040)));
    assert!(!at(100, 1, Duration::from_millis(100_060)));
    assert!(at(100, 0, Duration::from_millis(101_900)), "its file system counts in seconds");
    assert!(!at(100, 0, Duration::from_millis(102_100)));
    assert!(
        !at(500, 1, Duration::from_secs(100)),
        "a stamp far in the future tells no more of the clock's tick"
    );
}

#[test]
fn stamps_that_no_date_can_tell() {
    let dated = |modified_s| {
        let facts = Facts { inode: 1, size: 1, modified_s, modified_ns: 0 };
        Validators::new(&facts, UNIX_EPOCH + Duration::from_secs(NOW)).modified()
    };
    assert_eq!(dated(-1), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(dated(i64::MIN), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(dated(i64::MAX), "Thu, 01 Jan 2026 00:00:00 GMT", "never later than the answer");
    assert_eq!(dated(NOW as i64 + 1), "Thu, 01 Jan 2026 00:00:00 GMT");
}
