//! A value that goes through ten steps: callbacks of one deferred, awaited deferreds, and tokio's oneshots.
//!
//! Chains are made, fired and run 64 at a time, so that no side pays for a turn of its loop per chain. In every kind the chain
//! is complete and waits before it is fired. This module only works; time is measured by `library`, allocations by the program
//! `ropewalk-bench-counted`, which therefore shares this file and nothing else.

use std::cell::RefCell;
use std::io;

use ropewalk_reactor::{Deferred, Reactor};
use tokio::sync::oneshot;

/// Steps of a chain.
pub(crate) const STEPS: usize = 10;

/// Chains at a time.
pub(crate) const BATCH: usize = 64;

/// Batches that nobody measures.
pub(crate) const WARM_UP_BATCHES: u64 = 50;

/// How a value gets through its steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// One deferred with ten callbacks, no task.
    Callbacks,
    /// Ten tasks, each of which awaits a deferred and fires the next one's.
    Tasks,
    /// One task that awaits ten deferreds in turn. It sleeps once: the other nine have fired by then.
    Awaits,
    /// As `Tasks`, with oneshots.
    TokioTasks,
    /// As `Awaits`, with oneshots.
    TokioAwaits,
}

/// Runs batch after batch as long as `go_on`, asked before each of them, says so.
pub(crate) fn run(kind: Kind, go_on: impl FnMut() -> bool + 'static) -> io::Result<()> {
    match kind {
        Kind::Callbacks => on_ropewalk(callbacks, go_on),
        Kind::Tasks => on_ropewalk(tasks, go_on),
        Kind::Awaits => on_ropewalk(awaits, go_on),
        Kind::TokioTasks => on_tokio(tokio_tasks, go_on),
        Kind::TokioAwaits => on_tokio(tokio_awaits, go_on),
    }
}

/// How many chains of a batch have not ended, and what is to happen when all have.
struct Tally {
    left: usize,
    then: Option<Box<dyn FnOnce()>>,
}

thread_local! {
    // Tokio's tasks have to be Send, so nothing of this thread can be handed to them.
    static TALLY: RefCell<Tally> = const { RefCell::new(Tally { left: 0, then: None }) };
}

fn begin(then: impl FnOnce() + 'static) {
    TALLY.set(Tally { left: BATCH, then: Some(Box::new(then)) });
}

/// Called at the end of every chain, with what came out.
fn ended(value: usize) {
    assert_eq!(value, STEPS, "each step adds one");
    let then = TALLY.with_borrow_mut(|tally| {
        tally.left -= 1;
        if tally.left == 0 { tally.then.take() } else { None }
    });
    if let Some(then) = then {
        then();
    }
}

fn on_ropewalk(batch: fn(&Reactor), mut go_on: impl FnMut() -> bool + 'static) -> io::Result<()> {
    let reactor = Reactor::new()?;
    let handle = reactor.clone();
    reactor.spawn(async move {
        while go_on() {
            let (firing, all_ended) = Deferred::new(&handle);
            begin(move || firing.callback(()).expect("it fires once"));
            batch(&handle);
            all_ended.await.expect("it is fired with a value");
        }
        handle.stop();
    });
    reactor.run()
}

fn on_tokio(batch: fn(), mut go_on: impl FnMut() -> bool) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        while go_on() {
            let (sender, all_ended) = oneshot::channel();
            begin(move || sender.send(()).expect("it is awaited"));
            batch();
            all_ended.await.expect("it is sent to");
        }
    });
    Ok(())
}

fn callbacks(reactor: &Reactor) {
    for _ in 0..BATCH {
        let (firing, mut deferred) = Deferred::<usize>::new(reactor);
        for _ in 1..STEPS {
            deferred = deferred.add_callback(|n| n + 1);
        }
        drop(deferred.add_callback(|n| ended(n + 1)));
        firing.callback(0).expect("it fires once");
    }
}

fn tasks(reactor: &Reactor) {
    let mut first = Vec::with_capacity(BATCH);
    for _ in 0..BATCH {
        let (firing, mut before) = Deferred::<usize>::new(reactor);
        first.push(firing);
        for _ in 1..STEPS {
            let (firing, deferred) = Deferred::new(reactor);
            reactor.spawn(async move {
                let n = before.await.expect("it is fired with a value");
                firing.callback(n + 1).expect("it fires once");
            });
            before = deferred;
        }
        reactor.spawn(async move { ended(before.await.expect("it is fired with a value") + 1) });
    }
    // Behind all of those tasks: each waits by then.
    reactor.spawn(async move { first.iter().for_each(|firing| firing.callback(0).expect("it fires once")) });
}

fn awaits(reactor: &Reactor) {
    let mut firings = Vec::with_capacity(BATCH * STEPS);
    for _ in 0..BATCH {
        let mut deferreds = Vec::with_capacity(STEPS);
        for _ in 0..STEPS {
            let (firing, deferred) = Deferred::new(reactor);
            firings.push(firing);
            deferreds.push(deferred);
        }
        reactor.spawn(async move {
            let mut sum = 0;
            for deferred in deferreds {
                sum += deferred.await.expect("it is fired with a value");
            }
            ended(sum);
        });
    }
    reactor
        .spawn(async move { firings.iter().for_each(|firing| firing.callback(1).expect("it fires once")) });
}

fn tokio_tasks() {
    let mut first = Vec::with_capacity(BATCH);
    for _ in 0..BATCH {
        let (sender, mut before) = oneshot::channel::<usize>();
        first.push(sender);
        for _ in 1..STEPS {
            let (sender, receiver) = oneshot::channel();
            tokio::spawn(async move {
                let n = before.await.expect("it is sent to");
                sender.send(n + 1).expect("it is awaited");
            });
            before = receiver;
        }
        tokio::spawn(async move { ended(before.await.expect("it is sent to") + 1) });
    }
    tokio::spawn(async move { first.into_iter().for_each(|sender| sender.send(0).expect("it is awaited")) });
}

fn tokio_awaits() {
    let mut senders = Vec::with_capacity(BATCH * STEPS);
    for _ in 0..BATCH {
        let mut receivers = Vec::with_capacity(STEPS);
        for _ in 0..STEPS {
            let (sender, receiver) = oneshot::channel();
            senders.push(sender);
            receivers.push(receiver);
        }
        tokio::spawn(async move {
            let mut sum = 0;
            for receiver in receivers {
                sum += receiver.await.expect("it is sent to");
            }
            ended(sum);
        });
    }
    tokio::spawn(
        async move { senders.into_iter().for_each(|sender| sender.send(1).expect("it is awaited")) },
    );
}
