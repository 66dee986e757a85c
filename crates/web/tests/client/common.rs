//! What the tests of the client share: a simulation with a server that follows a script, and a hand that waits for what a request
//! comes to. No test of its own.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::{Factory, Lost, Port, Protocol, Transport, listen};
use ropewalk_reactor::{Failure, Outcome, Reactor, Simulation};
use ropewalk_web::client::{Agent, ClientError, Phase};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What a server does when a request's head has come.
pub(crate) enum Reply {
    /// Sends this.
    Send(Vec<u8>),
    /// Sends this and closes.
    Last(Vec<u8>),
    /// Sends this and answers nothing more on this connection.
    Stuck(Vec<u8>),
    /// Breaks the connection off.
    Reset,
    Nothing,
}

impl From<&str> for Reply {
    fn from(text: &str) -> Reply {
        Reply::Send(text.into())
    }
}

impl From<Vec<u8>> for Reply {
    fn from(bytes: Vec<u8>) -> Reply {
        Reply::Send(bytes)
    }
}

impl From<String> for Reply {
    fn from(text: String) -> Reply {
        Reply::Send(text.into_bytes())
    }
}

/// The server's end of one connection.
pub(crate) struct Link {
    pub(crate) transport: RefCell<Option<Transport>>,
    /// Everything that has come.
    pub(crate) received: RefCell<Vec<u8>>,
    pub(crate) ended: Cell<bool>,
    pub(crate) lost: RefCell<Option<Lost>>,
}

impl Link {
    pub(crate) fn write(&self, bytes: impl AsRef<[u8]>) {
        if let Some(transport) = &*self.transport.borrow() {
            transport.write(bytes.as_ref());
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.received.borrow()).into_owned()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.borrow().is_some()
    }
}

type Answer = Rc<dyn Fn(usize, &str) -> Reply>;

/// Follows a script: for each head, the number of the request in all and its text, it is told what to do.
struct Scripted {
    link: Rc<Link>,
    seen: usize,
    stuck: bool,
    requests: Rc<Cell<usize>>,
    answer: Answer,
}

impl Protocol for Scripted {
    fn connection_made(&mut self, transport: &Transport) {
        *self.link.transport.borrow_mut() = Some(transport.clone());
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.link.received.borrow_mut().extend_from_slice(data);
        while !self.stuck {
            let head = {
                let received = self.link.received.borrow();
                let rest = &received[self.seen..];
                let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") else { return };
                self.seen += end + 4;
                String::from_utf8_lossy(&rest[..end + 4]).into_owned()
            };
            let number = self.requests.get();
            self.requests.set(number + 1);
            match (self.answer)(number, &head) {
                Reply::Send(bytes) => transport.write(&bytes),
                Reply::Last(bytes) => {
                    transport.write(&bytes);
                    transport.lose_connection();
                }
                Reply::Stuck(bytes) => {
                    transport.write(&bytes);
                    self.stuck = true;
                }
                Reply::Reset => transport.abort_connection(),
                Reply::Nothing => {}
            }
        }
    }

    fn read_ended(&mut self, transport: &Transport) {
        self.link.ended.set(true);
        transport.lose_connection();
    }

    fn connection_lost(&mut self, _: &Transport, lost: &Lost) {
        *self.link.lost.borrow_mut() = Some(lost.clone());
        self.link.transport.take();
    }
}

/// A simulation with a server and an agent.
pub(crate) struct Ground {
    pub(crate) simulation: Simulation,
    pub(crate) port: Port,
    pub(crate) agent: Agent,
    pub(crate) links: Rc<RefCell<Vec<Rc<Link>>>>,
    requests: Rc<Cell<usize>>,
    before: (usize, usize),
}

impl Ground {
    /// A server that follows a script.
    pub(crate) fn scripted<R: Into<Reply>>(answer: impl Fn(usize, &str) -> R + 'static) -> Ground {
        Ground::seeded(1, answer)
    }

    pub(crate) fn seeded<R: Into<Reply>>(seed: u64, answer: impl Fn(usize, &str) -> R + 'static) -> Ground {
        let simulation = Simulation::new(seed);
        let (links, requests) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
        let answer: Answer = Rc::new(move |number, head| answer(number, head).into());
        let (all, count) = (Rc::clone(&links), Rc::clone(&requests));
        let factory = move || {
            let link = Rc::new(Link {
                transport: RefCell::default(),
                received: RefCell::default(),
                ended: Cell::default(),
                lost: RefCell::default(),
            });
            all.borrow_mut().push(Rc::clone(&link));
            Scripted { link, seen: 0, stuck: false, requests: Rc::clone(&count), answer: Rc::clone(&answer) }
        };
        Ground::with(simulation, factory, links, requests)
    }

    /// A site of this crate.
    pub(crate) fn of(seed: u64, factory: impl Factory) -> Ground {
        Ground::with(Simulation::new(seed), factory, Rc::default(), Rc::default())
    }

    fn with(
        simulation: Simulation,
        factory: impl Factory,
        links: Rc<RefCell<Vec<Rc<Link>>>>,
        requests: Rc<Cell<usize>>,
    ) -> Ground {
        let port =
            listen(simulation.reactor(), &"tcp:80:interface=127.0.0.1".parse().unwrap(), factory).unwrap();
        simulation.network().set_host("a.example", &["127.0.0.1".parse().unwrap()]);
        simulation.network().set_host("b.example", &["127.0.0.1".parse().unwrap()]);
        simulation.advance(MS);
        let before = counts(&simulation);
        let agent = Agent::new(simulation.reactor());
        Ground { simulation, port, agent, links, requests, before }
    }

    pub(crate) fn reactor(&self) -> &Reactor {
        self.simulation.reactor()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.simulation.advance(by);
    }

    pub(crate) fn link(&self, index: usize) -> Rc<Link> {
        Rc::clone(&self.links.borrow()[index])
    }

    /// How many connections the server has seen.
    pub(crate) fn made(&self) -> usize {
        self.links.borrow().len()
    }

    /// How many requests the server has seen.
    pub(crate) fn requests(&self) -> usize {
        self.requests.get()
    }

    /// Begins something, and answers where its outcome will be.
    pub(crate) fn begin<T: 'static>(
        &self,
        future: impl Future<Output = Outcome<T>> + 'static,
    ) -> Rc<RefCell<Option<Outcome<T>>>> {
        let slot = Rc::new(RefCell::new(None));
        let filled = Rc::clone(&slot);
        self.reactor().spawn(async move {
            let outcome = future.await;
            *filled.borrow_mut() = Some(outcome);
        });
        slot
    }

    /// Lets time pass until it has come to an end.
    pub(crate) fn wait<T: 'static>(&self, future: impl Future<Output = Outcome<T>> + 'static) -> Outcome<T> {
        let slot = self.begin(future);
        assert!(self.simulation.run_until(36_000 * SECOND, || slot.borrow().is_some()), "it comes to an end");
        slot.take().unwrap()
    }

    /// The status and the text of a GET.
    pub(crate) fn get(&self, url: &str) -> Outcome<(u16, String)> {
        let request = self.agent.get(url);
        self.wait(async move {
            let response = request.send().await?;
            Ok((response.status(), response.text().await?))
        })
    }

    /// How a GET fails.
    pub(crate) fn fails(&self, url: &str) -> ClientError {
        client_error(self.get(url).unwrap_err())
    }

    /// Asserts that nothing is left but the listener.
    pub(crate) fn is_clean(&self) {
        self.agent.close();
        self.advance(5 * SECOND);
        assert_eq!(self.agent.statistics().open, 0, "connections are counted");
        assert_eq!(counts(&self.simulation), self.before, "sources and timers are left");
        assert_eq!(self.port.statistics().connections, 0, "the server has connections");
    }
}

fn counts(simulation: &Simulation) -> (usize, usize) {
    let statistics = simulation.reactor().statistics();
    (statistics.sources, statistics.timers)
}

pub(crate) fn client_error(failure: Failure) -> ClientError {
    failure.check::<ClientError>().cloned().unwrap_or_else(|| panic!("{failure:?}"))
}

/// The phase that has timed out.
pub(crate) fn phase(outcome: Outcome<impl Sized>) -> Phase {
    match client_error(outcome.map(drop).unwrap_err()) {
        ClientError::TimedOut { phase, .. } => phase,
        other => panic!("{other}"),
    }
}

/// An answer with this body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
