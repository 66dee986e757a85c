//! The command line of `ropewalk`: the verbs of every program, a sub-command per kind of service, and the configuration file that
//! describes many. What a sub-command starts is in the file of its kind.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use ropewalk_app::{
    AccessLog, Configuration, Kind, Options, Settings, StartError, Verb, drive, drive_configured, example,
    launch, matches, refuse,
};
use ropewalk_net::ServerEndpoint;

use crate::cert::{self, CertArgs};
use crate::hub::HubArgs;
use crate::kinds::{self, local};
use crate::passwd::{self, PasswdArgs};
use crate::welcome;

const NAME: &str = "ropewalk";
/// The configuration of the folder one stands in.
const CONFIGURATION: &str = "ropewalk.toml";
pub(crate) const WEB_ENDPOINT: &str = "tcp:8080";
const EXIT_USAGE: u8 = 2;
/// What the example does as it is.
const ACTIVE: &str = "[services.site]\nkind = \"web\"\npath = \".\"\nlisten = \"tcp:8080\"";

/// Serves connections that stay open: live logs, push, WebSub, web sites and FTP.
///
/// Without a command it runs what the ropewalk.toml of this folder describes; if there is none, it serves a welcome page that shows its
/// own access log live, on 127.0.0.1:8080.
/// Endpoints are written tcp:8080, tcp:8080:interface=0.0.0.0, tcp6:8080, ssl:8443:privateKey=key.pem:certKey=cert.pem or
/// unix:/run/app.sock; without an interface they are at 127.0.0.1.
#[derive(Parser)]
#[command(name = NAME, version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// Where the welcome page is served [default: tcp:8080]
    #[arg(long, value_name = "ENDPOINT")]
    listen: Option<ServerEndpoint>,
    /// Say something else than the configuration, such as services.site.listen=tcp:0; may be given several times
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
    #[command(subcommand)]
    command: Option<Words>,
}

#[derive(Subcommand)]
#[command(about = None, long_about = None)]
enum Words {
    #[command(flatten)]
    Verb(Verb<File>),
    /// Look for mistakes in a configuration, without listening anywhere
    Check(File),
    /// Print a configuration to begin with
    Example,
    /// Make a self-signed certificate and its key, for development
    Cert(CertArgs),
    /// Add, change or remove a user in a file of passwords
    Passwd(PasswdArgs),
}

/// Which configuration.
#[derive(Args, Clone, Debug, Default)]
struct File {
    /// The configuration [default: the ropewalk.toml of this folder]
    #[arg(value_name = "CONFIG")]
    config: Option<PathBuf>,
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> ExitCode {
    let kinds = kinds::all();
    let command = kinds.iter().fold(Cli::command(), |command, kind| command.subcommand(kind.command()));
    let matches = match matches(NAME, command.clone(), &[]) {
        Ok(matches) => matches,
        Err(code) => return code,
    };
    let outcome = match matches.subcommand() {
        Some((name, own)) if let Some(kind) = kinds.iter().find(|kind| kind.name() == name) => {
            serve(kind, &matches, own)
        }
        _ => obey(&command, &matches, &kinds),
    };
    outcome.unwrap_or_else(|error| {
        refuse(Options::from_arg_matches(&matches).ok().and_then(|options| options.handover), &error);
        // Where nobody listens there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "{NAME}: {error}");
        ExitCode::from(EXIT_USAGE)
    })
}

/// One service without a file.
fn serve(kind: &Kind, matches: &ArgMatches, own: &ArgMatches) -> Result<ExitCode, StartError> {
    let options = Options::from_arg_matches(matches).map_err(StartError::new)?;
    if kind.name() == "hub"
        && let Some(code) = HubArgs::from_arg_matches(own).map_err(StartError::new)?.ask(NAME)
    {
        return Ok(code);
    }
    let listens = matches.value_source("listen") == Some(ValueSource::CommandLine);
    let alone = !matches!(kind.name(), "web" | "push");
    Ok(launch(NAME, options.settings(), |app| {
        if alone && app.settings().workers > 1 {
            // A log that is read is in one place; more loops would only stand beside it.
            return Err(StartError::new("--workers is for ropewalk web and push; leave it out here"));
        }
        if listens {
            return Err(StartError::new(
                "--listen before the command is for the welcome page; write it behind the command",
            ));
        }
        kind.build(app, &mut own.clone())
    }))
}

/// The other words.
fn obey(command: &Command, matches: &ArgMatches, kinds: &[Kind]) -> Result<ExitCode, StartError> {
    let cli = Cli::from_arg_matches(matches).map_err(StartError::new)?;
    match &cli.command {
        Some(Words::Cert(args)) => Ok(cert::run(NAME, args)),
        Some(Words::Passwd(args)) => Ok(passwd::run(NAME, args)),
        Some(Words::Example) => {
            // On a closed pipe: whoever closed it has read enough.
            let _ =
                std::io::stdout().lock().write_all(example(NAME, kinds, &own_options(), ACTIVE).as_bytes());
            Ok(ExitCode::SUCCESS)
        }
        Some(Words::Check(file)) => Ok(check(file, &cli.set, kinds)),
        Some(Words::Verb(verb)) => follow(command, matches, &cli, verb, kinds),
        None => follow(command, matches, &cli, &Verb::Run(File::default()), kinds),
    }
}

/// A verb: with the configuration that is named or found, else with the welcome page.
fn follow(
    command: &Command,
    matches: &ArgMatches,
    cli: &Cli,
    verb: &Verb<File>,
    kinds: &[Kind],
) -> Result<ExitCode, StartError> {
    let starts = match verb {
        Verb::Run(file) | Verb::Start(file) | Verb::Unit(file) => Some(file),
        Verb::Restart { arguments, .. } => Some(arguments),
        _ => None,
    };
    let named = starts.and_then(|file| file.config.clone());
    let path = named.clone().unwrap_or_else(|| CONFIGURATION.into());
    let path = std::path::absolute(path).map_err(StartError::new)?;
    // Whoever says where the welcome page is to be wants that.
    let welcomes = cli.listen.is_some() || named.is_none() && !path.exists();
    let (kinds, set) = (kinds.to_vec(), cli.set.clone());
    // To speak to what runs one needs no configuration that holds.
    let lenient = starts.is_none().then(|| Configuration::options_only(&path, &own_options(), &set));
    let read = {
        let path = path.clone();
        move || Configuration::read(&path, &kinds, &own_options(), &set).map_err(StartError::new)
    };
    let configuration = match (welcomes, lenient) {
        (false, Some(lenient)) => lenient,
        (false, None) => read()?,
        (true, _) => return welcome_page(command, cli, verb),
    };
    let settings = merged(command, matches, &configuration)?;
    if let Some(folder) = path.parent() {
        // What a file says is meant from where it is.
        std::env::set_current_dir(folder)
            .map_err(|error| StartError::new(format!("{}: {error}", folder.display())))?;
    }
    Ok(drive_configured(NAME, command, settings, verb, configuration, read))
}

/// What there is without a configuration.
fn welcome_page(command: &Command, cli: &Cli, verb: &Verb<File>) -> Result<ExitCode, StartError> {
    let endpoint = local(cli.listen.clone().map_or_else(|| WEB_ENDPOINT.parse(), Ok)?);
    let settings = cli.options.settings();
    Ok(drive(NAME, command, settings, verb, |app| {
        if app.settings().workers > 1 {
            return Err(StartError::new("--workers is for ropewalk web and push; leave it out here"));
        }
        welcome::build(app, endpoint)
    }))
}

/// The program's own options, as a configuration may have them.
fn own_options() -> Command {
    Options::augment_args(Command::new(NAME))
}

/// The options of the file, with those of the command line over them. Paths of the command line are meant from where one stands.
fn merged(
    command: &Command,
    ours: &ArgMatches,
    configuration: &Configuration,
) -> Result<Settings, StartError> {
    let both = matches(NAME, command.clone(), &configuration.options).map_err(|_| {
        StartError::new("the options of the configuration and of the command line do not go together")
    })?;
    let options = Options::from_arg_matches(&both).map_err(StartError::new)?;
    let mut settings = options.settings();
    let said = |id: &str| ours.value_source(id) == Some(ValueSource::CommandLine);
    let here = |path: &Path| std::path::absolute(path).map_err(StartError::new);
    if said("rundir") {
        settings.rundir = settings.rundir.as_deref().map(here).transpose()?;
    }
    if said("state") {
        settings.state = settings.state.as_deref().map(here).transpose()?;
    }
    if let (true, AccessLog::File(path)) = (said("access_log"), &settings.access_log) {
        settings.access_log = AccessLog::File(here(path)?);
    }
    Ok(settings)
}

/// `check`: every mistake on a line of its own.
fn check(file: &File, set: &[String], kinds: &[Kind]) -> ExitCode {
    let path = file.config.clone().unwrap_or_else(|| CONFIGURATION.into());
    let mut err = std::io::stderr().lock();
    let configuration = match Configuration::read(&path, kinds, &own_options(), set) {
        Ok(configuration) => configuration,
        Err(error) => {
            for mistake in &error.mistakes {
                // Where nobody listens there is nobody to tell.
                let _ = writeln!(err, "{NAME}: {mistake}");
            }
            return ExitCode::from(EXIT_USAGE);
        }
    };
    drop(err);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entered = folder.map_or(Ok(()), std::env::set_current_dir).map_err(StartError::new);
    match entered.and_then(|()| configuration.check(NAME)) {
        Ok(()) => {
            let count = configuration.services.len();
            // On a closed pipe: the exit code says it, too.
            let _ = writeln!(std::io::stdout(), "{}: no mistakes; services: {count}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{NAME}: {error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}
