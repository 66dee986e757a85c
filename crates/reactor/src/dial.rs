//! What connecting asks of the driver beyond a socket: a bind address, the addresses of a name, the index of an interface. The
//! floor above decides which address is tried when; nothing is kept here.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::deferred::Deferred;
use crate::io::Socket;
use crate::reactor::Reactor;

impl Reactor {
    /// A TCP socket that begins to connect from one of this machine's addresses, at a port of the system's choice.
    ///
    /// # Errors
    /// The system's: the address is not this machine's (`AddrNotAvailable`), or of the other family than `to`.
    pub fn connect_tcp_from(&self, from: IpAddr, to: SocketAddr) -> io::Result<Socket> {
        self.0.driver.connect_tcp(Some(from), to)
    }

    /// Asks the system's resolver (getaddrinfo) for a name, on the thread pool; a simulation asks its own table, see
    /// [`Network::set_host`](crate::Network::set_host). Nothing is remembered.
    ///
    /// What the resolver answers is the value, an error of its own included. The deferred fails if the pool takes no job.
    /// Cancelling it does not interrupt the thread.
    ///
    /// ```
    /// use ropewalk_reactor::Simulation;
    /// let simulation = Simulation::new(1);
    /// simulation.network().set_host("example.org", &["192.0.2.1".parse()?]);
    /// let found = simulation.reactor().lookup("example.org", 80).add_callback(|found| {
    ///     assert_eq!(found.expect("it is in the table"), ["192.0.2.1:80".parse().expect("an address")]);
    /// });
    /// simulation.advance(std::time::Duration::from_secs(1));
    /// # drop(found);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[track_caller]
    pub fn lookup(&self, host: &str, port: u16) -> Deferred<io::Result<Vec<SocketAddr>>> {
        self.defer_to_thread(self.0.driver.lookup(host, port))
    }

    /// The index of a network interface by its name, for the scope of a link-local address. Asked at once: this does not block.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn interface(&self, name: &str) -> io::Result<u32> {
        self.0.driver.interface(name)
    }
}
