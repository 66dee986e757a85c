//! The sockets that systemd hands over (`man 3 sd_listen_fds`): descriptors 3 and up, as many as `LISTEN_FDS` says, named by
//! `LISTEN_FDNAMES`, meant for the process `LISTEN_PID`. `listen` comes here for the endpoint `systemd:`.
//!
//! Descriptors belong to the process, and so does this: the one list of what was handed over, from which each is taken once. The crate
//! `listenfd` turns their numbers into owned descriptors; it takes the variables out of the environment as well, so that no child
//! believes that they are for it. That is done once, at the first question: listen before other threads ask C's library for names.

use std::env;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use listenfd::ListenFd;
use ropewalk_reactor::Share;
use rustix::net::{AddressFamily, SocketType};

/// More than any unit has; a larger number is a mistake, not a wish.
const COUNT_MAX: usize = 4096;
/// What systemd calls a socket without `FileDescriptorName=` whose unit it does not know.
const UNKNOWN: &str = "unknown";

/// Which of systemd's sockets is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Passed {
    /// By `FileDescriptorName=` (the name of the socket unit unless given). Of several that have this name, the first that is left.
    Name(String),
    /// By its place, from 0 on.
    Index(usize),
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Passed::Name(name) => write!(f, "name={}", crate::endpoint::quote(name)),
            Passed::Index(index) => write!(f, "index={index}"),
        }
    }
}

/// What was handed to this process; empty until somebody asks.
static HANDED: Mutex<Option<Handed>> = Mutex::new(None);

struct Handed {
    fds: ListenFd,
    slots: Vec<Slot>,
}

struct Slot {
    name: String,
    taken: bool,
    /// Where several workers accept from one socket, each has a duplicate of this one.
    shared: Option<OwnedFd>,
}

/// Takes a socket out of the list.
pub(crate) fn take(which: &Passed, share: Share) -> io::Result<OwnedFd> {
    let mut handed = HANDED.lock().unwrap_or_else(PoisonError::into_inner);
    if handed.is_none() {
        *handed = Some(Handed::from_environment()?);
    }
    handed.as_mut().expect("it was filled just now").take(which, share)
}

impl Handed {
    fn from_environment() -> io::Result<Handed> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let names = variable("LISTEN_FDNAMES");
        let count = announced(
            variable("LISTEN_PID").as_deref(),
            variable("LISTEN_FDS").as_deref(),
            std::process::id(),
        )?;
        Ok(Handed { fds: ListenFd::from_env(), slots: slots(count, names.as_deref()) })
    }

    fn take(&mut self, which: &Passed, share: Share) -> io::Result<OwnedFd> {
        let index = self.find(which, share)?;
        if let Some(shared) = self.slots[index].shared.as_ref().filter(|_| share == Share::Joined) {
            return shared.try_clone();
        }
        let mut refusal = io::Error::from(io::ErrorKind::NotFound);
        // Its INET is both of IPv4 and IPv6. What it does not give it keeps, and says what is wrong.
        for family in [AddressFamily::UNIX, AddressFamily::INET] {
            let (family, kind) = (i32::from(family.as_raw()), SocketType::STREAM.as_raw() as i32);
            match self.fds.take_custom::<OwnedFd>(index, family, kind, "TCP or UNIX stream socket") {
                Ok(Some(fd)) => return self.give(index, fd, share),
                Ok(None) => {}
                Err(error) => refusal = error,
            }
        }
        let text = format!("systemd:{which}: {refusal}");
        Err(io::Error::new(refusal.kind(), text))
    }

    fn give(&mut self, index: usize, fd: OwnedFd, share: Share) -> io::Result<OwnedFd> {
        let slot = &mut self.slots[index];
        slot.taken = true;
        if share == Share::First {
            slot.shared = Some(fd.try_clone()?);
        }
        Ok(fd)
    }

    fn find(&self, which: &Passed, share: Share) -> io::Result<usize> {
        let is_left = |slot: &Slot| !slot.taken || (share == Share::Joined && slot.shared.is_some());
        let matching: Vec<usize> = match which {
            Passed::Index(index) => (0..self.slots.len()).filter(|found| found == index).collect(),
            Passed::Name(name) => {
                (0..self.slots.len()).filter(|found| self.slots[*found].name == *name).collect()
            }
        };
        // A worker that joins wants the socket that the first one has, not the next of that name.
        let joined =
            matching.iter().find(|index| share == Share::Joined && self.slots[**index].shared.is_some());
        let left = joined.or_else(|| matching.iter().find(|index| is_left(&self.slots[**index])));
        let what = match (left, matching.is_empty()) {
            (Some(index), _) => return Ok(*index),
            (None, true) => "there is no such socket",
            (None, false) => "it is in use already",
        };
        let kind = if matching.is_empty() { io::ErrorKind::NotFound } else { io::ErrorKind::AddrInUse };
        Err(io::Error::new(kind, format!("systemd:{which}: {what}; there are {}", self.listed())))
    }

    /// What was handed over, for people: `0 (web), 1 (admin)`.
    fn listed(&self) -> String {
        if self.slots.is_empty() {
            return "none".to_owned();
        }
        let listed = self.slots.iter().enumerate().map(|(index, slot)| format!("{index} ({})", slot.name));
        listed.collect::<Vec<_>>().join(", ")
    }
}

/// How many there are, if they are for this process.
fn announced(pid: Option<&str>, count: Option<&str>, me: u32) -> io::Result<usize> {
    let refused = |text: String| Err(io::Error::new(io::ErrorKind::NotFound, format!("systemd: {text}")));
    let Some(count) = count else {
        return refused("no socket was handed to this process: LISTEN_FDS is not set".to_owned());
    };
    let Some(pid) = pid else {
        return refused(
            "LISTEN_PID is not set, so nobody knows whose the sockets of LISTEN_FDS are".to_owned(),
        );
    };
    if pid.parse() != Ok(me) {
        return refused(format!("the sockets are for process {pid} (LISTEN_PID), and this is {me}"));
    }
    match count.parse() {
        Ok(count) if count <= COUNT_MAX => Ok(count),
        _ => refused(format!("LISTEN_FDS is {count:?}, which is not a number from 0 to {COUNT_MAX}")),
    }
}

fn slots(count: usize, names: Option<&str>) -> Vec<Slot> {
    let mut names = names.map(|names| names.split(':')).into_iter().flatten();
    let slot = |name: Option<&str>| {
        let name = name.filter(|name| !name.is_empty()).unwrap_or(UNKNOWN).to_owned();
        Slot { name, taken: false, shared: None }
    };
    (0..count).map(|_| slot(names.next())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed(names: &str) -> Handed {
        let count = names.split(':').count();
        Handed { fds: ListenFd::empty(), slots: slots(count, Some(names)) }
    }

    fn error(outcome: io::Result<usize>) -> String {
        outcome.expect_err("it is refused").to_string()
    }

    #[test]
    fn the_variables_are_for_one_process() {
        assert_eq!(announced(Some("7"), Some("2"), 7).expect("for us"), 2);
        assert_eq!(announced(Some("7"), Some("0"), 7).expect("for us"), 0);
        assert!(error(announced(None, None, 7)).contains("LISTEN_FDS is not set"));
        assert!(error(announced(None, Some("1"), 7)).contains("LISTEN_PID is not set"));
        assert!(
            error(announced(Some("8"), Some("1"), 7)).contains("for process 8 (LISTEN_PID), and this is 7")
        );
        for count in ["x", "-1", "4097", "99999999999999999999"] {
            assert!(error(announced(Some("7"), Some(count), 7)).contains("not a number from 0"), "{count}");
        }
    }

    #[test]
    fn names_may_be_fewer_or_more_or_none() {
        let names = |count, names| slots(count, names).into_iter().map(|slot| slot.name).collect::<Vec<_>>();
        assert_eq!(names(2, Some("web:admin")), ["web", "admin"]);
        assert_eq!(names(3, Some("web:")), ["web", "unknown", "unknown"]);
        assert_eq!(names(1, Some("web:admin")), ["web"]);
        assert_eq!(names(2, None), ["unknown", "unknown"]);
    }

    #[test]
    fn each_is_found_once_and_what_is_missing_is_answered_with_what_is_there() {
        let mut handed = handed("web:admin:web");
        let find = |handed: &Handed, which: &Passed, share| handed.find(which, share);
        let web = Passed::Name("web".to_owned());
        assert_eq!(find(&handed, &web, Share::Alone).expect("the first"), 0);
        handed.slots[0].taken = true;
        assert_eq!(find(&handed, &web, Share::Alone).expect("the second"), 2);
        handed.slots[2].taken = true;
        let gone = find(&handed, &web, Share::Alone).expect_err("both are taken");
        assert_eq!(gone.kind(), io::ErrorKind::AddrInUse);
        assert!(gone.to_string().contains("in use already; there are 0 (web), 1 (admin), 2 (web)"), "{gone}");
        let none = find(&handed, &Passed::Index(3), Share::Alone).expect_err("there are three");
        assert_eq!(
            none.to_string(),
            "systemd:index=3: there is no such socket; there are 0 (web), 1 (admin), 2 (web)"
        );
        assert_eq!(find(&handed, &Passed::Index(1), Share::First).expect("it is left"), 1);
        // A worker that joins gets the one that is shared.
        handed.slots[2].shared = Some(std::fs::File::open("/dev/null").expect("a descriptor").into());
        assert_eq!(find(&handed, &web, Share::Joined).expect("shared"), 2);
    }
}
