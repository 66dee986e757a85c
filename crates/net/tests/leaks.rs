//! What is open and watched before is open and watched after: no descriptor is left behind, and the system watches nothing that
//! is gone. The counts are the process's, so this binary has this one test.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;

use common::{Ground, Kind, Probe, real};
use ropewalk_net::{
    Lost, ServerOptions, TransportOptions, adopt_connection, adopt_listener, adopt_pipes, connect, listen,
};

/// Open descriptors, and how many of them the loop's epoll watches.
fn census() -> (usize, usize) {
    let entries: Vec<_> =
        std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path()).collect();
    let is_epoll = |path: &std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|target| target.to_string_lossy().contains("eventpoll"))
    };
    let watched = entries.iter().filter(|path| is_epoll(path)).map(|path| {
        let info = format!("/proc/self/fdinfo/{}", path.file_name().unwrap().to_str().unwrap());
        std::fs::read_to_string(info).unwrap().lines().filter(|line| line.starts_with("tfd:")).count()
    });
    (entries.len(), watched.max().unwrap())
}

#[test]
fn nothing_is_left_behind() {
    real(Kind::Tcp, &|ground| async move {
        let checks: [(&str, Check); 7] = [
            ("pipes", |ground| Box::pin(pipes(ground.clone()))),
            ("one socket twice", |ground| Box::pin(one_socket_twice(ground.clone()))),
            ("a listener", |ground| Box::pin(a_listener(ground.clone()))),
            ("a connection", |ground| Box::pin(a_connection(ground.clone()))),
            ("an abstract name", |ground| Box::pin(an_abstract_name(ground.clone()))),
            ("descriptors", |ground| Box::pin(descriptors(ground.clone()))),
            ("what is refused", |ground| Box::pin(what_is_refused(ground.clone()))),
        ];
        for (name, check) in checks {
            // The first time, a thread or a buffer may be made that stays.
            check(&ground).await;
            let before = census();
            check(&ground).await;
            ground.until(name, || census() == before).await;
        }
    });
}

type Check = fn(&Ground) -> Step;
type Step = std::pin::Pin<Box<dyn Future<Output = ()>>>;

async fn pipes(ground: Ground) {
    let (input, questions) = std::io::pipe().unwrap();
    let (answers, output) = std::io::pipe().unwrap();
    let probe = Probe::echo();
    let seen = Rc::clone(&probe.seen);
    adopt_pipes(&ground.reactor, input.into(), output.into(), probe).unwrap();
    drop(questions);
    ground.until("it has ended", || seen.is_lost()).await;
    drop(answers);
}

/// The description is open elsewhere, too: the system itself would go on watching it.
async fn one_socket_twice(ground: Ground) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (input, output) = (ours.try_clone().unwrap(), ours.try_clone().unwrap());
    let probe = Probe::echo();
    let seen = Rc::clone(&probe.seen);
    let (before, watched) = census();
    adopt_pipes(&ground.reactor, input.into(), output.into(), probe).unwrap();
    assert_eq!(census().1, watched + 2);
    seen.transport().abort_connection();
    ground.until("it is aborted", || seen.is_lost()).await;
    assert_eq!(census(), (before - 2, watched), "both of ours are gone, and nothing is watched");
    drop((ours, theirs));
}

async fn a_listener(ground: Ground) {
    let kept = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_, watched) = census();
    let adopted = kept.try_clone().unwrap().into();
    let port =
        adopt_listener(&ground.reactor, adopted, Rc::new(Probe::echo), ServerOptions::default()).unwrap();
    assert_eq!(census().1, watched + 1);
    port.stop_listening();
    assert_eq!(census().1, watched, "its maker has it still, the loop has not");
}

async fn a_connection(ground: Ground) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let probe = Probe::new();
    let seen = Rc::clone(&probe.seen);
    let (_, watched) = census();
    let adopted = ours.try_clone().unwrap().into();
    adopt_connection(&ground.reactor, adopted, probe, TransportOptions::default()).unwrap();
    assert_eq!(census().1, watched + 1);
    seen.transport().abort(Lost::Aborted);
    ground.until("it is aborted", || seen.is_lost()).await;
    assert_eq!(census().1, watched);
    drop((ours, theirs));
}

async fn an_abstract_name(ground: Ground) {
    let endpoint = format!("unix:@ropewalk-leaks-{}", std::process::id());
    let port = listen(&ground.reactor, &endpoint.parse().unwrap(), Probe::echo).unwrap();
    let client = connect(&ground.reactor, &endpoint.parse().unwrap(), Probe::new).await.unwrap();
    client.lose_connection();
    ground.until("it is closed", || client.is_disconnected() && port.statistics().accepted == 1).await;
    ground.until("on both sides", || port.statistics().connections == 0).await;
    port.stop_listening();
}

/// Sent and taken, sent and too many, sent and never taken, and never sent.
async fn descriptors(ground: Ground) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let receiver = Probe::new().on_made(|transport| transport.accept_descriptors(2).unwrap());
    let sender = Probe::new();
    let (sent, received) = (Rc::clone(&sender.seen), Rc::clone(&receiver.seen));
    let options = TransportOptions::default();
    adopt_connection(&ground.reactor, ours.into(), sender, options.clone()).unwrap();
    adopt_connection(&ground.reactor, theirs.into(), receiver, options).unwrap();
    let file = || std::fs::File::open("/dev/null").unwrap().into();
    for count in [1, 5] {
        for _ in 0..count {
            sent.transport().send_descriptor(file()).unwrap();
        }
        sent.transport().write(b"x");
        ground.until("a byte", || received.len() > 0).await;
        received.data.borrow_mut().clear();
        if count == 1 {
            assert_eq!(received.transport().take_descriptors().len(), 1);
        }
    }
    assert_eq!(received.transport().refused_descriptors(), 3);
    sent.transport().send_descriptor(file()).unwrap();
    sent.transport().lose_connection();
    ground.until("both are lost", || sent.is_lost() && received.is_lost()).await;
}

async fn what_is_refused(ground: Ground) {
    let wrong: [std::os::fd::OwnedFd; 4] = [
        UdpSocket::bind("127.0.0.1:0").unwrap().into(),
        UnixStream::pair().unwrap().0.into(),
        std::fs::File::open("/dev/null").unwrap().into(),
        TcpStream::connect(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()).unwrap().into(),
    ];
    for fd in wrong {
        let refused = adopt_listener(&ground.reactor, fd, Rc::new(Probe::echo), ServerOptions::default());
        assert!(refused.is_err());
    }
    let path = std::env::temp_dir().join(format!("ropewalk-leaks-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let options = TransportOptions::default();
    assert!(adopt_connection(&ground.reactor, listener.into(), Probe::new(), options).is_err());
    let (reader, writer) = std::io::pipe().unwrap();
    assert!(adopt_pipes(&ground.reactor, writer.into(), reader.into(), Probe::new()).is_err());
}
