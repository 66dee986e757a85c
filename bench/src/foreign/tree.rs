//! What a process and all that it has started have used: servers that make a process per session are measured by this.
//!
//! Those that live are counted in nanoseconds (`schedstat`), those that have ended and were waited for in ticks of 10 ms, as the
//! kernel keeps them (`cutime`): the sum of all of them is rounded once. Memory is the proportional share (PSS), so that what a child
//! has from its parent is not counted twice.

use std::collections::BTreeMap;
use std::fs;
use std::io;

/// The process and what it has started, and those in turn; itself first.
pub(crate) fn members(root: u32) -> io::Result<Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // It may have ended meanwhile.
        let parent =
            fs::read_to_string(format!("/proc/{id}/stat")).ok().and_then(|stat| field(&stat, PARENT));
        if let Some(parent) = parent.and_then(|parent| u32::try_from(parent).ok()) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut members = vec![root];
    let mut at = 0;
    while let Some(id) = members.get(at) {
        members.extend(children.remove(id).unwrap_or_default());
        at += 1;
    }
    Ok(members)
}

/// Microseconds of CPU time so far.
pub(crate) fn cpu_us(root: u32) -> io::Result<f64> {
    let tick_us = 1e6 / rustix::param::clock_ticks_per_second() as f64;
    let of = |id: u32| {
        let ended = fs::read_to_string(format!("/proc/{id}/stat")).ok().and_then(|stat| {
            Some((field(&stat, CHILDREN_USER)? + field(&stat, CHILDREN_SYSTEM)?) as f64 * tick_us)
        });
        living_us(id) + ended.unwrap_or(0.0)
    };
    Ok(members(root)?.into_iter().map(of).sum())
}

/// Of the threads of one process that are alive, or of the one that is left where it has ended and was not waited for.
pub(crate) fn living_us(id: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let times = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    times.sum::<f64>() / 1e3
}

/// The same of a process that has ended and was not waited for yet. Its own ticks are looked at as well: of its threads only the
/// first is left to be asked, and another one may have been the last to leave.
pub(crate) fn ended_us(id: u32) -> f64 {
    let tick_us = 1e6 / rustix::param::clock_ticks_per_second() as f64;
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let ticks = |at| field(&stat, at).unwrap_or(0) as f64 * tick_us;
    living_us(id).max(ticks(USER) + ticks(SYSTEM)) + ticks(CHILDREN_USER) + ticks(CHILDREN_SYSTEM)
}

/// The proportional share of memory, in bytes.
pub(crate) fn memory(root: u32) -> io::Result<u64> {
    let of = |id: u32| {
        let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Ok(members(root)?.into_iter().filter_map(of).sum::<u64>() * 1024)
}

/// Positions of what is looked for behind the name, which is field 2.
const PARENT: usize = 1;
const USER: usize = 11;
const SYSTEM: usize = 12;
const CHILDREN_USER: usize = 13;
const CHILDREN_SYSTEM: usize = 14;

fn field(stat: &str, at: usize) -> Option<i64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "42 (a) b (c) S 7 2 3 4 5 6 7 8 9 10 132 17 3 4 20";
        assert_eq!(
            [PARENT, CHILDREN_USER, CHILDREN_SYSTEM].map(|at| field(stat, at)),
            [Some(7), Some(3), Some(4)]
        );
        assert_eq!(field("42", PARENT), None);
    }

    #[test]
    fn a_child_and_its_child_are_members() {
        // 1. A shell that starts another program and waits for it. 2. Both are there, and have memory and a time.
        let script = "tail -f /dev/null & echo; wait";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut byte = [0];
        io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut byte).unwrap();
        let found = members(shell.id()).unwrap();
        let (cpu_us, bytes) = (cpu_us(shell.id()).unwrap(), memory(shell.id()).unwrap());
        super::super::end(shell.id());
        shell.wait().unwrap();
        assert_eq!((found.len(), found[0]), (2, shell.id()), "{found:?}");
        assert!(cpu_us > 0.0 && bytes > 0);
    }
}
