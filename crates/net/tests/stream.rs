//! `Stream`: each of its reads with every cut of the bytes, its limits, its ends, and its writes; in the simulation with 100
//! seeds and over the system's sockets.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::{Ground, Probe, client_of, everywhere};
use ropewalk_net::{
    Address, Lost, Port, Stream, StreamError, StreamLimits, Transport, TransportOptions, listen,
    stream_factory,
};
use ropewalk_reactor::{Peer, Simulation};

const MOMENT: Duration = Duration::from_millis(20);

type Served<T> = Rc<RefCell<Option<T>>>;

/// Runs `handler` on the one connection, with a test's hand on the other end; what it returns is put into the place.
fn serve<T: 'static, F: Future<Output = T> + 'static>(
    simulation: &Simulation,
    handler: impl Fn(Stream) -> F + 'static,
) -> (Peer, Served<T>) {
    let place: Served<T> = Rc::default();
    let told = Rc::clone(&place);
    let port = listen(
        simulation.reactor(),
        &"tcp:7:interface=127.0.0.1".parse().unwrap(),
        stream_factory(move |stream| {
            let (told, task) = (Rc::clone(&told), handler(stream));
            async move { *told.borrow_mut() = Some(task.await) }
        }),
    )
    .unwrap();
    let peer = simulation.network().connect(address(&port));
    simulation.advance(MOMENT);
    port.stop_listening();
    (peer, place)
}

fn address(port: &Port) -> std::net::SocketAddr {
    match port.address() {
        Address::Inet(address) => *address,
        _ => unreachable!(),
    }
}

async fn stream_pair(ground: &Ground) -> (Stream, Stream) {
    let place: Rc<RefCell<Option<Stream>>> = Rc::default();
    let put = Rc::clone(&place);
    let factory = stream_factory(move |stream| {
        *put.borrow_mut() = Some(stream);
        async {}
    });
    let port = ground.listen(TransportOptions::default(), factory);
    let client = Stream::connect(&ground.reactor, &client_of(&port)).await.unwrap();
    ground.until("it is accepted", || place.borrow().is_some()).await;
    port.stop_listening();
    (client, place.take().expect("it is there"))
}

#[test]
fn every_read_gets_its_bytes_however_they_are_cut() {
    everywhere(|ground| async move {
        let (client, mut server) = stream_pair(&ground).await;
        let body = ground.bytes(ground.plenty() / 20);
        let large = ground.bytes(ground.plenty());
        let regex = regex::bytes::Regex::new("(?-u)\\d+;").unwrap();
        let all = [b"HEAD\r\n\r\n" as &[u8], b"aab12;", &body, &body, &large, b"tail"].concat();
        let sent = all.clone();
        let reactor = ground.reactor.clone();
        let writing = reactor.spawn(async move {
            for chunk in sent.chunks(1 + ground.random(20_000)) {
                client.write(chunk).await.unwrap();
            }
            client.lose_write_connection();
            client.flush().await.unwrap();
            client
        });
        assert_eq!(server.read_until(b"\r\n\r\n", 8).await.unwrap(), b"HEAD\r\n\r\n");
        assert_eq!(server.read_until_regex(&regex, 6).await.unwrap(), b"aab12;");
        assert!(server.read_bytes(body.len()).await.unwrap() == body);
        let mut partial = Vec::new();
        while partial.len() < body.len() {
            let most = 1 + (body.len() - partial.len()).min(700) / 2;
            let piece = server.read_bytes_partial(most).await.unwrap();
            assert!(!piece.is_empty() && piece.len() <= most);
            partial.extend(piece);
        }
        assert!(partial == body);
        let mut into = vec![0; large.len()];
        let half = large.len() / 2;
        server.read_into(&mut into[..half]).await.unwrap();
        let mut filled = half;
        while filled < into.len() {
            filled += server.read_into_partial(&mut into[filled..]).await.unwrap();
        }
        assert!(into == large);
        assert_eq!(server.read_until_close(4).await.unwrap(), b"tail");
        assert_eq!(server.buffered(), 0);
        let mut client = writing.await.unwrap();
        // The other direction is open still.
        server.write(b"thanks").await.unwrap();
        drop(server);
        assert_eq!(client.read_until_close(100).await.unwrap(), b"thanks");
        let error = client.read_some().await.unwrap_err();
        assert!(matches!(error, StreamError::Closed(Lost::Ended)), "{error}");
    });
}

#[test]
fn what_was_buffered_is_read_after_the_end() {
    let simulation = Simulation::new(1);
    let (peer, place) = serve(&simulation, |mut stream: Stream| async move {
        let first = stream.read_until(b"nowhere", 1000).await.unwrap_err();
        assert!(stream.is_read_ended() && !stream.is_closed());
        let second = stream.read_bytes(2).await.unwrap();
        let mut into = [0; 9];
        let third = stream.read_into(&mut into).await.unwrap_err();
        let rest = stream.read_some().await.unwrap();
        (first.to_string(), second, third.to_string(), rest, stream.read_some().await.is_err())
    });
    peer.write(b"abcdef");
    peer.shutdown_write();
    simulation.advance(MOMENT);
    let (first, second, third, rest, end) = place.take().expect("it has ended");
    assert_eq!(first, "the stream is closed: ended by the peer");
    assert_eq!(third, first);
    assert_eq!((second, rest, end), (b"ab".to_vec(), b"cdef".to_vec(), true));
}

#[test]
fn a_delimiter_that_arrives_bytewise_is_found() {
    let sent = b"a\r\nb\r\r\n\r\r\n\r\n";
    for max_bytes in [sent.len(), sent.len() - 1] {
        let simulation = Simulation::new(1);
        let (peer, place) = serve(&simulation, move |mut stream: Stream| async move {
            stream.read_until(b"\r\n\r\n", max_bytes).await
        });
        for byte in sent.chunks(1) {
            peer.write(byte);
            simulation.advance(Duration::from_millis(3));
        }
        let outcome = place.take().expect("it has ended");
        assert_eq!(outcome.ok(), (max_bytes == sent.len()).then(|| sent.to_vec()));
    }
}

#[test]
fn too_much_closes_the_connection() {
    let simulation = Simulation::new(1);
    let (peer, place) = serve(&simulation, |mut stream: Stream| async move {
        stream.write(b"400");
        let error = stream.read_until(b"\n", 10).await.unwrap_err();
        (error, stream.is_closed(), stream.buffered())
    });
    peer.write(b"0123456789 and no end of it");
    simulation.advance(MOMENT);
    let (error, closed, buffered) = place.take().expect("it has ended");
    assert!(matches!(error, StreamError::Unsatisfiable { max_bytes: 10 }), "{error}");
    assert!(closed && buffered == 0);
    assert_eq!(peer.take(), b"400");
    assert!(peer.is_ended());
}

#[test]
fn the_buffers_are_bounded() {
    let simulation = Simulation::new(1);
    let (peer, place) = serve(&simulation, |mut stream: Stream| async move {
        stream.set_limits(StreamLimits { read_bytes_max: 100, write_bytes_max: 50 });
        let whole = stream.read_bytes(101).await.unwrap_err().to_string();
        let write = stream.write(&[0; 51]).await.unwrap_err().to_string();
        assert!(!stream.is_closed() && !stream.writing());
        let until = stream.read_until(b"\n", 1000).await.unwrap_err().to_string();
        (whole, write, until, stream.is_closed())
    });
    peer.write(&[b'x'; 1000]);
    simulation.advance(MOMENT);
    let (whole, write, until, closed) = place.take().expect("it has ended");
    assert_eq!(whole, "the buffer's limit is 100 bytes");
    assert_eq!(until, whole);
    assert_eq!(write, "the buffer's limit is 50 bytes");
    assert!(closed);
}

#[test]
fn nobody_reads_so_the_peer_waits() {
    let simulation = Simulation::new(1);
    let (peer, place) = serve(&simulation, |stream: Stream| async move { stream });
    assert_eq!(peer.write(&vec![0; 200_000]), 64 * 1024);
    simulation.advance(Duration::from_secs(1));
    assert_eq!(peer.write(b"more"), 0, "the window stays full");
    assert_eq!(place.borrow().as_ref().expect("it is kept").buffered(), 0);
    drop(place.take());
    simulation.advance(MOMENT);
    assert!(peer.is_ended());
}

#[test]
fn the_close_callback_hears_of_every_end() {
    for how in ["end", "reset", "own", "late", "while reading"] {
        let simulation = Simulation::new(1);
        let heard: Rc<RefCell<Vec<String>>> = Rc::default();
        let tell = Rc::clone(&heard);
        let (peer, place) = serve(&simulation, move |mut stream: Stream| {
            let tell = Rc::clone(&tell);
            async move {
                let callback = move |lost: &Lost| tell.borrow_mut().push(lost.to_string());
                match how {
                    "late" => {
                        assert!(stream.read_some().await.is_err());
                        stream.close();
                        stream.flush().await.unwrap();
                        stream.set_close_callback(callback);
                    }
                    "while reading" => {
                        stream.set_close_callback(callback);
                        // What is read comes in the event that tells of the end.
                        assert_eq!(stream.read_bytes(4).await.unwrap(), b"ping");
                    }
                    _ => stream.set_close_callback(callback),
                }
                stream
            }
        });
        match how {
            "reset" => peer.reset(),
            "own" => place.borrow().as_ref().expect("it is kept").close(),
            "while reading" => {
                peer.write(b"ping");
                peer.shutdown_write();
            }
            _ => peer.shutdown_write(),
        }
        simulation.advance(MOMENT);
        let expected = match how {
            "reset" => "broken: connection reset",
            "own" => "closed by this side",
            _ => "ended by the peer",
        };
        assert_eq!(*heard.borrow(), [expected], "{how}");
        drop(place.take());
        simulation.advance(MOMENT);
        assert_eq!(heard.borrow().len(), 1, "once");
    }
}

#[test]
fn a_write_waits_at_high_water_and_a_flush_for_the_last_byte() {
    let simulation = Simulation::new(1);
    let progress = Rc::new(Cell::new(0));
    let at = Rc::clone(&progress);
    let (peer, place) = serve(&simulation, move |stream: Stream| {
        let at = Rc::clone(&at);
        async move {
            stream.write(&[1; 1000]).await.unwrap();
            at.set(1);
            stream.write(&vec![2; 300_000]).await.unwrap();
            at.set(2);
            stream.flush().await.unwrap();
            assert!(!stream.writing());
            at.set(3);
            stream.write(&vec![3; 300_000]).await
        }
    });
    assert_eq!(progress.get(), 1);
    let mut received = 0;
    while progress.get() < 3 {
        let before = progress.get();
        received += peer.take().len();
        simulation.advance(MOMENT);
        assert!(before == progress.get() || received > 200_000, "{received}");
    }
    peer.reset();
    simulation.advance(MOMENT);
    let error = place.take().expect("it has ended").unwrap_err();
    assert!(matches!(error, StreamError::Closed(Lost::Broken(_))), "{error}");
}

#[test]
fn a_deadline_ends_a_read() {
    let simulation = Simulation::new(1);
    let (_peer, place) = serve(&simulation, |mut stream: Stream| async move {
        stream.set_deadline(Some(stream.reactor().now() + Duration::from_secs(5)));
        stream.read_some().await
    });
    simulation.advance(Duration::from_secs(4));
    assert!(place.borrow().is_none());
    simulation.advance(Duration::from_secs(2));
    let error = place.take().expect("it has ended").unwrap_err();
    assert!(matches!(error, StreamError::Closed(Lost::TimedOut("idle"))), "{error}");
}

#[test]
fn a_task_that_panics_resets_and_the_reactors_end_drops_the_others() {
    let simulation = Simulation::new(1);
    let (peer, _place) = serve(&simulation, |mut stream: Stream| async move {
        stream.write(b"half an ans");
        stream.read_some().await.unwrap();
        assert!(stream.is_closed(), "as asked");
    });
    peer.write(b"go on");
    simulation.advance(MOMENT);
    assert!(peer.is_reset());
    let (_peer, place) = serve(&simulation, |mut stream: Stream| async move { stream.read_some().await });
    simulation.stop();
    assert!(place.borrow().is_none());
}

/// The task of a connection is polled where the connection is called, as long as there is one; it is nobody's business but its own how
/// long it goes on then.
#[test]
fn a_task_goes_on_without_its_connection() {
    const LATER: Duration = Duration::from_secs(5);
    // 1. The client is gone: what waits for something else goes on waiting for it.
    let simulation = Simulation::new(1);
    let reactor = simulation.reactor().clone();
    let (peer, place) = serve(&simulation, move |mut stream: Stream| {
        let reactor = reactor.clone();
        async move {
            let first = stream.read_some().await;
            reactor.sleep(LATER).await;
            (first, stream.read_some().await.map_err(|error| error.to_string()))
        }
    });
    peer.write(b"bye");
    simulation.advance(MOMENT);
    peer.reset();
    simulation.advance(MOMENT);
    assert!(place.borrow().is_none());
    simulation.advance(LATER);
    let (first, second) = place.take().expect("it has ended");
    assert_eq!(first.unwrap(), b"bye");
    assert!(second.is_err(), "{second:?}");

    // 2. It has handed its connection on, at once, at its beginning, or in its middle.
    for when in 0..3 {
        let simulation = Simulation::new(1);
        let reactor = simulation.reactor().clone();
        let next = Probe::new();
        let seen = Rc::clone(&next.seen);
        let next = Rc::new(Cell::new(Some(next)));
        let (peer, place) = serve(&simulation, move |stream: Stream| {
            let (reactor, next) = (reactor.clone(), Rc::clone(&next));
            let mut stream = Some(stream);
            let hand_on = move |stream: &mut Option<Stream>| {
                stream.take().expect("once").switch(Box::new(next.take().expect("once")));
            };
            if when == 0 {
                hand_on(&mut stream);
            }
            async move {
                if when == 1 {
                    hand_on(&mut stream);
                }
                if when == 2 {
                    let first = stream.as_mut().expect("it is there").read_bytes(2).await;
                    assert_eq!(first.unwrap(), b"ab");
                    hand_on(&mut stream);
                }
                reactor.sleep(LATER).await;
                "done"
            }
        });
        peer.write(b"abcd");
        simulation.advance(MOMENT);
        assert_eq!(*seen.data.borrow(), [b"abcd".as_slice(), b"abcd", b"cd"][when], "handed on at {when}");
        assert!(place.borrow().is_none());
        simulation.advance(LATER);
        assert_eq!(place.take(), Some("done"), "handed on at {when}");
    }
}

#[test]
fn a_close_callback_that_panics_costs_the_task_nothing() {
    let simulation = Simulation::new(1);
    let reactor = simulation.reactor().clone();
    let (peer, place) = serve(&simulation, move |mut stream: Stream| {
        let reactor = reactor.clone();
        async move {
            stream.set_close_callback(|_| panic!("as the test wants"));
            reactor.sleep(10 * MOMENT).await;
            stream.is_closed()
        }
    });
    peer.reset();
    simulation.advance(MOMENT);
    assert_eq!(*place.borrow(), None);
    simulation.advance(10 * MOMENT);
    assert_eq!(place.take(), Some(true));
}

/// It is polled when its connection is told something or when it is woken, whoever wakes it: also from within, and from another task.
#[test]
fn a_task_is_woken_by_whatever_it_waits_for() {
    let simulation = Simulation::new(1);
    let reactor = simulation.reactor().clone();
    let (peer, place) = serve(&simulation, move |mut stream: Stream| {
        let reactor = reactor.clone();
        async move {
            let mut said = Vec::new();
            // It has woken itself before it waits.
            let mut polls = 0;
            std::future::poll_fn(|context| {
                polls += 1;
                context.waker().wake_by_ref();
                if polls == 3 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
            reactor.sleep(MOMENT).await;
            said.extend(stream.read_bytes(1).await.unwrap());
            // The stream goes to another task and comes back.
            let other = reactor.spawn(async move { (stream.read_bytes(1).await.unwrap(), stream) });
            let (second, back) = other.await.unwrap();
            said.extend(second);
            stream = back;
            said.extend(stream.read_bytes(1).await.unwrap());
            said
        }
    });
    for byte in [b"a", b"b", b"c"] {
        simulation.advance(2 * MOMENT);
        assert!(place.borrow().is_none());
        peer.write(byte);
        simulation.advance(MOMENT);
    }
    assert_eq!(place.take().as_deref(), Some(b"abc".as_slice()));
}

#[test]
fn a_read_that_is_dropped_loses_nothing() {
    let simulation = Simulation::new(1);
    let (peer, place) = serve(&simulation, |mut stream: Stream| async move {
        let mut into = [0; 10];
        {
            let mut read = std::pin::pin!(stream.read_into(&mut into));
            let mut polls = 0;
            // Two polls see "abc" arrive; then something else was faster.
            std::future::poll_fn(|context| {
                polls += 1;
                assert!(read.as_mut().poll(context).is_pending());
                if polls == 2 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
        }
        stream.read_bytes(6).await
    });
    peer.write(b"abc");
    simulation.advance(MOMENT);
    peer.write(b"def");
    simulation.advance(MOMENT);
    assert_eq!(place.take().expect("it has ended").unwrap(), b"abcdef");
}

#[test]
fn a_running_connection_is_taken_over_and_handed_on() {
    everywhere(|ground| async move {
        // 1. A protocol reads a line and attaches a stream; the rest of what it was given is the stream's first.
        // 2. The stream reads a line and hands on to a protocol, which gets everything else.
        let last = Probe::new();
        let seen = Rc::clone(&last.seen);
        let last = Rc::new(Cell::new(Some(last)));
        let mut line = Vec::new();
        let server = Probe::new().on_data(move |transport: &Transport, data| {
            let Some(end) = data.iter().position(|&byte| byte == b'\n') else {
                return line.extend_from_slice(data);
            };
            let mut stream = Stream::attach(transport);
            transport.unread(&data[end + 1..]);
            let last = Rc::clone(&last);
            transport.reactor().spawn(async move {
                assert_eq!(stream.read_until(b"\n", 100).await.unwrap(), b"two\n");
                stream.switch(Box::new(last.take().expect("once")));
            });
        });
        let rest = ground.bytes(ground.plenty() / 4);
        let pair = ground.pair(server, Probe::new()).await;
        let client = pair.client.transport();
        client.write(b"one\ntwo\n");
        client.write(&rest);
        client.lose_connection();
        ground.until("the last is lost", || seen.is_lost()).await;
        assert!(*seen.data.borrow() == rest);
    });
}
