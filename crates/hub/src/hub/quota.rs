//! How many wishes a source may make: a bucket per address, a network of 64 bits for IPv6. In memory, and bounded.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ropewalk_reactor::Time;

/// Sources that are remembered. Beyond, those whose bucket is fullest are forgotten.
const SOURCES_MAX: usize = 50_000;

pub(super) struct Quota {
    pace: Duration,
    ahead: Duration,
    /// When each bucket will be full again.
    full_at: RefCell<BTreeMap<IpAddr, Time>>,
}

impl Quota {
    /// So many in so much time on average, and as many at once.
    pub(super) fn new(count: u32, per: Duration) -> Quota {
        let pace = per / count.max(1);
        Quota { pace, ahead: pace.saturating_mul(count.max(1) - 1), full_at: RefCell::default() }
    }

    /// Takes one, or says after which time there is one.
    pub(super) fn take(&self, source: IpAddr, now: Time) -> Result<(), Duration> {
        let source = customer(source);
        let mut sources = self.full_at.borrow_mut();
        let full_at = sources.get(&source).copied().unwrap_or(now).max(now);
        let wait = full_at.since(now).saturating_sub(self.ahead);
        if !wait.is_zero() {
            return Err(wait);
        }
        if sources.len() >= SOURCES_MAX {
            sources.retain(|_, full_at| *full_at > now);
            if sources.len() >= SOURCES_MAX {
                sources.pop_first();
            }
        }
        sources.insert(source, full_at + self.pace);
        Ok(())
    }
}

/// Whoever has one address of IPv6 has 2^64 of them.
fn customer(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_a_minute_and_then_one_a_second() {
        let quota = Quota::new(60, Duration::from_secs(60));
        let [one, other] = ["2001:db8::1", "2001:db8::2"].map(|text| text.parse().unwrap());
        for _ in 0..30 {
            assert_eq!((quota.take(one, Time::START), quota.take(other, Time::START)), (Ok(()), Ok(())));
        }
        assert_eq!(quota.take(one, Time::START), Err(Duration::from_secs(1)), "one network, one bucket");
        assert_eq!(quota.take("192.0.2.1".parse().unwrap(), Time::START), Ok(()));
        assert_eq!(quota.take(other, Time::START + Duration::from_secs(1)), Ok(()));
    }
}
