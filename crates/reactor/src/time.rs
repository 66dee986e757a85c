//! `Time`: a point on a reactor's own clock. It is not the wall clock; every deadline of the crate is one of these.
//! Drivers make them, everything else computes with them.

use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// So many nanoseconds: a [`Duration`] where it is counted in every turn, and seconds of it are not asked for.
pub(crate) type Nanos = u64;

/// Nanoseconds since the reactor was made.
///
/// Monotone; under a simulated driver it moves only when the simulation moves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The moment the reactor was made.
    pub const START: Time = Time(0);

    /// A point so many nanoseconds after the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the start, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Milliseconds since the start, rounded up: a timer never fires early.
    #[must_use]
    pub const fn as_millis_ceil(self) -> u64 {
        self.0.div_ceil(1_000_000)
    }

    /// The same as [`Time::since`], not taken apart into seconds.
    pub(crate) const fn nanos_since(self, earlier: Time) -> Nanos {
        self.0.saturating_sub(earlier.0)
    }

    /// How long after `earlier` this is; zero if it is not after.
    #[must_use]
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, by: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, by: Duration) {
        *self = *self + by;
    }
}

impl Sub for Time {
    type Output = Duration;
    fn sub(self, earlier: Time) -> Duration {
        self.since(earlier)
    }
}
