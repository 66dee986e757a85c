//! LIST and NLST (RFC 959 4.1.3), MLSD (RFC 3659 7): what is in a folder, over a data connection. It is read and written out piece by
//! piece in the thread pool, so that a large folder is no large piece of memory.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use ropewalk_net::policy::Rates;
use ropewalk_wire::ftp::{FactSet, Facts, Kind, Reply, list_line, machine_line};

use super::transfer::What;
use super::{Answer, path_or_folder, permitted, refusal, transfer};
use crate::accounts::Permissions;
use crate::path::FtpPath;
use crate::session::Core;
use crate::shelf::{Shelf, pooled};
use crate::storage::{Listing, Storage};

/// Lines are sent when there are so many bytes of them.
const PIECE_BYTES: usize = 32 * 1024;

/// How an entry is written.
#[derive(Clone, Copy)]
pub(super) enum Style {
    /// As `ls -l`, at this time.
    Long(SystemTime),
    /// The name alone.
    Names,
    /// As facts.
    Facts(FactSet, Permissions),
}

pub(super) async fn list(core: &Rc<Core>, argument: &[u8]) -> Answer {
    let style = Style::Long(core.reactor().wall_clock());
    send(core, without_options(argument), style, true).await
}

pub(super) async fn nlst(core: &Rc<Core>, argument: &[u8]) -> Answer {
    send(core, without_options(argument), Style::Names, true).await
}

pub(super) async fn mlsd(core: &Rc<Core>, argument: &[u8]) -> Answer {
    let user = permitted(core, |may| may.list)?;
    let set = core.state.borrow().facts;
    send(core, argument, Style::Facts(set, user.permissions), false).await
}

/// Clients write `-a` and `-la` as if it were `ls`: everything is shown anyway.
pub(super) fn without_options(mut argument: &[u8]) -> &[u8] {
    while argument.starts_with(b"-") {
        let end = argument.iter().position(|byte| *byte == b' ').unwrap_or(argument.len());
        argument = argument[end..].trim_ascii_start();
    }
    argument
}

async fn send(core: &Rc<Core>, argument: &[u8], style: Style, files: bool) -> Answer {
    core.state.borrow_mut().restart = 0;
    let user = permitted(core, |may| may.list)?;
    let at = path_or_folder(core, argument)?;
    let plan = transfer::prepare(core)?;
    let storage = Arc::clone(&user.storage);
    let lines = pooled(core.reactor(), move || Lines::open(&*storage, &at, style, files)).await;
    let lines = Shelf::new(
        core.reactor(),
        lines.map_err(|error| match error.kind() {
            // RFC 3659 section 7.2.
            io::ErrorKind::NotADirectory if !files => Reply::new(501, "It is no folder"),
            _ => refusal(&error),
        })?,
    );
    let data = transfer::open(
        core,
        plan,
        What::Kind("A list"),
        Rates { read: None, write: user.bandwidth.download },
    )
    .await?;
    loop {
        let piece = lines.with(Lines::next_piece).await.map_err(|error| refusal(&error))?;
        if piece.is_empty() {
            break;
        }
        data.send(&piece).await.map_err(|broken| transfer::broken(&broken))?;
    }
    data.finish().await.map_err(|broken| transfer::broken(&broken))?;
    Ok(Reply::new(226, "That is all of it"))
}

/// The lines of a list in the making.
pub(super) struct Lines {
    entries: Listing,
    pattern: Option<Vec<u8>>,
    style: Style,
}

impl Lines {
    /// What a path stands for: the folder's content, the file itself where that is wanted, or what fits a pattern in the last name.
    pub(super) fn open(storage: &dyn Storage, at: &FtpPath, style: Style, files: bool) -> io::Result<Lines> {
        let facts = match storage.facts(at) {
            Ok(facts) => facts,
            Err(error) if files && error.kind() == io::ErrorKind::NotFound && is_pattern(at.name()) => {
                let entries = storage.list(&at.parent())?;
                return Ok(Lines { entries, pattern: Some(at.name().to_vec()), style });
            }
            Err(error) => return Err(error),
        };
        let entries: Listing = match facts.kind {
            Kind::Folder => storage.list(at)?,
            _ if files => Box::new(std::iter::once(Ok((at.name().to_vec(), facts)))),
            _ => return Err(io::ErrorKind::NotADirectory.into()),
        };
        Ok(Lines { entries, pattern: None, style })
    }

    /// The next lines; empty at the end.
    pub(super) fn next_piece(&mut self) -> io::Result<Vec<u8>> {
        let mut piece = Vec::new();
        while piece.len() < PIECE_BYTES {
            let Some(entry) = self.entries.next() else { break };
            let (name, facts) = entry?;
            if self.pattern.as_ref().is_none_or(|pattern| fits(pattern, &name)) {
                self.write(&mut piece, &name, &facts);
            }
        }
        Ok(piece)
    }

    fn write(&self, out: &mut Vec<u8>, name: &[u8], facts: &Facts) {
        match self.style {
            Style::Long(now) => list_line(out, facts, name, now),
            // A name with a line end in it would be two.
            Style::Names if name.iter().any(u8::is_ascii_control) => {}
            Style::Names => {
                out.extend_from_slice(name);
                out.extend_from_slice(b"\r\n");
            }
            Style::Facts(set, may) => {
                machine_line(out, facts, kind(facts), &perm(facts, may), set, name);
            }
        }
    }
}

/// `type=` of RFC 3659 7.5.1.
pub(super) fn kind(facts: &Facts) -> &'static str {
    match facts.kind {
        Kind::File => "file",
        Kind::Folder => "dir",
        Kind::Other => "OS.unix=other",
    }
}

/// `perm=` of RFC 3659 7.5.5: what this user may try with it.
pub(super) fn perm(facts: &Facts, may: Permissions) -> String {
    let letters: &[(char, bool)] = match facts.kind {
        Kind::File => &[
            ('a', may.write),
            ('d', may.delete),
            ('f', may.write && may.delete),
            ('r', may.read),
            ('w', may.write),
        ],
        Kind::Folder => &[
            ('c', may.write),
            ('d', may.delete),
            ('e', true),
            ('f', may.write && may.delete),
            ('l', may.list),
            ('m', may.make),
            ('p', may.delete),
        ],
        Kind::Other => &[],
    };
    letters.iter().filter(|(_, has)| *has).map(|(letter, _)| *letter).collect()
}

fn is_pattern(name: &[u8]) -> bool {
    name.iter().any(|byte| matches!(byte, b'*' | b'?'))
}

/// Whether a name fits a pattern of `*` and `?`. It goes back to the last star only, so that no pattern takes longer than the product
/// of the two lengths.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut of, mut star) = (0, 0, None);
    while at < name.len() {
        match pattern.get(of) {
            Some(b'*') => {
                star = Some((of, at));
                of += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[at] => {
                at += 1;
                of += 1;
            }
            _ => {
                let Some((of_star, from)) = star else { return false };
                star = Some((of_star, from + 1));
                (of, at) = (of_star + 1, from + 1);
            }
        }
    }
    pattern[of..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_what_they_should_and_end() {
        for (pattern, name, expected) in [
            ("*.txt", "a.txt", true),
            ("*.txt", "a.txt.gz", false),
            ("a?c*", "abcdef", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("**a*", "xay", true),
            ("", "", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
        assert!(!fits(&b"*a".repeat(100), &[b'a'; 99]), "at once, and not after the end of the world");
    }

    #[test]
    fn options_are_passed_over() {
        assert_eq!(without_options(b"-la"), b"");
        assert_eq!(without_options(b"-a -l dir name"), b"dir name");
        assert_eq!(without_options(b"dir -x"), b"dir -x");
    }
}
