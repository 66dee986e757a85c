//! `Core`: one session's conversation. Lines wait here for their turn, a task (the flight) works them off and ends, replies go out.
//! What cannot wait for its turn, ABOR and STAT while a file is under way, is answered beside the flight.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;

use ropewalk_net::{Address, Transport};
use ropewalk_reactor::{Name, Reactor, Task, Time};
use ropewalk_wire::ftp::{Command, Reply, Verb};

use super::{State, Type};
use crate::accounts::User;
use crate::command;
use crate::observe::Answered;
use crate::server::Server;

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// There is none.
    None,
    /// It can be broken off.
    Running,
    /// Everything has come, and is being put in its place: too late to break it off.
    Settling,
}

/// What became of a line.
pub(super) enum Taken {
    GoOn,
    /// Nothing more may be read before it is answered.
    Wait,
}

/// What waits for its turn.
enum Waiting {
    Line(Vec<u8>),
    /// Something that was no line, and its answer.
    Unreadable(Reply),
}

pub(crate) struct Core {
    pub(crate) server: Rc<Server>,
    pub(crate) transport: Transport,
    pub(crate) state: RefCell<State>,
    pub(crate) phase: Cell<Phase>,
    /// What the last transfer has moved, for the logs.
    pub(crate) moved: Cell<u64>,
    waiting: RefCell<VecDeque<Waiting>>,
    flying: Cell<bool>,
    flight: RefCell<Option<Task<()>>>,
    /// The line that is worked on, for the logs.
    current: RefCell<String>,
    /// The conversation is over once what runs is answered.
    ending: Cell<Option<Ending>>,
    /// The second that commands are counted in, and how many there were.
    rate: Cell<(Time, u32)>,
}

#[derive(Clone, Copy)]
enum Ending {
    /// The client has ended its direction, or said QUIT.
    Client,
    /// The program stops.
    Program,
}

impl Core {
    pub(super) fn new(server: &Rc<Server>, transport: &Transport) -> Rc<Core> {
        let now = transport.reactor().now();
        let login_by = now + server.options.limits.login;
        transport.set_deadline(Some(login_by));
        Rc::new(Core {
            server: Rc::clone(server),
            transport: transport.clone(),
            state: RefCell::new(State::new(login_by)),
            phase: Cell::new(Phase::None),
            moved: Cell::new(0),
            waiting: RefCell::default(),
            flying: Cell::new(false),
            flight: RefCell::new(None),
            current: RefCell::default(),
            ending: Cell::new(None),
            rate: Cell::new((now, 0)),
        })
    }

    pub(super) fn greet(&self) {
        let greeting = self.server.options.greeting.as_deref().unwrap_or("Ropewalk FTP ready");
        self.reply(&Reply::new(220, greeting));
    }

    /// A line has come.
    pub(super) fn take(self: &Rc<Self>, line: Vec<u8>) -> Taken {
        self.server.figures.add(|figures| figures.commands += 1);
        let Command { verb, argument, .. } = Command::parse(&line);
        match verb {
            // RFC 959 section 4.1.3: the two that may come while a file is under way.
            Some(Verb::Abor) if self.abort("Transfer aborted") => {
                self.reply(&Reply::new(226, "ABOR done"));
                self.tell_of("ABOR", 226, 0);
                self.go_on();
                return Taken::GoOn;
            }
            // Whoever does not read what STAT says waits with it as with anything else.
            Some(Verb::Stat)
                if argument.is_empty() && self.phase.get() != Phase::None && !self.transport.is_full() =>
            {
                let reply = command::status(self);
                self.reply(&reply);
                self.tell_of("STAT", reply.code, 0);
                return Taken::GoOn;
            }
            _ => {}
        }
        // What follows AUTH belongs to TLS, be it that it is granted or not: nothing of it is looked at before.
        let wait = verb == Some(Verb::Auth);
        self.queue(Waiting::Line(line));
        if wait { Taken::Wait } else { Taken::GoOn }
    }

    /// Something has come that is no line; its answer waits for its turn.
    pub(super) fn take_unreadable(self: &Rc<Self>, reply: Reply) -> Taken {
        self.queue(Waiting::Unreadable(reply));
        Taken::GoOn
    }

    fn queue(self: &Rc<Self>, waiting: Waiting) {
        self.waiting.borrow_mut().push_back(waiting);
        self.go_on();
    }

    /// Whether as much waits as may.
    pub(super) fn is_busy(&self) -> bool {
        self.waiting.borrow().len() >= self.server.options.limits.pipelined_max
    }

    /// Begins a flight, if there is something to do and none is under way.
    fn go_on(self: &Rc<Self>) {
        if self.waiting.borrow().is_empty() || self.transport.is_closing() || self.flying.replace(true) {
            return;
        }
        // Who is not logged in has no more time for working slowly than for thinking.
        let logged_in = self.state.borrow().login.is_some();
        if logged_in {
            self.transport.set_deadline(None);
        }
        let core = Rc::clone(self);
        let task = self.reactor().spawn_named(Name::new("ftp session"), async move {
            let crash = Crash(&core.transport);
            core.fly().await;
            drop(crash);
            core.land();
        });
        *self.flight.borrow_mut() = Some(task);
    }

    async fn fly(self: &Rc<Self>) {
        while !self.transport.is_closing() {
            let next = self.waiting.borrow_mut().pop_front();
            match next {
                None => break,
                Some(Waiting::Unreadable(reply)) => self.reply(&reply),
                Some(Waiting::Line(line)) => self.work(&line).await,
            }
            self.slow_down().await;
            // Who does not read answers gets no more of them.
            poll_fn(|context| self.transport.poll_writable(context)).await;
        }
    }

    async fn work(self: &Rc<Self>, line: &[u8]) {
        let command = Command::parse(line);
        *self.current.borrow_mut() = shown(&command);
        self.moved.set(0);
        let reply = command::run(self, &command).await;
        self.phase.set(Phase::None);
        self.reply(&reply);
        command::replied(self, reply.code);
        self.tell(reply.code);
    }

    /// Waits for the next second if this one has had its commands.
    async fn slow_down(&self) {
        let now = self.reactor().now();
        let (second, count) = self.rate.get();
        let over = second + std::time::Duration::from_secs(1);
        if now >= over {
            return self.rate.set((now, 1));
        }
        self.rate.set((second, count + 1));
        if count + 1 >= self.server.options.limits.commands_per_second_max {
            self.reactor().sleep_until(over).await;
        }
    }

    /// The flight is over.
    fn land(&self) {
        self.flying.set(false);
        match self.ending.get() {
            Some(Ending::Program) => self.say_farewell("The server stops"),
            Some(Ending::Client) => self.transport.lose_connection(),
            None => self.wait_for_more(),
        }
    }

    fn wait_for_more(&self) {
        let deadline = match &*self.state.borrow() {
            state if state.login.is_none() => state.login_by,
            _ => self.reactor().now() + self.server.options.limits.idle,
        };
        self.transport.set_deadline(Some(deadline));
        self.transport.resume_reading();
    }

    /// Whether an ABOR waits: it came with the very bytes of the transfer that it is for, before that one had begun.
    pub(crate) fn is_abort_waiting(&self) -> bool {
        let is_abort = |waiting: &Waiting| match waiting {
            Waiting::Line(line) => Command::parse(line).verb == Some(Verb::Abor),
            Waiting::Unreadable(_) => false,
        };
        self.waiting.borrow().iter().any(is_abort)
    }

    /// Breaks off the transfer that runs; answers false if there is none, or it is too late.
    pub(crate) fn abort(self: &Rc<Self>, why: &str) -> bool {
        if self.phase.get() != Phase::Running {
            return false;
        }
        self.drop_flight();
        self.server.figures.add(|figures| figures.aborted += 1);
        self.reply(&Reply::new(426, why));
        self.tell(426);
        self.land();
        self.go_on();
        true
    }

    /// Whatever the flight holds cleans up behind itself.
    fn drop_flight(&self) {
        let flight = self.flight.borrow_mut().take();
        if let Some(flight) = flight {
            flight.abort();
        }
        self.phase.set(Phase::None);
        let plan = self.state.borrow_mut().plan.take();
        drop(plan);
    }

    /// QUIT: what waits is not answered any more.
    pub(crate) fn quit(&self) {
        self.waiting.borrow_mut().clear();
        self.ending.set(Some(Ending::Client));
    }

    /// The client sends no more: it gets the answers that are due.
    pub(super) fn end_when_done(&self) {
        if self.flying.get() {
            self.ending.set(Some(Ending::Client));
        } else {
            self.transport.lose_connection();
        }
    }

    pub(super) fn timed_out(&self) {
        self.server.figures.add(|figures| figures.timed_out += 1);
        self.drop_flight();
        self.say_farewell("Timeout");
    }

    /// Ends the session from outside, whatever it does; answers false if it is ending already.
    pub(crate) fn end(&self, why: &str) -> bool {
        if self.transport.is_closing() {
            return false;
        }
        self.waiting.borrow_mut().clear();
        self.drop_flight();
        self.say_farewell(why);
        true
    }

    /// The program stops: a transfer is given its time, everything else ends.
    pub(super) fn stop(&self) {
        if self.flying.get() {
            self.ending.set(Some(Ending::Program));
            self.waiting.borrow_mut().clear();
        } else {
            self.say_farewell("The server stops");
        }
    }

    pub(super) fn lost(&self) {
        self.waiting.borrow_mut().clear();
        self.drop_flight();
        let login = self.state.borrow_mut().login.take();
        drop(login);
    }

    /// RFC 959 section 5.4: 421 may be said at any time.
    pub(crate) fn say_farewell(&self, why: &str) {
        self.reply(&Reply::new(421, why));
        self.transport.lose_connection();
    }

    pub(crate) fn reply(&self, reply: &Reply) {
        self.transport.write_with(|out| reply.encode(out));
    }

    fn tell(&self, code: u16) {
        let line = self.current.borrow().clone();
        self.tell_of(&line, code, self.moved.get());
    }

    /// Tells the observers of an answer.
    fn tell_of(&self, line: &str, code: u16, bytes: u64) {
        if self.server.options.observers.is_empty() {
            return;
        }
        let user = self.user_name();
        let answered = Answered {
            at: self.reactor().wall_clock(),
            peer: &self.peer(),
            user: user.as_deref(),
            line,
            code,
            bytes,
        };
        self.server.tell(|observer| observer.answered(&answered));
    }

    pub(crate) fn reactor(&self) -> &Reactor {
        self.transport.reactor()
    }

    pub(crate) fn peer(&self) -> Address {
        self.transport.peer()
    }

    pub(crate) fn peer_ip(&self) -> Option<IpAddr> {
        self.peer().ip().map(|ip| ip.to_canonical())
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.transport.tls().is_some()
    }

    pub(crate) fn user(&self) -> Option<Rc<User>> {
        self.state.borrow().login.as_ref().map(|login| Rc::clone(&login.user))
    }

    pub(crate) fn user_name(&self) -> Option<String> {
        self.user().map(|user| user.name.clone())
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        self.state.borrow().login.as_ref().is_some_and(|login| login.anonymous)
    }

    pub(crate) fn is_ascii(&self) -> bool {
        self.state.borrow().kind == Type::Ascii
    }
}

/// Breaks the connection off when a command panics: a client that waits for an answer would wait for ever.
struct Crash<'a>(&'a Transport);

impl Drop for Crash<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abort_connection();
        }
    }
}

/// A line as logs may show it.
fn shown(command: &Command<'_>) -> String {
    let name = String::from_utf8_lossy(command.name);
    match command.verb {
        Some(Verb::Pass | Verb::Acct | Verb::Adat) => format!("{name} ****"),
        _ if command.argument.is_empty() => name.into_owned(),
        _ => format!("{name} {}", String::from_utf8_lossy(command.argument)),
    }
}
