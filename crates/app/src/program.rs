//! `main` for a user's own program: its command line, and the life that [`launch`] gives it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser};
use ropewalk_web::TrustedProxies;

use crate::application::App;
use crate::life::EXIT_USAGE;
use crate::log::Levels;
use crate::logfile::{At, Rotation};
use crate::output::{LogPlace, LogSettings, complain};
use crate::runner::{Handover, Nothing, Origin, Privileges, Verb, drive};
use crate::service::StartError;
use crate::settings::{AccessLog, Listen, Settings};

/// The options that every program has.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Seconds that requests in flight get when the program stops
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds, allow_negative_numbers = true, global = true)]
    pub grace: Duration,
    /// Event loops, each on a thread of its own; web sites and channels are served on all of them
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
    /// The folder of the pid file, the control socket and the state [default of start and its like: the folder you are in]
    #[arg(long, value_name = "DIR", global = true)]
    pub rundir: Option<PathBuf>,
    /// Begin with the state in this file, instead of the last run's
    #[arg(long, value_name = "FILE", global = true)]
    pub state: Option<PathBuf>,
    /// Who to become once everything is bound: a user's name or number
    #[arg(long, value_name = "USER", global = true)]
    pub user: Option<String>,
    /// The group to become, if not the user's own
    #[arg(long, value_name = "GROUP", global = true)]
    pub group: Option<String>,
    /// Permissions that new files do not get, such as 027
    #[arg(long, value_name = "MODE", value_parser = mask, global = true)]
    pub umask: Option<u32>,
    /// Which process of this program has started this one
    #[arg(long, hide = true, global = true)]
    pub handover: Option<Handover>,
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
            rundir: self.rundir.clone(),
            state: self.state.clone(),
            privileges: Privileges { user: self.user.clone(), group: self.group.clone() },
            umask: self.umask,
            handover: self.handover,
            ..Settings::default()
        }
    }
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "write a number of seconds, such as 5 or 0.5".to_owned())
}

fn files(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "write a number of files, such as 7".to_owned())
}

fn mask(text: &str) -> Result<u32, String> {
    let mask = u32::from_str_radix(text, 8).ok().filter(|mask| *mask <= 0o777);
    mask.ok_or_else(|| "write an octal number such as 027".to_owned())
}

fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=256) => Ok(count),
        _ => Err("write a number from 1 to 256".to_owned()),
    }
}

#[derive(Parser)]
struct Cli<A: Args> {
    #[command(flatten)]
    options: Options,
    /// Listen here instead; NAME=ENDPOINT means the service of that name. May be given several times
    #[arg(long, value_name = "ENDPOINT", global = true)]
    listen: Vec<Listen>,
    #[command(flatten)]
    own: A,
    #[command(subcommand)]
    verb: Option<Verb<Nothing>>,
}

/// The `main` of a program: reads the command line and does what it says. Without a word, and with `run`, it runs until a signal; `start`,
/// `stop`, `restart`, `status`, `end`, `reload`, `upgrade`, `save`, `drain`, `unit` and `completions` are there as well.
///
/// ```no_run
/// use std::process::ExitCode;
/// use ropewalk_web::Router;
/// fn main() -> ExitCode {
///     ropewalk_app::main("hello", |app| app.serve("tcp:8080", || Router::new().get("/", |_| "Hello, World!")))
/// }
/// ```
pub fn main(name: &'static str, build: impl FnOnce(&mut App) -> Result<(), StartError>) -> ExitCode {
    main_with(name, |app, Nothing {}| build(app))
}

/// [`main`] for a program that has options of its own. Those with `global = true` may stand behind the verb, too.
///
/// ```no_run
/// use std::process::ExitCode;
/// use clap::Args;
/// use ropewalk_web::Router;
///
/// #[derive(Args)]
/// struct Own {
///     /// Whom to greet
///     #[arg(long, default_value = "World", global = true)]
///     greet: String,
/// }
///
/// fn main() -> ExitCode {
///     ropewalk_app::main_with("hello", |app, own: Own| {
///         app.serve("tcp:8080", move || {
///             let text = format!("Hello, {}!", own.greet);
///             Router::new().get("/", move |_| text.clone())
///         })
///     })
/// }
/// ```
pub fn main_with<A: Args>(
    name: &'static str,
    build: impl FnOnce(&mut App, A) -> Result<(), StartError>,
) -> ExitCode {
    let command = Cli::<A>::command().name(name).bin_name(name);
    let cli: Cli<A> = match parse(name, command.clone()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let settings = Settings { listen: cli.listen, ..cli.options.settings() };
    let verb = cli.verb.unwrap_or(Verb::Run(Nothing {}));
    drive(name, &command, settings, &verb, |app| build(app, cli.own))
}

/// Reads the command line. Help and version are printed and end well; anything wrong is one line and exit code 2.
///
/// # Errors
/// The exit code to leave with.
pub fn parse<P: FromArgMatches>(name: &str, command: clap::Command) -> Result<P, ExitCode> {
    let mut matches = matches(name, command, &[])?;
    P::from_arg_matches_mut(&mut matches).map_err(|error| refused(name, &error))
}

/// Reads the command line, with words that it overrides in front of its own.
///
/// # Errors
/// The exit code to leave with.
pub fn matches(name: &str, command: clap::Command, in_front: &[OsString]) -> Result<ArgMatches, ExitCode> {
    // While the folder is the one that the program was started in.
    if let Err(error) = Origin::of_this_process() {
        complain(name, &error.to_string());
        return Err(ExitCode::FAILURE);
    }
    let mut words = std::env::args_os();
    let called = words.next();
    let words = called.into_iter().chain(in_front.iter().cloned()).chain(words);
    let command = if in_front.is_empty() { command } else { command.args_override_self(true) };
    command.try_get_matches_from(words).map_err(|error| refused(name, &error))
}

fn refused(name: &str, error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Help or version on a closed pipe: whoever closed it has read enough.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let said = first_paragraph(&error.render().to_string());
    complain(name, &format!("{said}; {name} --help says what there is"));
    ExitCode::from(EXIT_USAGE)
}

/// What is wrong, in one line: clap puts what is missing on lines of its own, and advice behind an empty one.
pub(crate) fn first_paragraph(text: &str) -> String {
    let lines = text.trim_start_matches("error: ").lines().map(str::trim);
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ").replace(char::is_control, " ")
}
