//! How many requests one peer may make: a token bucket per address, in bounded memory.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ropewalk_reactor::Time;

use super::{Middleware, Next};
use crate::answer::Answer;
use crate::request::Request;
use crate::response::Response;

/// Peers that are remembered unless it is said otherwise: about a megabyte.
const PEERS_MAX: usize = 10_000;

/// Answers 429 with `Retry-After` (RFC 6585 section 4) to a peer that asks more often than it may. The peer is
/// [`Request::client`], one address of IPv4 or a network of 64 bits of IPv6, which is what one customer has. Over UNIX sockets
/// nobody is limited, unless a proxy there says who asks.
///
/// Every peer has a bucket of tokens, one for each request, that fills again at an even pace. So many peers are remembered and no
/// more: beyond, the bucket that is nearest to being full is forgotten, which favours its owner least. It counts on one worker.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_web::{Handler, RateLimit, Router, handler};
/// // One in six seconds, and ten at once.
/// let login = handler(|_| "wrong").with(RateLimit::new(10, Duration::from_secs(60)));
/// let router = Router::new().route("POST", "/login", login);
/// # drop(router);
/// ```
pub struct RateLimit {
    /// From one token to the next.
    pace: Duration,
    /// How far ahead of its pace a peer may be.
    ahead: Duration,
    peers_max: usize,
    peers: RefCell<Peers>,
}

/// When each bucket will be full again, both ways round.
#[derive(Default)]
struct Peers {
    full_at: BTreeMap<IpAddr, Time>,
    order: BTreeSet<(Time, IpAddr)>,
}

impl RateLimit {
    /// So many requests in so much time on average, and as many at once. None is taken for one.
    #[must_use]
    pub fn new(requests: u32, per: Duration) -> RateLimit {
        let limit = RateLimit {
            pace: per / requests.max(1),
            ahead: Duration::ZERO,
            peers_max: PEERS_MAX,
            peers: RefCell::default(),
        };
        limit.burst(requests)
    }

    /// The same with so many at once.
    #[must_use]
    pub fn burst(self, requests: u32) -> RateLimit {
        RateLimit { ahead: self.pace.saturating_mul(requests.saturating_sub(1)), ..self }
    }

    /// The same remembering so many peers.
    #[must_use]
    pub fn peers_max(self, peers_max: usize) -> RateLimit {
        RateLimit { peers_max: peers_max.max(1), ..self }
    }

    /// How many peers are remembered.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.peers.borrow().full_at.len()
    }

    /// Takes a token for a peer, where it is not a request that is judged; `now` is the reactor's.
    ///
    /// # Errors
    /// There is none: the time after which there is.
    pub fn take(&self, peer: IpAddr, now: Time) -> Result<(), Duration> {
        let peer = customer(peer);
        let mut peers = self.peers.borrow_mut();
        let known = peers.full_at.get(&peer).copied();
        let full_at = known.unwrap_or(now).max(now);
        let wait = full_at.since(now).saturating_sub(self.ahead);
        if !wait.is_zero() {
            return Err(wait);
        }
        if let Some(known) = known {
            peers.order.remove(&(known, peer));
        }
        peers.full_at.insert(peer, full_at + self.pace);
        peers.order.insert((full_at + self.pace, peer));
        peers.forget(self.peers_max, now);
        Ok(())
    }
}

impl Peers {
    /// Forgets buckets that are full, a few at a time, and at least what is too much.
    fn forget(&mut self, peers_max: usize, now: Time) {
        const AT_ONCE: u32 = 16;
        for _ in 0..AT_ONCE {
            let Some(&(full_at, peer)) = self.order.first() else { return };
            if full_at > now && self.full_at.len() <= peers_max {
                return;
            }
            self.order.pop_first();
            self.full_at.remove(&peer);
        }
    }
}

impl RateLimit {
    /// Takes a token for this request's peer, or answers that there is none.
    pub(crate) fn admit(&self, request: &Request) -> Result<(), Response> {
        let Some(peer) = request.client() else { return Ok(()) };
        self.take(peer, request.reactor().now()).map_err(|wait| {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let response = Response::error(429, "too many requests; try again later");
            response.header("Retry-After", seconds.to_string())
        })
    }

    /// Gives a token back that was taken for this request.
    pub(crate) fn give_back(&self, request: &Request) {
        let Some(peer) = request.client().map(customer) else { return };
        let mut peers = self.peers.borrow_mut();
        let Some(known) = peers.full_at.remove(&peer) else { return };
        peers.order.remove(&(known, peer));
        let now = request.reactor().now();
        let ahead = known.since(now);
        if ahead > self.pace {
            let full_at = now + (ahead - self.pace);
            peers.full_at.insert(peer, full_at);
            peers.order.insert((full_at, peer));
        }
    }
}

impl Middleware for RateLimit {
    fn handle(&self, request: Request, next: &Next) -> Answer {
        // Whoever came with an upgrade was counted where the request was asked first, and all come in one moment.
        let admitted = if request.exchange().has_arrived() { Ok(()) } else { self.admit(&request) };
        match admitted {
            Ok(()) => next.handle(request),
            Err(refused) => Answer::Now(refused),
        }
    }
}

/// What one customer has.
fn customer(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_at_its_pace() {
        let limit = RateLimit::new(2, Duration::from_secs(2));
        let (peer, second) = (IpAddr::from([192, 0, 2, 1]), Duration::from_secs(1));
        assert_eq!(limit.take(peer, Time::START), Ok(()));
        assert_eq!(limit.take(peer, Time::START), Ok(()));
        assert_eq!(limit.take(peer, Time::START), Err(second));
        assert_eq!(limit.take(peer, Time::START + second), Ok(()));
        assert_eq!(limit.take(peer, Time::START + second), Err(second));
        assert_eq!(limit.take(peer, Time::START + 60 * second), Ok(()));
        assert_eq!(limit.peers(), 1);
    }

    #[test]
    fn sixty_a_minute_and_then_one_a_second() {
        let limit = RateLimit::new(60, Duration::from_secs(60));
        let [one, other] = ["2001:db8::1", "2001:db8::2"].map(|text| text.parse().unwrap());
        for _ in 0..30 {
            assert_eq!((limit.take(one, Time::START), limit.take(other, Time::START)), (Ok(()), Ok(())));
        }
        assert_eq!(limit.take(one, Time::START), Err(Duration::from_secs(1)), "one network, one bucket");
        assert_eq!(limit.take("192.0.2.1".parse().unwrap(), Time::START), Ok(()));
        assert_eq!(limit.take(other, Time::START + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn a_million_peers_are_no_more_memory_than_a_few() {
        let limit = RateLimit::new(1, Duration::from_secs(60)).peers_max(100);
        for number in 0..1_000_000_u32 {
            let _ = limit.take(IpAddr::from(number.to_be_bytes()), Time::START);
            assert!(limit.peers() <= 100);
        }
        let peers = limit.peers.borrow();
        assert_eq!((peers.full_at.len(), peers.order.len()), (100, 100));
    }

    #[test]
    fn who_asks_most_is_remembered_longest() {
        let limit = RateLimit::new(10, Duration::from_secs(10)).peers_max(2);
        let [often, once, other] = [1, 2, 3].map(|last| IpAddr::from([192, 0, 2, last]));
        for _ in 0..10 {
            assert_eq!(limit.take(often, Time::START), Ok(()));
        }
        for peer in [once, other] {
            assert_eq!(limit.take(peer, Time::START), Ok(()));
        }
        assert!(limit.take(often, Time::START).is_err());
    }

    #[test]
    fn buckets_that_are_full_are_forgotten() {
        let limit = RateLimit::new(1, Duration::from_secs(1));
        for last in 0..10 {
            let _ = limit.take(IpAddr::from([192, 0, 2, last]), Time::START);
        }
        assert_eq!(limit.peers(), 10);
        let _ = limit.take(IpAddr::from([198, 51, 100, 1]), Time::START + Duration::from_secs(2));
        assert_eq!(limit.peers(), 1);
    }

    #[test]
    fn a_network_of_64_bits_is_one_customer_and_a_mapped_address_is_its_own() {
        let parsed = |text: &str| customer(text.parse().unwrap());
        assert_eq!(parsed("2001:db8:1:2::1"), parsed("2001:db8:1:2:ffff::9"));
        assert_ne!(parsed("2001:db8:1:2::1"), parsed("2001:db8:1:3::1"));
        assert_eq!(parsed("::ffff:192.0.2.1"), parsed("192.0.2.1"));
        assert_ne!(parsed("192.0.2.2"), parsed("192.0.2.1"));
    }
}
