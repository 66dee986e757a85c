//! How many events a second lately: one number that fades, so that a channel need not remember times.
//!
//! Called by `channel` at each event.

/// After so many milliseconds a third of what was counted is left.
const FADE_MS: f64 = 10_000.0;

/// A count that fades.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    count: f64,
    at_ms: u64,
}

impl Rate {
    pub(crate) fn add(&mut self, now_ms: u64) {
        self.count = self.faded(now_ms) + 1.0;
        self.at_ms = now_ms;
    }

    fn faded(&self, now_ms: u64) -> f64 {
        match now_ms.saturating_sub(self.at_ms) {
            // Many come within a millisecond, and need no exponential.
            0 => self.count,
            passed => self.count * (-(passed as f64) / FADE_MS).exp(),
        }
    }

    /// Events per second, over the last ten or so.
    pub(crate) fn per_second(&self, now_ms: u64) -> f64 {
        self.faded(now_ms) * 1_000.0 / FADE_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_shows_its_rate_and_silence_fades() {
        let mut rate = Rate::default();
        for ms in (0..60_000).step_by(10) {
            rate.add(ms);
        }
        assert!((95.0..105.0).contains(&rate.per_second(60_000)), "{}", rate.per_second(60_000));
        assert!(rate.per_second(120_000) < 1.0);
        assert!(rate.per_second(0) > 0.0, "a clock that ran backwards");
    }
}
