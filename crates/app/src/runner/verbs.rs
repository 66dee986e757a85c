//! The verbs, the same for every program: what their options are, and who does them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::{Args, Subcommand};
use clap_complete::Shell;
use serde_json::{Value, json};

use super::asking::Asking;
use super::{Origin, Rundir, daemon, systemd};
use crate::application::App;
use crate::config::{Configuration, reload_of};
use crate::life::{EXIT_USAGE, Outputs, Reload, live};
use crate::output::complain;
use crate::service::StartError;
use crate::settings::Settings;

/// What a program that needs no words of its own behind its verbs has there.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Nothing {}

/// What a program can be told to do. `A` is what it wants to know behind the words.
#[derive(Clone, Debug, Subcommand)]
#[command(about = None, long_about = None)]
pub enum Verb<A: Args> {
    /// Run in the foreground, until a signal
    Run(A),
    /// Start in the background; done when everything is ready
    Start(A),
    /// Stop what runs; done when it has ended
    Stop {
        /// Seconds until it must have ended
        #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = crate::program::seconds)]
        timeout: Duration,
    },
    /// Stop what runs, and start again
    Restart {
        /// What it is started with
        #[command(flatten)]
        arguments: A,
        /// Seconds until it must have ended
        #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = crate::program::seconds)]
        timeout: Duration,
    },
    /// Say what runs, and how it is; fails if nothing does
    Status {
        /// As one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// End something that goes on in a service: a transfer, a session; the others are not touched
    End {
        /// By the name that status shows, such as ftp:t7
        name: String,
    },
    /// Read configuration and certificates again
    Reload,
    /// Go on with a new process of the program as it is on disk now, and keep the connections
    Upgrade {
        /// Seconds that each step may take
        #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = crate::program::seconds)]
        patience: Duration,
    },
    /// Save the state now
    Save,
    /// Put the log files aside, and begin new ones
    Rotate,
    /// Show the last lines of the program's log
    Logs {
        /// Go on with what is logged from now on
        #[arg(short, long)]
        follow: bool,
        /// How many lines
        #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
        lines: usize,
    },
    /// Take out of service: not ready any more, still answering; then streams end, then everything
    Drain {
        /// Seconds to go on answering
        #[arg(long = "for", value_name = "SECONDS", default_value = "10", value_parser = crate::program::seconds)]
        time: Duration,
    },
    /// Print a unit file for systemd that starts this program with the options given here
    Unit(A),
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Does what the command line says: runs the program, or speaks to one that runs.
pub fn drive<A: Args>(
    name: &str,
    command: &clap::Command,
    settings: Settings,
    verb: &Verb<A>,
    build: impl FnOnce(&mut App) -> Result<(), StartError>,
) -> ExitCode {
    drive_with(name, command, settings, verb, build, None)
}

/// [`drive`] for a program that is described by a file: its services are those of `configuration`, and `reload` asks `read` for the next
/// one.
pub fn drive_configured<A: Args>(
    name: &str,
    command: &clap::Command,
    settings: Settings,
    verb: &Verb<A>,
    configuration: Configuration,
    read: impl Fn() -> Result<Configuration, StartError> + 'static,
) -> ExitCode {
    let first = configuration.clone();
    let reload = reload_of(configuration, Rc::new(read));
    drive_with(name, command, settings, verb, move |app| first.build(app), Some(reload))
}

fn drive_with<A: Args>(
    name: &str,
    command: &clap::Command,
    mut settings: Settings,
    verb: &Verb<A>,
    build: impl FnOnce(&mut App) -> Result<(), StartError>,
    reload: Option<Reload>,
) -> ExitCode {
    let starts = matches!(verb, Verb::Run(_) | Verb::Start(_) | Verb::Restart { .. });
    // A process that the program has started itself has the words of the one that started it, and runs.
    if matches!(verb, Verb::Run(_)) || starts && settings.handover.is_some() {
        if !matches!(verb, Verb::Run(_)) {
            settings.rundir.get_or_insert_with(here);
        }
        let attended = matches!(verb, Verb::Run(_));
        return live(name, settings, build, reload, if attended { Outputs::Left } else { Outputs::Logged });
    }
    let folder = settings.rundir.clone().unwrap_or_else(here);
    let rundir = match Rundir::new(&folder, name) {
        Ok(rundir) => rundir,
        Err(error) => {
            complain(name, &error.to_string());
            return ExitCode::from(EXIT_USAGE);
        }
    };
    speak(name, command, verb, &rundir)
}

/// The run directory unless it is said: where one stands.
fn here() -> PathBuf {
    Path::new(".").to_owned()
}

fn speak<A: Args>(name: &str, command: &clap::Command, verb: &Verb<A>, rundir: &Rundir) -> ExitCode {
    let asking = Asking { name, rundir };
    match verb {
        Verb::Run(_) | Verb::Start(_) => daemon::start(name, rundir),
        Verb::Restart { timeout, .. } => match asking.stop_and_wait(*timeout) {
            Ok(_) => daemon::start(name, rundir),
            Err(error) => {
                complain(name, &error.to_string());
                ExitCode::FAILURE
            }
        },
        Verb::Stop { timeout } => asking.stop(*timeout),
        Verb::Status { json } => asking.status(*json),
        Verb::End { name } => asking.tell(&json!({ "command": "end", "name": name }), said_end),
        Verb::Reload => asking.tell(&json!({ "command": "reload" }), said_reload),
        Verb::Upgrade { patience } => {
            let request = json!({ "command": "upgrade", "patience": patience.as_secs_f64() });
            asking.tell(&request, said_upgrade)
        }
        Verb::Save => asking.tell(&json!({ "command": "save" }), said_save),
        Verb::Rotate => asking.tell(&json!({ "command": "rotate" }), said_rotate),
        Verb::Logs { follow, lines } => asking.logs(*follow, *lines),
        Verb::Drain { time } => asking.drain(time.as_secs_f64()),
        Verb::Unit(_) => print_unit(name),
        Verb::Completions { shell } => {
            clap_complete::generate(*shell, &mut command.clone(), name, &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    }
}

fn said_end(done: &Value) -> String {
    format!("{} is ended\n", done["ended"].as_str().unwrap_or_default())
}

fn said_reload(done: &Value) -> String {
    let done: Vec<&str> = done.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if done.is_empty() { "nothing has changed\n".to_owned() } else { done.join("\n") + "\n" }
}

fn said_upgrade(done: &Value) -> String {
    let (pid, moved, left) = (&done["pid"], &done["moved"], &done["left"]);
    format!("process {pid} goes on with {moved} connections; {left} come to their end in the old one\n")
}

fn said_save(done: &Value) -> String {
    format!("saved: {}\n", done["file"].as_str().unwrap_or_default())
}

fn said_rotate(done: &Value) -> String {
    let files: Vec<&str> = done.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if files.is_empty() { "no log goes to a file\n".to_owned() } else { files.join("\n") + "\n" }
}

/// The words behind `unit`, as they are behind `run`.
fn print_unit(name: &str) -> ExitCode {
    let origin = match Origin::of_this_process() {
        Ok(origin) => origin,
        Err(error) => {
            complain(name, &error.to_string());
            return ExitCode::FAILURE;
        }
    };
    let words = origin.arguments().iter().map(|word| word.to_string_lossy().into_owned());
    let mut arguments: Vec<String> = words.collect();
    if let Some(verb) = arguments.iter_mut().find(|word| *word == "unit") {
        *verb = "run".to_owned();
    }
    let unit =
        systemd::unit(name, &origin.program.to_string_lossy(), &origin.folder.to_string_lossy(), &arguments);
    // On a closed pipe: whoever closed it has read enough.
    let _ = std::io::Write::write_all(&mut std::io::stdout().lock(), unit.as_bytes());
    ExitCode::SUCCESS
}
