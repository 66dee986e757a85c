//! The bare loop over tokio: one task per connection, one buffer for all of them, the same ready-made answer as `mio`.
//!
//! It reads through `poll_read`, which treats a short read as drained; `try_read` would read once more until it would block.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::Setup;
use crate::canned::Answer;

const READ_BYTES: usize = 64 * 1024;

/// Twice a second, so that the Date is never much older than a second.
const REFRESH: Duration = Duration::from_millis(500);

struct Shared {
    answer: Answer,
    buffer: Vec<u8>,
}

thread_local! {
    static SHARED: RefCell<Shared> = RefCell::new(Shared { answer: Answer::new(), buffer: vec![0; READ_BYTES] });
}

/// Answers hello until it is killed.
pub(super) fn run(setup: Setup) -> io::Result<()> {
    runtime()?.block_on(async move {
        let listener = TcpListener::from_std(setup.listen()?)?;
        tokio::spawn(async {
            loop {
                tokio::time::sleep(REFRESH).await;
                SHARED.with_borrow_mut(|shared| shared.answer.refresh());
            }
        });
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream));
        }
    })
}

/// One thread, as all of tokio's servers here have it.
pub(super) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Until the peer goes; how is of no interest here.
async fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut carry = 0;
    let mut out = Vec::new();
    loop {
        out.clear();
        let length = poll_fn(|context| {
            SHARED.with_borrow_mut(|Shared { answer, buffer }| {
                let mut read = ReadBuf::new(buffer);
                match Pin::new(&mut stream).poll_read(context, &mut read) {
                    Poll::Ready(Ok(())) => {
                        answer.respond(&mut carry, read.filled(), &mut out);
                        Poll::Ready(Ok(read.filled().len()))
                    }
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Pending => Poll::Pending,
                }
            })
        })
        .await?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&out).await?;
    }
}
