//! RETR (RFC 959 4.1.3, RFC 3659 5 for REST): a file of the system goes from its memory to the socket, anything else piece by piece
//! through the thread pool.

use std::io::{self, Read, SeekFrom};
use std::rc::Rc;
use std::sync::Arc;

use ropewalk_net::FileSender;
use ropewalk_net::policy::Rates;
use ropewalk_wire::ftp::{AsciiEncoder, Reply};

use super::transfer::What;
use super::{Answer, path, permitted, refusal, transfer};
use crate::data::{Broken, Data};
use crate::session::{Core, Type};
use crate::shelf::{Shelf, pooled};
use crate::storage::{ReadSeek, Source};
use crate::transfers::Direction;

/// What is read at once where the system cannot send by itself.
const PIECE_BYTES: u64 = 64 * 1024;

pub(super) async fn retr(core: &Rc<Core>, argument: &[u8]) -> Answer {
    let restart = std::mem::take(&mut core.state.borrow_mut().restart);
    let user = permitted(core, |may| may.read)?;
    let from = path(core, argument)?;
    if restart > 0 && core.is_ascii() {
        return Err(Reply::new(501, "A text is not resumed: TYPE I first"));
    }
    let plan = transfer::prepare(core)?;
    let running = core.server.transfers.begin(core, &from, Direction::Download);
    let storage = Arc::clone(&user.storage);
    let outgoing = pooled(core.reactor(), move || Outgoing::open(storage.read(&from)?, restart)).await;
    let outgoing = outgoing.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Reply::new(554, "The file is not as long as that"),
        _ => refusal(&error),
    })?;
    let what = match outgoing.len() {
        Some(bytes) => format!("{bytes} bytes"),
        None => "A file".to_owned(),
    };
    let rates = Rates { read: None, write: user.bandwidth.download };
    let data = transfer::open(core, plan, What::Kind(&what), rates).await?;
    running.over(data.transport());
    let kind = core.state.borrow().kind;
    send(core, &data, outgoing, kind).await?;
    data.finish().await.map_err(|broken| transfer::broken(&broken))?;
    running.complete();
    Ok(Reply::new(226, "That is all of it"))
}

/// A file that is open, and from where on it goes out.
enum Outgoing {
    File(std::fs::File, u64, u64),
    Reader(Box<dyn ReadSeek>, Option<u64>),
}

impl Outgoing {
    fn open(source: Source, restart: u64) -> io::Result<Outgoing> {
        match source {
            Source::File(file) => {
                let size = file.metadata()?.len();
                let rest = size.checked_sub(restart).ok_or(io::ErrorKind::UnexpectedEof)?;
                Ok(Outgoing::File(file, restart, rest))
            }
            Source::Reader(mut reader, size) => {
                if size.is_some_and(|size| size < restart) {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if restart > 0 {
                    reader.seek(SeekFrom::Start(restart))?;
                }
                Ok(Outgoing::Reader(reader, size.map(|size| size - restart)))
            }
        }
    }

    fn len(&self) -> Option<u64> {
        match self {
            Outgoing::File(_, _, rest) => Some(*rest),
            Outgoing::Reader(_, rest) => *rest,
        }
    }
}

async fn send(core: &Core, data: &Data, outgoing: Outgoing, kind: Type) -> Result<(), Reply> {
    match outgoing {
        Outgoing::File(file, from, rest) => {
            let mut sender = FileSender::new(file).map_err(|error| refusal(&error))?.with_part(from, rest);
            if kind == Type::Ascii {
                let mut encoder = AsciiEncoder::default();
                sender = sender.with_transform(move |piece| encoder.encode(&piece));
            }
            data.send_file(sender).await.map_err(|broken| transfer::broken(&broken))
        }
        Outgoing::Reader(reader, _) => {
            let mut encoder = (kind == Type::Ascii).then(AsciiEncoder::default);
            let shelf = Shelf::new(core.reactor(), reader);
            loop {
                let piece = shelf.with(read_piece).await.map_err(|_| transfer::broken(&Broken::File))?;
                if piece.is_empty() {
                    return Ok(());
                }
                let piece = encoder.as_mut().map_or_else(|| piece.clone(), |encoder| encoder.encode(&piece));
                data.send(&piece).await.map_err(|broken| transfer::broken(&broken))?;
            }
        }
    }
}

fn read_piece(reader: &mut Box<dyn ReadSeek>) -> io::Result<Vec<u8>> {
    let mut piece = Vec::new();
    reader.by_ref().take(PIECE_BYTES).read_to_end(&mut piece)?;
    Ok(piece)
}
