//! Resolvers: from a host and a port to addresses. What an address literal is and what no name can be is decided here, the
//! system's resolver and its memory are in `system`, fixed answers in `overrides`. Connecting asks; nothing here connects.
//!
//! Which resolver is asked: the one in [`ConnectOptions`](crate::ConnectOptions), else the reactor's own, which is a
//! [`SystemResolver`] until another is [installed](install_resolver).

mod overrides;
mod system;

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::rc::Rc;

use ropewalk_reactor::{Deferred, Failure, Reactor};

pub use overrides::OverrideResolver;
pub use system::{ResolverStatistics, SystemResolver};

/// Bytes of a name at the most: RFC 1035 section 2.3.4 gives it 255 on the wire, which is 253 in writing, without the dot of the root.
pub const HOST_BYTES_MAX: usize = 253;

/// Finds the addresses of a host.
///
/// It is also asked for hosts that are addresses already; [`literal`] knows them. Any function of this shape is one:
///
/// ```
/// use std::rc::Rc;
/// use ropewalk_net::install_resolver;
/// use ropewalk_reactor::{Deferred, Reactor, deferred};
/// use std::net::SocketAddr;
///
/// fn everything_is_here(reactor: &Reactor, _host: &str, port: u16) -> Deferred<Vec<SocketAddr>> {
///     deferred::succeed(reactor, vec![([127, 0, 0, 1], port).into()])
/// }
///
/// let reactor = Reactor::new()?;
/// install_resolver(&reactor, Rc::new(everything_is_here));
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Resolver: 'static {
    /// The addresses of a host, each with this port, in the order of preference. None at all is a failure for whoever connects.
    ///
    /// Cancelling the deferred means that nobody waits any more.
    fn resolve(&self, reactor: &Reactor, host: &str, port: u16) -> Deferred<Vec<SocketAddr>>;
}

impl<F> Resolver for F
where
    F: Fn(&Reactor, &str, u16) -> Deferred<Vec<SocketAddr>> + 'static,
{
    fn resolve(&self, reactor: &Reactor, host: &str, port: u16) -> Deferred<Vec<SocketAddr>> {
        self(reactor, host, port)
    }
}

/// The reactor's own resolver.
struct Installed(RefCell<Rc<dyn Resolver>>);

fn installed(reactor: &Reactor) -> Rc<Installed> {
    reactor.part(|| Installed(RefCell::new(Rc::new(SystemResolver::new()))))
}

/// The resolver that is asked where no other is given.
///
/// ```
/// let reactor = ropewalk_reactor::Reactor::new()?;
/// let found = ropewalk_net::resolver(&reactor).resolve(&reactor, "::1", 80);
/// # drop(found);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn resolver(reactor: &Reactor) -> Rc<dyn Resolver> {
    Rc::clone(&*installed(reactor).0.borrow())
}

/// Installs the resolver that is asked where no other is given, and answers the one before. It must not keep the reactor: the
/// reactor keeps it.
pub fn install_resolver(reactor: &Reactor, resolver: Rc<dyn Resolver>) -> Rc<dyn Resolver> {
    installed(reactor).0.replace(resolver)
}

/// Resolves a host with the reactor's own resolver.
///
/// ```
/// use ropewalk_reactor::Simulation;
/// let simulation = Simulation::new(1);
/// let reactor = simulation.reactor().clone();
/// simulation.reactor().spawn(async move {
///     let found = ropewalk_net::resolve(&reactor, "[::1]", 80).await.expect("it is an address already");
///     assert_eq!(found, ["[::1]:80".parse().expect("an address")]);
///     reactor.stop();
/// });
/// simulation.advance(std::time::Duration::from_millis(1));
/// assert!(!simulation.reactor().is_running());
/// ```
///
/// # Errors
/// An [`io::Error`] of the kind `InvalidInput` if this can be no host, before anybody is asked; the resolver's failure; one
/// of the kind `NotFound` if the name has no address.
pub async fn resolve(reactor: &Reactor, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    resolve_with(&*resolver(reactor), reactor, host, port).await
}

/// The same with another resolver.
pub(crate) async fn resolve_with(
    resolver: &dyn Resolver,
    reactor: &Reactor,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, Failure> {
    check_host(host)?;
    let found = resolver.resolve(reactor, host, port).await?;
    if found.is_empty() {
        let text = format!("{host}: the name has no address");
        return Err(Failure::new(io::Error::new(io::ErrorKind::NotFound, text)));
    }
    Ok(found)
}

/// A host that is an address in writing: `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]`, and with a scope `fe80::1%eth0` or
/// `fe80::1%2` (RFC 4007 section 11). `None` for a name.
///
/// ```
/// use ropewalk_net::literal;
/// let reactor = ropewalk_reactor::Simulation::new(1).reactor().clone();
/// assert_eq!(literal(&reactor, "[::1]", 80).transpose()?, Some("[::1]:80".parse()?));
/// assert!(literal(&reactor, "example.org", 80).is_none());
/// assert!(literal(&reactor, "fe80::1%nothing", 80).is_some_and(|found| found.is_err()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn literal(reactor: &Reactor, host: &str, port: u16) -> Option<io::Result<SocketAddr>> {
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let (bare, scope) = match bracketed.unwrap_or(host).split_once('%') {
        Some((bare, scope)) => (bare, Some(scope)),
        None => (bracketed.unwrap_or(host), None),
    };
    match (bare.parse::<IpAddr>(), scope) {
        (Ok(IpAddr::V6(address)), Some(scope)) => Some(scoped(reactor, address, scope, port)),
        (Ok(address), None) if address.is_ipv6() || bracketed.is_none() => {
            Some(Ok(SocketAddr::new(address, port)))
        }
        _ => None,
    }
}

/// A scope is an interface, by its index or by its name.
fn scoped(reactor: &Reactor, address: Ipv6Addr, scope: &str, port: u16) -> io::Result<SocketAddr> {
    let index = match scope.parse::<u32>() {
        Ok(index) => Ok(index),
        Err(_) => reactor.interface(scope),
    };
    let index = index.map_err(|error| {
        io::Error::new(error.kind(), format!("{address}%{scope}: there is no interface {scope:?}: {error}"))
    })?;
    Ok(SocketAddrV6::new(address, port, 0, index).into())
}

/// Refuses what no resolver needs to be asked about; the most frequent is a whole URL, or a host with its port.
fn check_host(host: &str) -> io::Result<()> {
    let strange = |byte: u8| byte <= b' ' || byte == 0x7f || b"[]/:@%?#\\".contains(&byte);
    let why = if host.is_empty() {
        "a host is missing".to_owned()
    } else if host.strip_suffix('.').unwrap_or(host).len() > HOST_BYTES_MAX {
        format!("a host of {} bytes; {HOST_BYTES_MAX} is the most", host.len())
    } else if let Some(at) = host.bytes().position(strange).filter(|_| !is_v6(host)) {
        format!("{host:?} is no host: it has {:?} in it", char::from(host.as_bytes()[at]))
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

fn is_v6(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.split('%').next().is_some_and(|bare| bare.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk_reactor::Simulation;

    #[test]
    fn addresses_in_writing_are_known() {
        let simulation = Simulation::new(1);
        let known = |host: &str| {
            literal(simulation.reactor(), host, 7).map(|found| match found {
                Ok(address) => address.to_string(),
                Err(error) => error.to_string(),
            })
        };
        for (host, address) in [
            ("192.0.2.1", "192.0.2.1:7"),
            ("::1", "[::1]:7"),
            ("[2001:db8::1]", "[2001:db8::1]:7"),
            ("fe80::1%3", "[fe80::1%3]:7"),
            ("[fe80::1%lo]", "[fe80::1%1]:7"),
        ] {
            assert_eq!(known(host).as_deref(), Some(address), "{host}");
        }
        for host in ["example.org", "[192.0.2.1]", "192.0.2.1%lo", "[::1", "::1]", "", "[]", "1.2.3"] {
            assert_eq!(known(host), None, "{host}");
        }
        assert!(known("fe80::1%eth7").is_some_and(|text| text.contains("no interface \"eth7\"")));
        assert!(known("fe80::1%").is_some_and(|text| text.contains("no interface")));
    }

    #[test]
    fn what_no_host_can_be_is_refused_with_a_reason() {
        let long = "a".repeat(HOST_BYTES_MAX);
        let longer = "a".repeat(HOST_BYTES_MAX + 1);
        for host in ["a", "example.org", "example.org.", "under_score", "::1", "[::1]", "fe80::1%eth0", &long]
        {
            assert!(check_host(host).is_ok(), "{host}");
        }
        assert!(check_host(&format!("{long}.")).is_ok(), "the root's dot does not count");
        for (host, part) in [
            ("", "missing"),
            (longer.as_str(), "254 bytes"),
            ("a\0b", "'\\0'"),
            ("[\0]", "no host"),
            ("a b", "' '"),
            ("example.org:80", "':'"),
            ("http://example.org", "':'"),
            ("example.org/path", "'/'"),
            ("[::1", "no host"),
            ("line\n", "no host"),
        ] {
            let error = check_host(host).expect_err(host);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(part), "{host:?}: {error}");
            assert!(!error.to_string().contains(['\n', '\0']), "{error}");
        }
    }
}
