//! The process's own figures, under the names that all Prometheus clients give them
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>). What the system does not tell is left out.

use std::fs;

use nix::time::{ClockId, clock_gettime};

use super::page::Page;

/// Puts them on a page. It reads some files of /proc, which are made in memory.
pub(super) fn show(page: &mut Page) {
    if let Ok(time) = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID) {
        let seconds = time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9;
        page.counter("process_cpu_seconds_total", "Time that all threads have computed.", &[], seconds);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut gauge = |name, help, value: Option<f64>| {
        if let Some(value) = value {
            page.gauge(name, help, &[], value);
        }
    };
    let kilobytes = |field| status_field(&status, field).map(|kilobytes| kilobytes * 1024.0);
    gauge("process_resident_memory_bytes", "Memory that it has in the machine's.", kilobytes("VmRSS:"));
    gauge("process_virtual_memory_bytes", "Addresses that it has taken.", kilobytes("VmSize:"));
    gauge("process_threads", "Threads of the system.", status_field(&status, "Threads:"));
    gauge("process_open_fds", "Descriptors that are open.", open_descriptors());
    gauge("process_max_fds", "Descriptors that may be open.", descriptors_max());
    gauge("process_start_time_seconds", "When it began, in seconds since 1970.", start_time());
}

fn status_field(status: &str, field: &str) -> Option<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    value.split_whitespace().next()?.parse().ok()
}

fn open_descriptors() -> Option<f64> {
    // The folder itself is open while it is read.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn descriptors_max() -> Option<f64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    Some(limit.current.map_or(f64::INFINITY, |limit| limit as f64))
}

fn start_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program may have spaces and parentheses of its own; behind it the third field comes first.
    let ticks: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(22 - 3)?.parse().ok()?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + ticks / rustix::param::clock_ticks_per_second() as f64)
}
