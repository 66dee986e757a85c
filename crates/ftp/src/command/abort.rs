//! ABOR when nothing runs (RFC 959 4.1.3): a data connection that was only prepared is given up. While a transfer runs, the session
//! does not let it wait for its turn.

use ropewalk_wire::ftp::Reply;

use crate::session::Core;

pub(super) fn abor(core: &Core) -> Reply {
    let plan = core.state.borrow_mut().plan.take();
    match plan {
        Some(_) => Reply::new(226, "The data connection is closed"),
        None => Reply::new(226, "There is nothing to abort"),
    }
}
