//! CWD, CDUP, PWD, MKD, RMD and DELE (RFC 959 4.1.1 and 4.1.3, appendix II), with the X-forms of RFC 775.

use std::rc::Rc;
use std::sync::Arc;

use ropewalk_wire::ftp::{Kind, Reply, quote_path};

use super::{Answer, path, permitted, refusal};
use crate::accounts::Permissions;
use crate::session::Core;
use crate::shelf::pooled;
use crate::storage::Change;

pub(super) async fn cwd(core: &Rc<Core>, argument: &[u8]) -> Answer {
    // It tells what is there, but a session that may put files only has to get to where they go.
    let user = permitted(core, |_| true)?;
    let to = path(core, argument)?;
    let (storage, at) = (Arc::clone(&user.storage), to.clone());
    let facts = pooled(core.reactor(), move || storage.facts(&at)).await;
    match facts.map_err(|error| refusal(&error))?.kind {
        Kind::Folder => core.state.borrow_mut().folder = to,
        _ => return Err(Reply::new(550, "It is no folder")),
    }
    Ok(Reply::new(250, "That is the folder now"))
}

pub(super) fn pwd(core: &Core) -> Reply {
    let state = core.state.borrow();
    Reply::new(257, [quote_path(state.folder.as_bytes()), b" is the folder".to_vec()].concat())
}

pub(super) async fn mkd(core: &Rc<Core>, argument: &[u8]) -> Answer {
    let made = path(core, argument)?;
    change(core, argument, |may| may.make, Change::MakeFolder).await?;
    Ok(Reply::new(257, [quote_path(made.as_bytes()), b" is made".to_vec()].concat()))
}

pub(super) async fn rmd(core: &Rc<Core>, argument: &[u8]) -> Answer {
    change(core, argument, |may| may.delete, Change::RemoveFolder).await?;
    Ok(Reply::new(250, "The folder is removed"))
}

pub(super) async fn dele(core: &Rc<Core>, argument: &[u8]) -> Answer {
    change(core, argument, |may| may.delete, Change::RemoveFile).await?;
    Ok(Reply::new(250, "The file is removed"))
}

/// Changes what an argument names, if the user may.
pub(super) async fn change(
    core: &Rc<Core>,
    argument: &[u8],
    may: impl Fn(Permissions) -> bool,
    change: Change,
) -> Result<(), Reply> {
    let user = permitted(core, may)?;
    let at = path(core, argument)?;
    let storage = Arc::clone(&user.storage);
    let changed = pooled(core.reactor(), move || storage.change(&at, &change)).await;
    changed.map_err(|error| refusal(&error))
}
