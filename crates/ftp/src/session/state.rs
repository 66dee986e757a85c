//! What a session remembers from command to command. Commands change it; nothing here does anything.

use std::rc::Rc;

use ropewalk_reactor::Time;
use ropewalk_wire::ftp::FactSet;

use crate::accounts::User;
use crate::data::Plan;
use crate::path::FtpPath;
use crate::server::UserSeat;

/// How files travel (TYPE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// As texts.
    Ascii,
    /// As they are.
    Image,
}

/// A user who has come in.
pub(crate) struct Login {
    pub(crate) user: Rc<User>,
    pub(crate) anonymous: bool,
    /// Given back with the login.
    pub(crate) _seat: UserSeat,
}

pub(crate) struct State {
    /// What USER has said, until PASS.
    pub(crate) named: Option<String>,
    pub(crate) login: Option<Login>,
    pub(crate) failures: u32,
    pub(crate) folder: FtpPath,
    pub(crate) kind: Type,
    /// From where the next transfer goes on (REST).
    pub(crate) restart: u64,
    /// What RNTO will rename.
    pub(crate) renaming: Option<FtpPath>,
    pub(crate) plan: Option<Plan>,
    /// After EPSV ALL no other way to a data connection is taken.
    pub(crate) epsv_all: bool,
    /// After PBSZ.
    pub(crate) sized: bool,
    /// After PROT P.
    pub(crate) private: bool,
    pub(crate) facts: FactSet,
    /// By when the login has to be done.
    pub(crate) login_by: Time,
}

impl State {
    pub(crate) fn new(login_by: Time) -> State {
        State {
            named: None,
            login: None,
            failures: 0,
            folder: FtpPath::root(),
            kind: Type::Ascii,
            restart: 0,
            renaming: None,
            plan: None,
            epsv_all: false,
            sized: false,
            private: false,
            facts: FactSet::ALL,
            login_by,
        }
    }

    /// Forgets who is here and all that was agreed upon (REIN, AUTH), but neither the deadline nor how often a password was wrong.
    pub(crate) fn reset(&mut self) {
        let failures = self.failures;
        *self = State::new(self.login_by);
        self.failures = failures;
    }
}
