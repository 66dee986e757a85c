//! STAT (RFC 959 4.1.3): how the session stands, also while a file is under way; or, with a path, what LIST would say, on the control
//! connection and up to a limit.

use std::rc::Rc;
use std::sync::Arc;

use ropewalk_wire::ftp::Reply;

use super::listing::{Lines, Style, without_options};
use super::{Answer, path_or_folder, permitted, refusal};
use crate::session::{Core, Phase, Type};
use crate::shelf::pooled;

pub(super) async fn stat(core: &Rc<Core>, argument: &[u8]) -> Answer {
    if argument.is_empty() {
        return Ok(status(core));
    }
    let user = permitted(core, |may| may.list)?;
    let at = path_or_folder(core, without_options(argument))?;
    let (storage, now) = (Arc::clone(&user.storage), core.reactor().wall_clock());
    let most = core.server.options.limits.stat_entries_max;
    let lines = pooled(core.reactor(), move || {
        let mut lines = Lines::open(&*storage, &at, Style::Long(now), true)?;
        let mut found: Vec<Vec<u8>> = Vec::new();
        loop {
            let piece = lines.next_piece()?;
            if piece.is_empty() || found.len() > most {
                return Ok(found);
            }
            found.extend(
                piece
                    .split(|byte| *byte == b'\n')
                    .filter_map(|line| Some(line.strip_suffix(b"\r")?.to_vec())),
            );
        }
    })
    .await
    .map_err(|error| refusal(&error))?;
    let last = if lines.len() > most { "And more: LIST has them" } else { "End" };
    Ok(Reply::with_lines(213, "Status of it", lines.into_iter().take(most), last))
}

/// How the session stands.
pub(crate) fn status(core: &Core) -> Reply {
    let state = core.state.borrow();
    let mut lines = Vec::new();
    match &state.login {
        Some(login) => lines.push(format!("Logged in as {}", login.user.name)),
        None => lines.push("Not logged in".to_owned()),
    }
    lines.push(format!("Folder {}", state.folder));
    let kind = match state.kind {
        Type::Ascii => "A",
        Type::Image => "I",
    };
    lines.push(format!("TYPE {kind}, STRU F, MODE S"));
    let encrypted = if core.is_secure() { "encrypted" } else { "in the clear" };
    let private = if state.private { "encrypted" } else { "in the clear" };
    lines.push(format!("Control {encrypted}, data {private}"));
    drop(state);
    match core.phase.get() {
        Phase::None => lines.push("No transfer".to_owned()),
        _ => lines.push(format!("A transfer, {} bytes so far", under_way(core))),
    }
    // What is the client's own must not be taken for an indented reply line.
    Reply::with_lines(211, "Status", lines.into_iter().map(|line| format!(" {line}")), "End of status")
}

fn under_way(core: &Core) -> u64 {
    core.server.transfers.bytes_of(core)
}
