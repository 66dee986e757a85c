//! The control socket: one line of JSON asks, lines of JSON answer. `{"command":"status"}` is answered with `{"ok":VALUE}` or
//! `{"error":TEXT}`; before that may come `{"progress":TEXT}`. Only the program's own user and root are heard. Commands are registered
//! by name ([`App::command`](crate::App::command)); the client's side is in `asking`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ropewalk_net::{LineHandler, LineReceiver, LineTransport, Lost, Transport};
use serde_json::{Value, json};

/// Bytes in one request.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

type Handler = Rc<dyn Fn(Call)>;

/// What can be asked of a running program. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Commands(Rc<RefCell<BTreeMap<String, Handler>>>);

impl Commands {
    pub(crate) fn add(&self, name: &str, handler: impl Fn(Call) + 'static) {
        self.0.borrow_mut().insert(name.to_owned(), Rc::new(handler));
    }

    pub(crate) fn factory(&self) -> impl Fn() -> LineReceiver<Control> + 'static {
        let commands = self.clone();
        move || {
            LineReceiver::new(Control(commands.clone()))
                .with_delimiter(&b"\n"[..])
                .with_max_length(REQUEST_BYTES_MAX)
        }
    }

    fn dispatch(&self, call: Call) {
        let name = call.arguments.get("command").and_then(Value::as_str).unwrap_or_default().to_owned();
        let handler = self.0.borrow().get(&name).cloned();
        match handler {
            Some(handler) => handler(call),
            None => {
                let known = self.0.borrow().keys().cloned().collect::<Vec<_>>().join(", ");
                call.fail(&format!("there is no command {name:?}; there are {known}"));
            }
        }
    }
}

/// A command that is to be answered. One that is dropped unanswered is answered with an error.
pub struct Call {
    /// The request as it came.
    pub arguments: Value,
    transport: Transport,
    answered: bool,
}

impl Call {
    /// Says how far it is; the answer follows.
    pub fn progress(&self, line: &str) {
        self.say(&json!({ "progress": line }));
    }

    /// It is done, and this came of it.
    pub fn done(mut self, value: Value) {
        self.answered = true;
        self.say(&json!({ "ok": value }));
    }

    /// It was not done, for this reason.
    pub fn fail(mut self, why: &str) {
        self.answered = true;
        self.say(&json!({ "error": why }));
    }

    fn say(&self, line: &Value) {
        self.transport.write(format!("{line}\n").as_bytes());
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.answered {
            self.say(&json!({ "error": "the program has not answered" }));
        }
    }
}

/// One connection of the control socket.
pub(crate) struct Control(Commands);

impl LineHandler for Control {
    fn connection_made(&mut self, transport: &LineTransport<'_>) {
        let own = rustix::process::geteuid().as_raw();
        if !transport.peer_user().is_ok_and(|user| user == own || user == 0) {
            transport.write(b"{\"error\":\"only the program's own user is heard\"}\n");
            transport.lose_connection();
        }
    }

    fn line_received(&mut self, transport: &LineTransport<'_>, line: &[u8]) {
        if transport.is_closing() {
            return;
        }
        let transport = Transport::clone(transport);
        match serde_json::from_slice::<Value>(line) {
            Ok(arguments) => self.0.dispatch(Call { arguments, transport, answered: false }),
            Err(error) => {
                let answer = json!({ "error": format!("it is no JSON: {error}") });
                transport.write(format!("{answer}\n").as_bytes());
            }
        }
    }

    /// Whoever asked for the stop hears of its end by the end of the connection, and that comes with the program's.
    fn stopping(&mut self, _: &LineTransport<'_>) {}

    fn connection_lost(&mut self, _: &LineTransport<'_>, _: &Lost) {}
}
