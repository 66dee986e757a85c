//! Values that come back, files that are refused, and a writer that is killed at every moment.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use ropewalk_reactor::Simulation;
use serde::Deserialize;

use super::*;

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
struct Old(u64);
impl Persist for Old {}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
struct Visits {
    count: u64,
}
impl Persist for Visits {
    const VERSION: u32 = 2;

    fn migrate(version: u32, value: Value) -> Result<Visits, String> {
        match (version, value.as_u64()) {
            (1, Some(count)) => Ok(Visits { count }),
            _ => Err(format!("version {version} is no number")),
        }
    }
}

/// A folder of one test, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("ropewalk-state-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("abacus.state")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn saved(simulation: &Simulation, states: &States) {
    let done = Rc::new(Cell::new(false));
    let told = Rc::clone(&done);
    states.commit().add_callback(move |()| told.set(true)).detach();
    simulation.advance(Duration::from_secs(1));
    assert!(done.get());
}

#[test]
fn values_come_back_and_older_ones_are_brought_up_to_date() {
    let (folder, simulation) = (Folder::new("back"), Simulation::new(1));
    let begin = |program: &str| States::new(simulation.reactor(), program, Some(folder.file()));
    // 1. Two values are saved; the second is nobody's in the next run, and is kept all the same.
    let states = begin("abacus");
    let (first, second) =
        (states.declare::<Old>("visits".into()).unwrap(), states.declare::<Old>("other".into()).unwrap());
    assert!(states.declare::<Old>("other".into()).is_err());
    states.load(None).unwrap();
    first.update(|old| old.0 = 7);
    second.update(|old| old.0 = 9);
    saved(&simulation, &states);
    // 2. The first has another type now.
    let states = begin("abacus");
    let visits = states.declare::<Visits>("visits".into()).unwrap();
    states.load(None).unwrap();
    assert_eq!(visits.with(|visits| visits.count), 7);
    visits.update(|visits| visits.count += 1);
    saved(&simulation, &states);
    // 3. One that comes later, as in a reload, finds its value.
    let states = begin("abacus");
    states.declare::<Visits>("visits".into()).unwrap();
    states.load(None).unwrap();
    let other = states.declare::<Old>("other".into()).unwrap();
    assert_eq!(other.with(|old| old.0), 9);
    // 4. An older program does not understand the newer value, and leaves the file alone.
    let before = std::fs::read(folder.file()).unwrap();
    let states = begin("abacus");
    states.declare::<Old>("visits".into()).unwrap();
    let refused = states.load(None).unwrap_err().to_string();
    assert!(
        refused.contains("visits: a newer program has saved it (version 2; this one knows 1)"),
        "{refused}"
    );
    states.save_changes();
    simulation.advance(Duration::from_secs(1));
    assert_eq!(std::fs::read(folder.file()).unwrap(), before);
    // 5. Nor does another program take it.
    let refused = begin("zither").load(None).unwrap_err().to_string();
    assert!(refused.contains("the state of abacus") && refused.contains("move it away"), "{refused}");
}

#[test]
fn who_commits_while_others_wait_is_written_with_them() {
    let (folder, simulation) = (Folder::new("group"), Simulation::new(1));
    let states = States::new(simulation.reactor(), "abacus", Some(folder.file()));
    let value = states.declare::<Old>("n".into()).unwrap();
    states.load(None).unwrap();
    let order = Rc::new(RefCell::new(Vec::new()));
    for n in 1..=100 {
        value.update(|old| old.0 = n);
        let order = Rc::clone(&order);
        value.commit().add_callback(move |()| order.borrow_mut().push(n)).detach();
    }
    simulation.advance(Duration::from_secs(1));
    assert_eq!(*order.borrow(), (1..=100).collect::<Vec<u64>>());
    assert!(states.0.saves.get() <= 2, "{} writes for a hundred", states.0.saves.get());
    assert!(!states.0.dirty.get());
}

#[test]
fn a_value_goes_to_the_successor_of_its_service_or_stays() {
    let simulation = Simulation::new(1);
    let states = States::new(simulation.reactor(), "abacus", None);
    let old = states.declare::<Old>("shop/n".into()).unwrap();
    old.update(|old| old.0 = 5);
    let forgotten = states.forget("shop");
    let new = states.declare::<Old>("shop/n".into()).unwrap();
    assert_eq!(new.with(|new| new.0), 5);
    // The successor is not to be: what the old one changes is what is saved.
    states.restore("shop", &forgotten);
    old.update(|old| old.0 = 6);
    let written = file::decode(&states.encode(), "abacus").unwrap();
    assert_eq!(written.values["shop/n"].value, 6);
}

#[test]
fn what_cannot_be_written_fails_whoever_waits() {
    let (folder, simulation) = (Folder::new("full"), Simulation::new(1));
    let states =
        States::new(simulation.reactor(), "abacus", Some(folder.0.join("no/such/folder/file.state")));
    let value = states.declare::<Old>("n".into()).unwrap();
    states.load(None).unwrap();
    value.update(|old| old.0 = 1);
    let failed = Rc::new(Cell::new(false));
    let told = Rc::clone(&failed);
    value.commit().add_both(move |outcome| told.set(outcome.is_err())).detach();
    simulation.advance(Duration::from_secs(1));
    assert!(failed.get() && states.0.dirty.get(), "it is tried again");
}

#[test]
fn without_a_place_nothing_is_waited_for() {
    let simulation = Simulation::new(1);
    let states = States::new(simulation.reactor(), "abacus", None);
    states.declare::<Old>("n".into()).unwrap();
    states.load(None).unwrap();
    saved(&simulation, &states);
}

const WRITER: &str = "ROPEWALK_TEST_STATE_WRITER";

/// No test of its own: the child of the next one, which writes until it is killed and says what is safe.
#[test]
fn writer() {
    let Some(path) = std::env::var_os(WRITER) else { return };
    let path = PathBuf::from(path);
    let read = file::read(&path, "abacus").unwrap();
    let mut number = read.map_or(0, |contents| contents.values["n"].value[0].as_u64().unwrap());
    loop {
        number += 1;
        // Of many sizes, so that it is killed in the middle of many things.
        let value = serde_json::json!([number, "x".repeat(number as usize * 977 % 60_000)]);
        let values = [("n".to_owned(), Saved { version: 1, value })].into();
        file::replace(&path, &file::encode(&Contents { program: "abacus".to_owned(), values })).unwrap();
        println!("safe {number}");
    }
}

#[test]
fn a_writer_that_is_killed_at_any_moment_leaves_a_whole_file() {
    let folder = Folder::new("killed");
    let mut random = ropewalk_reactor::Random::new(7);
    let mut last = 0;
    for round in 0..120 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "state::tests::writer", "--nocapture", "--test-threads=1"])
            .env(WRITER, folder.file())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let number = |line: &str| line.split("safe ").nth(1).and_then(|number| number.parse::<u64>().ok());
        // Some writes, so that it is under way, and then some moment.
        let safe = lines.by_ref().find_map(|line| number(&line)).expect("it writes");
        for _ in 0..random.below(3000) {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let safe = lines.filter_map(|line| number(&line)).last().unwrap_or(safe);
        let contents = file::read(&folder.file(), "abacus").unwrap().expect("it is there");
        let read = contents.values["n"].value[0].as_u64().unwrap();
        assert!(
            read >= safe && safe > last,
            "round {round}: {read} is there, {safe} was promised after {last}"
        );
        last = read;
    }
}
