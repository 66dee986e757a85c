//! Dialogues: protocols whose states are functions. Each message (a line, a string, or a block of a length that the state
//! asks for) is told to the function of the present state, which answers the next one. `Stateful` is the handler or the
//! protocol that keeps the state; the messages are cut by `LineReceiver`, by `StringReceiver`, or here.

use crate::line::{LineHandler, LineTransport};
use crate::protocol::{Lost, Protocol};
use crate::receivers::string::{STRING_LENGTH_MAX, StringHandler, StringTransport};
use crate::receivers::{Cut, framing::NetstringError, receive, settle};
use crate::transport::Transport;

/// What a dialogue is told: [`Lines`], [`Strings`] or [`Blocks`], and nothing else.
pub trait Messages: Closed + 'static {
    /// The transport as a state sees it.
    type Transport<'a>;
    /// What a state wants of its message.
    type Wants: Copy + 'static;

    /// The transport underneath.
    fn bare<'a>(transport: &'a Self::Transport<'_>) -> &'a Transport;
}

/// Lines: a [`Stateful`] dialogue of them is a [`LineHandler`], for [`crate::LineReceiver`].
#[derive(Clone, Copy, Debug)]
pub struct Lines;

/// Strings: a [`Stateful`] dialogue of them is a [`StringHandler`], for [`crate::NetstringReceiver`] and its siblings.
#[derive(Clone, Copy, Debug)]
pub struct Strings;

/// Blocks of a length that each state asks for, as headers and what they announce are: a [`Stateful`] dialogue of them is a
/// [`Protocol`].
#[derive(Clone, Copy, Debug)]
pub struct Blocks;

/// Nobody else implements [`Messages`].
pub trait Closed {}

impl Closed for Lines {}
impl Closed for Strings {}
impl Closed for Blocks {}

impl Messages for Lines {
    type Transport<'a> = LineTransport<'a>;
    type Wants = ();
    fn bare<'a>(transport: &'a LineTransport<'_>) -> &'a Transport {
        transport
    }
}

impl Messages for Strings {
    type Transport<'a> = StringTransport<'a>;
    type Wants = ();
    fn bare<'a>(transport: &'a StringTransport<'_>) -> &'a Transport {
        transport
    }
}

impl Messages for Blocks {
    type Transport<'a> = Transport;
    /// Bytes.
    type Wants = usize;
    fn bare(transport: &Transport) -> &Transport {
        transport
    }
}

/// The function of a state.
type Step<D, M> = fn(&mut D, &<M as Messages>::Transport<'_>, &[u8]) -> State<D, M>;

/// A state of the dialogue `D`: the function that is told the next message and answers with the next state.
pub struct State<D, M: Messages = Lines> {
    step: Step<D, M>,
    wants: M::Wants,
}

impl<D, M: Messages> Clone for State<D, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D, M: Messages> Copy for State<D, M> {}

impl<D> State<D, Lines> {
    /// The state in which `step` is told the next line.
    pub fn line(step: fn(&mut D, &LineTransport<'_>, &[u8]) -> State<D, Lines>) -> State<D, Lines> {
        State { step, wants: () }
    }
}

impl<D> State<D, Strings> {
    /// The state in which `step` is told the next string.
    pub fn string(step: fn(&mut D, &StringTransport<'_>, &[u8]) -> State<D, Strings>) -> State<D, Strings> {
        State { step, wants: () }
    }
}

impl<D> State<D, Blocks> {
    /// The state in which `step` is told the next block of `length` bytes. A state that wants none is called as soon as the
    /// one before has returned, even if that has paused reading: no bytes are delivered to it. It must not answer with itself.
    pub fn block(length: usize, step: fn(&mut D, &Transport, &[u8]) -> State<D, Blocks>) -> State<D, Blocks> {
        State { step, wants: length }
    }
}

/// A protocol written as states. The dialogue itself holds what they share.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_net::{Address, Dialogue, LineReceiver, LineTransport, State, Stateful, listen};
/// use ropewalk_reactor::Simulation;
///
/// #[derive(Default)]
/// struct Login {
///     name: String,
/// }
///
/// impl Dialogue for Login {
///     fn begin(&mut self, transport: &LineTransport<'_>) -> State<Self> {
///         transport.send_line(b"name?");
///         State::line(Self::name)
///     }
/// }
///
/// impl Login {
///     fn name(&mut self, transport: &LineTransport<'_>, line: &[u8]) -> State<Self> {
///         self.name = String::from_utf8_lossy(line).into_owned();
///         transport.send_line(b"password?");
///         State::line(Self::password)
///     }
///
///     fn password(&mut self, transport: &LineTransport<'_>, line: &[u8]) -> State<Self> {
///         if line != b"hemp" {
///             transport.send_line(b"no. name?");
///             return State::line(Self::name);
///         }
///         transport.send_line(format!("welcome, {}", self.name).as_bytes());
///         transport.lose_connection();
///         State::line(Self::name)
///     }
/// }
///
/// let simulation = Simulation::new(1);
/// let port = listen(simulation.reactor(), &"tcp:7:interface=127.0.0.1".parse()?, || {
///     LineReceiver::new(Stateful::new(Login::default()))
/// })?;
/// # let Address::Inet(address) = *port.address() else { unreachable!() };
/// let peer = simulation.network().connect(address);
/// simulation.advance(Duration::from_millis(10));
/// peer.write(b"ann\r\njute\r\nann\r\nhemp\r\n");
/// simulation.advance(Duration::from_millis(10));
/// assert_eq!(peer.text(), "name?\r\npassword?\r\nno. name?\r\npassword?\r\nwelcome, ann\r\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Dialogue<M: Messages = Lines>: Sized + 'static {
    /// The connection stands. Answers the first state.
    fn begin(&mut self, transport: &M::Transport<'_>) -> State<Self, M>;

    /// A message is longer than its receiver allows, or a block that a state asked for is longer than [`Stateful`] does.
    /// Unless overridden, the connection is closed. If it is not, a line or string is skipped and the state stays; a block
    /// cannot be skipped, and its connection is closed whatever this does.
    fn length_limit_exceeded(&mut self, transport: &M::Transport<'_>) {
        M::bare(transport).lose_connection();
    }

    /// As [`Protocol::read_ended`]. The beginning of a last message was not told.
    fn read_ended(&mut self, transport: &M::Transport<'_>) {
        M::bare(transport).lose_connection();
    }

    /// As [`Protocol::connection_lost`].
    fn connection_lost(&mut self, transport: &M::Transport<'_>, lost: &Lost) {
        let _ = (transport, lost);
    }

    /// As [`Protocol::timed_out`].
    fn timed_out(&mut self, transport: &M::Transport<'_>) {
        M::bare(transport).abort(Lost::TimedOut("idle"));
    }

    /// As [`Protocol::stopping`].
    fn stopping(&mut self, transport: &M::Transport<'_>) {
        M::bare(transport).lose_connection();
    }

    /// As [`Protocol::woken`].
    fn woken(&mut self, transport: &M::Transport<'_>) {
        let _ = transport;
    }
}

/// Keeps the state of a [`Dialogue`] and tells it what arrives.
pub struct Stateful<D, M: Messages = Lines> {
    dialogue: D,
    /// There from `begin` on.
    state: Option<State<D, M>>,
    length_max: usize,
    partial: Vec<u8>,
}

impl<M: Messages, D: Dialogue<M>> Stateful<D, M> {
    /// A dialogue that has not begun.
    pub fn new(dialogue: D) -> Stateful<D, M> {
        Stateful { dialogue, state: None, length_max: STRING_LENGTH_MAX, partial: Vec::new() }
    }

    fn begin(&mut self, transport: &M::Transport<'_>) {
        self.state = Some(self.dialogue.begin(transport));
    }

    fn tell(&mut self, transport: &M::Transport<'_>, message: &[u8]) {
        if let Some(state) = self.state {
            self.state = Some((state.step)(&mut self.dialogue, transport, message));
        }
    }
}

impl<D: Dialogue<Blocks>> Stateful<D, Blocks> {
    /// Another limit of what a state may ask for, in bytes; 99,999 unless this is called. A length that a peer has sent is
    /// checked by it.
    #[must_use]
    pub fn with_length_max(mut self, length_max: usize) -> Stateful<D, Blocks> {
        self.length_max = length_max;
        self
    }

    /// Tells states that want no bytes.
    fn tell_empty(&mut self, transport: &Transport) {
        let wants_none = |state: &State<D, Blocks>| state.wants == 0;
        while self.state.as_ref().is_some_and(wants_none)
            && !transport.is_closing()
            && !transport.is_switched()
        {
            self.tell(transport, &[]);
        }
    }

    /// A callback that brings no bytes, but may switch.
    fn call(&mut self, transport: &Transport, call: impl FnOnce(&mut D, &Transport)) {
        call(&mut self.dialogue, transport);
        settle(self, transport);
    }
}

impl<D: Dialogue<Lines>> LineHandler for Stateful<D, Lines> {
    fn line_received(&mut self, transport: &LineTransport<'_>, line: &[u8]) {
        self.tell(transport, line);
    }

    fn line_length_exceeded(&mut self, transport: &LineTransport<'_>, _line: &[u8]) {
        self.dialogue.length_limit_exceeded(transport);
    }

    fn connection_made(&mut self, transport: &LineTransport<'_>) {
        self.begin(transport);
    }

    fn read_ended(&mut self, transport: &LineTransport<'_>) {
        self.dialogue.read_ended(transport);
    }

    fn connection_lost(&mut self, transport: &LineTransport<'_>, lost: &Lost) {
        self.dialogue.connection_lost(transport, lost);
    }

    fn timed_out(&mut self, transport: &LineTransport<'_>) {
        self.dialogue.timed_out(transport);
    }

    fn stopping(&mut self, transport: &LineTransport<'_>) {
        self.dialogue.stopping(transport);
    }

    fn woken(&mut self, transport: &LineTransport<'_>) {
        self.dialogue.woken(transport);
    }
}

impl<D: Dialogue<Strings>> StringHandler for Stateful<D, Strings> {
    fn string_received(&mut self, transport: &StringTransport<'_>, string: &[u8]) {
        self.tell(transport, string);
    }

    fn length_limit_exceeded(&mut self, transport: &StringTransport<'_>, _length: u64) {
        self.dialogue.length_limit_exceeded(transport);
    }

    fn netstring_refused(&mut self, transport: &StringTransport<'_>, error: NetstringError) {
        tracing::debug!(connection = %transport.name(), "no netstring: {error}");
    }

    fn connection_made(&mut self, transport: &StringTransport<'_>) {
        self.begin(transport);
    }

    fn read_ended(&mut self, transport: &StringTransport<'_>) {
        self.dialogue.read_ended(transport);
    }

    fn connection_lost(&mut self, transport: &StringTransport<'_>, lost: &Lost) {
        self.dialogue.connection_lost(transport, lost);
    }

    fn timed_out(&mut self, transport: &StringTransport<'_>) {
        self.dialogue.timed_out(transport);
    }

    fn stopping(&mut self, transport: &StringTransport<'_>) {
        self.dialogue.stopping(transport);
    }

    fn woken(&mut self, transport: &StringTransport<'_>) {
        self.dialogue.woken(transport);
    }
}

impl<D: Dialogue<Blocks>> Cut for Stateful<D, Blocks> {
    fn step(&mut self, transport: &Transport, data: &[u8]) -> Option<usize> {
        let length = self.state?.wants;
        if length > self.length_max {
            self.dialogue.length_limit_exceeded(transport);
            transport.lose_connection();
            return None;
        }
        let block = data.get(..length)?;
        self.tell(transport, block);
        self.tell_empty(transport);
        Some(length)
    }

    fn partial(&mut self) -> &mut Vec<u8> {
        &mut self.partial
    }
}

impl<D: Dialogue<Blocks>> Protocol for Stateful<D, Blocks> {
    fn connection_made(&mut self, transport: &Transport) {
        self.begin(transport);
        self.tell_empty(transport);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        receive(self, transport, data);
    }

    fn read_ended(&mut self, transport: &Transport) {
        self.call(transport, |dialogue, transport| dialogue.read_ended(transport));
    }

    fn connection_lost(&mut self, transport: &Transport, lost: &Lost) {
        self.dialogue.connection_lost(transport, lost);
    }

    fn timed_out(&mut self, transport: &Transport) {
        self.call(transport, |dialogue, transport| dialogue.timed_out(transport));
    }

    fn stopping(&mut self, transport: &Transport) {
        self.call(transport, |dialogue, transport| dialogue.stopping(transport));
    }

    fn woken(&mut self, transport: &Transport) {
        self.call(transport, |dialogue, transport| dialogue.woken(transport));
    }
}
