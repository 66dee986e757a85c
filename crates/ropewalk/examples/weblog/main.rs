//! Weblog: sends the records of an Apache access log to whoever connects, and goes on with the new ones every five seconds.
//!
//! Run it with `cargo run --example weblog -- /var/log/apache2/access.log`, then `cargo run --example weblog_client`, or
//! `nc 127.0.0.1 8888`: a greeting, the last hundred records, and every five seconds what was added. A record is one line of
//! fields with tabs between them. Any log in the common or combined format will do, rotated or not.

mod log;
pub(crate) mod record;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use log::Log;
use ropewalk::net::Address;
use ropewalk::reactor::LoopingCall;
use ropewalk::{Factory, Lost, Protocol, Reactor, Settings, StartError, Transport};

const GREETING: &[u8] = b"# Weblog: host, time, request, status, bytes, referer, agent; new ones every 5 s\n";
const EVERY: Duration = Duration::from_secs(5);

/// Makes the viewers of a log. It is opened when listening begins, and closed when it ends.
pub struct Weblog {
    path: PathBuf,
    log: Rc<RefCell<Log>>,
}

impl Weblog {
    /// The log is looked at, so that a wrong name is told before anything listens.
    pub fn new(path: &Path) -> Result<Weblog, StartError> {
        Log::open(path).map_err(|error| StartError::new(format!("{}: {error}", path.display())))?;
        Ok(Weblog { path: path.to_owned(), log: Rc::default() })
    }
}

impl Factory for Weblog {
    fn build_protocol(&self, _peer: &Address) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Viewer { log: Rc::clone(&self.log), timer: None }))
    }

    fn start_factory(&self, _reactor: &Reactor) {
        match Log::open(&self.path) {
            Ok(log) => *self.log.borrow_mut() = log,
            Err(error) => tracing::error!("the log: {error}"),
        }
    }

    fn stop_factory(&self) {
        self.log.take();
    }
}

/// One connection. What it sends is of no interest.
struct Viewer {
    log: Rc<RefCell<Log>>,
    timer: Option<LoopingCall>,
}

impl Protocol for Viewer {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(GREETING);
        let (log, viewer, mut sent) = (Rc::clone(&self.log), transport.clone(), 0);
        let timer = LoopingCall::new(transport.reactor(), move |_| {
            // Whoever does not keep up is passed over, and later gets what is still kept.
            if !viewer.is_full() {
                sent = log.borrow_mut().send(&viewer, sent);
            }
        });
        timer.start(EVERY, true);
        self.timer = Some(timer);
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}

    fn connection_lost(&mut self, _transport: &Transport, _lost: &Lost) {
        self.timer.iter().for_each(LoopingCall::stop);
    }
}

fn main() -> ExitCode {
    let path = std::env::args_os().nth(1);
    ropewalk::launch("weblog", Settings::default(), |app| {
        let path = path.ok_or_else(|| StartError::new("which log? Write its path behind the command"))?;
        let weblog = Weblog::new(Path::new(&path))?;
        app.serve_factory("weblog", "tcp:8888:interface=127.0.0.1".parse()?, |_| Ok(Rc::new(weblog)));
        Ok(())
    })
}
