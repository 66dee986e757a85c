//! When a client service tries again, and how it connects. Computes only.

use std::time::Duration;

use crate::connect::ConnectOptions;

/// How a [`ClientService`](crate::ClientService) keeps its connection up.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_net::ClientPolicy;
/// let policy = ClientPolicy { jitter: Duration::ZERO, ..ClientPolicy::default() };
/// let delays = [1, 2, 3, 100].map(|failures| policy.delay(failures, 0).as_secs_f64());
/// assert_eq!(delays, [1.0, 1.5, 2.25, 60.0]);
/// ```
#[derive(Clone)]
pub struct ClientPolicy {
    /// The delay after the first failure. 1 s, as in Twisted's `backoffPolicy`.
    pub initial: Duration,
    /// Each further failure in a row multiplies the delay by this. 1.5, as in Twisted's `backoffPolicy`.
    pub factor: f64,
    /// The delay grows to this. 60 s, as in Twisted's `backoffPolicy`.
    pub max: Duration,
    /// A random time up to this is added, so that the clients of a server that has come back do not all come at once. 1 s, as
    /// in Twisted's `backoffPolicy`.
    pub jitter: Duration,
    /// A connection that has stood for so long makes the next delay the first again. 10 s. Twisted forgets its failures as soon
    /// as a connection is made; a server that accepts everybody and drops them at once would be asked every second, for ever.
    pub stands_after: Duration,
    /// How long stopping waits for the output to be sent before it breaks the connection off. 5 s.
    pub close_within: Duration,
    /// How each connection is made.
    pub connect: ConnectOptions,
}

impl Default for ClientPolicy {
    fn default() -> Self {
        ClientPolicy {
            initial: Duration::from_secs(1),
            factor: 1.5,
            max: Duration::from_secs(60),
            jitter: Duration::from_secs(1),
            stands_after: Duration::from_secs(10),
            close_within: Duration::from_secs(5),
            connect: ConnectOptions::default(),
        }
    }
}

impl ClientPolicy {
    /// How long to wait after so many failures in a row, the first being 1. The random number decides the jitter.
    #[must_use]
    pub fn delay(&self, failures: u32, random: u64) -> Duration {
        // Beyond this many any factor above 1 has long grown to the most.
        let exponent = i32::try_from(failures.saturating_sub(1).min(10_000)).unwrap_or(0);
        let seconds = self.initial.as_secs_f64() * self.factor.powi(exponent);
        // Whatever a strange factor makes of it, infinite or none at all, is the most.
        let capped = Duration::try_from_secs_f64(seconds).map_or(self.max, |delay| delay.min(self.max));
        let fraction = random as f64 / u64::MAX as f64;
        capped + self.jitter.mul_f64(fraction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_most_and_jitter_comes_on_top() {
        let policy = ClientPolicy::default();
        let milliseconds = |failures, random| policy.delay(failures, random).as_millis();
        assert_eq!((milliseconds(1, 0), milliseconds(1, u64::MAX)), (1000, 2000));
        assert_eq!((milliseconds(2, 0), milliseconds(3, 0), milliseconds(11, 0)), (1500, 2250, 57_665));
        assert_eq!((milliseconds(12, 0), milliseconds(u32::MAX, u64::MAX)), (60_000, 61_000));
        assert_eq!(milliseconds(0, 0), 1000);
    }

    #[test]
    fn a_strange_factor_harms_nobody() {
        for factor in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -2.0, 0.0, 1.0] {
            let policy = ClientPolicy { factor, ..ClientPolicy::default() };
            for failures in [0, 1, 2, 3, u32::MAX] {
                assert!(policy.delay(failures, 7) <= Duration::from_secs(61), "{factor} {failures}");
            }
        }
    }
}
