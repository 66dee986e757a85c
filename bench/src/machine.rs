//! The process and the machine: which cores a process stays on, and how many descriptors it may have.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Descriptors that are not connections: the loop's own, the control connection, the standard three.
const DESCRIPTORS_ASIDE: u64 = 100;

/// Keeps this thread, and what it starts from now on, on these cores; anywhere, if there are none.
pub(crate) fn pin(cores: &[usize]) -> io::Result<()> {
    if cores.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for &core in cores {
        if core >= CpuSet::MAX_CPU {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no core {core}")));
        }
        set.set(core);
    }
    sched_setaffinity(None, &set).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("cores {cores:?} cannot be had: {error}"))
    })
}

/// Whether this process may use that core; asked before anything is started on it.
pub(crate) fn has(core: usize) -> bool {
    core < CpuSet::MAX_CPU && sched_getaffinity(None).map_or(true, |set| set.is_set(core))
}

/// How many cores this process may use.
pub(crate) fn count() -> usize {
    sched_getaffinity(None).map_or(1, |set| set.count() as usize)
}

/// To what the administrator allows; that it may fail is seen in `connections_max`.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _unchanged_then = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// How many connections one process can hold here, at most `wanted`.
pub(crate) fn connections_max(wanted: u32) -> u32 {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let possible = u32::try_from(limit.saturating_sub(DESCRIPTORS_ASIDE)).unwrap_or(u32::MAX);
    wanted.min(possible)
}

/// Kernel and processor in one line, for the head of the results.
pub(crate) fn describe() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    format!("Linux {}, {model}, {} cores", read("/proc/sys/kernel/osrelease").trim(), count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_had_or_not() {
        assert!((0..CpuSet::MAX_CPU).any(has));
        assert!(!has(CpuSet::MAX_CPU));
        assert!(pin(&[CpuSet::MAX_CPU]).is_err());
    }

    #[test]
    fn connections_leave_room_for_the_rest() {
        assert_eq!(connections_max(1), 1);
        assert!(
            u64::from(connections_max(u32::MAX)) < getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
        );
    }
}
