//! What parts of the program print, as events: standard output and standard error become pipes, which a thread reads. A daemon
//! calls it; a log that is to stay on one of the outputs keeps a descriptor of its own from before (`output`).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{dup2_stderr, dup2_stdout};

use super::event::{Event, Printed};
use super::level::Level;
use super::publisher::Publisher;

/// A line that is longer is several events.
const LINE_BYTES_MAX: u64 = 16 * 1024;
/// How long the end waits for what is still in the pipes.
const FAREWELL: Duration = Duration::from_secs(2);

/// The outputs are events while it lives; dropped, they are what they were before.
pub struct Redirected {
    output: OwnedFd,
    error: OwnedFd,
    done: [Receiver<()>; 2],
}

/// Makes events of what is printed from now on: `info` for standard output, in the namespace `stdout`, and `error` for standard error,
/// in `stderr`, each line one event and marked [`printed`](Event::printed).
///
/// An observer that prints would never end, unless it passes over what was printed as [`standard_error`](super::standard_error) does.
///
/// # Errors
/// The system has no descriptor or thread left.
pub fn redirect_output(publisher: &Publisher) -> io::Result<Redirected> {
    let output = fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let error = fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?;
    let (out_reader, out_writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let (error_reader, error_writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let done = [
        read(out_reader, publisher.clone(), Printed::Output)?,
        read(error_reader, publisher.clone(), Printed::Error)?,
    ];
    // What std still holds was printed before.
    io::stdout().flush()?;
    dup2_stdout(&out_writer)?;
    dup2_stderr(&error_writer)?;
    Ok(Redirected { output, error, done })
}

impl Redirected {
    /// What standard error was: for the last words of a program whose log is broken.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn standard_error(&self) -> io::Result<File> {
        Ok(File::from(self.error.try_clone()?))
    }

    /// What standard output was.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn standard_output(&self) -> io::Result<File> {
        Ok(File::from(self.output.try_clone()?))
    }
}

impl Drop for Redirected {
    fn drop(&mut self) {
        // What cannot be flushed or put back stays as it is; the program goes on.
        let _ = io::stdout().flush();
        let _ = dup2_stdout(&self.output);
        let _ = dup2_stderr(&self.error);
        for done in &self.done {
            // A child that has inherited the pipe keeps it open.
            let _ = done.recv_timeout(FAREWELL);
        }
    }
}

fn read(pipe: OwnedFd, publisher: Publisher, printed: Printed) -> io::Result<Receiver<()>> {
    let (farewell, done) = mpsc::channel();
    let (namespace, level) = match printed {
        Printed::Output => ("stdout", Level::Info),
        Printed::Error => ("stderr", Level::Error),
    };
    thread::Builder::new().name(format!("log {namespace}")).spawn(move || {
        let mut reader = BufReader::new(File::from(pipe));
        let mut line = Vec::new();
        while let Ok(1..) = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
            let event = Event { printed: Some(printed), ..Event::new(level, namespace, text) };
            publisher.publish(event);
            line.clear();
        }
        // Nobody waits when the program did not end in an orderly way.
        let _ = farewell.send(());
    })?;
    Ok(done)
}
