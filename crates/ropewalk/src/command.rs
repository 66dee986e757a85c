//! The command line of `ropewalk`, and what each sub-command starts.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use clap::{Args, CommandFactory, Parser, Subcommand};
use ropewalk_app::{App, Options, StartError, launch, parse};
use ropewalk_net::ServerEndpoint;
use ropewalk_tail::{Tail, TailOptions};
use ropewalk_web::Site;

use crate::cert::{self, CertArgs};
use crate::folder::WebArgs;
use crate::hub::{self, HubArgs};
use crate::push::{self, PushArgs};
use crate::welcome;

const NAME: &str = "ropewalk";
pub(crate) const WEB_ENDPOINT: &str = "tcp:8080";
const RAW_ENDPOINT: &str = "tcp:8888";

/// Serves connections that stay open: live logs, push and web sites.
///
/// Without a command it serves a welcome page that shows its own access log live, on 127.0.0.1:8080.
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
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a folder as a web site
    Web(WebArgs),
    /// Stream the lines of files as they grow, to every viewer at once
    Tail(TailArgs),
    /// Serve channels: publish by POST, read by event stream, JSON lines or long poll
    Push(PushArgs),
    /// Run a WebSub hub, or ask one that runs
    Hub(Box<HubArgs>),
    /// Make a self-signed certificate and its key, for development
    Cert(CertArgs),
}

#[derive(Args)]
struct TailArgs {
    /// Files to follow; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where the lines are streamed raw, for nc
    #[arg(long, value_name = "ENDPOINT", default_value = RAW_ENDPOINT)]
    raw: ServerEndpoint,
    /// Where the page, the event stream (/events) and the long poll (/poll) are served
    #[arg(long, value_name = "ENDPOINT", default_value = WEB_ENDPOINT)]
    web: ServerEndpoint,
    /// Lines of history that a raw viewer or an event stream begins with
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = lines, allow_negative_numbers = true)]
    history: usize,
    /// What viewers must know: ?token=… on the web, the first line on the raw endpoint
    #[arg(long)]
    token: Option<String>,
    /// Begin each line with the name of its file
    #[arg(long)]
    label: bool,
}

/// Reads the command line and runs what it says.
pub(crate) fn run() -> ExitCode {
    let cli: Cli = match parse(NAME, Cli::command()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    if let Some(Command::Cert(args)) = &cli.command {
        return cert::run(NAME, args);
    }
    if let Some(Command::Hub(args)) = &cli.command
        && let Some(code) = args.ask(NAME)
    {
        return code;
    }
    let settings = cli.options.settings();
    let alone = !matches!(cli.command, Some(Command::Web(_)));
    launch(NAME, settings, |app| {
        if alone && app.settings().workers > 1 {
            // A log and its history are in one place; more loops would only stand beside it.
            return Err(StartError::new("--workers is for ropewalk web; leave it out here"));
        }
        match cli.command {
            Some(_) if cli.listen.is_some() => Err(StartError::new(
                "--listen before the command is for the welcome page; write it behind the command",
            )),
            None => welcome::build(app, local(cli.listen.map_or_else(|| WEB_ENDPOINT.parse(), Ok)?)),
            Some(Command::Web(args)) => web(app, args),
            Some(Command::Tail(args)) => tail(app, args),
            Some(Command::Push(args)) => push::build(app, args),
            Some(Command::Hub(args)) => hub::build(app, local(args.listen.clone()), &args),
            Some(Command::Cert(_)) => Err(StartError::new("cert serves nothing")),
        }
    })
}

fn lines(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "write a number of lines, such as 100".to_owned())
}

/// A service that was given no interface is for this machine only.
pub(crate) fn local(endpoint: ServerEndpoint) -> ServerEndpoint {
    endpoint.or_interface(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn web(app: &mut App, args: WebArgs) -> Result<(), StartError> {
    let listen = local(args.listen.clone());
    let open = move || args.files().map(Site::new);
    // What is wrong with the folder is said before anything is bound.
    open()?;
    app.serve_site("web", listen, open);
    Ok(())
}

fn tail(app: &mut App, args: TailArgs) -> Result<(), StartError> {
    let (raw, web) = (local(args.raw), local(args.web));
    if args.token.as_deref().is_none_or(str::is_empty) && !(raw.is_local() && web.is_local()) {
        return Err(StartError::new(
            "a log that others can reach, be it through a proxy, wants --token SECRET; or leave the interfaces at 127.0.0.1",
        ));
    }
    let options = TailOptions {
        sources: args.files,
        history: args.history,
        token: args.token,
        label: args.label,
        ..TailOptions::default()
    };
    let tail = Tail::start(app.reactor(), options).map_err(StartError::new)?;
    let viewers = tail.clone();
    app.serve_factory("raw", raw, move |_| Ok(Rc::new(viewers.raw_viewers())));
    app.serve_home("web", web, move |_| Ok(Site::new(tail.handler())));
    Ok(())
}
