//! The examples of deferreds: each says what its head promises.

use std::rc::Rc;

use ropewalk::{Deferred, Simulation};

use crate::support::{MS, SECOND, Said};
use crate::{await_style, crawl, deferred_chain, race, recovery};

/// The lines between the fences at the head of an example.
fn promised(source: &str) -> Vec<&str> {
    let (_, text) = source.split_once("//! ```text\n").unwrap();
    let (text, _) = text.split_once("//! ```").unwrap();
    text.lines().map(|line| &line["//! ".len()..]).collect()
}

#[test]
fn a_chain_of_callbacks() {
    let (simulation, said) = (Simulation::new(1), Said::default());
    let (waiter, order) = Deferred::new(simulation.reactor());
    deferred_chain::meal(simulation.reactor(), order, said.sink()).detach();
    simulation.advance(SECOND);
    assert!(said.take().is_empty(), "nothing happens before it is fired");
    waiter.callback("soup".to_owned()).unwrap();
    simulation.advance(SECOND);
    assert_eq!(said.take(), promised(include_str!("../../examples/deferred_chain.rs")));
}

#[test]
fn recovery_of_what_can_be_mended() {
    let (simulation, said) = (Simulation::new(1), Said::default());
    for fruit in ["apple", "pear", "plum"] {
        let say = said.sink();
        recovery::price(simulation.reactor(), fruit).add_callback(say).detach();
    }
    simulation.advance(SECOND);
    assert_eq!(said.take(), promised(include_str!("../../examples/recovery.rs")));
}

#[test]
fn the_await_style() {
    let (simulation, said) = (Simulation::new(1), Said::default());
    let say = said.sink();
    let breakfast =
        await_style::breakfast(simulation.reactor().clone(), move |line: &str| say(line.to_owned()));
    simulation.reactor().spawn(breakfast);
    simulation.advance(SECOND);
    assert_eq!(said.take(), promised(include_str!("../../examples/await_style.rs")));
    assert_eq!(simulation.reactor().statistics().timers, 0, "what took too long was cancelled");
}

#[test]
fn a_race_of_mirrors() {
    let (simulation, said) = (Simulation::new(1), Said::default());
    let won = race::fastest(simulation.reactor(), &race::MIRRORS, said.sink());
    won.add_callback(said.sink()).detach();
    simulation.advance(100 * MS);
    let mut lines = said.take();
    lines.sort();
    let mut expected = promised(include_str!("../../examples/race.rs"));
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn a_crawl_visits_every_page_and_is_polite() {
    let (simulation, said) = (Simulation::new(1), Said::default());
    let crawl = crawl::Crawl::new(simulation.reactor());
    crawl.visit(1);
    let (finished, say) = (Rc::clone(&crawl).finish(), said.sink());
    simulation.reactor().spawn(async move {
        let pages = finished.await.unwrap();
        say(format!("{pages} pages, at most {} at once", crawl.most.get()));
    });
    simulation.advance(SECOND);
    assert_eq!(said.take(), promised(include_str!("../../examples/crawl.rs")));
}
