//! `FileSender`: a file, or a part of one, as something to be sent over a connection. It opens nothing and reads nothing
//! itself: what it stands for waits among the connection's output, between what was written before it and after it.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ropewalk_reactor::Deferred;
use rustix::fs::{FileType, fstat};

use crate::transport::{FilePart, Transform, Transport};

/// A file that is to be sent, or a part of it.
///
/// Over TCP and UNIX sockets the system copies from its memory to the socket (sendfile); nothing passes through the program,
/// and a reader that stalls costs an open file. With a transform, under the simulation, and with files that the system does
/// not give out so, pieces of 64 KiB are read and written, one at a time.
///
/// **The disk.** The loop does not wait for it: what is not in the system's memory is read in the thread pool first. Whether it
/// is, is asked for the first and the last byte of each 256 KiB, so that a file of which the system has forgotten only the
/// middle of such a stretch can hold the loop up, for one stretch at the most.
///
/// **Others.** A connection sends at most 256 KiB of files in a turn.
///
/// **Changes.** The length is promised when the sender is made. If the file has become shorter by the time it is read, the
/// connection is aborted as [`Lost::File`](crate::Lost::File), so that the peer does not take a part for the whole; if it has
/// become longer, the promised length is sent. Bytes that are overwritten meanwhile are sent as they were or as they are.
///
/// ```
/// use ropewalk_net::{FileSender, Protocol, Transport, listen};
/// use ropewalk_reactor::Simulation;
///
/// struct Manual;
/// impl Protocol for Manual {
///     fn connection_made(&mut self, transport: &Transport) {
///         match std::fs::File::open("Cargo.toml").and_then(FileSender::new) {
///             Ok(file) => {
///                 transport.write(format!("{} bytes\n", file.len()).as_bytes());
///                 transport.send_file(file);
///                 transport.write(b"that is all\n");
///             }
///             Err(error) => transport.write(format!("sorry: {error}\n").as_bytes()),
///         }
///         transport.lose_connection();
///     }
///     fn data_received(&mut self, _: &Transport, _: &[u8]) {}
/// }
///
/// let simulation = Simulation::new(1);
/// let port = listen(simulation.reactor(), &"tcp:7:interface=127.0.0.1".parse()?, || Manual)?;
/// # let ropewalk_reactor::io::Address::Inet(address) = *port.address() else { unreachable!() };
/// let peer = simulation.network().connect(address);
/// simulation.advance(std::time::Duration::from_secs(1));
/// assert!(peer.text().ends_with("that is all\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FileSender {
    file: OwnedFd,
    size: u64,
    offset: u64,
    length: u64,
    transform: Option<Transform>,
}

impl FileSender {
    /// The whole of an open file, as long as it is now.
    ///
    /// # Errors
    /// The system does not say how long it is, or it is no regular file: a folder, a pipe, a device.
    pub fn new(file: impl Into<OwnedFd>) -> io::Result<FileSender> {
        let file = file.into();
        let facts = fstat(&file)?;
        if FileType::from_raw_mode(facts.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "only a regular file can be sent"));
        }
        let size = u64::try_from(facts.st_size).unwrap_or(0);
        Ok(FileSender { file, size, offset: 0, length: size, transform: None })
    }

    /// A part of it: `length` bytes, the first of them `offset` bytes behind the beginning. If the file has not so many,
    /// sending it aborts the connection.
    #[must_use]
    pub fn with_part(mut self, offset: u64, length: u64) -> FileSender {
        (self.offset, self.length) = (offset, length);
        self
    }

    /// Makes something else of each piece of 64 KiB or, at the end, less. If it panics, the connection is aborted.
    #[must_use]
    pub fn with_transform(mut self, transform: impl FnMut(Vec<u8>) -> Vec<u8> + 'static) -> FileSender {
        self.transform = Some(Box::new(transform));
        self
    }

    /// Bytes that are promised, before any transform.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether a transform makes something else of it, so that nobody knows how many bytes will be sent.
    #[must_use]
    pub fn is_transformed(&self) -> bool {
        self.transform.is_some()
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Sends it, as [`Transport::send_file`] does, and tells: the number of its bytes when the last of them was handed to the
    /// system, or the [`Lost`](crate::Lost) of the connection that ended before. Cancelling the deferred does not stop it.
    pub fn send(self, transport: &Transport) -> Deferred<u64> {
        let (firing, deferred) = Deferred::new(transport.reactor());
        transport.0.send_file(self.into_part(Some(firing)));
        deferred
    }

    fn into_part(self, told: Option<ropewalk_reactor::Firing<u64>>) -> FilePart {
        FilePart::new(Arc::new(self.file), self.size, self.offset, self.length, self.transform, told)
    }
}

impl fmt::Debug for FileSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FileSender { offset, length, .. } = self;
        f.debug_struct("FileSender").field("offset", offset).field("length", length).finish_non_exhaustive()
    }
}

impl Transport {
    /// Queues a file to be sent, in order among what is written. All of it counts as [`Transport::buffered`], none of it is in
    /// memory. After [`Transport::lose_connection`] it is ignored. [`FileSender::send`] does the same and tells the end.
    pub fn send_file(&self, file: FileSender) {
        self.0.send_file(file.into_part(None));
    }
}
