//! RNFR and RNTO (RFC 959 4.1.3): two commands, one behind the other, and any other in between makes the second one an error.

use std::rc::Rc;
use std::sync::Arc;

use ropewalk_wire::ftp::Reply;

use super::{Answer, path, permitted, refusal};
use crate::accounts::Permissions;
use crate::session::Core;
use crate::shelf::pooled;
use crate::storage::Change;

/// Renaming puts something where it was not, and takes it away from where it was.
fn may(permissions: Permissions) -> bool {
    permissions.write && permissions.delete
}

pub(super) async fn rnfr(core: &Rc<Core>, argument: &[u8]) -> Answer {
    let user = permitted(core, may)?;
    let from = path(core, argument)?;
    if from.is_root() {
        return Err(Reply::new(550, "Permission denied"));
    }
    let (storage, at) = (Arc::clone(&user.storage), from.clone());
    pooled(core.reactor(), move || storage.facts(&at)).await.map_err(|error| refusal(&error))?;
    core.state.borrow_mut().renaming = Some(from);
    Ok(Reply::new(350, "Now the new name: RNTO"))
}

pub(super) async fn rnto(core: &Rc<Core>, argument: &[u8]) -> Answer {
    let user = permitted(core, may)?;
    let renaming = core.state.borrow_mut().renaming.take();
    let Some(from) = renaming else { return Err(Reply::new(503, "First the old name: RNFR")) };
    let change = Change::Rename(path(core, argument)?);
    let storage = Arc::clone(&user.storage);
    let renamed = pooled(core.reactor(), move || storage.change(&from, &change)).await;
    renamed.map_err(|error| refusal(&error))?;
    Ok(Reply::new(250, "Renamed"))
}
