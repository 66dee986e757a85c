//! `echo` and `stream` as tokio's own first examples have it: a task per connection, one buffer, `read` and `write_all`.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{PIECE, PIECE_BYTES, Way};
use crate::servers::Setup;
use crate::servers::tokio::runtime;

/// Serves until it is killed.
pub(in crate::servers) fn run(setup: Setup) -> io::Result<()> {
    runtime()?.block_on(async move {
        let listener = TcpListener::from_std(super::listen(&setup)?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            match setup.way {
                Way::Echo => tokio::spawn(echo(stream)),
                Way::Take => tokio::spawn(take(stream)),
                Way::Give => tokio::spawn(give(stream)),
            };
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

async fn take(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut taken = 0;
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return stream.write_all(taken.to_string().as_bytes()).await;
        }
        taken += count as u64;
    }
}

async fn give(mut stream: TcpStream) -> io::Result<()> {
    loop {
        stream.write_all(&PIECE).await?;
    }
}
