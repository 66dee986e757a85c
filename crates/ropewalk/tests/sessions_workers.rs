//! A site with sessions on four workers: who logs in at one is known at all, with a store in memory and with one on disk.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use ropewalk::app::{AccessLog, App, Settings, StartError, launch};
use ropewalk::web::{
    Handler, MemorySessions, Request, Router, Sessions, SharedSessions, Site, SqliteSessions,
};
use ropewalk::{Failure, Reactor};
use rustix::process::Signal;
use support::*;

/// Which store the program below takes: a file, or none.
const STORE: &str = "SESSIONS_WORKERS_STORE";
/// Connections of which each of four workers has some.
const MANY: usize = 48;

/// Who is asking, and which worker answers.
async fn who(request: Request) -> Result<String, Failure> {
    let user = request.session()?.get::<String>("user").await?.unwrap_or_else(|| "nobody".to_owned());
    let thread = std::thread::current();
    let worker = thread.name().filter(|name| name.starts_with("worker")).unwrap_or("home");
    Ok(format!("{user} at {worker}"))
}

async fn login(request: Request) -> Result<&'static str, Failure> {
    let session = request.session()?;
    session.renew().await?;
    session.set("user", "ada").await?;
    Ok("welcome")
}

async fn logout(request: Request) -> Result<&'static str, Failure> {
    request.session()?.end().await?;
    Ok("farewell")
}

fn site(store: &SharedSessions) -> Site {
    let router = Router::new().get("/", who).post("/login", login).post("/logout", logout);
    Site::new(router.with(Sessions::new(store.clone())))
}

fn build(app: &mut App, file: &Path) -> Result<(), StartError> {
    let file = file.to_owned();
    app.serve_shared("web", "tcp:0:interface=127.0.0.1".parse()?, move |home| {
        let store = if file.as_os_str().is_empty() {
            SharedSessions::new(home, MemorySessions::new(1_000))
        } else {
            SharedSessions::new(home, SqliteSessions::open(home, &file).map_err(StartError::new)?)
        };
        Ok((site(&store), move |_: &Reactor| Ok(site(&store))))
    });
    Ok(())
}

/// Not a test: what the others start, in a process of its own.
#[test]
#[ignore = "the program that the tests start"]
fn the_program() {
    // Who runs whatever is ignored, too, has not asked for it.
    let Some(file) = std::env::var_os(STORE) else { return };
    let settings = Settings { workers: 4, access_log: AccessLog::Off, ..Settings::default() };
    assert_eq!(launch("sessions", settings, |app| build(app, Path::new(&file))), ExitCode::SUCCESS);
}

fn start(file: &str) -> Program {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "the_program", "--nocapture"]).env(STORE, file);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Program::spawn(command, 1)
}

fn ask(port: u16, method: &str, target: &str, cookie: &str) -> Reply {
    let fields = format!("Host: localhost\r\nConnection: close\r\nCookie: {cookie}\r\nContent-Length: 0\r\n");
    let reply = exchange(port, &format!("{method} {target} HTTP/1.1\r\n{fields}\r\n"));
    assert_eq!(reply.status, 200, "{}", reply.head);
    reply
}

/// The cookie of somebody who logs in.
fn log_in(port: u16) -> String {
    let reply = ask(port, "POST", "/login", "");
    reply.field("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

/// All workers say that it is this one.
fn is_known_as(port: u16, cookie: &str, user: &str) {
    let mut workers = BTreeSet::new();
    for _ in 0..MANY {
        let reply = ask(port, "GET", "/", cookie);
        let (who, worker) = reply.text().split_once(" at ").unwrap();
        assert_eq!(who, user, "{worker}");
        workers.insert(worker.to_owned());
    }
    assert_eq!(workers.len(), 4, "each was asked: {workers:?}");
}

fn comes_and_goes(port: u16) {
    is_known_as(port, "", "nobody");
    for _ in 0..4 {
        let cookie = log_in(port);
        is_known_as(port, &cookie, "ada");
        assert_eq!(ask(port, "POST", "/logout", &cookie).text(), "farewell");
        is_known_as(port, &cookie, "nobody");
    }
}

#[test]
fn with_a_store_in_memory() {
    let program = start("");
    comes_and_goes(program.port("web"));
    assert_eq!(program.stop().code, Some(0));
}

#[test]
fn with_a_store_on_disk_which_a_kill_leaves_whole() {
    let folder = Folder::new();
    let file = folder.name("sessions.db");
    let program = start(&file);
    comes_and_goes(program.port("web"));
    let cookie = log_in(program.port("web"));
    program.signal(Signal::KILL);
    program.ended();
    let program = start(&file);
    is_known_as(program.port("web"), &cookie, "ada");
    assert_eq!(program.stop().code, Some(0));
}
