//! Descriptors over UNIX sockets: with which byte they go, in which order they come, and what becomes of those that nobody wants.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::RefCell;
use std::io::{ErrorKind, IoSlice, IoSliceMut, PipeReader, PipeWriter, Read, Write, pipe};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use common::{Ground, Kind, Probe, Seen, real};
use ropewalk_net::{Transport, TransportOptions, adopt_connection};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

fn on_sockets<F: Future<Output = ()> + 'static>(check: impl Fn(Ground) -> F) {
    real(Kind::Tcp, &check);
}

/// A connection of this reactor, and a peer's bare socket.
fn connection(ground: &Ground, probe: Probe) -> (Rc<Seen>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let seen = Rc::clone(&probe.seen);
    adopt_connection(&ground.reactor, ours.into(), probe, TransportOptions::default()).unwrap();
    (seen, theirs)
}

/// A descriptor that can be told from others: what it holds is read from it.
fn marked(mark: u32) -> OwnedFd {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(&mark.to_be_bytes()).unwrap();
    reader.into()
}

fn mark(fd: OwnedFd) -> u32 {
    let mut mark = [0; 4];
    PipeReader::from(fd).read_exact(&mut mark).unwrap();
    u32::from_be_bytes(mark)
}

/// Sends bytes with descriptors, as any other program would.
fn send(socket: &UnixStream, bytes: &[u8], fds: &[OwnedFd]) {
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let count =
        rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
    assert_eq!(count, bytes.len());
}

/// One byte, and the descriptors that came with it. `None` at the end.
fn receive(socket: &UnixStream) -> Option<(u8, Vec<u32>)> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let pieces = &mut [IoSliceMut::new(&mut byte)];
    let message = rustix::net::recvmsg(socket, pieces, &mut control, RecvFlags::empty()).unwrap();
    let mut marks = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = part {
            marks.extend(fds.map(mark));
        }
    }
    (message.bytes == 1).then_some((byte[0], marks))
}

#[test]
fn a_descriptor_goes_with_the_next_byte() {
    on_sockets(|ground| async move {
        let (seen, peer) = connection(&ground, Probe::new());
        let transport = seen.transport();
        transport.write(b"ab");
        transport.send_descriptor(marked(1)).unwrap();
        transport.send_descriptor(marked(2)).unwrap();
        transport.write(b"cd");
        transport.send_descriptor(marked(3)).unwrap();
        transport.write_shared(&vec![b'e'; 300].into());
        // Nothing is written behind this one: it stays here, and is closed.
        let (last, mut other) = pipe().unwrap();
        transport.send_descriptor(last.into()).unwrap();
        transport.lose_connection();
        let received =
            ground.reactor.defer_to_thread(move || std::iter::from_fn(|| receive(&peer)).collect());
        let received: Vec<(u8, Vec<u32>)> = received.await.unwrap();
        assert_eq!(received.len(), 304);
        assert_eq!(received[..4], [(b'a', vec![]), (b'b', vec![]), (b'c', vec![1, 2]), (b'd', vec![])]);
        assert_eq!(received[4], (b'e', vec![3]));
        assert!(received[5..].iter().all(|(byte, marks)| *byte == b'e' && marks.is_empty()));
        assert_eq!(seen.reason(), "closed by this side");
        assert_eq!(other.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn between_two_of_ours_order_is_kept_whatever_is_in_between() {
    on_sockets(|ground| async move {
        // 1. The receiver notes how many bytes it had when it could take each descriptor.
        let taken: Rc<RefCell<Vec<(u32, usize)>>> = Rc::default();
        let (noted, bytes) = (Rc::clone(&taken), Rc::new(RefCell::new(Vec::new())));
        let all = Rc::clone(&bytes);
        let receiver = Probe::new().on_made(|transport| transport.accept_descriptors(1000).unwrap()).on_data(
            move |transport, data| {
                all.borrow_mut().extend_from_slice(data);
                let fds = transport.take_descriptors();
                noted.borrow_mut().extend(fds.into_iter().map(|fd| (mark(fd), all.borrow().len())));
            },
        );
        let (ours, theirs) = UnixStream::pair().unwrap();
        let sender = Probe::new();
        let seen = Rc::clone(&sender.seen);
        let options = TransportOptions::default();
        adopt_connection(&ground.reactor, ours.into(), sender, options.clone()).unwrap();
        adopt_connection(&ground.reactor, theirs.into(), receiver, options).unwrap();
        // 2. Two hundred go, among more bytes than the socket holds.
        let (mut sent, mut places) = (Vec::new(), Vec::new());
        for index in 0..200 {
            let chunk = ground.bytes(ground.random(8000));
            sent.extend_from_slice(&chunk);
            match index % 3 {
                0 => seen.transport().write_shared(&chunk.into()),
                _ => seen.transport().write(&chunk),
            }
            places.push(sent.len());
            seen.transport().send_descriptor(marked(index)).unwrap();
            if index % 7 == 0 {
                ground.pause(std::time::Duration::from_millis(1)).await;
            }
        }
        seen.transport().write(b".");
        sent.push(b'.');
        // 3. All come, each once, in order, and none later than its byte.
        ground.until("all bytes", || bytes.borrow().len() == sent.len()).await;
        assert!(*bytes.borrow() == sent);
        let taken = taken.borrow();
        assert_eq!(taken.iter().map(|(mark, _)| *mark).collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
        for ((mark, had), place) in taken.iter().zip(&places) {
            // What comes in one read comes together: at most one buffer of the loop too early.
            assert!(*had > *place && *had <= place + 64 * 1024 + 1, "{mark}: {had} and {place}");
        }
        seen.transport().lose_connection();
    });
}

#[test]
fn messages_that_wait_are_all_read_at_one_edge() {
    on_sockets(|ground| async move {
        // The system ends a read behind a byte with descriptors; what is behind it makes no event of its own.
        let probe = Probe::new().on_made(|transport| transport.accept_descriptors(10).unwrap());
        let (seen, peer) = connection(&ground, probe);
        for index in 0..5 {
            send(&peer, b"byte", &[marked(index)]);
        }
        ground.until("all of them", || seen.len() == 20).await;
        let fds = seen.transport().take_descriptors();
        let flags: Vec<FdFlags> = fds.iter().map(|fd| fcntl_getfd(fd).unwrap()).collect();
        assert_eq!(flags, [FdFlags::CLOEXEC; 5]);
        assert_eq!(fds.into_iter().map(mark).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert!(seen.transport().take_descriptors().is_empty());
        drop(peer);
        ground.until("it has ended", || seen.is_lost()).await;
    });
}

#[test]
fn descriptors_that_nobody_asked_for_hold_nothing_up() {
    on_sockets(|ground| async move {
        let (seen, peer) = connection(&ground, Probe::new());
        let (fds, mut writers) = watched(2);
        send(&peer, b"one ", &fds[..1]);
        send(&peer, b"two ", &fds[1..]);
        (&peer).write_all(b"three").unwrap();
        drop(fds);
        ground.until("all of it", || seen.len() == 13).await;
        assert_eq!(*seen.data.borrow(), b"one two three");
        assert!(seen.transport().take_descriptors().is_empty());
        assert_eq!(alive(&mut writers), [false; 2], "the system has closed them");
        drop(peer);
        ground.until("it has ended", || seen.is_lost()).await;
    });
}

/// Pipes whose readers are sent away: writing tells whether anybody has them still.
fn watched(count: usize) -> (Vec<OwnedFd>, Vec<PipeWriter>) {
    (0..count).map(|_| pipe().unwrap()).map(|(reader, writer)| (OwnedFd::from(reader), writer)).unzip()
}

fn alive(writers: &mut [PipeWriter]) -> Vec<bool> {
    writers.iter_mut().map(|writer| writer.write(b"x").is_ok()).collect()
}

#[test]
fn what_is_too_many_or_never_taken_is_closed() {
    on_sockets(|ground| async move {
        let probe = Probe::new().on_made(|transport| transport.accept_descriptors(2).unwrap());
        let (seen, peer) = connection(&ground, probe);
        let (fds, mut writers) = watched(5);
        send(&peer, b"five", &fds);
        drop(fds);
        ground.until("the bytes", || seen.len() == 4).await;
        assert_eq!(seen.transport().refused_descriptors(), 3);
        assert_eq!(alive(&mut writers), [true, true, false, false, false]);
        // One is taken: there is room for one more.
        let mut taken = seen.transport().take_descriptors();
        assert_eq!(taken.len(), 2);
        taken.pop();
        let (fds, mut more) = watched(1);
        send(&peer, b"more", &fds);
        drop(fds);
        ground.until("the bytes", || seen.len() == 8).await;
        assert_eq!((seen.transport().refused_descriptors(), alive(&mut more)), (3, vec![true]));
        // The connection ends: what it holds ends with it, what was taken does not.
        drop(peer);
        ground.until("it is lost", || seen.is_lost()).await;
        assert_eq!((alive(&mut writers)[0], alive(&mut more)), (true, vec![false]));
        assert!(seen.transport().take_descriptors().is_empty());

        // Asked again for none, it keeps none.
        let probe = Probe::new().on_made(|transport| transport.accept_descriptors(0).unwrap());
        let (seen, peer) = connection(&ground, probe);
        let (fds, mut writers) = watched(1);
        send(&peer, b"none", &fds);
        drop(fds);
        ground.until("the bytes", || seen.len() == 4).await;
        assert_eq!((seen.transport().refused_descriptors(), alive(&mut writers)), (1, vec![false]));
        seen.transport().abort_connection();
    });
}

#[test]
fn what_waits_to_be_sent_is_closed_with_the_connection() {
    on_sockets(|ground| async move {
        let (seen, peer) = connection(&ground, Probe::new());
        let (fds, mut writers) = watched(3);
        seen.transport().write(&vec![0; 3_000_000]);
        for fd in fds {
            seen.transport().send_descriptor(fd).unwrap();
            seen.transport().write(b"x");
        }
        ground.until("it is stuck", || seen.transport().traffic().1 > 0).await;
        assert_eq!(alive(&mut writers), [true; 3]);
        seen.transport().abort_connection();
        ground.until("it is lost", || seen.is_lost()).await;
        assert_eq!(alive(&mut writers), [false; 3]);
        drop(peer);
    });
}

#[test]
fn what_cannot_be_sent_is_said() {
    on_sockets(|ground| async move {
        let refused = |transport: &Transport| transport.send_descriptor(marked(0)).unwrap_err();
        // Not a UNIX socket: it goes on as it was.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let probe = Probe::new();
        let seen = Rc::clone(&probe.seen);
        adopt_connection(&ground.reactor, client.into(), probe, TransportOptions::default()).unwrap();
        assert_eq!(refused(&seen.transport()).kind(), ErrorKind::Unsupported);
        let refusal = seen.transport().accept_descriptors(1).unwrap_err();
        assert_eq!(
            (refusal.kind(), refusal.to_string().as_str()),
            (ErrorKind::Unsupported, "only a UNIX socket carries descriptors")
        );
        seen.transport().write(b"still here");
        let (mut server, _) = listener.accept().unwrap();
        let read = ground.reactor.defer_to_thread(move || {
            let mut buffer = [0; 10];
            server.read_exact(&mut buffer).map(|()| buffer)
        });
        assert_eq!(&read.await.unwrap().unwrap(), b"still here");
        // The system's limit of one byte.
        let (seen, peer) = connection(&ground, Probe::new());
        let one = marked(7);
        for _ in 0..253 {
            seen.transport().send_descriptor(one.try_clone().unwrap()).unwrap();
        }
        assert_eq!(refused(&seen.transport()).kind(), ErrorKind::InvalidInput);
        seen.transport().write(b"y");
        seen.transport().send_descriptor(one).unwrap();
        seen.transport().write(b"z");
        ground.until("both are sent", || seen.transport().traffic().1 == 2).await;
        drop(peer);
        // Closing, and closed.
        seen.transport().lose_connection();
        assert_eq!(refused(&seen.transport()).kind(), ErrorKind::NotConnected);
        ground.until("it is lost", || seen.is_lost()).await;
        assert_eq!(refused(&seen.transport()).kind(), ErrorKind::NotConnected);
        assert_eq!(seen.transport().accept_descriptors(1).unwrap_err().kind(), ErrorKind::NotConnected);
    });
}
