//! The examples of timers and of threads: what they say, and when.

use std::cell::Cell;
use std::rc::Rc;

use crate::support::{MS, SECOND, Said};
use crate::{threads, timer};
use ropewalk::Simulation;

#[test]
fn timer_says_what_its_head_promises() {
    let source = include_str!("../../examples/timer.rs");
    let (_, promised) = source.split_once("//! ```text\n").unwrap();
    let (promised, _) = promised.split_once("//! ```").unwrap();
    let promised: Vec<&str> = promised.lines().map(|line| &line["//! ".len()..]).collect();

    let (simulation, said) = (Simulation::new(1), Said::default());
    let network = simulation.network().clone();
    timer::schedule(simulation.reactor(), said.sink(), move || network.hold(2500 * MS));
    simulation.advance(8500 * MS);
    let lines = said.take();
    assert_eq!(lines[..promised.len()], promised);
    assert_eq!(lines[promised.len()..], ["  8.0 s  tick"]);
}

#[test]
fn timer_ends_by_itself_when_it_was_put_off() {
    let (simulation, said) = (Simulation::new(1), Said::default());
    timer::schedule(simulation.reactor(), said.sink(), || {});
    simulation.advance(8900 * MS);
    assert!(simulation.reactor().is_running());
    simulation.advance(SECOND);
    assert!(!simulation.reactor().is_running());
    let lines = said.take();
    assert!(lines.iter().all(|line| !line.contains("missed") && !line.contains("egg is")), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.ends_with("the tea is ready")).count(), 1);
}

#[test]
fn threads_count_right_report_on_the_loop_and_delay_no_tick() {
    for seed in 0..100 {
        let (simulation, said, done) = (Simulation::new(seed), Said::default(), Rc::new(Cell::new(false)));
        simulation.network().set_conditions(|conditions| conditions.job = (100 * MS, 300 * MS));
        let (reactor, sink, end) = (simulation.reactor().clone(), said.sink(), Rc::clone(&done));
        simulation.reactor().spawn(async move {
            threads::demonstrate(reactor, 1000, sink).await.unwrap();
            end.set(true);
        });
        assert!(simulation.run_until(10 * SECOND, || done.get()), "seed {seed}");
        let lines = said.take();
        let parts: Vec<String> = (1..=4).map(|part| format!("{part} of 4 parts done")).collect();
        assert_eq!(lines[..4], parts, "seed {seed}");
        assert_eq!(lines[4], "168 primes below 1000, in one job");
        assert_eq!(lines[5], "168 primes below 1000, in three jobs");
        assert!(lines[6].ends_with(" ticks of 20 ms meanwhile, 0 missed"), "seed {seed}: {}", lines[6]);
        let ticks: u32 = lines[6].split(' ').next().unwrap().parse().unwrap();
        assert!((10..=30).contains(&ticks), "two rounds of 100 to 300 ms: {ticks} ticks");
        assert_eq!(simulation.reactor().statistics().timers, 0, "the ticker is stopped");
    }
}

#[test]
fn primes_are_primes() {
    assert_eq!(threads::primes(0..30), 10);
    assert_eq!(threads::primes(0..2), 0);
    assert_eq!(threads::primes(2..3), 1);
}
