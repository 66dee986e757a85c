//! Standard input and output as a connection: filters, programs that inetd or a parent starts, a chat at a terminal. How their
//! descriptors are read and written without blocking is in the reactor's `io::Pipes`; the endpoint `stdio:` comes by `listen`.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use ropewalk_reactor::io::{Address, Pipes, Socket};
use ropewalk_reactor::{Name, Reactor};

use crate::protocol::Protocol;
use crate::transport::{Origin, OriginKind, Transport, TransportOptions};

/// Makes standard input and output one connection, at once: `connection_made` is called before this returns. The server endpoint
/// `stdio:` is the same with a factory.
///
/// - The end of the input is [`Protocol::read_ended`]; the output goes on until it is closed, and everything written is out
///   before `connection_lost`.
/// - [`Transport::lose_write_connection`] ends the output alone. A pipe or socket that was standard output is then `/dev/null` to the
///   rest of the program, so that its reader sees the end; a terminal or a file stays.
/// - An output whose reader has gone (`| head -1`) breaks the connection: [`Lost::Broken`](crate::Lost::Broken) with
///   [`io::ErrorKind::BrokenPipe`], also while nothing is written.
/// - A reader that takes nothing for hours is no stall here: a pager stands where its user is.
/// - The terminal stays as it is for everybody else: `O_NONBLOCK` is set on nothing that another process shares. Reading and
///   writing files happens on the loop, as files are always ready.
///
/// What else the program prints goes to the same place, between what is written here, and may wait for it.
///
/// ```no_run
/// use ropewalk_net::{Lost, Protocol, Transport, stdio};
/// use ropewalk_reactor::Reactor;
///
/// struct Shout;
/// impl Protocol for Shout {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
///         transport.write(&data.to_ascii_uppercase());
///     }
///     fn connection_lost(&mut self, transport: &Transport, _: &Lost) {
///         transport.reactor().stop();
///     }
/// }
///
/// let reactor = Reactor::new()?;
/// stdio(&reactor, Shout)?;
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// They are a connection already ([`io::ErrorKind::AlreadyExists`]), the input is not open for reading or the output not for writing,
/// descriptors ran out, or the reactor is simulated.
#[track_caller]
pub fn stdio(reactor: &Reactor, protocol: impl Protocol) -> io::Result<Transport> {
    start(reactor, Name::here(), Pipes::stdio()?, Box::new(protocol))
}

/// The same with any two descriptors: the pipes of a child, two named pipes, a terminal's side. They may be the same thing twice.
///
/// ```
/// use std::os::fd::OwnedFd;
/// use ropewalk_net::{Protocol, Transport, adopt_pipes};
/// use ropewalk_reactor::Reactor;
///
/// struct Echo;
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
///         transport.write(data);
///     }
/// }
/// let reactor = Reactor::new()?;
/// let (input, questions) = std::io::pipe()?;
/// let (answers, output) = std::io::pipe()?;
/// adopt_pipes(&reactor, OwnedFd::from(input), OwnedFd::from(output), Echo)?;
/// # drop((questions, answers));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The input is not open for reading or the output not for writing, descriptors ran out, or the reactor is simulated.
#[track_caller]
pub fn adopt_pipes(
    reactor: &Reactor,
    input: OwnedFd,
    output: OwnedFd,
    protocol: impl Protocol,
) -> io::Result<Transport> {
    start(reactor, Name::here(), Pipes::new(input, output)?, Box::new(protocol))
}

fn start(reactor: &Reactor, name: Name, pipes: Pipes, protocol: Box<dyn Protocol>) -> io::Result<Transport> {
    let options = TransportOptions { write_stall: None, ..TransportOptions::default() };
    let origin = Rc::new(Origin { reactor: reactor.clone(), name, options, kind: OriginKind::Adopted });
    Transport::start(&origin, Socket::Pipe(Box::new(pipes)), Address::Pipe, protocol)
}
