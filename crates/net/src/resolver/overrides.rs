//! Fixed answers in front of another resolver, Tornado's `OverrideResolver`: for tests against a local server, and for names
//! that only this program knows. It finds no addresses by itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use ropewalk_reactor::{Deferred, Reactor};

use super::Resolver;

/// Asks another resolver for other hosts than it was asked for.
///
/// A host with its port goes before the host alone. What comes out is not looked up here again, so there are no loops.
///
/// ```
/// use std::rc::Rc;
/// use ropewalk_net::{OverrideResolver, install_resolver, resolver};
///
/// let reactor = ropewalk_reactor::Reactor::new()?;
/// let overrides = OverrideResolver::new(resolver(&reactor))
///     .with_host("db.internal", "10.0.0.5")
///     .with_port("example.org", 443, "localhost", 1443);
/// install_resolver(&reactor, Rc::new(overrides));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct OverrideResolver {
    next: Rc<dyn Resolver>,
    hosts: BTreeMap<String, String>,
    ports: BTreeMap<(String, u16), (String, u16)>,
}

impl OverrideResolver {
    /// Overrides nothing yet; `next` is asked in the end.
    #[must_use]
    pub fn new(next: Rc<dyn Resolver>) -> OverrideResolver {
        OverrideResolver { next, hosts: BTreeMap::new(), ports: BTreeMap::new() }
    }

    /// Where `host` is asked for, at any port, asks for another host or an address instead.
    #[must_use]
    pub fn with_host(mut self, host: &str, instead: &str) -> OverrideResolver {
        self.hosts.insert(plain(host), instead.to_owned());
        self
    }

    /// The same for one port, which may change as well.
    #[must_use]
    pub fn with_port(mut self, host: &str, port: u16, instead: &str, port_instead: u16) -> OverrideResolver {
        self.ports.insert((plain(host), port), (instead.to_owned(), port_instead));
        self
    }
}

impl Resolver for OverrideResolver {
    fn resolve(&self, reactor: &Reactor, host: &str, port: u16) -> Deferred<Vec<SocketAddr>> {
        let asked = (plain(host), port);
        if let Some((host, port)) = self.ports.get(&asked) {
            return self.next.resolve(reactor, host, *port);
        }
        let host = self.hosts.get(&asked.0).map_or(host, String::as_str);
        self.next.resolve(reactor, host, port)
    }
}

/// Names do not differ by case, nor by the dot of the root.
fn plain(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}
