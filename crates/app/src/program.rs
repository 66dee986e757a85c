//! `main` for a user's own program: its command line, and the life that [`launch`] gives it.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use ropewalk_web::TrustedProxies;

use crate::application::{AccessLog, App, EXIT_USAGE, Settings, launch};
use crate::log::Levels;
use crate::logfile::{At, Rotation};
use crate::output::{LogPlace, LogSettings, complain};
use crate::service::StartError;

/// The options that every program has.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Seconds that requests in flight get when the program stops
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds, allow_negative_numbers = true, global = true)]
    pub grace: Duration,
    /// Event loops, each on a thread of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = workers, allow_negative_numbers = true, global = true)]
    pub workers: usize,
    /// Where the access log goes: a file, - for standard output, or none
    #[arg(long, value_name = "FILE", default_value = "-", global = true)]
    pub access_log: OsString,
    /// Where the program's own log goes: a file, - for standard error, or none
    #[arg(long, value_name = "FILE", default_value = "-", global = true)]
    pub log: OsString,
    /// From which level on: trace, debug, info, warn, error, critical or off; NAMESPACE=LEVEL for a part of the program
    #[arg(long, value_name = "[NAMESPACE=]LEVEL,…", default_value = "info", global = true)]
    pub log_level: Levels,
    /// How the program's log looks
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"], global = true)]
    pub log_format: String,
    /// When files of logs are put aside: daily, a size such as 100M, daily,100M or never; the signal USR1 does it at once
    #[arg(long, value_name = "WHEN", default_value = "never", allow_negative_numbers = true, global = true)]
    pub rotate: At,
    /// So many files of each log are kept beside the one that is written, and the oldest deleted [default: all]
    #[arg(long, value_name = "N", value_parser = files, allow_negative_numbers = true, global = true)]
    pub keep: Option<usize>,
    /// Compress files that were put aside
    #[arg(long, global = true)]
    pub compress: bool,
    /// Proxies whose X-Forwarded-For is believed: networks, separated by commas
    #[arg(long, value_name = "NETWORKS", default_value = "", hide_default_value = true, global = true)]
    pub trust_proxies: TrustedProxies,
}

impl Options {
    /// The settings that they come to.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let access_log = match self.access_log.to_str() {
            Some("-") => AccessLog::StandardOutput,
            Some("none") => AccessLog::Off,
            _ => AccessLog::File(self.access_log.clone().into()),
        };
        Settings {
            grace: self.grace,
            workers: self.workers,
            access_log,
            log: LogSettings {
                to: match self.log.to_str() {
                    Some("-") => LogPlace::StandardError,
                    Some("none") => LogPlace::Off,
                    _ => LogPlace::File(self.log.clone().into()),
                },
                levels: self.log_level.clone(),
                json: self.log_format == "json",
            },
            rotation: Rotation {
                at: self.rotate,
                keep: self.keep,
                compress: self.compress,
                ..Rotation::default()
            },
            trusted_proxies: self.trust_proxies.clone(),
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "write a number of seconds, such as 5 or 0.5".to_owned())
}

fn files(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "write a number of files, such as 7".to_owned())
}

fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=256) => Ok(count),
        _ => Err("write a number from 1 to 256".to_owned()),
    }
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Run in the foreground (what happens without a word, too)
    Run,
}

/// The `main` of a program: reads the command line, builds the application and runs it until a signal.
///
/// ```no_run
/// use std::process::ExitCode;
/// use ropewalk_web::Router;
/// fn main() -> ExitCode {
///     ropewalk_app::main("hello", |app| app.serve("tcp:8080", || Router::new().get("/", |_| "Hello, World!")))
/// }
/// ```
pub fn main(name: &'static str, build: impl FnOnce(&mut App) -> Result<(), StartError>) -> ExitCode {
    match parse::<Cli>(name, Cli::command().name(name).bin_name(name)) {
        Ok(cli) => {
            let (None | Some(Verb::Run)) = cli.verb;
            launch(name, cli.options.settings(), build)
        }
        Err(code) => code,
    }
}

/// Reads the command line. Help and version are printed and end well; anything wrong is one line and exit code 2.
///
/// # Errors
/// The exit code to leave with.
pub fn parse<P: FromArgMatches>(name: &str, command: clap::Command) -> Result<P, ExitCode> {
    let matches = command.try_get_matches().and_then(|mut matches| P::from_arg_matches_mut(&mut matches));
    matches.map_err(|error| {
        if !error.use_stderr() {
            // Help or version on a closed pipe: whoever closed it has read enough.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        let said = first_paragraph(&error.render().to_string());
        complain(name, &format!("{said}; {name} --help says what there is"));
        ExitCode::from(EXIT_USAGE)
    })
}

/// What is wrong, in one line: clap puts what is missing on lines of its own, and advice behind an empty one.
fn first_paragraph(text: &str) -> String {
    let lines = text.trim_start_matches("error: ").lines().map(str::trim);
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ").replace(char::is_control, " ")
}
