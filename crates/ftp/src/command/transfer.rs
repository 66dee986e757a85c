//! What all transfers have in common: a data connection under the terms of the session, the reply that announces it, and what its
//! end means. Called by RETR, STOR and the lists.

use std::rc::Rc;

use ropewalk_net::policy::Rates;
use ropewalk_wire::ftp::Reply;

use crate::data::{Broken, Data, Plan, Terms};
use crate::session::{Core, Phase};

/// A transfer that was asked for: from now on ABOR breaks it off. Answers the plan for its data connection.
///
/// # Errors
/// There is no plan, or PROT P is missing where it has to be.
pub(super) fn prepare(core: &Core) -> Result<Plan, Reply> {
    let (plan, private) = {
        let mut state = core.state.borrow_mut();
        (state.plan.take(), state.private)
    };
    if core.server.options.tls_required && !private {
        // RFC 4217 section 9 and RFC 2228: the data would go in the clear.
        return Err(Reply::new(521, "Protect the data connection first: PBSZ 0 and PROT P"));
    }
    let plan = plan.ok_or_else(|| Reply::new(425, "First PASV, EPSV, PORT or EPRT"))?;
    if core.is_abort_waiting() {
        core.server.figures.add(|figures| figures.aborted += 1);
        return Err(Reply::new(426, "Transfer aborted"));
    }
    core.phase.set(Phase::Running);
    Ok(plan)
}

/// What is said of a transfer that begins.
#[derive(Clone, Copy)]
pub(super) enum What<'a> {
    /// What it is; whether there is a data connection follows.
    Kind(&'a str),
    /// A text whose form is prescribed.
    Exactly(&'a str),
}

/// Announces the transfer and makes its data connection.
pub(super) async fn open(core: &Rc<Core>, plan: Plan, what: What<'_>, rates: Rates) -> Result<Data, Reply> {
    let (code, text) = if plan.is_open() { (125, "starting") } else { (150, "opening a data connection") };
    let said = match what {
        What::Kind(kind) => format!("{kind}: {text}"),
        What::Exactly(said) => said.to_owned(),
    };
    core.reply(&Reply::new(code, said));
    plan.open(&terms(core, rates)).await.ok_or_else(|| Reply::new(425, "The data connection was not made"))
}

fn terms(core: &Core, rates: Rates) -> Terms {
    let options = &core.server.options;
    let private = core.state.borrow().private;
    Terms {
        reactor: core.reactor().clone(),
        host: core.transport.host().and_then(|host| host.ip()),
        connect: options.limits.data_connect,
        stall: options.limits.stall,
        tls: options.tls.clone().filter(|_| private),
        farewell_required: options.farewell_required,
        rates,
    }
}

/// Why a transfer did not come to its end.
pub(super) fn broken(broken: &Broken) -> Reply {
    match broken {
        Broken::Stalled => Reply::new(426, "Nothing has moved for too long"),
        Broken::File => Reply::new(451, "The file could not be read to its end"),
        Broken::Lost => Reply::new(426, "The data connection was closed early"),
    }
}
