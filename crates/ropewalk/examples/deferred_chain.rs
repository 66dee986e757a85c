//! A chain of callbacks: each link takes what the one before made, a deferred among them makes the chain wait.
//!
//! Run it with `cargo run --example deferred_chain`. It orders a meal, link by link, and prints within a second:
//! ```text
//! ordered: soup
//! the cook has soup, and needs a while
//! served: hot soup
//! that makes 4 coins, 5 with the tip
//! ```
#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;

use ropewalk::{Deferred, Outcome, Reactor, react};

const COOKING: Duration = Duration::from_millis(300);

/// What the kitchen answers is a deferred of its own: it takes time.
fn cook(reactor: &Reactor, dish: String) -> Deferred<String> {
    reactor.defer_later(COOKING, move || format!("hot {dish}"))
}

/// Orders, and answers with the end of the chain at once. Nothing has happened by then: `order` has to be fired.
pub fn meal(
    reactor: &Reactor,
    order: Deferred<String>,
    say: impl Fn(String) + Clone + 'static,
) -> Deferred<u32> {
    let (kitchen, say_ordered, say_served, say_price) = (reactor.clone(), say.clone(), say.clone(), say);
    order
        // A callback may return a plain value …
        .add_callback(move |dish| {
            say_ordered(format!("ordered: {dish}"));
            say_ordered(format!("the cook has {dish}, and needs a while"));
            dish
        })
        // … or another deferred, and the chain goes on when that has fired …
        .add_callback(move |dish| cook(&kitchen, dish))
        .add_callback(move |plate| {
            say_served(format!("served: {plate}"));
            "4"
        })
        // … or a `Result`, whose error would go to the next errback.
        .add_callback(|price| -> Outcome<u32> { Ok(price.parse()?) })
        .add_callback(move |price| {
            say_price(format!("that makes {price} coins, {} with the tip", price + 1));
            price + 1
        })
}

fn main() -> Outcome<()> {
    react(|reactor| {
        let (waiter, order) = Deferred::new(&reactor);
        let paid = meal(&reactor, order, |line| println!("{line}"));
        reactor.call_later(Duration::from_millis(200), move || {
            // Fired once; a second time would be an error that says where the first one was.
            waiter.callback("soup".to_owned()).expect("nobody else has this firing end");
        });
        paid.add_callback(|_coins| ())
    })
}
