//! What a process has used, from the kernel's own accounting.
//!
//! The total comes from `/proc/PID/task/*/schedstat`, which counts nanoseconds; `/proc/PID/stat` only says how it divides into
//! user and system time, because it counts in ticks of 10 ms. Memory comes from `/proc/PID/smaps_rollup`.

use std::fs;
use std::io;

use cpu_time::ProcessTime;
use rustix::io::Errno;

/// CPU time so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    cpu_ns: u64,
    user_ticks: u64,
    system_ticks: u64,
}

impl Usage {
    /// Of all threads of this process that are alive; the servers here start theirs once and keep them.
    pub(crate) fn of(pid: u32) -> io::Result<Usage> {
        let mut cpu_ns = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let text = match fs::read_to_string(task?.path().join("schedstat")) {
                // It has ended since it was listed.
                Err(error) if has_ended(&error) => continue,
                text => text?,
            };
            cpu_ns += text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
        let (user_ticks, system_ticks) = ticks(&fs::read_to_string(format!("/proc/{pid}/stat"))?)
            .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is not as expected")))?;
        if cpu_ns == 0 {
            // A kernel without schedstat: the ticks alone, as coarse as they are.
            let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second();
            cpu_ns = (user_ticks + system_ticks) * tick_ns;
        }
        Ok(Usage { cpu_ns, user_ticks, system_ticks })
    }

    /// Of this process itself, to the nanosecond of this call; threads that have ended are in it.
    pub(crate) fn here() -> io::Result<Usage> {
        let usage = Usage::of(std::process::id())?;
        let cpu_ns = ProcessTime::try_now()?.as_duration().as_nanos() as u64;
        Ok(Usage { cpu_ns, ..usage })
    }

    /// What was spent between the two: microseconds, and the part of it that was not the kernel's.
    pub(crate) fn since(self, before: Usage) -> Spent {
        let user = self.user_ticks.saturating_sub(before.user_ticks) as f64;
        let system = self.system_ticks.saturating_sub(before.system_ticks) as f64;
        let cpu_us = self.cpu_ns.saturating_sub(before.cpu_ns) as f64 / 1e3;
        Spent { cpu_us, user_share: if user + system > 0.0 { user / (user + system) } else { 0.0 } }
    }
}

/// What opening or reading the account of a thread says that is no more.
fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || Errno::from_io_error(error) == Some(Errno::SRCH)
}

/// CPU time over a slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spent {
    pub(crate) cpu_us: f64,
    pub(crate) user_share: f64,
}

/// Fields 14 and 15; the name in field 2 may hold spaces and parentheses.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Memory of a process now, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Memory {
    /// What it alone has written to: heap, stacks, its own data.
    pub(crate) private_dirty: u64,
    /// What of it is in memory, shared libraries included.
    pub(crate) resident: u64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> io::Result<Memory> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        memory(&text).ok_or_else(|| io::Error::other(format!("/proc/{pid}/smaps_rollup is not as expected")))
    }
}

fn memory(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kilobytes * 1024)
    };
    Some(Memory {
        private_dirty: field("Private_Dirty:")? + field("Swap:").unwrap_or(0),
        resident: field("Rss:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 132 17 0 0 20";
        assert_eq!(ticks(stat), Some((132, 17)));
        assert_eq!(ticks("42"), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let text = "1-2 ---p [rollup]\nRss:  1816 kB\nPrivate_Dirty:   100 kB\nSwap:   1 kB\n";
        assert_eq!(memory(text), Some(Memory { private_dirty: 101 * 1024, resident: 1816 * 1024 }));
        assert_eq!(memory("Rss: x kB"), None);
    }

    #[test]
    fn threads_may_end_while_they_are_counted() {
        let comes_and_goes = std::thread::spawn(|| {
            for _ in 0..500 {
                std::thread::spawn(|| ()).join().unwrap();
            }
        });
        while !comes_and_goes.is_finished() {
            Usage::of(std::process::id()).unwrap();
        }
        comes_and_goes.join().unwrap();
        assert!(has_ended(&Errno::SRCH.into()) && !has_ended(&Errno::ACCESS.into()));
    }

    #[test]
    fn this_process_has_an_account() {
        let pid = std::process::id();
        let before = Usage::of(pid).unwrap();
        let spent = Usage::of(pid).unwrap().since(before);
        assert!(spent.cpu_us >= 0.0 && spent.user_share <= 1.0);
        assert!(Memory::of(pid).unwrap().private_dirty > 0);
    }
}
