//! Servers that go into the background: `ropewalk start` and nginx, and the commands that end them.
//!
//! This process takes in what they leave behind (it is their "subreaper"), so that their end can be waited for, and their account
//! read when they have ended.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, set_child_subreaper, waitid};

use super::{Scratch, free_address, pinned, port, program, ropewalk, tree};

/// Nobody takes longer to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, and how it is begun and ended.
pub(crate) struct Daemon {
    program: PathBuf,
    scratch: Scratch,
    start: Vec<String>,
    stop: Vec<String>,
    pid_file: PathBuf,
    /// Of one that does not say it.
    address: Option<SocketAddr>,
    core: usize,
}

/// Wall clock and CPU time of something.
#[derive(Clone, Copy)]
pub(crate) struct Took {
    pub(crate) wall_ms: f64,
    pub(crate) cpu_ms: f64,
}

/// One that is up.
pub(crate) struct Up {
    pub(crate) address: SocketAddr,
    id: u32,
}

/// How one is made; none where it is missing, which has been said then.
pub(crate) type Make = fn(usize) -> io::Result<Option<Daemon>>;

/// All of them, in the order of the results.
pub(crate) const DAEMONS: [(&str, Make); 3] =
    [("ropewalk", ours), ("nginx", |core| nginx(core, "stop")), ("nginx-quit", |core| nginx(core, "quit"))];

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

fn ours(core: usize) -> io::Result<Option<Daemon>> {
    let Some(program) = ropewalk() else { return Ok(None) };
    let scratch = Scratch::new("start")?;
    fs::write(scratch.folder("public")?.join("index.html"), "hello\n")?;
    let text = "access-log = \"none\"\nrundir = \"run\"\n[services.site]\nkind = \"web\"\npath = \"public\"\nlisten = \"tcp:0\"\n";
    scratch.write("ropewalk.toml", text)?;
    let pid_file = scratch.path("run/ropewalk.pid");
    Ok(Some(Daemon {
        program,
        scratch,
        start: words(&["start"]),
        stop: words(&["stop"]),
        pid_file,
        address: None,
        core,
    }))
}

fn nginx(core: usize, way: &str) -> io::Result<Option<Daemon>> {
    let Some(program) = program("nginx", "get it with `apt-get install nginx-light`") else {
        return Ok(None);
    };
    let (scratch, address) = (Scratch::new(&format!("nginx-{way}"))?, free_address()?);
    fs::write(scratch.folder("public")?.join("index.html"), "hello\n")?;
    let own = scratch.path("").display().to_string();
    let text = format!(
        "pid {own}/pid;\nerror_log {own}/error.log crit;\nworker_processes 1;\nevents {{ worker_connections 19000; }}\n\
         http {{\n  access_log off;\n  keepalive_timeout 300;\n  client_body_temp_path {own}/body;\n  proxy_temp_path {own}/proxy;\n  \
         fastcgi_temp_path {own}/fastcgi;\n  uwsgi_temp_path {own}/uwsgi;\n  scgi_temp_path {own}/scgi;\n  \
         server {{ listen {address}; root {own}/public; }}\n}}\n"
    );
    let file = scratch.write("nginx.conf", &text)?;
    let begin =
        ["-e".to_owned(), format!("{own}/error.log"), "-c".to_owned(), file.display().to_string()].to_vec();
    let stop = begin.iter().cloned().chain(words(&["-s", way])).collect();
    let pid_file = scratch.path("pid");
    Ok(Some(Daemon { program, scratch, start: begin, stop, pid_file, address: Some(address), core }))
}

impl Daemon {
    /// Until the command that starts it has ended, and `ready` has had an answer from it.
    pub(crate) fn start(&self, ready: impl FnOnce(SocketAddr) -> io::Result<()>) -> io::Result<(Up, Took)> {
        set_child_subreaper(Some(getpid()))?;
        let begun = Instant::now();
        let (said, command_us) = self.run(&self.start)?;
        let address = match self.address {
            Some(address) => address,
            None => {
                let port = said.lines().find_map(port);
                let port =
                    port.ok_or_else(|| io::Error::other(format!("it does not say its port: {said}")))?;
                SocketAddr::from(([127, 0, 0, 1], port))
            }
        };
        ready(address)?;
        let wall_ms = begun.elapsed().as_secs_f64() * 1e3;
        let id = fs::read_to_string(&self.pid_file)?;
        let id = id.trim().parse().map_err(|_| io::Error::other(format!("no process id: {id}")))?;
        let cpu_ms = (command_us + tree::cpu_us(id)?) / 1e3;
        Ok((Up { address, id }, Took { wall_ms, cpu_ms }))
    }

    /// Until the command that ends it has ended, and the server too. The CPU time is that of both.
    pub(crate) fn stop(&self, up: &Up) -> io::Result<Took> {
        let before = tree::cpu_us(up.id)?;
        let begun = Instant::now();
        let (_, command_us) = self.run(&self.stop)?;
        let after = ended_us(up.id, begun)?;
        let wall_ms = begun.elapsed().as_secs_f64() * 1e3;
        Ok(Took { wall_ms, cpu_ms: (command_us + (after - before).max(0.0)) / 1e3 })
    }

    /// What it said, and the CPU time of its process.
    fn run(&self, arguments: &[String]) -> io::Result<(String, f64)> {
        let said = self.scratch.path("said");
        let mut command: Command = pinned(&self.program, self.core, false)?;
        let file = fs::File::create(&said)?;
        command.args(arguments).current_dir(self.scratch.path("")).stdout(file.try_clone()?).stderr(file);
        let mut child = command.stdin(std::process::Stdio::null()).spawn()?;
        let spent_us = ended_us(child.id(), Instant::now())?;
        let status = child.wait()?;
        let said = fs::read_to_string(said)?;
        if status.success() { Ok((said, spent_us)) } else { Err(io::Error::other(said)) }
    }
}

/// Waits for the end of a process that is ours, or was left to us, and reads its account before it is forgotten; the ones that
/// others still wait for are waited for by them.
fn ended_us(id: u32, since: Instant) -> io::Result<f64> {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("no process has this number"))?;
    loop {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        if waitid(WaitId::Pid(pid), options)?.is_some() {
            return Ok(tree::ended_us(id));
        }
        if since.elapsed() > PATIENCE {
            return Err(io::Error::other("it does not end"));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has been stopped, unless something went wrong.
        let id = fs::read_to_string(&self.pid_file).ok().and_then(|text| text.trim().parse().ok());
        if let Some(id) = id {
            super::end(id);
        }
    }
}
