//! The verbs that speak to a program that runs: by its control socket, and by its process where that has to end. They block; there is no
//! loop here.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ropewalk_tail::{Follower, Progress, Start};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};

use super::Rundir;
use super::status::for_people;
use crate::output::complain;
use crate::service::StartError;

/// How long an answer may take; a loop that does not answer is stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Whoever asks for something that takes long hears of its progress, or waits so long.
const DONE_WITHIN: Duration = Duration::from_secs(600);

/// A running program, spoken to from outside.
pub(crate) struct Asking<'a> {
    pub(crate) name: &'a str,
    pub(crate) rundir: &'a Rundir,
}

impl Asking<'_> {
    fn complain(&self, error: &StartError) -> ExitCode {
        complain(self.name, &error.to_string());
        ExitCode::FAILURE
    }

    fn print(&self, text: &str) {
        // On a closed pipe: whoever closed it has read enough.
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    }

    /// What runs, or a word that nothing does.
    fn running(&self) -> Result<i32, StartError> {
        let missing = || {
            StartError::new(format!("it is not running ({} is not held)", self.rundir.pid_path().display()))
        };
        self.rundir.running()?.ok_or_else(missing)
    }

    /// `status`: 0 only while it runs.
    pub(crate) fn status(&self, as_json: bool) -> ExitCode {
        let asked = self.running().and_then(|_| self.ask(&json!({ "command": "status" }), ANSWER_WITHIN));
        match asked {
            Ok(status) => {
                self.print(&if as_json { format!("{status}\n") } else { for_people(&status) });
                ExitCode::SUCCESS
            }
            Err(error) => {
                if as_json {
                    self.print(&format!("{}\n", json!({ "state": "stopped", "error": error.to_string() })));
                }
                self.complain(&error)
            }
        }
    }

    /// `stop`: waits until the process is gone. One that does not run is stopped already.
    pub(crate) fn stop(&self, patience: Duration) -> ExitCode {
        match self.stop_and_wait(patience) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => {
                complain(self.name, "it is not running");
                ExitCode::SUCCESS
            }
            Err(error) => self.complain(&error),
        }
    }

    /// Ends it; whether there was anything to end.
    pub(crate) fn stop_and_wait(&self, patience: Duration) -> Result<bool, StartError> {
        let Some(pid) = self.rundir.running()? else { return Ok(false) };
        let process = open_process(pid)?;
        // The number may have become another's between our reading and our opening: then the lock is gone.
        if self.rundir.running()? != Some(pid) {
            return self.stop_and_wait(patience);
        }
        let refused =
            |error: rustix::io::Errno| StartError::new(format!("process {pid} cannot be stopped: {error}"));
        match pidfd_send_signal(&process, Signal::TERM) {
            Ok(()) => {}
            Err(rustix::io::Errno::SRCH) => return Ok(true),
            Err(error) => return Err(refused(error)),
        }
        if !ends_within(&process, patience).map_err(refused)? {
            let seconds = patience.as_secs_f64();
            return Err(StartError::new(format!(
                "process {pid} has not ended within {seconds} s; wait longer with --timeout, or kill it"
            )));
        }
        Ok(true)
    }

    /// A command whose answer is of interest; progress is printed as it comes.
    pub(crate) fn tell(&self, request: &Value, say: impl FnOnce(&Value) -> String) -> ExitCode {
        match self.running().and_then(|_| self.ask(request, DONE_WITHIN)) {
            Ok(answer) => {
                self.print(&say(&answer));
                ExitCode::SUCCESS
            }
            Err(error) => self.complain(&error),
        }
    }

    /// `logs`: the program's log, or what it prints in the background; also of one that has ended.
    pub(crate) fn logs(&self, follow: bool, lines: usize) -> ExitCode {
        let asked = self.running().and_then(|_| self.ask(&json!({ "command": "logs" }), ANSWER_WITHIN));
        let named = asked.ok().and_then(|answer| answer["file"].as_str().map(PathBuf::from));
        let path = named.unwrap_or_else(|| self.rundir.log_path());
        match self.show(&path, follow, lines) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => self.complain(&StartError::new(format!("{}: {error}", path.display()))),
        }
    }

    fn show(&self, path: &Path, follow: bool, lines: usize) -> std::io::Result<()> {
        /// How often the file is looked at.
        const LOOK: Duration = Duration::from_millis(200);
        /// Read in one go.
        const STEP_BYTES: usize = 1 << 20;
        let mut follower = Follower::open(path, Start::LastLines(lines))?;
        let mut out = std::io::stdout().lock();
        loop {
            let mut written = Ok(());
            let progress = follower.step(STEP_BYTES, &mut |line| {
                if written.is_ok() {
                    written = out.write_all(line.text.as_bytes()).and_then(|()| out.write_all(b"\n"));
                }
            })?;
            if written.and_then(|()| out.flush()).is_err() {
                // Whoever closed the pipe has read enough.
                return Ok(());
            }
            match progress {
                Progress::MoreNow => {}
                _ if follow => std::thread::sleep(LOOK),
                _ => return Ok(()),
            }
        }
    }

    /// `drain`: says how far it is, and waits for the end.
    pub(crate) fn drain(&self, seconds: f64) -> ExitCode {
        let drained = self.running().and_then(|pid| {
            let process = open_process(pid)?;
            self.ask(&json!({ "command": "drain", "seconds": seconds }), DONE_WITHIN)?;
            let ended = ends_within(&process, DONE_WITHIN).map_err(StartError::new)?;
            if ended { Ok(()) } else { Err(StartError::new(format!("process {pid} has not ended"))) }
        });
        match drained {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => self.complain(&error),
        }
    }

    fn ask(&self, request: &Value, patience: Duration) -> Result<Value, StartError> {
        let path = self.rundir.socket_path();
        let refused = |error: std::io::Error| {
            let what = match error.kind() {
                std::io::ErrorKind::WouldBlock => "it does not answer: its loop is held up".to_owned(),
                std::io::ErrorKind::UnexpectedEof => "it has ended without an answer".to_owned(),
                _ => error.to_string(),
            };
            StartError::new(format!("{}: {what}", path.display()))
        };
        let mut stream = UnixStream::connect(&path).map_err(refused)?;
        stream.set_read_timeout(Some(patience)).map_err(refused)?;
        stream.write_all(format!("{request}\n").as_bytes()).map_err(refused)?;
        let mut lines = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).map_err(refused)? == 0 {
                return Err(refused(std::io::ErrorKind::UnexpectedEof.into()));
            }
            let mut answer: Value = serde_json::from_str(&line).map_err(StartError::new)?;
            if let Some(progress) = answer["progress"].as_str() {
                self.print(&format!("{progress}\n"));
            } else if let Some(error) = answer["error"].as_str() {
                return Err(StartError::new(error));
            } else {
                return Ok(answer["ok"].take());
            }
        }
    }
}

fn open_process(pid: i32) -> Result<OwnedFd, StartError> {
    let number = Pid::from_raw(pid).ok_or_else(|| StartError::new(format!("{pid} is no process")))?;
    pidfd_open(number, PidfdFlags::empty())
        .map_err(|error| StartError::new(format!("process {pid}: {error}")))
}

fn ends_within(process: &OwnedFd, patience: Duration) -> rustix::io::Result<bool> {
    let patience =
        Timespec::try_from(patience).unwrap_or(Timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 });
    loop {
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&patience)) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
