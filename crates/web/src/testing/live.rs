//! A request on its way: `Ongoing`, whose answer has perhaps not begun; `TestStream`, whose answer comes bit by bit; `TestUpload`, whose
//! body goes bit by bit. A task on the simulated loop reads whatever comes; the test takes it from here.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ropewalk_reactor::{Failure, Outcome, Task};

use super::Ground;
use super::events::{Events, TestEvent};
use super::request::Line;
use super::response::{Head, TestResponse};
use crate::client::RequestBuilder;
use crate::response::ByteStream;

/// What has come of an answer.
#[derive(Default)]
struct Received {
    head: Option<Head>,
    pieces: VecDeque<Vec<u8>>,
    /// It is over: in good order, or not.
    end: Option<Outcome<()>>,
}

/// A request that was sent. Dropping it is leaving, unless all of its answer is there.
pub struct Ongoing {
    ground: Rc<Ground>,
    received: Rc<RefCell<Received>>,
    task: Task<()>,
    line: Line,
    what: String,
}

impl Ongoing {
    pub(super) fn start(ground: Rc<Ground>, builder: RequestBuilder, line: Line, what: String) -> Ongoing {
        let received = Rc::<RefCell<Received>>::default();
        let filled = Rc::clone(&received);
        let task = ground.simulation.reactor().spawn(async move {
            let outcome = receive(builder, &filled).await;
            filled.borrow_mut().end = Some(outcome);
        });
        Ongoing { ground, received, task, line, what }
    }

    /// Whether the head of the answer has come. No time passes.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.received.borrow().head.is_some()
    }

    /// Lets time pass until the whole answer is there.
    ///
    /// # Panics
    /// There is no answer, or no end of it.
    #[must_use]
    #[track_caller]
    pub fn wait(self) -> TestResponse {
        if !self.ground.run_until(|| self.received.borrow().end.is_some()) {
            panic!(
                "{}: {} within {:?} of virtual time",
                self.what,
                self.missing(),
                self.ground.patience.get()
            );
        }
        let mut received = self.received.borrow_mut();
        match (received.head.take(), received.end.take()) {
            (Some(head), Some(Ok(()))) => {
                let body = received.pieces.drain(..).collect::<Vec<_>>().concat();
                TestResponse::new(self.what.clone(), head, body)
            }
            (head, Some(Err(failure))) => panic!("{}: {}: {failure}", self.what, broken(head.as_ref())),
            _ => unreachable!("an answer that has ended in good order has a head"),
        }
    }

    /// Why there is no answer, or not all of it, if that is so; lets time pass until it is over.
    ///
    /// # Panics
    /// It goes on.
    #[track_caller]
    pub fn wait_for_failure(self) -> Option<Failure> {
        let is_over = self.ground.run_until(|| self.received.borrow().end.is_some());
        assert!(is_over, "{}: {} and no failure", self.what, self.missing());
        self.received.borrow_mut().end.take().and_then(Result::err)
    }

    /// Lets time pass until the answer's head is there.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    #[track_caller]
    pub fn open(self) -> TestStream {
        let is_known = || {
            let received = self.received.borrow();
            received.head.is_some() || received.end.is_some()
        };
        if !self.ground.run_until(is_known) {
            panic!(
                "{}: {} within {:?} of virtual time",
                self.what,
                self.missing(),
                self.ground.patience.get()
            );
        }
        let received = self.received.borrow();
        match (&received.head, &received.end) {
            (Some(head), _) => {
                let head = TestResponse::new(self.what.clone(), head.clone(), Vec::new());
                drop(received);
                TestStream { ongoing: self, head, text: Vec::new(), events: Events::default() }
            }
            (None, Some(Err(failure))) => panic!("{}: {}: {failure}", self.what, broken(None)),
            _ => unreachable!("it was waited for"),
        }
    }

    /// Closes the connection, as a client does that has lost its interest, and lets the site see it. To the site that looks like one that
    /// only has nothing more to say: unless its handler asks to be told or cancelled, it answers, and learns the rest then.
    pub fn disconnect(self) {
        self.end(|transport| transport.lose_connection());
    }

    /// Breaks the connection off, as a client does that crashes, and lets the site see it.
    pub fn reset(self) {
        self.end(|transport| transport.abort_connection());
    }

    fn end(self, end: impl FnOnce(&ropewalk_net::Transport)) {
        if let Some(transport) = &*self.line.borrow() {
            end(transport);
        }
        self.task.abort();
        self.ground.settle();
    }

    pub(super) fn settle(&self) {
        self.ground.settle();
    }

    fn missing(&self) -> &'static str {
        if self.is_answered() { "the answer has no end" } else { "there is no answer" }
    }
}

fn broken(head: Option<&Head>) -> &'static str {
    if head.is_some() { "the answer has broken off" } else { "there is no answer" }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(builder: RequestBuilder, into: &RefCell<Received>) -> Outcome<()> {
    let mut response = builder.send().await?;
    into.borrow_mut().head = Some(Head::of(&response));
    while let Some(piece) = response.piece().await? {
        into.borrow_mut().pieces.push_back(piece);
    }
    if let Some(head) = &mut into.borrow_mut().head {
        head.trailers = response.trailers();
    }
    Ok(())
}

/// An answer whose head is there, and whose body comes bit by bit. Dropping it is leaving.
pub struct TestStream {
    ongoing: Ongoing,
    head: TestResponse,
    /// Came, and was not asked for yet.
    text: Vec<u8>,
    events: Events,
}

impl TestStream {
    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The first field of this name, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// Panics unless this is the status.
    #[track_caller]
    pub fn assert_status(&self, status: u16) -> &TestStream {
        self.head.assert_status(status);
        self
    }

    /// Panics unless there is a field of this name with this value.
    #[track_caller]
    pub fn assert_header(&self, name: &str, value: &str) -> &TestStream {
        self.head.assert_header(name, value);
        self
    }

    /// The next bytes, in whatever pieces the network has cut them; lets time pass until there are any. `None` at the end.
    ///
    /// # Panics
    /// Nothing comes, or the answer has broken off.
    #[track_caller]
    pub fn next_piece(&mut self) -> Option<Vec<u8>> {
        if !self.text.is_empty() {
            return Some(std::mem::take(&mut self.text));
        }
        self.more()
    }

    /// The next line, without its end; lets time pass until there is one. `None` at the end.
    ///
    /// # Panics
    /// None comes, the answer has broken off, or it is no UTF-8.
    #[track_caller]
    pub fn next_line(&mut self) -> Option<String> {
        loop {
            let end = self.text.iter().position(|&byte| byte == b'\n');
            let line = match end {
                Some(end) => self.text.drain(..=end).collect(),
                None => match self.more() {
                    Some(piece) => {
                        self.text.extend(piece);
                        continue;
                    }
                    None if self.text.is_empty() => return None,
                    None => std::mem::take(&mut self.text),
                },
            };
            let Ok(mut line) = String::from_utf8(line) else {
                panic!("{}: this is no text", self.ongoing.what)
            };
            line.truncate(line.trim_end_matches(['\r', '\n']).len());
            return Some(line);
        }
    }

    /// The next event of an event stream; lets time pass until there is one. Comments are no events. `None` at the end.
    ///
    /// # Panics
    /// None comes, or the answer has broken off.
    #[track_caller]
    pub fn next_event(&mut self) -> Option<TestEvent> {
        loop {
            if let Some(event) = self.events.pop() {
                return Some(event);
            }
            let piece = self.next_piece()?;
            self.events.feed(&piece);
        }
    }

    /// What comes while so much time passes; nothing, if the site is silent.
    ///
    /// # Panics
    /// The answer has broken off.
    #[track_caller]
    pub fn within(&mut self, time: Duration) -> Vec<u8> {
        self.ongoing.ground.simulation.advance(time);
        let mut all = std::mem::take(&mut self.text);
        let mut received = self.ongoing.received.borrow_mut();
        received.pieces.drain(..).for_each(|piece| all.extend(piece));
        if let Some(Err(failure)) = &received.end {
            panic!("{}: the answer has broken off: {failure}", self.ongoing.what);
        }
        all
    }

    /// Whether the answer is over and all of it was read. No time passes.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        let received = self.ongoing.received.borrow();
        received.end.is_some() && received.pieces.is_empty() && self.text.is_empty()
    }

    /// Why the answer has broken off, if it has; lets time pass until it is over.
    ///
    /// # Panics
    /// It goes on.
    #[track_caller]
    pub fn wait_for_failure(self) -> Option<Failure> {
        self.ongoing.wait_for_failure()
    }

    /// Closes the connection, as a client does that has lost its interest, and lets the site see it. To the site that looks like one that
    /// only has nothing more to say: unless its handler asks to be told or cancelled, it answers, and learns the rest then.
    pub fn disconnect(self) {
        self.ongoing.disconnect();
    }

    /// Breaks the connection off, as a client does that crashes, and lets the site see it.
    pub fn reset(self) {
        self.ongoing.reset();
    }

    #[track_caller]
    fn more(&self) -> Option<Vec<u8>> {
        let Ongoing { ground, received, what, .. } = &self.ongoing;
        let something = || {
            let received = received.borrow();
            !received.pieces.is_empty() || received.end.is_some()
        };
        if !ground.run_until(something) {
            panic!("{what}: nothing more comes within {:?} of virtual time", ground.patience.get());
        }
        let mut received = received.borrow_mut();
        match (received.pieces.pop_front(), &received.end) {
            (Some(piece), _) => Some(piece),
            (None, Some(Err(failure))) => panic!("{what}: the answer has broken off: {failure}"),
            (None, _) => None,
        }
    }
}

/// The body of an upload on its way.
#[derive(Clone, Default)]
pub(super) struct Feed(Rc<RefCell<Fed>>);

#[derive(Default)]
struct Fed {
    pieces: VecDeque<Vec<u8>>,
    over: bool,
    waker: Option<Waker>,
}

impl Feed {
    fn change(&self, change: impl FnOnce(&mut Fed)) {
        let mut fed = self.0.borrow_mut();
        change(&mut fed);
        let waker = fed.waker.take();
        drop(fed);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl ByteStream for Feed {
    fn poll_piece(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Vec<u8>, Failure>>> {
        let mut fed = self.0.borrow_mut();
        match fed.pieces.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(piece))),
            None if fed.over => Poll::Ready(None),
            None => {
                fed.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn ends(&self) -> bool {
        true
    }
}

/// A request whose body is sent piece by piece. Dropping it is leaving in the middle.
pub struct TestUpload {
    ongoing: Ongoing,
    feed: Feed,
}

impl TestUpload {
    pub(super) fn new(ongoing: Ongoing, feed: Feed) -> TestUpload {
        TestUpload { ongoing, feed }
    }

    /// Sends one piece, and lets happen what happens then.
    pub fn write(&self, piece: impl Into<Vec<u8>>) {
        self.feed.change(|fed| fed.pieces.push_back(piece.into()));
        self.ongoing.settle();
    }

    /// Pieces that the site has not made room for.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.feed.0.borrow().pieces.len()
    }

    /// Whether the head of an answer has come already. No time passes.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.ongoing.is_answered()
    }

    /// Ends the body, and lets time pass until the whole answer is there.
    ///
    /// # Panics
    /// There is no answer, or no end of it.
    #[must_use]
    #[track_caller]
    pub fn finish(self) -> TestResponse {
        self.feed.change(|fed| fed.over = true);
        self.ongoing.wait()
    }

    /// Closes the connection in the middle of the body, and lets the site see it.
    pub fn disconnect(self) {
        self.ongoing.disconnect();
    }

    /// Breaks the connection off in the middle of the body, and lets the site see it.
    pub fn reset(self) {
        self.ongoing.reset();
    }
}

impl std::fmt::Debug for Ongoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ongoing({})", self.what)
    }
}

impl std::fmt::Debug for TestStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TestStream({} to {})", self.status(), self.ongoing.what)
    }
}

impl std::fmt::Debug for TestUpload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TestUpload({})", self.ongoing.what)
    }
}
