//! What a failure tells: its kind, its places, its traceback.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::time::Duration;

use super::{Abandoned, Cancelled, Failure, Outcome, PLACES_MAX, Panicked, TimedOut};

#[derive(Debug)]
struct Shut(io::Error);

impl fmt::Display for Shut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the door is shut")
    }
}

impl Error for Shut {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn shut() -> Failure {
    Failure::new(Shut(io::Error::other("no key")))
}

#[test]
fn check_knows_the_type() {
    let failure = shut();
    assert!(failure.is::<Shut>());
    assert!(!failure.is::<io::Error>());
    assert_eq!(failure.check::<Shut>().map(|shut| shut.0.kind()), Some(io::ErrorKind::Other));
    assert!(failure.check::<Cancelled>().is_none());
    assert_eq!(failure.error().to_string(), "the door is shut");
    assert!(Failure::cancelled().is::<Cancelled>());
    let late = Failure::timed_out(Duration::from_secs(2));
    assert_eq!(late.check::<TimedOut>(), Some(&TimedOut { limit: Duration::from_secs(2) }));
    assert_eq!(late.to_string(), "timed out after 2s");
    assert!(Failure::new(Abandoned).is::<Abandoned>());
}

#[test]
fn trap_hands_on_what_it_does_not_know() {
    let failure = shut();
    assert!(failure.trap::<Shut>().is_ok());
    assert!(failure.trap::<io::Error>().unwrap_err().is::<Shut>());
}

#[test]
fn question_mark_notes_its_own_line() {
    fn parse(text: &str) -> Outcome<u8> {
        Ok(text.parse::<u8>()?)
    }
    let failure = parse("x").unwrap_err();
    assert_eq!(failure.place().file(), file!());
    assert_eq!(failure.place().line(), line!() - 4);
    let from_text: Failure = "words".into();
    assert_eq!(from_text.place().line(), line!() - 1);
}

#[test]
fn traceback_reads_from_the_error_outward() {
    let mut failure = shut();
    let here = Location::caller();
    failure.pass(here);
    let twin = failure.clone();
    failure.pass(here);
    failure.pass(twin.place());
    let place = twin.place();
    let expected = format!(
        "the door is shut\n    because no key\n    made at {place}\n    passed  {here}\n    passed  {place}"
    );
    assert_eq!(format!("{failure:?}"), expected);
    assert_eq!(failure.to_string(), "the door is shut");
    assert_eq!(twin.passed(), [here]);
}

#[test]
fn places_are_bounded() {
    let (one, other) = (Location::caller(), shut().place());
    let mut failure = Failure::new("long way");
    for _ in 0..50 {
        failure.pass(one);
        failure.pass(other);
    }
    assert_eq!(failure.passed().len(), PLACES_MAX);
    assert!(format!("{failure:?}").ends_with(&format!("and {} places more", 100 - PLACES_MAX)));
}

#[test]
fn panics_keep_words_and_payload() {
    let of = |payload: Box<dyn Any + Send>| {
        Failure::from_panic(catch_unwind(AssertUnwindSafe(|| resume_unwind(payload))).unwrap_err())
    };
    assert_eq!(of(Box::new("plain")).to_string(), "panicked: plain");
    assert_eq!(of(Box::new(String::from("made"))).to_string(), "panicked: made");
    let odd = of(Box::new(7_u32));
    let panicked = odd.check::<Panicked>().unwrap();
    assert_eq!(panicked.message(), "a payload that is not text");
    assert_eq!(panicked.take_payload().unwrap().downcast_ref(), Some(&7_u32));
    assert!(panicked.take_payload().is_none());
}

#[test]
fn goes_to_another_thread() {
    fn sendable<T: Send + Sync>() {}
    sendable::<Failure>();
    assert_eq!(size_of::<Outcome<()>>(), size_of::<usize>());
}

#[test]
fn traceback_lets_no_words_pass_for_another_line() {
    let failure = Failure::new("bad\n2026-01-01T00:00:00Z  INFO all is well\r\x1b[2J");
    let text = format!("{failure:?}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "bad");
    assert_eq!(lines[1], "        2026-01-01T00:00:00Z  INFO all is well\\r\\u{1b}[2J");
    assert!(lines[2].starts_with("    made at "));
}
