//! The load of the request scenarios: the program `wrk`, one thread, bounded in time.

use std::io;
use std::path::PathBuf;
use std::process::Command;

/// Requests in one write of the pipelined load.
pub(crate) const PIPELINE_DEPTH: usize = 16;

const MISSING: &str = "wrk is missing, and it makes the load of these scenarios.\n\
    Get it with `apt-get install wrk` (Debian, Ubuntu), `dnf install wrk` (Fedora), or from https://github.com/wg/wrk";

/// How the requests are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    /// One at a time on each connection.
    Single,
    /// The same, and no two requests alike: nothing that a server remembers of the last one helps it.
    Varied,
    /// `PIPELINE_DEPTH` of them in one write.
    Pipelined,
}

/// What one run has done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
}

/// The program, found, with its script for pipelining.
pub(crate) struct Wrk {
    pipelined: PathBuf,
    varied: PathBuf,
}

impl Wrk {
    /// An error of kind `NotFound`, with how to get it, if there is none.
    pub(crate) fn find() -> io::Result<Wrk> {
        // It prints its version and exits with 1: that it starts is enough.
        if Command::new("wrk").arg("-v").output().is_err() {
            return Err(io::Error::new(io::ErrorKind::NotFound, MISSING));
        }
        let script = |kind: &str, text: String| {
            let path = std::env::temp_dir().join(format!("ropewalk-bench-{}-{kind}.lua", std::process::id()));
            std::fs::write(&path, text).map(|()| path)
        };
        Ok(Wrk { pipelined: script("pipelined", pipelining())?, varied: script("varied", varying())? })
    }

    /// Loads a URL for so many seconds; an answer that is not 2xx and a broken connection are errors.
    pub(crate) fn run(&self, url: &str, style: Style, connections: u32, seconds: u64) -> io::Result<Load> {
        let mut command = Command::new("wrk");
        command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s")]);
        match style {
            Style::Single => {}
            Style::Varied => drop(command.arg("-s").arg(&self.varied)),
            Style::Pipelined => drop(command.arg("-s").arg(&self.pipelined)),
        }
        let output = command.arg(url).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        parse(&text).map_err(|what| io::Error::other(format!("wrk: {what}\n{text}")))
    }
}

impl Drop for Wrk {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.pipelined);
        let _ = std::fs::remove_file(&self.varied);
    }
}

fn pipelining() -> String {
    format!(
        "local all\ninit = function(arguments)\n  local one = {{}}\n  for i = 1, {PIPELINE_DEPTH} do one[i] = wrk.format() end\n  \
         all = table.concat(one)\nend\nrequest = function() return all end\n"
    )
}

fn varying() -> String {
    "local n = 0\nrequest = function() n = n + 1; return wrk.format(nil, \"/?n=\" .. n) end\n".to_owned()
}

fn parse(text: &str) -> Result<Load, &'static str> {
    let broken = text.lines().map(str::trim).find_map(|line| line.strip_prefix("Socket errors:"));
    if broken.is_some() {
        return Err("connections broke");
    }
    if text.contains("Non-2xx or 3xx responses") {
        return Err("answers were not 200");
    }
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    let per_second = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok());
    match (requests, per_second) {
        (Some(requests), Some(per_second)) if requests > 0 => Ok(Load { requests, per_second }),
        _ => Err("no answers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "Running 2s test @ http://127.0.0.1:8080/\n  1 threads and 64 connections\n  \
        Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency   352.72us\n  371824 requests in 2.10s, 52.13MB read\n\
        Requests/sec: 177059.61\nTransfer/sec:     24.82MB\n";

    #[test]
    fn its_figures_are_read() {
        assert_eq!(parse(OUTPUT), Ok(Load { requests: 371_824, per_second: 177_059.61 }));
    }

    #[test]
    fn trouble_is_not_a_figure() {
        assert!(parse("").is_err());
        assert!(parse(&OUTPUT.replace("371824", "0")).is_err());
        assert!(parse(&format!("{OUTPUT}  Non-2xx or 3xx responses: 7\n")).is_err());
        assert!(parse(&format!("{OUTPUT}  Socket errors: connect 0, read 1, write 0, timeout 0\n")).is_err());
    }

    #[test]
    fn the_script_joins_sixteen() {
        assert!(pipelining().contains("for i = 1, 16 do"));
    }
}
