//! SITE (RFC 959 4.1.3): what is this server's own. CHMOD, as many clients know it, and HELP.

use std::rc::Rc;

use ropewalk_wire::ftp::Reply;

use super::Answer;
use super::folder::change;
use crate::session::Core;
use crate::storage::Change;

pub(super) async fn site(core: &Rc<Core>, argument: &[u8]) -> Answer {
    let (name, rest) = split(argument);
    match name.to_ascii_uppercase().as_slice() {
        b"CHMOD" => chmod(core, rest).await,
        b"HELP" => {
            Ok(Reply::with_lines(214, "These are served", [" SITE CHMOD <mode> <path>", " SITE HELP"], "End"))
        }
        b"" => Err(Reply::new(501, "SITE CHMOD or SITE HELP")),
        _ => Err(Reply::new(504, "There is no such SITE command here")),
    }
}

async fn chmod(core: &Rc<Core>, argument: &[u8]) -> Answer {
    let (mode, path) = split(argument);
    let octal = !mode.is_empty() && mode.len() <= 4 && mode.iter().all(|digit| (b'0'..=b'7').contains(digit));
    let mode = mode.iter().fold(0, |mode, digit| mode * 8 + u32::from(digit.wrapping_sub(b'0')));
    if !octal || mode > 0o777 || path.is_empty() {
        return Err(Reply::new(501, "SITE CHMOD wants a mode from 000 to 777 and a path"));
    }
    change(core, path, |may| may.write, Change::Mode(mode)).await?;
    Ok(Reply::new(200, "The mode is set"))
}

fn split(argument: &[u8]) -> (&[u8], &[u8]) {
    let end = argument.iter().position(|byte| *byte == b' ').unwrap_or(argument.len());
    (&argument[..end], argument.get(end + 1..).unwrap_or_default())
}
