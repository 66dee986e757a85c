//! A server that is never at a loss for its next number, whatever becomes of its process: each line is answered with the next Fibonacci
//! number, from 2 on, and no number is given twice.
//!
//! ```text
//! cargo run --example fibonacci start --rundir /tmp/fibonacci
//! nc 127.0.0.1 8007                              each Enter is answered: 2, 3, 5, 8, …
//! fibonacci upgrade --rundir /tmp/fibonacci      a new process goes on; nc notices nothing
//! fibonacci stop --rundir /tmp/fibonacci         and after the next start the numbers go on
//! ```
//! After `kill -9`, too: a number is on disk before it leaves. At most those that were just under way are missing then.

use std::{cell::Cell, process::ExitCode, rc::Rc};

use ropewalk::app::{Persist, State};
use ropewalk::net::{Frozen, LineHandler, LineReceiver, LineTransport};
use ropewalk::{Address, Factory, Protocol, Transport};
use serde::{Deserialize, Serialize};

const KIND: &str = "fibonacci";

/// The last two numbers, lowest digit first: they have no upper bound.
#[derive(Deserialize, Serialize)]
struct Numbers(Vec<u8>, Vec<u8>);

impl Default for Numbers {
    fn default() -> Self {
        Numbers(vec![1], vec![1])
    }
}

impl Persist for Numbers {}

impl Numbers {
    fn next(&mut self) -> String {
        let mut carry = 0;
        let mut sum: Vec<u8> = Vec::with_capacity(self.1.len() + 1);
        for (place, digit) in self.1.iter().enumerate() {
            let total = digit + self.0.get(place).copied().unwrap_or(0) + carry;
            sum.push(total % 10);
            carry = total / 10;
        }
        sum.extend((carry > 0).then_some(carry));
        self.0 = std::mem::replace(&mut self.1, sum);
        self.1.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
    }
}

/// One connection.
struct Counting {
    numbers: State<Numbers>,
    /// Answers that are not on disk yet.
    under_way: Rc<Cell<usize>>,
}

impl LineHandler for Counting {
    fn line_received(&mut self, transport: &LineTransport<'_>, _: &[u8]) {
        let number = self.numbers.update(Numbers::next);
        let (transport, under_way) = (Transport::clone(transport), Rc::clone(&self.under_way));
        under_way.set(under_way.get() + 1);
        let answer = move |saved: Result<(), ropewalk::Failure>| {
            under_way.set(under_way.get() - 1);
            match saved {
                Ok(()) => transport.write(format!("{number}\n").as_bytes()),
                // What is not safe is not said.
                Err(_) => transport.abort_connection(),
            }
        };
        self.numbers.commit().add_both(answer).detach();
    }

    fn freezable(&self) -> bool {
        true
    }

    fn freeze(&mut self, _: &LineTransport<'_>) -> Option<Frozen> {
        // At rest there is nothing to say of a connection: the numbers are everybody's.
        (self.under_way.get() == 0).then(|| Frozen { kind: KIND.to_owned(), version: 1, bytes: Vec::new() })
    }
}

struct Counters(State<Numbers>);

impl Factory for Counters {
    fn build_protocol(&self, _: &Address) -> Option<Box<dyn Protocol>> {
        let counting = Counting { numbers: self.0.clone(), under_way: Rc::default() };
        Some(Box::new(LineReceiver::new(counting).with_any_ending()))
    }

    fn thaw(&self, peer: &Address, frozen: &Frozen) -> Option<Box<dyn Protocol>> {
        if frozen.kind == KIND { self.build_protocol(peer) } else { None }
    }
}

/// As every program of the runner's.
pub fn main() -> ExitCode {
    ropewalk::main("fibonacci", |app| {
        let numbers = app.state("numbers")?;
        app.listen("fibonacci", "tcp:8007", Counters(numbers))
    })
}
