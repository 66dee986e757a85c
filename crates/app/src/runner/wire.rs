//! What two processes of one program say to each other over a pair of UNIX sockets: lines of JSON, bytes whose number a line has said, and
//! descriptors that come with a line. The side that blocks is here, for a process that is just being born; the other side is a transport.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::Value;

/// Bytes in one line.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Descriptors that one read may bring: the system's limit.
const DESCRIPTORS_MAX: usize = 253;

/// One end, read by blocking.
pub(crate) struct Wire {
    stream: UnixStream,
    bytes: VecDeque<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Wire {
    pub(crate) fn new(stream: UnixStream) -> Wire {
        Wire { stream, bytes: VecDeque::new(), descriptors: VecDeque::new() }
    }

    /// How long the other side may be silent.
    pub(crate) fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(patience)?;
        self.stream.set_write_timeout(patience)
    }

    pub(crate) fn say(&mut self, line: &Value) -> io::Result<()> {
        self.stream.write_all(format!("{line}\n").as_bytes())
    }

    /// The next line; `None` at the end.
    pub(crate) fn line(&mut self) -> io::Result<Option<Value>> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.bytes.range(searched..).position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=searched + end).collect();
                return serde_json::from_slice(&line).map(Some).map_err(io::Error::other);
            }
            searched = self.bytes.len();
            if searched > LINE_BYTES_MAX {
                return Err(io::Error::other("a line is too long"));
            }
            if self.read()? == 0 {
                return if searched == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    pub(crate) fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.bytes.len() < count {
            if self.read()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.bytes.drain(..count).collect())
    }

    /// The descriptor that came with the last line.
    pub(crate) fn descriptor(&mut self) -> io::Result<OwnedFd> {
        self.descriptors.pop_front().ok_or_else(|| io::Error::other("a descriptor is missing"))
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 64 * 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let count = loop {
            let mut slices = [IoSliceMut::new(&mut buffer)];
            match rustix::net::recvmsg(&self.stream, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Ok(message) => break message.bytes,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        self.bytes.extend(&buffer[..count]);
        Ok(count)
    }
}
