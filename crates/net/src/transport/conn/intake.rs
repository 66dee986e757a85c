//! A connection whose bytes go into a pipe, from where a thread takes them, and for a stretch takes what comes behind them by itself.
//! During that stretch the loop does not watch the socket: it would wake for what the thread sees anyway. `pipe` calls it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ropewalk_reactor::io::Socket;

use super::{Conn, flag};
use crate::pipe::{self, Pipe};
use crate::protocol::Lost;

impl Conn {
    /// The socket once more, if there is nothing between it and the protocol.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        let bare = |socket: &Socket| socket.descriptor().map(|descriptor| descriptor.try_clone_to_owned());
        match self.with_socket(bare) {
            Some(Some(owned)) if !self.has_unread() => {
                self.set(flag::SHARED);
                owned
            }
            None => Err(io::ErrorKind::NotConnected.into()),
            Some(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Moves what has come into an empty pipe. If that is as much as a fast sender's, a thread will look for more.
    pub(crate) fn fill(&self, pipe: &Pipe) -> io::Result<usize> {
        self.watch();
        if self.has_unread() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let read = |socket: &Socket| match socket.descriptor() {
            Some(descriptor) => pipe.fill(descriptor),
            None => Err(io::ErrorKind::Unsupported.into()),
        };
        // A pipe is also full of many small pieces: only the socket's own word counts.
        let count = self.read_with(read, |_| false)?;
        if count >= pipe::FAST_BYTES {
            self.look_away();
        }
        Ok(count)
    }

    /// A thread has read so much.
    pub(crate) fn settle_intake(&self, bytes: u64, broken: Option<io::Error>) {
        self.received.set(self.received.get() + bytes);
        if let Some(error) = broken {
            self.abort(Lost::Broken(Arc::new(error)));
        }
        self.watch();
    }

    fn look_away(&self) {
        if let Some(mut socket) = self.socket.take() {
            self.origin.reactor.deregister_socket(&mut socket);
            self.socket.set(Some(socket));
            self.set(flag::AWAY);
        }
    }

    /// What has come meanwhile is told again.
    fn watch(&self) {
        if !self.has(flag::AWAY) {
            return;
        }
        self.clear(flag::AWAY);
        let Some(mut socket) = self.socket.take() else { return };
        let watched = self.origin.reactor.register_socket(&mut socket, self.key);
        self.socket.set(Some(socket));
        if let Err(error) = watched {
            self.abort(Lost::Broken(Arc::new(error)));
        }
    }
}
