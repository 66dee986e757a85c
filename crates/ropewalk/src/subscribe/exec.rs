//! A command per delivery: the body is its standard input, what is known of it its environment; exit code 0 says that it was taken.
//! The loop hears of its end by a descriptor (pidfd), so that no thread waits for it.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use ropewalk_hub::Delivery;
use ropewalk_reactor::sync::Event;
use ropewalk_reactor::{Failure, Outcome, Reactor, Readiness};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// Runs the command in a shell, and waits for its end, so long at the most.
pub(super) async fn run(
    reactor: &Reactor,
    command: &str,
    delivery: Delivery,
    limit: Duration,
) -> Outcome<()> {
    let shell = command.to_owned();
    let child = reactor.defer_to_thread(move || spawn(&shell, &delivery)).await?;
    let mut running = Running(Some(child.map_err(Failure::new)?));
    let status = match reactor.with_timeout(limit, running.ended(reactor)).await {
        Ok(status) => status?,
        Err(late) => return Err(late),
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(Failure::new(format!("the command has ended with code {code}"))),
        (None, signal) => {
            Err(Failure::new(format!("the command was ended by signal {}", signal.unwrap_or_default())))
        }
    }
}

fn spawn(shell: &str, delivery: &Delivery) -> io::Result<Child> {
    // A file in memory: a command that does not read blocks nobody, and one that ends early is no broken pipe.
    let mut input = File::from(memfd_create("delivery", MemfdFlags::CLOEXEC)?);
    input.write_all(&delivery.body)?;
    input.rewind()?;
    Command::new("/bin/sh")
        .args(["-c", shell])
        .env("WEBSUB_TOPIC", &delivery.topic)
        .env("WEBSUB_PAGE", &delivery.page)
        .env("WEBSUB_POLLED", if delivery.polled { "1" } else { "0" })
        .env("CONTENT_TYPE", delivery.media.as_deref().unwrap_or_default())
        .env("CONTENT_LENGTH", delivery.body.len().to_string())
        .stdin(Stdio::from(input))
        // All that the shell starts can be ended with it.
        .process_group(0)
        .spawn()
}

/// A child; ended with all that it has started, if nobody waits for it any more.
struct Running(Option<Child>);

impl Running {
    async fn ended(&mut self, reactor: &Reactor) -> Outcome<ExitStatus> {
        let Some(child) = &self.0 else { return Err(Failure::new("the command has ended already")) };
        let descriptor = pidfd_open(Pid::from_child(child), PidfdFlags::NONBLOCK).map_err(Failure::new)?;
        let over = Event::new(reactor);
        let tell = over.clone();
        let handler = reactor.add_handler(&descriptor, Readiness::READABLE, move |_| tell.set());
        let handler = handler.map_err(Failure::new)?;
        let waited = over.wait().await;
        handler.remove();
        waited?;
        let mut child = self.0.take().ok_or_else(|| Failure::new("the command has ended already"))?;
        // It has ended: nothing is waited for.
        child.wait().map_err(Failure::new)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It may have ended meanwhile.
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            // What was killed is over in a moment, and would stay a zombie else.
            let _ = child.wait();
        }
    }
}
