//! Two descriptors as one connection: pipes, files, sockets and a terminal, and what becomes of the descriptors that others
//! share. Standard input and output of a whole program are driven in the facade's tests.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::fs::File;
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use common::{Ground, Kind, Probe, Seen, real};
use ropewalk_net::{Address, Lost, Stream, Transport, adopt_pipes};
use rustix::fs::{OFlags, fcntl_getfl};

/// More than a pipe holds.
const PLENTY: usize = 300_000;

fn on_pipes<F: Future<Output = ()> + 'static>(check: impl Fn(Ground) -> F) {
    real(Kind::Tcp, &check);
}

/// A connection over two pipes, and what is at their other ends.
fn connection(ground: &Ground, probe: Probe) -> (Rc<Seen>, PipeWriter, PipeReader) {
    let (input, questions) = pipe().unwrap();
    let (answers, output) = pipe().unwrap();
    let seen = Rc::clone(&probe.seen);
    adopt_pipes(&ground.reactor, input.into(), output.into(), probe).unwrap();
    assert!(seen.made.get(), "at once");
    (seen, questions, answers)
}

fn is_broken_pipe(seen: &Seen) -> bool {
    matches!(&*seen.lost.borrow(), Some(Lost::Broken(error)) if error.kind() == ErrorKind::BrokenPipe)
}

fn is_blocking(fd: impl AsFd) -> bool {
    !fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK)
}

#[test]
fn what_is_written_at_one_end_comes_out_at_the_other() {
    on_pipes(|ground| async move {
        let (seen, mut questions, mut answers) = connection(&ground, Probe::echo());
        assert_eq!(seen.transport().peer(), Address::Pipe);
        assert_eq!(seen.transport().peer().to_string(), "pipe");
        let data = ground.bytes(PLENTY);
        let sent = data.clone();
        let writer = ground.reactor.defer_to_thread(move || questions.write_all(&sent));
        let reader = ground.reactor.defer_to_thread(move || {
            let mut all = Vec::new();
            answers.read_to_end(&mut all).map(|_| all)
        });
        writer.await.unwrap().unwrap();
        assert!(reader.await.unwrap().unwrap() == data);
        assert_eq!(seen.reason(), "ended by the peer");
        assert_eq!(seen.transport().traffic(), (PLENTY as u64, PLENTY as u64));
    });
}

#[test]
fn the_end_of_the_input_leaves_the_output_alone() {
    on_pipes(|ground| async move {
        // 1. The input ends. The protocol does not close yet.
        let (seen, mut questions, mut answers) = connection(&ground, Probe::new().on_end(|_| {}));
        questions.write_all(b"question").unwrap();
        drop(questions);
        ground.until("the end", || seen.ended.get()).await;
        assert_eq!(*seen.data.borrow(), b"question");
        ground.pause(Duration::from_millis(20)).await;
        assert!(!seen.is_lost(), "{}", seen.reason());
        // 2. Later it answers, more than the pipe holds, and closes.
        let answer = ground.bytes(PLENTY);
        seen.transport().write(&answer);
        seen.transport().lose_connection();
        ground.pause(Duration::from_millis(20)).await;
        assert!(!seen.is_lost(), "the pipe is full");
        // 3. The reader gets all of it, and the end.
        let reader = ground.reactor.defer_to_thread(move || {
            let mut all = Vec::new();
            answers.read_to_end(&mut all).map(|_| all)
        });
        assert!(reader.await.unwrap().unwrap() == answer);
        assert_eq!(seen.reason(), "ended by the peer");
    });
}

#[test]
fn everything_written_is_out_before_it_is_closed() {
    on_pipes(|ground| async move {
        let (seen, questions, mut answers) = connection(&ground, Probe::new());
        let answer = ground.bytes(PLENTY);
        seen.transport().write(&answer);
        seen.transport().write_shared(&answer.clone().into());
        seen.transport().lose_connection();
        let reader = ground.reactor.defer_to_thread(move || {
            let mut all = Vec::new();
            answers.read_to_end(&mut all).map(|_| all)
        });
        assert!(reader.await.unwrap().unwrap() == [&answer[..], &answer].concat());
        assert!(matches!(&*seen.lost.borrow(), Some(Lost::Closed)), "{}", seen.reason());
        drop(questions);
    });
}

#[test]
fn the_output_may_end_first() {
    on_pipes(|ground| async move {
        let (seen, mut questions, mut answers) = connection(&ground, Probe::new());
        seen.transport().write(b"that is all");
        seen.transport().lose_write_connection();
        let reader = ground.reactor.defer_to_thread(move || {
            let mut all = String::new();
            answers.read_to_string(&mut all).map(|_| all)
        });
        assert_eq!(reader.await.unwrap().unwrap(), "that is all");
        questions.write_all(b"still heard").unwrap();
        ground.until("the input", || seen.len() == 11).await;
        drop(questions);
        ground.until("both have ended", || seen.is_lost()).await;
        assert_eq!(seen.reason(), "ended by the peer");
    });
}

#[test]
fn a_reader_that_is_gone_is_found_out() {
    on_pipes(|ground| async move {
        // Idle: nothing is written, nothing comes.
        let (seen, questions, answers) = connection(&ground, Probe::new());
        ground.pause(Duration::from_millis(5)).await;
        drop(answers);
        ground.until("idle", || is_broken_pipe(&seen)).await;
        drop(questions);
        // While reading is paused.
        let (seen, _questions, answers) = connection(&ground, Probe::new().on_made(Transport::pause_reading));
        drop(answers);
        ground.until("paused", || is_broken_pipe(&seen)).await;
        // After the end of the input.
        let (seen, questions, answers) = connection(&ground, Probe::new().on_end(|_| {}));
        drop(questions);
        ground.until("the end", || seen.ended.get()).await;
        drop(answers);
        ground.until("ended", || is_broken_pipe(&seen)).await;
        // While output waits.
        let (seen, _questions, answers) = connection(&ground, Probe::new());
        seen.transport().write(&vec![0; PLENTY]);
        ground.until("it is stuck", || seen.transport().traffic().1 > 0).await;
        drop(answers);
        ground.until("blocked", || is_broken_pipe(&seen)).await;
        // Before there was a connection.
        let (input, _questions) = pipe().unwrap();
        let (answers, output) = pipe().unwrap();
        drop(answers);
        let probe = Probe::new();
        let seen = Rc::clone(&probe.seen);
        adopt_pipes(&ground.reactor, input.into(), output.into(), probe).unwrap();
        ground.until("before", || is_broken_pipe(&seen)).await;
    });
}

#[test]
fn what_others_share_stays_blocking() {
    on_pipes(|ground| async move {
        let (input, questions) = pipe().unwrap();
        let (answers, output) = pipe().unwrap();
        let shared = [OwnedFd::from(input.try_clone().unwrap()), output.try_clone().unwrap().into()];
        let probe = Probe::echo();
        let seen = Rc::clone(&probe.seen);
        adopt_pipes(&ground.reactor, input.into(), output.into(), probe).unwrap();
        assert!(shared.iter().all(is_blocking));
        drop((seen, questions, answers));

        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let shared = ours.try_clone().unwrap();
        let probe = Probe::echo();
        let seen = Rc::clone(&probe.seen);
        let output = ours.try_clone().unwrap();
        adopt_pipes(&ground.reactor, ours.into(), output.into(), probe).unwrap();
        assert!(is_blocking(&shared));
        let data = ground.bytes(PLENTY * 4);
        let sent = data.clone();
        let mut writing = theirs.try_clone().unwrap();
        let writer = ground.reactor.defer_to_thread(move || {
            writing.write_all(&sent).and_then(|()| writing.shutdown(std::net::Shutdown::Write))
        });
        let reader = ground.reactor.defer_to_thread(move || {
            let mut all = vec![0; PLENTY * 4];
            theirs.read_exact(&mut all).map(|()| all)
        });
        writer.await.unwrap().unwrap();
        assert!(reader.await.unwrap().unwrap() == data);
        ground.until("it has ended", || seen.is_lost()).await;
        assert_eq!(seen.reason(), "ended by the peer");
        assert!(is_blocking(&shared));
    });
}

#[test]
fn files_are_always_ready() {
    on_pipes(|ground| async move {
        let folder = std::env::temp_dir().join(format!("ropewalk-pipes-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (from, to) = (folder.join("from"), folder.join("to"));
        let data = ground.bytes(PLENTY);
        std::fs::write(&from, &data).unwrap();
        std::fs::write(&to, b"kept ").unwrap();
        // As a shell redirects: the input may be read in part already, and the output is appended to.
        let mut input = File::open(&from).unwrap();
        input.read_exact(&mut [0; 1000]).unwrap();
        let output = File::options().append(true).open(&to).unwrap();
        let probe = Probe::echo();
        let seen = Rc::clone(&probe.seen);
        adopt_pipes(&ground.reactor, input.into(), output.into(), probe).unwrap();
        ground.until("all is copied", || seen.is_lost()).await;
        assert_eq!(seen.reason(), "ended by the peer");
        assert!(std::fs::read(&to).unwrap() == [b"kept ", &data[1000..]].concat());
        // Paused in the middle, it goes on where it was.
        let halted = Probe::new().on_made(Transport::pause_reading);
        let seen = Rc::clone(&halted.seen);
        let output = File::options().append(true).open(&to).unwrap();
        adopt_pipes(&ground.reactor, File::open(&from).unwrap().into(), output.into(), halted).unwrap();
        ground.pause(Duration::from_millis(10)).await;
        assert_eq!(seen.len(), 0);
        seen.transport().resume_reading();
        ground.until("the whole file", || seen.is_lost()).await;
        assert!(*seen.data.borrow() == data);
        // And read by hand.
        let mine = folder.join("lines");
        std::fs::write(&mine, b"one\ntwo\nthree").unwrap();
        let probe = Probe::new();
        let output = File::create("/dev/null").unwrap();
        let transport =
            adopt_pipes(&ground.reactor, File::open(&mine).unwrap().into(), output.into(), probe).unwrap();
        let mut stream = Stream::attach(&transport);
        assert_eq!(stream.read_until(b"\n", 100).await.unwrap(), b"one\n");
        assert_eq!(stream.read_until(b"\n", 100).await.unwrap(), b"two\n");
        assert_eq!(stream.read_until_close(100).await.unwrap(), b"three");
        std::fs::remove_dir_all(&folder).unwrap();
    });
}

#[test]
fn nothing_is_an_end_at_once_and_takes_everything() {
    on_pipes(|ground| async move {
        let probe = Probe::new().on_made(|transport| transport.write(&[1; PLENTY]));
        let seen = Rc::clone(&probe.seen);
        let (input, output) = (File::open("/dev/null").unwrap(), File::create("/dev/null").unwrap());
        adopt_pipes(&ground.reactor, input.into(), output.into(), probe).unwrap();
        ground.until("it has ended", || seen.is_lost()).await;
        assert_eq!(seen.reason(), "ended by the peer");
        assert_eq!(seen.transport().traffic(), (0, PLENTY as u64));
        // An output that is always full is broken by its first bytes.
        let probe = Probe::new().on_made(|transport| transport.write(b"x"));
        let seen = Rc::clone(&probe.seen);
        let (input, _questions) = pipe().unwrap();
        let output = File::options().write(true).open("/dev/full").unwrap();
        adopt_pipes(&ground.reactor, input.into(), output.into(), probe).unwrap();
        ground.until("it is broken", || seen.is_lost()).await;
        assert!(seen.reason().contains("No space left"), "{}", seen.reason());
    });
}

#[test]
fn a_terminal_gives_line_after_line_and_keeps_its_manners() {
    on_pipes(|ground| async move {
        // 1. A pseudoterminal: its master is the user's keyboard and screen.
        let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
        let master = rustix::pty::openpt(flags).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let shell = rustix::fs::open(&*name, flags, rustix::fs::Mode::empty()).unwrap();
        let (input, output) = (shell.try_clone().unwrap(), shell.try_clone().unwrap());
        // 2. Two lines and the end of a third, typed before anybody reads.
        rustix::io::write(&master, b"one\ntwo\nthree").unwrap();
        let probe = Probe::new().on_end(|_| {});
        let seen = Rc::clone(&probe.seen);
        adopt_pipes(&ground.reactor, input, output, probe).unwrap();
        ground.until("both lines", || seen.len() == 8).await;
        assert_eq!(*seen.data.borrow(), b"one\ntwo\n");
        // 3. End of line, and control-D at the beginning of a line, which is the end of the input.
        rustix::io::write(&master, b"\n\x04").unwrap();
        ground.until("the end", || seen.ended.get()).await;
        assert_eq!(*seen.data.borrow(), b"one\ntwo\nthree\n");
        // 4. The shell at the same terminal is not made to poll.
        assert!(is_blocking(&shell));
        seen.transport().write(b"bye");
        seen.transport().lose_connection();
        ground.until("it is closed", || seen.is_lost()).await;
        let mut screen = [0; 1000];
        let count = rustix::io::read(&master, &mut screen).unwrap();
        assert!(screen[..count].ends_with(b"bye"), "{}", screen[..count].escape_ascii());
    });
}

#[test]
fn a_direction_that_is_not_open_is_refused() {
    on_pipes(|ground| async move {
        let refused = |input: OwnedFd, output: OwnedFd| {
            let error = adopt_pipes(&ground.reactor, input, output, Probe::new()).map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            error.to_string()
        };
        let (reader, writer) = pipe().unwrap();
        assert_eq!(
            refused(writer.try_clone().unwrap().into(), writer.into()),
            "the input is not open for reading"
        );
        assert_eq!(
            refused(reader.try_clone().unwrap().into(), reader.into()),
            "the output is not open for writing"
        );
        let simulation = ropewalk_reactor::Simulation::new(1);
        let (reader, writer) = pipe().unwrap();
        let refused = adopt_pipes(simulation.reactor(), reader.into(), writer.into(), Probe::new());
        assert_eq!(refused.map(drop).unwrap_err().kind(), ErrorKind::Unsupported);
    });
}
