//! The protocols between threads, in every interleaving: the very files of the crate over loom's locks and atomics. A wake-up
//! that is lost leaves everybody asleep, which loom reports as a deadlock.
//!
//! Models are small, and those that are not are bound to a few preemptions, which find what one meets in practice.
#![allow(clippy::unwrap_used, reason = "what fails in the helpers of a test fails the test")]

#[path = "../src/pool/line.rs"]
#[allow(dead_code, reason = "the models use a part of it")]
mod line;
#[path = "../src/mark.rs"]
mod mark;
#[path = "../src/door/passage.rs"]
#[allow(dead_code, reason = "the models use a part of it")]
mod passage;
#[path = "../src/remote/postbox.rs"]
mod postbox;
#[path = "../src/pool/queue.rs"]
#[allow(dead_code, reason = "the models use a part of it")]
mod queue;

/// The crate's `locks`, with loom's types.
mod locks {
    use std::time::Duration;

    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().expect("no model panics under a lock")
    }

    pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        condvar.wait(guard).expect("no model panics under a lock")
    }

    /// No time passes in a model. Nothing is over at once, after anything that others do meanwhile; more is never over.
    pub(crate) fn wait_timeout<'a, T>(
        condvar: &Condvar,
        mutex: &'a Mutex<T>,
        guard: MutexGuard<'a, T>,
        limit: Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        if limit > Duration::ZERO {
            return (wait(condvar, guard), false);
        }
        drop(guard);
        loom::thread::yield_now();
        (lock(mutex), true)
    }
}

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

use locks::{AtomicBool, Condvar, Mutex, Ordering, lock, wait};
use mark::Mark;
use passage::{Passage, Refused};
use postbox::Postbox;
use queue::{Crew, Queue, Report, Size};

/// Never over, in a model.
const LONG: Duration = Duration::from_secs(1);

/// Tries a model with so many preemptions at the most; `None` is all there are.
fn check(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(model);
}

/// What the loop sleeps on: an eventfd, as it were.
#[derive(Clone)]
struct Bell(Arc<(Mutex<bool>, Condvar)>);

impl Bell {
    fn new() -> Bell {
        Bell(Arc::new((Mutex::new(false), Condvar::new())))
    }

    fn ring(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_one();
    }

    /// Sleeps until it rings, or has rung.
    fn sleep(&self) {
        let mut rung = lock(&self.0.0);
        while !*rung {
            rung = wait(&self.0.1, rung);
        }
        *rung = false;
    }
}

/// A loop that does nothing but read its mail, as `turn` does.
fn read_mail<M>(postbox: &Postbox<M>, bell: &Bell, mut read: impl FnMut(M) -> bool) {
    loop {
        postbox.set_sleeping(true);
        if postbox.is_empty() {
            bell.sleep();
        }
        postbox.set_sleeping(false);
        // Every letter is read, whatever `read` says to one.
        if postbox.take().into_iter().map(&mut read).fold(false, |done, now| done | now) {
            return;
        }
    }
}

fn post<M>(postbox: &Postbox<M>, bell: &Bell, letter: M) -> bool {
    let posted = postbox.post(letter);
    if matches!(posted, Ok(true)) {
        bell.ring();
    }
    posted.is_ok()
}

#[test]
fn no_letter_is_lost_on_a_loop_that_goes_to_sleep() {
    check(Some(3), || {
        let (postbox, bell) = (Arc::new(Postbox::new()), Bell::new());
        let senders: Vec<_> = (0..2)
            .map(|sender| {
                let (postbox, bell) = (postbox.clone(), bell.clone());
                thread::spawn(move || {
                    (0..2 - sender).for_each(|serial| assert!(post(&postbox, &bell, (sender, serial))));
                })
            })
            .collect();
        let mut seen = Vec::new();
        read_mail(&postbox, &bell, |letter| {
            seen.push(letter);
            seen.len() == 3
        });
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        let first = seen.iter().filter(|(sender, _)| *sender == 0).map(|(_, serial)| *serial);
        assert!(first.eq(0..2), "the letters of one sender keep their order");
    });
}

#[test]
fn a_letter_is_read_or_handed_back_by_a_box_that_closes() {
    check(None, || {
        let (postbox, bell) = (Arc::new(Postbox::new()), Bell::new());
        let (sent_to, rung) = (postbox.clone(), bell.clone());
        let sender = thread::spawn(move || post(&sent_to, &rung, ()));
        let read = postbox.take().len() + postbox.close().len();
        assert_eq!(sender.join().unwrap(), read == 1);
        assert!(postbox.is_empty());
    });
}

#[test]
fn what_was_written_before_a_wake_up_is_seen_after_it() {
    check(Some(3), || {
        // The waker's whole way: the mark, the mail, the bell. Each thread writes, and then wakes the same task.
        let (postbox, bell, mark) = (Arc::new(Postbox::new()), Bell::new(), Arc::new(Mark::new()));
        let written: Vec<_> = (0..2).map(|_| Arc::new(AtomicBool::new(false))).collect();
        let threads: Vec<_> = written
            .iter()
            .map(|written| {
                let (written, postbox, bell, mark) =
                    (written.clone(), postbox.clone(), bell.clone(), mark.clone());
                thread::spawn(move || {
                    written.store(true, Ordering::Relaxed);
                    if mark.set() {
                        assert!(post(&postbox, &bell, ()));
                    }
                })
            })
            .collect();
        read_mail(&postbox, &bell, |()| {
            mark.clear();
            written.iter().all(|written| written.load(Ordering::Relaxed))
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// A pool of the model's threads.
struct Pool {
    queue: Arc<Queue<u8, u8>>,
    bell: Bell,
    idle: Duration,
    run: Arc<dyn Fn(u8) + Send + Sync>,
    threads: RefCell<Vec<JoinHandle<()>>>,
}

impl Pool {
    fn new(size: Size, idle: Duration, run: impl Fn(u8) + Send + Sync + 'static) -> Pool {
        Pool {
            queue: Arc::new(Queue::new(size, Crew::Threads)),
            bell: Bell::new(),
            idle,
            run: Arc::from_std(std::sync::Arc::new(run)),
            threads: RefCell::default(),
        }
    }

    fn push(&self, job: u8) -> line::Place {
        let Ok((place, hired)) = self.queue.push(job) else { panic!("there is room") };
        if hired {
            self.hire();
        }
        place
    }

    fn hire(&self) {
        let (queue, bell, run, idle) = (self.queue.clone(), self.bell.clone(), self.run.clone(), self.idle);
        let work = move || {
            let run = |job| {
                run(job);
                Report { result: Some(job), panics: 0 }
            };
            queue.work(idle, run, || bell.ring());
        };
        self.threads.borrow_mut().push(thread::spawn(work));
    }

    /// Sleeps until so many results have come.
    fn collect(&self, count: usize) -> Vec<u8> {
        let mut results = Vec::new();
        while results.len() < count {
            self.bell.sleep();
            let mut batch = Vec::new();
            self.queue.collect(&mut batch);
            results.extend(batch);
        }
        results.sort_unstable();
        results
    }

    /// Closes it and sleeps until it is over, as a pool without handles does.
    fn finish(self) {
        assert_eq!(self.queue.close().len(), 0);
        while !self.queue.collect(&mut Vec::new()) {
            self.bell.sleep();
        }
        self.threads.into_inner().into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(self.queue.figures().threads, 0);
    }
}

fn size(min: usize, max: usize) -> Size {
    Size { min, max, queue: 4 }
}

#[test]
fn every_job_is_done_and_every_result_rung_for() {
    check(Some(2), || {
        let pool = Pool::new(size(2, 2), LONG, |_| ());
        let _ = [0, 1].map(|job| pool.push(job));
        assert_eq!(pool.collect(2), [0, 1]);
        // Now both sleep, or are about to.
        pool.push(2);
        assert_eq!(pool.collect(1), [2]);
        pool.finish();
    });
}

#[test]
fn a_long_job_keeps_no_sleeper_from_the_next() {
    check(Some(1), || {
        // The jobs after the first two wait for each other: one thread alone would wait for ever.
        let met = Arc::new((Mutex::new(0), Condvar::new()));
        let meet = met.clone();
        let pool = Pool::new(size(2, 2), LONG, move |job| {
            if job < 2 {
                return;
            }
            let mut here = lock(&meet.0);
            *here += 1;
            meet.1.notify_one();
            while *here < 2 {
                here = wait(&meet.1, here);
            }
        });
        let _ = [0, 1].map(|job| pool.push(job));
        assert_eq!(pool.collect(2), [0, 1]);
        let _ = [2, 3].map(|job| pool.push(job));
        assert_eq!(pool.collect(2), [2, 3]);
        pool.finish();
    });
}

#[test]
fn a_job_begins_or_is_cancelled_and_never_both() {
    check(Some(3), || {
        let ran = Arc::new(AtomicBool::new(false));
        let run = ran.clone();
        let pool = Pool::new(size(1, 1), LONG, move |job| {
            if job == 1 {
                run.store(true, Ordering::Relaxed);
            }
        });
        pool.push(0);
        let place = pool.push(1);
        let cancelled = pool.queue.remove(place).is_some();
        assert!(pool.queue.remove(place).is_none());
        pool.push(2);
        let expected: &[u8] = if cancelled { &[0, 2] } else { &[0, 1, 2] };
        assert_eq!(pool.collect(expected.len()), expected);
        assert_eq!(ran.load(Ordering::Relaxed), !cancelled);
        pool.finish();
    });
}

#[test]
fn a_thread_that_leaves_because_it_was_idle_leaves_no_job_behind() {
    check(Some(3), || {
        let pool = Pool::new(size(0, 1), Duration::ZERO, |_| ());
        for job in 0..2 {
            pool.push(job);
            assert_eq!(pool.collect(1), [job]);
        }
        pool.finish();
    });
}

#[test]
fn a_pool_made_smaller_hands_its_calls_on() {
    check(Some(2), || {
        let pool = Pool::new(size(2, 2), LONG, |_| ());
        let _ = [0, 1].map(|job| pool.push(job));
        assert_eq!(pool.collect(2), [0, 1]);
        // The thread that is called for the job may be the one that leaves.
        pool.push(2);
        pool.queue.resize(1, 1);
        assert_eq!(pool.collect(1), [2]);
        pool.finish();
    });
}

/// A loop that takes messages until they are over.
fn receive(passage: &Passage<u8>, bell: &Bell) -> Vec<u8> {
    let mut received = Vec::new();
    loop {
        bell.sleep();
        let mut batch = VecDeque::new();
        let over = passage.take(&mut batch);
        assert!(batch.len() <= 1, "there is room for one");
        received.extend(batch);
        if over {
            return received;
        }
    }
}

#[test]
fn every_message_is_received_before_the_door_is_over() {
    check(Some(2), || {
        let (passage, bell) = (Arc::new(Passage::new(1)), Bell::new());
        passage.enter();
        let senders: Vec<_> = (0..2u8)
            .map(|sender| {
                let (passage, bell) = (passage.clone(), bell.clone());
                thread::spawn(move || {
                    for serial in 0..2 - sender {
                        passage.send_waiting(10 * sender + serial, || bell.ring()).expect("it is open");
                    }
                    passage.leave(|| bell.ring());
                })
            })
            .collect();
        let mut received = receive(&passage, &bell);
        assert!(received.iter().filter(|message| **message < 10).is_sorted());
        received.sort_unstable();
        assert_eq!(received, [0, 1, 10]);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

#[test]
fn a_message_is_rung_for_before_its_sender_goes_on() {
    check(None, || {
        let (passage, rung) = (Arc::new(Passage::new(2)), Arc::new(AtomicBool::new(false)));
        let (first, ring) = (passage.clone(), rung.clone());
        let other = thread::spawn(move || {
            first.send(1, || ring.store(true, Ordering::Relaxed)).expect("there is room");
        });
        passage.send(2, || rung.store(true, Ordering::Relaxed)).expect("there is room");
        assert!(rung.load(Ordering::Relaxed), "by this thread, or by the one whose message was there before");
        other.join().unwrap();
    });
}

#[test]
fn a_door_that_closes_hands_back_every_message_and_frees_who_waits() {
    check(None, || {
        let passage = Arc::new(Passage::new(1));
        let inner = passage.clone();
        let sender = thread::spawn(move || {
            let first = inner.send(0, || ());
            let second = inner.send_waiting(1, || ());
            assert!(matches!(inner.send(2, || ()), Err(Refused::Closed(2))) || second.is_ok());
            usize::from(first.is_ok()) + usize::from(second.is_ok())
        });
        let mut batch = VecDeque::new();
        passage.take(&mut batch);
        let received = batch.len() + passage.close().len();
        assert_eq!(sender.join().unwrap(), received);
    });
}
