//! What comes over a data connection, in chunks that are written one after the other: in memory, or, from a fast sender to a file that
//! takes the bytes as they are, in a pipe, so that they never pass through the program. While a chunk is written, the network gathers
//! the next one.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use ropewalk_net::Intake;

use super::{Broken, Data};

/// Memory for what comes from a fast sender. Beyond, the rest stays in the network.
const BYTES_MAX: usize = 256 * 1024;
/// Less in a pipe at once is better had in memory.
const PIPED_BYTES_MIN: usize = 16 * 1024;

/// Some of it.
pub(crate) enum Chunk {
    /// So many bytes of the buffer.
    Bytes(Vec<u8>, usize),
    /// So many bytes are in its pipe, and perhaps more to come: what a thread takes of it is to be settled with the transport.
    Piped(Arc<Intake>, usize),
}

/// What comes over a connection.
pub(crate) struct Incoming<'a> {
    data: &'a Data,
    pace: Pace,
    /// Nobody has to see the bytes.
    may_pipe: bool,
    intake: Option<Arc<Intake>>,
}

/// How the sender is.
enum Pace {
    /// What it sends passes through the loop's buffer, so that one who sends nothing costs no memory.
    Calm,
    /// It has filled that: it gets a buffer of its own, which is here between two chunks.
    Fast(Vec<u8>),
    /// Or the intake.
    Piped(Arc<Intake>),
}

impl<'a> Incoming<'a> {
    /// Begins to read. With `may_pipe`, whoever takes the chunks need not see the bytes.
    pub(crate) fn new(data: &'a Data, may_pipe: bool) -> Incoming<'a> {
        data.begin_reading();
        Incoming { data, pace: Pace::Calm, may_pipe, intake: None }
    }

    /// Takes the buffer of a chunk that was written, for the next one.
    pub(crate) fn give_back(&mut self, buffer: Vec<u8>) {
        if let Pace::Fast(spare) = &mut self.pace {
            *spare = buffer;
        }
    }

    /// What has come; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Chunk>, Broken> {
        self.data.expect();
        poll_fn(|context| match self.take() {
            Ok(Err(_)) => {
                self.data.wait(context);
                Poll::Pending
            }
            Ok(Ok(chunk)) => Poll::Ready(Ok(chunk)),
            Err(broken) => Poll::Ready(Err(broken)),
        })
        .await
    }

    /// What is there; the inner error says that this is nothing.
    fn take(&mut self) -> Result<io::Result<Option<Chunk>>, Broken> {
        let data = self.data;
        match &mut self.pace {
            Pace::Calm => self.take_calmly(),
            Pace::Fast(buffer) => {
                buffer.resize(BYTES_MAX, 0);
                let filled = fill(data, buffer)?;
                Ok(filled.map(|count| (count > 0).then(|| Chunk::Bytes(std::mem::take(buffer), count))))
            }
            Pace::Piped(intake) => {
                let intake = Arc::clone(intake);
                let filled = data.read(|transport| intake.fill(transport))?;
                if !matches!(filled, Ok(count) if count >= PIPED_BYTES_MIN) {
                    // Many small pieces fill a pipe, too: then memory holds more of them.
                    self.pace = Pace::Calm;
                }
                Ok(filled.map(|count| (count > 0).then_some(Chunk::Piped(intake, count))))
            }
        }
    }

    fn take_calmly(&mut self) -> Result<io::Result<Option<Chunk>>, Broken> {
        let (data, transport) = (self.data, self.data.transport());
        let mut buffer = transport.reactor().take_read_buffer();
        let filled = fill(data, &mut buffer).map(|filled| filled.map(|count| buffer[..count].to_vec()));
        let room = buffer.len();
        transport.reactor().put_read_buffer(buffer);
        Ok(filled?.map(|bytes| {
            let count = bytes.len();
            if count == room {
                self.hurry();
            }
            (count > 0).then_some(Chunk::Bytes(bytes, count))
        }))
    }

    fn hurry(&mut self) {
        if self.may_pipe && self.intake.is_none() {
            // Without one it is slower, and comes all the same.
            self.intake = self.data.transport().intake().ok().map(Arc::new);
            self.may_pipe = self.intake.is_some();
        }
        self.pace = self.intake.clone().map_or(Pace::Fast(Vec::new()), Pace::Piped);
    }
}

/// Reads until `into` is full, or nothing more is there; 0 is the end.
fn fill(data: &Data, into: &mut [u8]) -> Result<io::Result<usize>, Broken> {
    let mut filled = 0;
    // A layer gives what it has in pieces.
    while filled < into.len() {
        match data.read(|transport| transport.read(&mut into[filled..])) {
            Ok(Ok(count)) if count > 0 => filled += count,
            // What has come is told first; this is said again then.
            _ if filled > 0 => break,
            nothing => return nothing,
        }
    }
    Ok(Ok(filled))
}
