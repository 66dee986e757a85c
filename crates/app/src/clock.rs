//! The clock of logs: an instant and the zone that its days are counted in. It is handed in, so that a day goes by in a test without
//! being waited for; the reactor's clocks are not here, because logs are written by other threads, too.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use nix::time::{ClockId, clock_gettime};

/// A wall clock and a time zone. Clones are cheap.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicI64, Ordering};
/// use jiff::{Timestamp, tz::TimeZone};
/// use ropewalk_app::Clock;
///
/// let seconds = Arc::new(AtomicI64::new(0));
/// let hand = Arc::clone(&seconds);
/// let clock = Clock::new(TimeZone::UTC, move || Timestamp::from_second(hand.load(Ordering::Relaxed)).unwrap_or_default());
/// seconds.store(86_400, Ordering::Relaxed);
/// assert_eq!(clock.today().to_string(), "1970-01-02");
/// ```
#[derive(Clone)]
pub struct Clock {
    zone: TimeZone,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Clock {
    /// A clock that asks `now`, for the days of `zone`.
    pub fn new(zone: TimeZone, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Clock {
        Clock { zone, now: Arc::new(now) }
    }

    /// The system's clock and zone. The zone is read once: a program that is to follow a change of it is started again.
    #[must_use]
    pub fn system() -> Clock {
        // Years that jiff does not count are no worse than any other wrong clock.
        Clock::new(TimeZone::system(), || Timestamp::try_from(SystemTime::now()).unwrap_or_default())
    }

    /// The same, up to 4 ms late and at a fifth of the cost: for a clock that is looked at for every line.
    #[must_use]
    pub fn coarse() -> Clock {
        let now = || {
            let time = clock_gettime(ClockId::CLOCK_REALTIME_COARSE).map_err(|_| ())?;
            Timestamp::new(time.tv_sec(), i32::try_from(time.tv_nsec()).map_err(|_| ())?).map_err(|_| ())
        };
        Clock::new(TimeZone::system(), move || now().unwrap_or_default())
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// The zone of its days.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The local date.
    #[must_use]
    pub fn today(&self) -> Date {
        self.date(self.now())
    }

    /// The local date of an instant.
    #[must_use]
    pub fn date(&self, at: Timestamp) -> Date {
        self.zone.to_datetime(at).date()
    }

    /// The local day that an instant lies in: its date, and the seconds (since 1970) at which it begins and at which the next one
    /// does. A day of a change to or from summer time has 23 or 25 hours, or half an hour more or less; where midnight is
    /// skipped the day begins after the gap.
    pub(crate) fn day(&self, at: Timestamp) -> Day {
        let date = self.date(at);
        let begin = |date: Date| date.to_zoned(self.zone.clone()).map(|zoned| zoned.timestamp().as_second());
        // Beyond the last day that jiff counts there is no midnight any more.
        let starts = begin(date).unwrap_or(i64::MIN);
        let ends = date.tomorrow().and_then(begin).unwrap_or(i64::MAX);
        Day { date, starts, ends }
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("zone", &self.zone).finish_non_exhaustive()
    }
}

/// A local day, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Day {
    pub(crate) date: Date,
    starts: i64,
    ends: i64,
}

impl Day {
    /// A clock that is put right by less than this begins no day.
    const PUT_RIGHT: Duration = Duration::from_secs(3600);

    /// Whether a time is of another day. A clock that was put back a little over midnight stays in the new one; one that was put
    /// back far shows that it had been wrong before.
    pub(crate) fn is_over(&self, at: Timestamp) -> bool {
        let at = at.as_second();
        at >= self.ends || at < self.starts.saturating_sub(Self::PUT_RIGHT.as_secs() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its rules are in the text: no database is asked.
    fn clock(posix: &str) -> Clock {
        Clock::new(TimeZone::posix(posix).unwrap(), || Timestamp::UNIX_EPOCH)
    }

    fn hours(clock: &Clock, date: &str) -> f64 {
        let noon: jiff::civil::DateTime = format!("{date}T12:00").parse().unwrap();
        let day = clock.day(noon.to_zoned(clock.zone().clone()).unwrap().timestamp());
        assert_eq!(day.date.to_string(), date);
        (day.ends - day.starts) as f64 / 3600.0
    }

    #[test]
    fn days_have_the_hours_that_their_zone_gives_them() {
        let berlin = clock("CET-1CEST,M3.5.0,M10.5.0/3");
        let dates = ["2026-03-28", "2026-03-29", "2026-03-30", "2026-10-24", "2026-10-25", "2026-10-26"];
        assert_eq!(dates.map(|date| hours(&berlin, date)), [24.0, 23.0, 24.0, 24.0, 25.0, 24.0]);
        // Lord Howe moves by half an hour, and its summer is in December.
        let howe = clock("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0");
        assert_eq!(["2026-04-05", "2026-10-04"].map(|date| hours(&howe, date)), [24.5, 23.5]);
        // Santiago skips from midnight to one, and goes back to eleven at midnight.
        let santiago = clock("<-04>4<-03>,M9.1.6/24,M4.1.6/24");
        assert_eq!(["2026-09-06", "2026-04-04"].map(|date| hours(&santiago, date)), [23.0, 25.0]);
    }

    #[test]
    fn the_database_says_the_same_where_there_is_one() {
        for (name, posix) in [
            ("Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"),
            ("Australia/Lord_Howe", "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"),
        ] {
            let Ok(zone) = TimeZone::get(name) else { continue };
            let (known, written) = (Clock::new(zone, || Timestamp::UNIX_EPOCH), clock(posix));
            for hour in 0..366 * 24 {
                let at = Timestamp::from_second(1_767_225_600 + hour * 3600).unwrap();
                assert_eq!(known.day(at), written.day(at), "{name} {at}");
            }
        }
    }

    #[test]
    fn a_clock_that_is_put_right_a_little_begins_no_day() {
        let clock = clock("UTC0");
        let day = clock.day(Timestamp::from_second(86_400).unwrap());
        let is_over = |second| day.is_over(Timestamp::from_second(second).unwrap());
        assert!(!is_over(86_399) && !is_over(2 * 86_400 - 1));
        assert!(is_over(2 * 86_400) && is_over(10_000));
    }
}
