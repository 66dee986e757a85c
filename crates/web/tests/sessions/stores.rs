//! Every store does what a store does; what waits for it; and several workers with one.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use ropewalk_reactor::{Deferred, Outcome, Reactor, Simulation, react};
use ropewalk_web::{
    Changes, Keys, MemorySessions, Record, SessionKey, SessionStore, Sessions, SharedSessions,
    SqliteSessions, Swept, check_session_store,
};

use super::common::MS;
use super::{Visitor, ground};

/// Runs the conformance under a hundred seeds.
fn conforms<S: SessionStore>(make: impl Fn(&Reactor) -> S) {
    for seed in 0..100 {
        let simulation = Simulation::new(seed);
        let reactor = simulation.reactor().clone();
        let (store, done) = (make(&reactor), Rc::new(Cell::new(false)));
        let (ended, handle) = (Rc::clone(&done), reactor.clone());
        reactor.spawn(async move {
            check_session_store(&store, &handle).await.unwrap();
            ended.set(true);
        });
        assert!(simulation.run_until(Duration::from_secs(60), || done.get()), "seed {seed}");
    }
}

#[test]
fn every_store_conforms() {
    conforms(|_| MemorySessions::new(10));
    conforms(|reactor| SqliteSessions::in_memory(reactor).unwrap());
    conforms(|reactor| SharedSessions::new(reactor, MemorySessions::new(10)));
}

fn folder(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("ropewalk-sessions-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn what_was_answered_is_in_the_file_and_a_second_opener_is_refused() {
    let folder = folder("file");
    let path = folder.join("sessions.db");
    let open = |path: &Path| {
        let path = path.to_owned();
        react(move |reactor| async move {
            let store = SqliteSessions::open(&reactor, &path)?;
            assert!(SqliteSessions::open(&reactor, &path).is_err(), "the file is one worker's");
            check_session_store(&store, &reactor).await
        })
    };
    open(&path).unwrap();
    open(&path).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn several_workers_ask_at_home() {
    let folder = folder("shared");
    let path = folder.join("sessions.db");
    let (told, asked) = mpsc::channel::<Outcome<()>>();
    react(move |home| async move {
        let shared = SharedSessions::new(&home, SqliteSessions::open(&home, &path)?);
        let (firing, done) = Deferred::new(&home);
        let (receiver, finished) = home.receiver(4, move |()| {
            // It is told once.
            let _ = firing.callback(());
        });
        let worker = std::thread::spawn(move || {
            // Its own reactor, and the store of the other.
            let outcome = react(move |reactor| async move { check_session_store(&shared, &reactor).await });
            let _ = told.send(outcome);
            let _ = finished.send(());
        });
        done.await?;
        drop(receiver);
        worker.join().unwrap();
        Ok(())
    })
    .unwrap();
    asked.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

/// A store that takes 50 ms for everything, or fails.
struct Slow(MemorySessions, Rc<Cell<bool>>);

impl Slow {
    fn later<T: 'static>(
        &self,
        reactor: &Reactor,
        call: impl FnOnce(&MemorySessions) -> Deferred<T> + 'static,
    ) -> Deferred<T> {
        let (store, broken, handle) = (self.0.clone(), Rc::clone(&self.1), reactor.clone());
        reactor.ensure_deferred(async move {
            handle.sleep(50 * MS).await;
            if broken.get() {
                return Err(ropewalk_reactor::Failure::new("the disk is full, as asked"));
            }
            call(&store).await
        })
    }
}

impl SessionStore for Slow {
    fn load(&self, reactor: &Reactor, key: SessionKey) -> Deferred<Option<Record>> {
        let handle = reactor.clone();
        self.later(reactor, move |store| store.load(&handle, key))
    }
    fn insert(&self, reactor: &Reactor, key: SessionKey, record: Record) -> Deferred<()> {
        let handle = reactor.clone();
        self.later(reactor, move |store| store.insert(&handle, key, record))
    }
    fn update(&self, reactor: &Reactor, key: SessionKey, changes: Changes, at: SystemTime) -> Deferred<bool> {
        let handle = reactor.clone();
        self.later(reactor, move |store| store.update(&handle, key, changes, at))
    }
    fn remove(&self, reactor: &Reactor, key: SessionKey) -> Deferred<bool> {
        let handle = reactor.clone();
        self.later(reactor, move |store| store.remove(&handle, key))
    }
    fn sweep(&self, reactor: &Reactor, now: SystemTime) -> Deferred<Swept> {
        let handle = reactor.clone();
        self.later(reactor, move |store| store.sweep(&handle, now))
    }
}

#[test]
fn an_answer_waits_until_what_it_has_changed_is_kept() {
    let (store, broken) = (MemorySessions::new(10), Rc::new(Cell::new(false)));
    let ground = ground(Sessions::new(Slow(store.clone(), Rc::clone(&broken))));
    let peer = ground.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    ground.advance(45 * MS);
    assert!(peer.text().is_empty() && store.is_empty(), "it is not kept yet");
    ground.advance(10 * MS);
    assert_eq!(store.len(), 1);
    assert!(peer.text().ends_with("\r\n\r\n1"));
    // What cannot be kept was not done, and no cookie says so.
    broken.set(true);
    let mut ada = Visitor::new(&ground);
    let logged = super::common::errors(|| {
        let answer = ada.ask("GET", "/");
        assert!(answer.starts_with("HTTP/1.1 500 ") && !answer.contains("1\r\n\r\n1"), "{answer}");
    });
    assert!(logged.iter().any(|line| line.contains("the disk is full")), "{logged:?}");
}

#[test]
fn an_answer_that_a_tornado_handler_finishes_early_waits_too() {
    use ropewalk_web::handlers::per_request;
    let store = MemorySessions::new(10);
    let router = ropewalk_web::Router::new().any("/", per_request(|| super::Counter));
    let sessions = Sessions::new(Slow(store.clone(), Rc::default()));
    let ground = super::Ground::calm(ropewalk_web::Site::new(router).with(sessions));
    let peer = ground.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    ground.advance(45 * MS);
    assert!(peer.text().is_empty() && store.is_empty());
    ground.advance(20 * MS);
    assert!(peer.text().starts_with("HTTP/1.1 302 Found\r\n"), "{}", peer.text());
    assert!(peer.text().contains("Set-Cookie: session=") && store.len() == 1);
    // The connection goes on.
    peer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    ground.advance(200 * MS);
    assert_eq!(peer.text().matches("HTTP/1.1 302 Found").count(), 2);
}

#[test]
fn a_session_in_a_cookie_needs_no_store_and_cannot_be_changed() {
    let ground = ground(Sessions::in_cookie(Keys::random()));
    let mut ada = Visitor::new(&ground);
    assert_eq!((ada.body("GET", "/"), ada.body("GET", "/")), ("1".into(), "2".into()));
    ada.ask("POST", "/login");
    assert_eq!(ada.body("GET", "/look"), "ada");
    let good = ada.cookie().unwrap().to_owned();
    for at in [10, good.len() / 2, good.len() - 1] {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes).unwrap();
        let mut thief = Visitor { ground: &ground, cookies: vec![("session".into(), forged)] };
        assert_eq!(thief.body("GET", "/look"), "nobody");
    }
    ada.ask("POST", "/logout");
    assert!(ada.cookie().is_none());
    ada.cookies = vec![("session".into(), good)];
    assert_eq!(ada.body("GET", "/look"), "ada", "as its documentation says, nobody can end one");
    ground.advance(Duration::from_secs(31 * 60));
    assert_eq!(ada.body("GET", "/look"), "nobody");
}

#[test]
fn a_store_in_memory_stays_small() {
    let store = MemorySessions::new(5);
    let ground = ground(Sessions::new(store.clone()));
    let mut first = Visitor::new(&ground);
    first.ask("POST", "/login");
    for _ in 0..20 {
        ground.advance(MS);
        Visitor::new(&ground).ask("GET", "/");
        assert!(store.len() <= 5);
    }
    assert_eq!(first.body("GET", "/look"), "nobody");
}
