//! `Session`: what the transport of a control connection calls. It finds command lines and hands them to the `Core`, which answers
//! them; it knows no command but those that cannot wait for their turn.

mod core;
mod state;

use std::rc::Rc;

use ropewalk_net::{Lost, Protocol, Transport};
use ropewalk_wire::ftp::{CommandDecoder, Input, Reply};

pub(crate) use self::core::{Core, Phase};
pub(crate) use state::{Login, State, Type};

use self::core::Taken;
use crate::server::{Seat, Server};
use crate::sessions::Entered;

/// Telnet options that are refused politely in one session; those beyond are passed over in silence.
const REFUSALS_MAX: u32 = 16;

/// A control connection.
pub(crate) struct Session {
    server: Rc<Server>,
    decoder: CommandDecoder,
    core: Option<Rc<Core>>,
    /// Its place in the list, from the connection on.
    entered: Option<Entered>,
    refusals: u32,
    /// Given back when the connection is gone.
    _seat: Seat,
}

impl Session {
    pub(crate) fn new(server: &Rc<Server>, seat: Seat) -> Session {
        Session {
            server: Rc::clone(server),
            decoder: CommandDecoder::new(server.options.limits.line_bytes_max),
            core: None,
            entered: None,
            refusals: 0,
            _seat: seat,
        }
    }

    fn take(&mut self, core: &Rc<Core>, input: Input) -> Taken {
        match input {
            Input::Line(line) => return core.take(line),
            Input::TooLong => {
                self.server.figures.add(|figures| figures.malformed += 1);
                return core.take_unreadable(Reply::new(500, "The line is too long"));
            }
            // ABOR or STAT follows; by itself it means nothing.
            Input::Interrupt => {}
            Input::Refusal(answer) => {
                self.refusals += 1;
                if self.refusals <= REFUSALS_MAX {
                    core.transport.write(&answer);
                }
            }
        }
        Taken::GoOn
    }
}

impl Protocol for Session {
    fn connection_made(&mut self, transport: &Transport) {
        let core = Core::new(&self.server, transport);
        self.entered = Some(self.server.sessions.begin(&core));
        core.greet();
        self.core = Some(core);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        let Some(core) = self.core.clone() else { return };
        let mut rest = data;
        while !rest.is_empty() && !transport.is_closing() {
            if core.is_busy() {
                transport.pause_reading();
                return transport.unread(rest);
            }
            let (taken, input) = self.decoder.decode(rest);
            rest = &rest[taken..];
            if let Some(input) = input
                && matches!(self.take(&core, input), Taken::Wait)
            {
                // What follows may be for somebody else, as after AUTH.
                transport.pause_reading();
                return transport.unread(rest);
            }
        }
    }

    fn read_ended(&mut self, _transport: &Transport) {
        if let Some(core) = &self.core {
            core.end_when_done();
        }
    }

    fn connection_lost(&mut self, _transport: &Transport, lost: &Lost) {
        self.entered = None;
        if let Some(core) = self.core.take() {
            tracing::debug!(peer = %core.peer(), "an FTP session is over: {lost}");
            core.lost();
        }
    }

    fn timed_out(&mut self, _transport: &Transport) {
        if let Some(core) = &self.core {
            core.timed_out();
        }
    }

    fn stopping(&mut self, _transport: &Transport) {
        if let Some(core) = &self.core {
            core.stop();
        }
    }
}
