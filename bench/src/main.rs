//! This project beside its peers: servers under load, memory per idle connection, the cost of a broadcast, of channels and of
//! bytes without a protocol, of events kept on disk, and what the library's pool, timers and deferreds cost beside tokio's.
//!
//! Without a sub-command it runs the suite: every server as a child on one core, the load on another, slices interleaved.
//! `serve NAME` is one of those servers alone, `measure NAME` one piece of library work. This file is the command line; `suite` runs
//! the scenarios, `servers` and `library` have the tables.
#![forbid(unsafe_code)]

mod account;
mod canned;
mod child;
mod client;
mod figures;
mod folder;
mod foreign;
mod ftp;
mod library;
mod lines;
mod machine;
mod publishers;
mod report;
mod scenario;
mod secure;
mod servers;
mod subscribers;
mod suite;
mod traffic;
mod viewers;
mod wrk;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::scenario::Scenario;

/// Measures servers and libraries side by side: CPU time per request, per timer, per round trip, and its ratio to a base.
#[derive(Parser)]
#[command(name = "ropewalk-bench", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    suite: SuiteArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Run one server, single-threaded, until it is killed
    Serve(ServeArgs),
    /// Do one piece of library work for so many milliseconds per line of standard input
    Measure(MeasureArgs),
    /// Write a log for so many milliseconds per line of standard input
    Lines(LinesArgs),
    /// Become another program, on these cores
    #[command(hide = true)]
    Become(BecomeArgs),
    /// Say which servers and which pieces of library work there are
    List,
}

/// What the suite can be told.
#[derive(Args, Clone)]
struct SuiteArgs {
    /// What to measure; everything, if nothing is named
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// Only these servers or libraries, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAME,NAME")]
    only: Vec<String>,
    /// Slices per contestant
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Length of a slice
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Connections of the request scenarios
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Connections of the idle scenario; fewer where the descriptor limit is lower
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    idle: u32,
    /// Viewers of the broadcasts and the channels; fewer where the descriptor limit is lower
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    viewers: u32,
    /// Also write the results, with every slice, to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The core of what is measured
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The load's core; the pool is measured on both too
    #[arg(long, default_value_t = 1)]
    load_core: usize,
}

/// What one server can be told; the suite starts its children with these too.
#[derive(Args)]
struct ServeArgs {
    /// Which one; `list` knows the names
    name: String,
    /// On 127.0.0.1; 0 takes a free one and says which
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Stay on this core; may be given again
    #[arg(long)]
    core: Vec<usize>,
    /// Write an access log here, if this server has one
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// Broadcast the lines that are appended to this file, if this server follows files
    #[arg(long, value_name = "FILE")]
    feed: Option<PathBuf>,
    /// Answer from this SQLite database, if this server can
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// What to do with bytes, if this server speaks no protocol
    #[arg(long, value_enum, default_value_t)]
    way: servers::raw::Way,
    /// What to serve, if this server has several pages
    #[arg(long, value_enum, default_value_t)]
    page: servers::Page,
    /// Serve this folder, or keep there what is its own, if this server can
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Speak TLS with cert.pem and key.pem of this folder, if this server can
    #[arg(long, value_name = "FOLDER")]
    tls: Option<PathBuf>,
    /// End with the process that started it
    #[arg(long, hide = true)]
    tied: bool,
}

/// What one piece of library work can be told.
#[derive(Args)]
struct MeasureArgs {
    /// Which one; `list` knows the names
    name: String,
    /// Stay on this core; may be given again
    #[arg(long)]
    core: Vec<usize>,
    /// End with the process that started it
    #[arg(long, hide = true)]
    tied: bool,
}

/// What a loop with a log can be told.
#[derive(Args)]
struct LinesArgs {
    /// The log; none, if it is not named
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Stay on this core; may be given again
    #[arg(long)]
    core: Vec<usize>,
    /// End with the process that started it
    #[arg(long, hide = true)]
    tied: bool,
}

/// Another program as a child on its core.
#[derive(Args)]
struct BecomeArgs {
    #[arg(long)]
    core: Vec<usize>,
    #[arg(long)]
    tied: bool,
    #[arg(last = true)]
    words: Vec<std::ffi::OsString>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Serve(arguments)) => serve(arguments),
        Some(Command::List) => {
            println!("servers:");
            servers::list();
            println!("\nlibrary work:");
            library::list();
            Ok(())
        }
        Some(Command::Lines(arguments)) => {
            settle(arguments.tied, &arguments.core).and_then(|()| lines::serve(arguments.log))
        }
        Some(Command::Become(arguments)) => {
            settle(arguments.tied, &arguments.core).and_then(|()| foreign::become_program(&arguments.words))
        }
        Some(Command::Measure(arguments)) => measure(&arguments),
        None => suite::run(&cli.suite),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            // What the caller can put right is 2, as a wrong option is.
            let theirs =
                matches!(error.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::NotFound);
            ExitCode::from(if theirs { 2 } else { 1 })
        }
    }
}

fn serve(arguments: ServeArgs) -> std::io::Result<()> {
    let server = servers::named(&arguments.name)?;
    settle(arguments.tied, &arguments.core)?;
    machine::raise_descriptor_limit();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    let ServeArgs { access_log, feed, database, way, page, folder, tls, .. } = arguments;
    (server.run)(servers::Setup { address, access_log, feed, database, way, page, folder, tls })
}

fn measure(arguments: &MeasureArgs) -> std::io::Result<()> {
    settle(arguments.tied, &arguments.core)?;
    library::measure(&arguments.name)
}

fn settle(tied: bool, cores: &[usize]) -> std::io::Result<()> {
    if tied {
        child::end_with_parent()?;
    }
    machine::pin(cores)
}
