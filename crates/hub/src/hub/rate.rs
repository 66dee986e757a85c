//! Deliveries per second, over the last minute.

use std::cell::RefCell;
use std::collections::VecDeque;

/// Seconds that are looked back.
const SPAN: u64 = 60;

#[derive(Default)]
pub(super) struct Rate(RefCell<VecDeque<(u64, u64)>>);

impl Rate {
    /// One more.
    pub(super) fn hit(&self, now_ms: u64) {
        let (second, mut seconds) = (now_ms / 1_000, self.0.borrow_mut());
        match seconds.back_mut() {
            Some((last, count)) if *last == second => *count += 1,
            _ => seconds.push_back((second, 1)),
        }
        while seconds.front().is_some_and(|(first, _)| first + SPAN <= second) {
            seconds.pop_front();
        }
    }

    /// On average.
    pub(super) fn per_second(&self, now_ms: u64) -> f64 {
        let second = now_ms / 1_000;
        let seconds = self.0.borrow();
        let hits: u64 = seconds.iter().filter(|(at, _)| at + SPAN > second).map(|(_, count)| count).sum();
        hits as f64 / SPAN as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_a_minute_ago_does_not_count() {
        let rate = Rate::default();
        (0..120).for_each(|_| rate.hit(5_000));
        assert_eq!(
            (rate.per_second(5_000), rate.per_second(64_999), rate.per_second(65_000)),
            (2.0, 2.0, 0.0)
        );
        rate.hit(70_000);
        assert_eq!(rate.0.borrow().len(), 1);
    }
}
