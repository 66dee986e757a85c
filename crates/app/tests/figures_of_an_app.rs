//! The whole life of a program with a page of figures and a log of its own, in this process: so it is the only test of its binary.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ropewalk_app::log::{Level, from_json};
use ropewalk_app::{AccessLog, App, LogPlace, LogSettings, Settings, StartError, launch, metrics};
use ropewalk_reactor::Reactor;
use ropewalk_web::{Router, Site};

const LONG: Duration = Duration::from_secs(20);

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Asks the page; the socket is there when the program listens.
fn page(socket: &Path) -> String {
    let until = Instant::now() + LONG;
    let mut peer = loop {
        match UnixStream::connect(socket) {
            Ok(peer) => break peer,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        std::thread::yield_now();
    };
    peer.set_read_timeout(Some(LONG)).unwrap();
    peer.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn an_application_shows_its_figures_and_logs_to_its_file() {
    let folder = Folder(std::env::temp_dir().join(format!("ropewalk-figures-{}", std::process::id())));
    fs::create_dir_all(&folder.0).unwrap();
    let (socket, log) = (folder.0.join("socket"), folder.0.join("program.log"));
    let settings = Settings {
        workers: 2,
        access_log: AccessLog::File(folder.0.join("access.log")),
        log: LogSettings { to: LogPlace::File(log.clone()), json: true, ..LogSettings::default() },
        ..Settings::default()
    };
    let (tell, told) = std::sync::mpsc::channel();
    let asked = socket.clone();
    let asking = std::thread::spawn(move || {
        let shown = page(&asked);
        told.recv_timeout(LONG)
            .map(|remote: ropewalk_reactor::Remote| remote.call_from_thread(Reactor::stop))
            .unwrap()
            .unwrap();
        shown
    });
    let endpoint = format!("unix:{}", socket.display()).parse().unwrap();
    let build = |app: &mut App| -> Result<(), StartError> {
        let sources = app.figures();
        app.serve_home("figures", endpoint, move |_| {
            Ok(Site::new(Router::new().route("GET", "/metrics", metrics::handler(&sources))))
        });
        tracing::warn!(target: "test", "a warning");
        tell.send(app.reactor().remote()).unwrap();
        Ok(())
    };
    assert_eq!(launch("figures", settings, build), ExitCode::SUCCESS);
    let shown = asking.join().unwrap();
    for part in [
        "ropewalk_loop_turns_total{worker=\"home\"} ",
        "ropewalk_loop_turns_total{worker=\"1\"} ",
        "ropewalk_log_lines_total{log=\"access\"} 0\n",
        "ropewalk_log_lines_total{log=\"program\"} 1\n",
        "ropewalk_events_total{level=\"warn\"} 1\n",
        "process_open_fds ",
    ] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    assert_eq!(fs::read_to_string(folder.0.join("access.log")).unwrap().lines().count(), 1);
    let events: Vec<_> = from_json(&fs::read(log).unwrap()[..]).map(Result::unwrap).collect();
    assert!(events.iter().any(|event| event.level == Level::Warn && event.message() == "a warning"));
}
