//! SIZE, MDTM, MLST (RFC 3659 3, 4 and 7) and MFMT (draft-somers-ftp-mfxx): what is known of one file, and setting its time.

use std::rc::Rc;
use std::sync::Arc;

use ropewalk_wire::ftp::{Facts, Kind, Reply, format_time, machine_line, parse_time};

use super::folder::change;
use super::{Answer, listing, path, path_or_folder, permitted, refusal};
use crate::path::FtpPath;
use crate::session::Core;
use crate::shelf::pooled;
use crate::storage::Change;

async fn facts(core: &Rc<Core>, at: &FtpPath) -> Result<Facts, Reply> {
    let user = permitted(core, |may| may.list)?;
    let (storage, at) = (Arc::clone(&user.storage), at.clone());
    pooled(core.reactor(), move || storage.facts(&at)).await.map_err(|error| refusal(&error))
}

pub(super) async fn size(core: &Rc<Core>, argument: &[u8]) -> Answer {
    let at = path(core, argument)?;
    if core.is_ascii() {
        // It would be the size of the text as it is sent, for which all of it would have to be read.
        return Err(Reply::new(550, "SIZE is known in type I only"));
    }
    match facts(core, &at).await? {
        Facts { kind: Kind::File, size, .. } => Ok(Reply::new(213, size.to_string())),
        _ => Err(Reply::new(550, "It is no file")),
    }
}

pub(super) async fn mdtm(core: &Rc<Core>, argument: &[u8]) -> Answer {
    let at = path(core, argument)?;
    let facts = facts(core, &at).await?;
    Ok(Reply::new(213, format_time(facts.modified)))
}

pub(super) async fn mlst(core: &Rc<Core>, argument: &[u8]) -> Answer {
    let at = path_or_folder(core, argument)?;
    let facts = facts(core, &at).await?;
    let user = permitted(core, |may| may.list)?;
    let set = core.state.borrow().facts;
    let mut line = b" ".to_vec();
    let perm = listing::perm(&facts, user.permissions);
    machine_line(&mut line, &facts, listing::kind(&facts), &perm, set, at.as_bytes());
    line.truncate(line.len() - 2);
    Ok(Reply::with_lines(250, "What is known of it", [line], "End"))
}

pub(super) async fn mfmt(core: &Rc<Core>, argument: &[u8]) -> Answer {
    let space = argument.iter().position(|byte| *byte == b' ');
    let parts = space.map(|at| (&argument[..at], &argument[at + 1..]));
    let Some((time, (_, name))) = parts.and_then(|parts| Some((parse_time(parts.0)?, parts))) else {
        return Err(Reply::new(501, "MFMT wants YYYYMMDDHHMMSS and a path"));
    };
    change(core, name, |may| may.write, Change::Modified(time)).await?;
    let set = format!("Modify={}; ", format_time(time));
    Ok(Reply::new(213, [set.as_bytes(), name].concat()))
}
