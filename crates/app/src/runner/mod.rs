//! The runner: what a program can be told from outside, and how it is started, found, stopped and replaced. `verbs` is its command line;
//! `daemon` starts a program in the background, `asking` speaks to one that runs; `doing` is what that one does. `rundir` is where they
//! meet and `control` how they speak. `birth` is a process that was started by its own program, `upgrade` hands over to one.

mod asking;
mod birth;
mod control;
mod daemon;
mod doing;
mod origin;
mod privileges;
mod rundir;
mod status;
pub(crate) mod systemd;
mod upgrade;
pub(crate) mod verbs;
mod wire;

pub(crate) use birth::{Birth, Legacy};
pub use birth::{Handover, refuse};
pub use control::Call;
pub(crate) use control::Commands;
pub(crate) use doing::register;
pub(crate) use origin::Origin;
pub(crate) use privileges::Lower;
pub use privileges::Privileges;
pub(crate) use rundir::{PidFile, Rundir};
pub use verbs::{Nothing, Verb, drive, drive_configured};
