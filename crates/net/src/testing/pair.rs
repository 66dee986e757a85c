//! Two protocols joined, a client's and a server's, with the network between them in the test's hand.

use std::cell::RefCell;
use std::time::Duration;

use ropewalk_reactor::io::Address;

use super::outcome::success_of;
use super::tap::Tap;
use super::{Bench, Side};
use crate::connect::connect;
use crate::listen::listen;
use crate::protocol::Protocol;

/// A client protocol and a server protocol that talk to each other. See [`couple`].
pub struct Pair {
    bench: Bench,
    client: Side,
    server: Side,
}

/// Joins two protocols, `client` as the one that has connected, and lets them talk until nothing moves any more.
///
/// ```
/// use ropewalk_net::testing::couple;
/// use ropewalk_net::{Protocol, Transport};
///
/// struct Ask;
/// impl Protocol for Ask {
///     fn connection_made(&mut self, transport: &Transport) {
///         transport.write(b"who are you?");
///     }
///     fn data_received(&mut self, transport: &Transport, _: &[u8]) {
///         transport.lose_connection();
///     }
/// }
/// struct Answer;
/// impl Protocol for Answer {
///     fn data_received(&mut self, transport: &Transport, _: &[u8]) {
///         transport.write(b"nobody");
///     }
/// }
///
/// let pair = couple(Ask, Answer);
/// assert_eq!(pair.client().sent(), b"who are you?");
/// assert_eq!(pair.server().sent(), b"nobody");
/// assert!(pair.client().is_closed() && pair.server().is_closed());
/// pair.bench().assert_clean();
/// ```
///
/// # Panics
/// When one of the protocols panics.
#[must_use]
#[track_caller]
pub fn couple(client: impl Protocol, server: impl Protocol) -> Pair {
    Pair::on(&Bench::new(), client, server)
}

impl Pair {
    /// Joins two protocols on a bench: over a network with conditions of its own, or beside others.
    ///
    /// ```
    /// # use ropewalk_net::testing::{Bench, Pair};
    /// # use ropewalk_net::{Protocol, Transport};
    /// # struct Quiet;
    /// # impl Protocol for Quiet { fn data_received(&mut self, _: &Transport, _: &[u8]) {} }
    /// use std::time::Duration;
    /// let bench = Bench::new();
    /// bench.network().set_conditions(|conditions| {
    ///     conditions.latency = (Duration::from_millis(50), Duration::from_millis(50));
    ///     conditions.window_bytes = 1000;
    /// });
    /// let pair = Pair::on(&bench, Quiet, Quiet);
    /// # drop(pair);
    /// ```
    ///
    /// # Panics
    /// When one of the protocols panics.
    #[must_use]
    #[track_caller]
    pub fn on(bench: &Bench, client: impl Protocol, server: impl Protocol) -> Pair {
        let (client, client_side) = once(bench, client);
        let (server, server_side) = once(bench, server);
        let any = "tcp:0:interface=127.0.0.1".parse().expect("it is an endpoint");
        let port = listen(bench.reactor(), &any, server).expect("a simulated network has ports enough");
        let Address::Inet(address) = port.address() else { unreachable!("it listens on TCP") };
        let there = format!("tcp:127.0.0.1:{}", address.port()).parse().expect("it is an endpoint");
        let connected = connect(bench.reactor(), &there, client);
        bench.settle();
        let _same_as_the_sides = success_of(connected);
        port.stop_listening();
        Pair { bench: bench.clone(), client: client_side, server: server_side }
    }

    /// The side that has connected.
    #[must_use]
    pub fn client(&self) -> &Side {
        &self.client
    }

    /// The side that has listened.
    #[must_use]
    pub fn server(&self) -> &Side {
        &self.server
    }

    /// The bench: its log has the bytes of both directions in their order.
    #[must_use]
    pub fn bench(&self) -> &Bench {
        &self.bench
    }

    /// Lets the two talk until nothing moves any more and only timers are left to wait for.
    ///
    /// # Panics
    /// When they do not come to rest within an hour of virtual time. When one of the protocols panics.
    #[track_caller]
    pub fn settle(&self) {
        self.bench.settle();
    }

    /// Lets time pass, and everything happen that happens in it.
    ///
    /// # Panics
    /// When one of the protocols panics.
    pub fn advance(&self, by: Duration) {
        self.bench.advance(by);
    }
}

/// A factory that gives this protocol away, and what a test sees of it.
fn once(bench: &Bench, protocol: impl Protocol) -> (impl Fn() -> Tap + 'static, Side) {
    let side = Side::new(bench.network(), bench.panic());
    let tapped = RefCell::new(Some(side.tap(Box::new(protocol))));
    (move || tapped.borrow_mut().take().expect("there is one connection"), side)
}
