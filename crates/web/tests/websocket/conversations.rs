//! The async face: receiving, sending, what waits, and how a function and its connection end each other.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;

use ropewalk_reactor::Outcome;
use ropewalk_web::websocket::{self, Conversation, Delivery, Message, Options, WebSocket};
use ropewalk_web::{Request, Router, Site};
use ropewalk_wire::websocket::Opcode;

use crate::common::{Ground, MS, Probe, SECOND, errors_logged, quietly};
use crate::support::{Field, Told, Viewer, frame, text};

fn field<F>(options: Options, talk: impl Fn(Conversation) -> F + Clone + 'static) -> Field
where
    F: Future<Output = Outcome<()>> + 'static,
{
    let options = Rc::new(options);
    let router = Router::new().any("/socket", move |request: Request| {
        websocket::upgrade_with(&request, Rc::clone(&options), talk.clone())
    });
    Field { ground: Ground::calm(Site::new(router).server(None)), told: Told::default() }
}

fn close(viewer: &Viewer, field: &Field) {
    viewer.peer.write(&frame(8, b"\x03\xe8"));
    viewer.peer.shutdown_write();
    field.advance(MS);
}

async fn shout(mut socket: Conversation) -> Outcome<()> {
    while let Some(message) = socket.receive().await {
        socket.send_text(&message.as_text().unwrap().to_uppercase());
        socket.drained().await;
    }
    Ok(())
}

#[test]
fn it_receives_and_sends() {
    let field = field(Options::default(), shout);
    let viewer = field.open();
    viewer.peer.write(&[frame(1, b"one"), frame(1, b"two")].concat());
    field.advance(MS);
    viewer.peer.write(&frame(1, b"three"));
    field.advance(MS);
    assert_eq!(viewer.frames(), [text("ONE"), text("TWO"), text("THREE")]);
    close(&viewer, &field);
    field.ends_clean();
}

#[test]
fn what_was_sent_before_the_close_is_still_received() {
    let got: Rc<RefCell<Vec<String>>> = Rc::default();
    let inner = Rc::clone(&got);
    let field = field(Options::default(), move |mut socket| {
        let got = Rc::clone(&inner);
        async move {
            while let Some(message) = socket.receive().await {
                got.borrow_mut().push(format!("{message:?}"));
                socket.reactor().sleep(100 * MS).await;
            }
            let closed = socket.closed().unwrap();
            got.borrow_mut().push(format!("{} {}", closed.code, closed.clean));
            Ok(())
        }
    });
    let viewer = field.open();
    viewer.peer.write(&[frame(1, b"a"), frame(1, b"b"), frame(2, b"\x01"), frame(8, b"\x03\xe9")].concat());
    viewer.peer.shutdown_write();
    field.advance(SECOND);
    assert_eq!(got.take(), ["Text(\"a\")", "Text(\"b\")", "Binary([1])", "1001 true"]);
    field.ends_clean();
}

#[test]
fn the_end_of_the_function_is_the_end_of_the_connection() {
    quietly();
    for (message, code, logged) in
        [(b"end".as_slice(), 1000, 0), (b"fail", 1011, 1), (b"panic", 1011, 1), (b"late", 1011, 1)]
    {
        let field = field(Options::default(), |mut socket| async move {
            let message = socket.receive().await;
            match message.as_ref().and_then(Message::as_text) {
                Some("fail") => Err("as asked".into()),
                Some("panic") => panic!("as asked"),
                // What it waits for is taken from it.
                Some("late") => {
                    let endless = std::future::pending::<()>();
                    socket.reactor().with_timeout(SECOND, endless).await
                }
                _ => Ok(()),
            }
        });
        let viewer = field.open();
        let errors = errors_logged(|| {
            viewer.peer.write(&frame(1, message));
            field.advance(2 * SECOND);
        });
        assert_eq!((viewer.close_code(), errors), (Some(code), logged));
        close(&viewer, &field);
        field.ends_clean();
    }
}

#[test]
fn a_function_outlives_its_connection_by_its_grace_at_most() {
    let probe = Probe::default();
    let inner = probe.clone();
    let field = field(Options::default(), move |socket| {
        let held = inner.hold();
        async move {
            // It never receives, and would send for ever.
            loop {
                socket.reactor().sleep(SECOND).await;
                socket.send_text("tick");
                let _ = &held;
            }
        }
    });
    let viewer = field.open();
    field.advance(3 * SECOND + MS);
    assert_eq!(viewer.frames(), [text("tick"), text("tick"), text("tick")]);
    viewer.peer.reset();
    field.advance(9 * SECOND);
    assert_eq!(probe.held(), 1);
    field.advance(2 * SECOND);
    assert_eq!(probe.held(), 0);
    field.ends_clean();
}

#[test]
fn while_it_does_not_receive_the_client_is_held_back() {
    let handle: Rc<RefCell<Option<WebSocket>>> = Rc::default();
    let inner = Rc::clone(&handle);
    let field = field(Options::default(), move |mut socket| {
        *inner.borrow_mut() = Some(socket.handle());
        async move {
            let mut count = 0;
            socket.reactor().sleep(60 * SECOND).await;
            while let Some(message) = socket.receive().await {
                count += 1;
                socket.send_text(&format!("{count}: {}", message.len()));
            }
            Ok(())
        }
    });
    let viewer = field.open();
    viewer.peer.set_window(Some(1_000_000));
    let flood = frame(2, &[1; 20_000]).repeat(100);
    let mut sent = 0;
    for _ in 0..1000 {
        sent += viewer.peer.write(&flood[sent..]);
        field.advance(MS);
    }
    assert!(sent < 400_000, "{sent} were taken, of which the system holds some");
    // A ping has its time, and is not answered, for nobody reads here: that is no reason to break it off.
    field.advance(60 * SECOND);
    for _ in 0..1000 {
        sent += viewer.peer.write(&flood[sent..]);
        field.advance(MS);
    }
    let texts = viewer.frames().into_iter().filter(|(opcode, _)| *opcode == Opcode::Text);
    assert_eq!(texts.map(|(_, text)| text).next_back().unwrap(), b"100: 20000");
    handle.take();
    close(&viewer, &field);
    field.ends_clean();
}

#[test]
fn a_conversation_that_is_dropped_throws_messages_away() {
    let field = field(Options::default(), |socket| async move {
        let handle = socket.handle();
        drop(socket);
        handle.reactor().sleep(SECOND).await;
        handle.send_text("that was that");
        Ok(())
    });
    let viewer = field.open();
    let flood = frame(2, &[1; 20_000]).repeat(50);
    let mut sent = 0;
    for _ in 0..500 {
        sent += viewer.peer.write(&flood[sent..]);
        field.advance(MS);
    }
    assert_eq!(sent, flood.len());
    field.advance(SECOND);
    assert_eq!(viewer.frames()[0], text("that was that"));
    assert_eq!(viewer.close_code(), Some(1000));
    close(&viewer, &field);
    field.ends_clean();
}

#[test]
fn pieces_say_which_is_the_last_and_a_stream_has_messages() {
    let options = Options { delivery: Delivery::Pieces, ..Options::default() };
    let pieces = field(options, |mut socket| async move {
        while let Some(piece) = socket.receive_piece().await {
            socket.send_text(&format!("{} {}", piece.data.len(), piece.last));
        }
        Ok(())
    });
    let viewer = pieces.open();
    let whole = frame(2, &[0; 100]);
    viewer.peer.write(&whole[..50]);
    pieces.advance(MS);
    viewer.peer.write(&whole[50..]);
    pieces.advance(MS);
    assert_eq!(viewer.frames(), [text("44 false"), text("56 true")]);
    let streamed = field(Options::default(), |mut socket| async move {
        use futures_core::Stream;
        while let Some(message) = poll_fn(|context| Pin::new(&mut socket).poll_next(context)).await {
            socket.send(&message);
        }
        Ok(())
    });
    let viewer = streamed.open();
    viewer.peer.write(&frame(1, b"streamed"));
    streamed.advance(MS);
    assert_eq!(viewer.frames(), [text("streamed")]);
}
