//! STOR, APPE and STOU (RFC 959 4.1.3; RFC 1123 4.1.2.9 for the name that STOU tells): what comes is written in the thread pool, while
//! the network brings more. A new file is seen when it is whole; APPE and REST write in place.

use std::rc::Rc;
use std::sync::Arc;

use ropewalk_net::policy::Rates;
use ropewalk_wire::ftp::{AsciiDecoder, Reply};

use super::transfer::What;
use super::{Answer, path, permitted, refusal, transfer};
use crate::data::{Chunk, Data, Incoming};
use crate::path::FtpPath;
use crate::session::{Core, Phase};
use crate::shelf::{Shelf, pooled};
use crate::storage::{Upload, Writing};
use crate::transfers::Direction;

pub(super) async fn stor(core: &Rc<Core>, argument: &[u8]) -> Answer {
    let restart = std::mem::take(&mut core.state.borrow_mut().restart);
    if restart > 0 && core.is_ascii() {
        return Err(Reply::new(501, "A text is not resumed: TYPE I first"));
    }
    let how = if restart > 0 { Writing::At(restart) } else { Writing::Whole };
    let to = path(core, argument)?;
    store(core, to, how, What::Kind("Send it")).await
}

pub(super) async fn appe(core: &Rc<Core>, argument: &[u8]) -> Answer {
    core.state.borrow_mut().restart = 0;
    let to = path(core, argument)?;
    store(core, to, Writing::Append, What::Kind("Send what is to be added")).await
}

pub(super) async fn stou(core: &Rc<Core>, argument: &[u8]) -> Answer {
    core.state.borrow_mut().restart = 0;
    // Whoever names a file gets a name that begins so, in the same folder.
    let unique = format!("{:016x}", core.reactor().random());
    let named = if argument.is_empty() { b"ftp".to_vec() } else { argument.to_vec() };
    let to = path(core, &[&named[..], b".", unique.as_bytes()].concat())?;
    // As it can be used from here: RFC 1123 4.1.2.9 wants the path behind "FILE: ", and nothing behind that.
    let here = to.parent() == core.state.borrow().folder;
    let said = String::from_utf8_lossy(if here { to.name() } else { to.as_bytes() });
    store(core, to.clone(), Writing::New, What::Exactly(&format!("FILE: {said}"))).await
}

async fn store(core: &Rc<Core>, to: FtpPath, how: Writing, what: What<'_>) -> Answer {
    let user = permitted(core, |may| may.write)?;
    let plan = transfer::prepare(core)?;
    let running = core.server.transfers.begin(core, &to, Direction::Upload);
    let storage = Arc::clone(&user.storage);
    let upload = pooled(core.reactor(), move || storage.write(&to, how)).await;
    let upload = Shelf::new(
        core.reactor(),
        upload.map_err(|error| match (error.kind(), how) {
            (std::io::ErrorKind::InvalidInput, Writing::At(_)) => {
                Reply::new(554, "The file is not as long as that")
            }
            _ => refusal(&error),
        })?,
    );
    let rates = Rates { read: user.bandwidth.upload, write: None };
    let data = transfer::open(core, plan, what, rates).await?;
    running.over(data.transport());
    receive(core, &data, &upload).await?;
    // TLS says farewell before the file is put in its place: the client waits for that.
    data.close();
    core.phase.set(Phase::Settling);
    upload.finish(|upload| upload.commit()).await.map_err(|error| refusal(&error))?;
    running.complete();
    Ok(Reply::new(226, "It has come whole"))
}

/// Takes what comes, until the client ends the connection in an orderly way.
async fn receive(core: &Core, data: &Data, upload: &Shelf<Box<dyn Upload>>) -> Result<(), Reply> {
    let mut decoder = core.is_ascii().then(AsciiDecoder::default);
    let mut incoming = Incoming::new(data, decoder.is_none());
    while let Some(chunk) = incoming.next().await.map_err(|broken| transfer::broken(&broken))? {
        match (chunk, &mut decoder) {
            (Chunk::Piped(intake, count), _) => {
                let job = move |upload: &mut Box<dyn Upload>| {
                    intake.run(count, |pipe, count| upload.write_piped(pipe, count))
                };
                let taken = upload.with(job).await.map_err(|error| refusal(&error))?;
                taken.settle(data.transport());
            }
            (Chunk::Bytes(bytes, count), None) => incoming.give_back(write(upload, bytes, count).await?),
            (Chunk::Bytes(bytes, count), Some(decoder)) => {
                let decoded = decoder.decode(&bytes[..count]);
                let length = decoded.len();
                write(upload, decoded, length).await?;
                incoming.give_back(bytes);
            }
        }
    }
    let held = decoder.as_mut().map_or(&b""[..], AsciiDecoder::finish);
    if !held.is_empty() {
        write(upload, held.to_vec(), held.len()).await?;
    }
    Ok(())
}

/// Writes the first `count` bytes, and gives the buffer back.
async fn write(upload: &Shelf<Box<dyn Upload>>, bytes: Vec<u8>, count: usize) -> Result<Vec<u8>, Reply> {
    let written = upload.with(move |upload| upload.write(&bytes[..count]).map(|()| bytes)).await;
    written.map_err(|error| refusal(&error))
}
