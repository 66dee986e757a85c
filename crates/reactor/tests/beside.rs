//! Tokio beside the reactor: its timers, sockets and files work in its own thread and on the loop, and what is cancelled ends.
#![allow(clippy::unwrap_used, reason = "what fails in the helpers of a test fails the test")]

mod support;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ropewalk_reactor::failure::{Cancelled, Panicked};
use ropewalk_reactor::{Outcome, Reactor, SideRuntime};
use support::{PATIENCE, Trace, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TICK: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Runs a test's future on a loop that has a runtime beside it.
fn beside<F: Future<Output = ()> + 'static>(test: impl FnOnce(Reactor, SideRuntime) -> F) {
    let reactor = Reactor::new().unwrap();
    let tokio = SideRuntime::new(&reactor).unwrap();
    let (future, stopper, passed) =
        (test(reactor.clone(), tokio), reactor.clone(), Rc::new(Cell::new(false)));
    let done = Rc::clone(&passed);
    let task = reactor.spawn(future);
    reactor.spawn(async move {
        done.set(task.await.is_ok());
        stopper.stop();
    });
    run(&reactor);
    assert!(passed.get(), "the test's future panicked");
}

/// Greets one client after it has said its name.
async fn greeter(listener: TcpListener) -> io::Result<()> {
    let (mut stream, _) = listener.accept().await?;
    let mut name = String::new();
    stream.read_to_string(&mut name).await?;
    stream.write_all(format!("hello {name}").as_bytes()).await
}

/// Client and server, in whatever context this is polled.
async fn echo(name: &'static str) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(greeter(listener));
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(name.as_bytes()).await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    server.await??;
    Ok(answer)
}

#[test]
fn tokios_network_works_in_its_thread_and_on_the_loop() {
    beside(|_, tokio| async move {
        assert_eq!(tokio.run(echo("there")).await.unwrap().unwrap(), "hello there");
        assert_eq!(tokio.within(echo("here")).await.unwrap(), "hello here");
    });
}

#[test]
fn what_runs_beside_runs_in_another_thread_and_comes_back_to_the_loops() {
    beside(|_, tokio| async move {
        let home = thread::current().id();
        let there = tokio.run(async {
            tokio::time::sleep(TICK).await;
            thread::current().id()
        });
        assert_ne!(there.await.unwrap(), home);
        assert_eq!(thread::current().id(), home);
        // Not Send, and on the loop.
        let counted = Rc::new(Cell::new(0));
        let counter = Rc::clone(&counted);
        let here = tokio.within(async move {
            for _ in 0..3 {
                tokio::time::sleep(TICK).await;
                counter.set(counter.get() + 1);
            }
            thread::current().id()
        });
        assert_eq!(here.await, home);
        assert_eq!(counted.get(), 3);
    });
}

#[test]
fn tokios_files_and_tasks_work_within() {
    beside(|_, tokio| async move {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let here = tokio.within(tokio::fs::read_to_string(manifest)).await.unwrap();
        let there = tokio.run(tokio::fs::read_to_string(manifest)).await.unwrap().unwrap();
        assert!(here == there && here.contains("ropewalk-reactor"));
        let spawned = tokio.within(async { tokio::spawn(async { 6 * 7 }).await });
        assert_eq!(spawned.await.unwrap(), 42);
    });
}

#[test]
fn a_panic_beside_is_a_failure() {
    beside(|_, tokio| async move {
        let failure = tokio.run(async { panic!("as the test wants") }).await.map(|(): ()| ()).unwrap_err();
        assert_eq!(failure.check::<Panicked>().map(Panicked::message), Some("as the test wants"));
        assert_eq!(tokio.run(async { "alive" }).await.unwrap(), "alive");
    });
}

/// Tells when it is dropped.
struct Told(mpsc::Sender<()>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn cancelling_aborts_what_runs_beside() {
    let (tell, told) = mpsc::channel();
    beside(|_, tokio| async move {
        let (begun, begins) = tokio::sync::oneshot::channel();
        let sleeper = tokio.run(async move {
            let _told = Told(tell);
            begun.send(()).unwrap();
            tokio::time::sleep(HOUR).await;
        });
        begins.await.unwrap();
        sleeper.cancel();
        assert!(sleeper.await.unwrap_err().is::<Cancelled>());
        told.recv_timeout(PATIENCE).expect("the future is dropped");
    });
}

#[test]
fn the_end_of_the_loop_aborts_what_runs_beside() {
    let reactor = Reactor::new().unwrap();
    let tokio = SideRuntime::new(&reactor).unwrap();
    let (tell, told) = mpsc::channel();
    let remote = reactor.remote();
    drop(tokio.run(async move {
        let _told = Told(tell);
        remote.call_from_thread(Reactor::stop).unwrap();
        tokio::time::sleep(HOUR).await;
    }));
    run(&reactor);
    told.recv_timeout(PATIENCE).expect("the future is dropped");
}

#[test]
fn the_last_handle_may_be_dropped_inside_of_its_own_context() {
    // Tokio refuses to wait for a runtime inside of one.
    let trace = Trace::default();
    let inner = trace.clone();
    beside(|_, tokio| async move {
        let own = tokio.clone();
        let within = tokio.within(async move {
            drop(own);
            tokio::task::yield_now().await;
            inner.note("alive");
        });
        drop(tokio);
        within.await;
    });
    assert_eq!(trace.take(), "alive");
}

#[test]
fn what_is_lost_with_its_runtime_is_cancelled() {
    beside(|_, tokio| async move {
        let never = tokio.run(async { tokio::time::sleep(HOUR).await });
        drop(tokio);
        let outcome: Outcome<()> = never.await;
        assert!(outcome.unwrap_err().is::<Cancelled>());
    });
}
