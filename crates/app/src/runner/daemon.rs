//! `start`: the program starts itself again in the background, and waits until that one is ready. No fork: there may be threads. The
//! folder stays the one it was called in, so that every relative path means what it meant.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::process::{ExitCode, Stdio};

use super::wire::Wire;
use super::{Handover, Origin, Rundir};
use crate::output::complain;
use crate::service::StartError;

/// Starts the program in the background; done when its services are ready.
pub(crate) fn start(name: &str, rundir: &Rundir) -> ExitCode {
    match start_and_wait(rundir) {
        Ok(lines) => {
            // Who does not read it knows that it runs by the exit code.
            let _ = std::io::stdout().lock().write_all(lines.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(name, &error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn start_and_wait(rundir: &Rundir) -> Result<String, StartError> {
    rundir.create()?;
    if let Some(pid) = rundir.running()? {
        let path = rundir.pid_path();
        return Err(StartError::new(format!("it is already running as process {pid} ({})", path.display())));
    }
    let log_path = rundir.log_path();
    let log = OpenOptions::new().append(true).create(true).mode(0o640).open(&log_path);
    let log = log.map_err(|error| {
        StartError::new(format!("{}: {error}; choose another folder with --rundir DIR", log_path.display()))
    })?;
    let (ours, theirs) = UnixStream::pair().map_err(StartError::new)?;
    let also = log.try_clone().map_err(StartError::new)?;
    let mut command = Origin::of_this_process()?.command(Handover::Start);
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(log).stderr(also);
    let mut child = command.spawn().map_err(StartError::new)?;
    // It holds the other end of the pair, and would keep it open.
    drop(command);
    let mut wire = Wire::new(ours);
    // As long as it takes: the services have deadlines of their own.
    let said = wire.line();
    match said {
        Ok(Some(line)) if line["say"] == "ready" => {
            Ok(line["listening"].as_str().unwrap_or_default().to_owned())
        }
        Ok(Some(line)) => {
            // It ends by itself, and is waited for, so that its files are gone.
            let _ = child.wait();
            Err(StartError::new(line["error"].as_str().unwrap_or("it does not say why")))
        }
        Ok(None) | Err(_) => {
            let status = child.wait().map_err(StartError::new)?;
            let log = log_path.display();
            Err(StartError::new(format!("it ended before it was ready ({status}); {log} may say why")))
        }
    }
}
