//! The client that keeps its connection up: it says what its head promises, and comes back when the server does.

use std::cell::RefCell;
use std::rc::Rc;

use crate::support::{SECOND, Said};
use crate::{echo, reconnect};
use ropewalk::net::{Port, listen};
use ropewalk::{Protocol, Simulation, Transport};

/// The transport of the connection that was accepted last.
type Last = Rc<RefCell<Option<Transport>>>;

/// The example's echo, which the test can close.
struct Server(echo::Echo, Last);

impl Protocol for Server {
    fn connection_made(&mut self, transport: &Transport) {
        *self.1.borrow_mut() = Some(transport.clone());
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.0.data_received(transport, data);
    }
}

fn open(simulation: &Simulation, last: &Last) -> Port {
    let endpoint = "tcp:7007:interface=127.0.0.1".parse().unwrap();
    let last = Rc::clone(last);
    listen(simulation.reactor(), &endpoint, move || Server(echo::Echo, Rc::clone(&last))).unwrap()
}

#[test]
fn reconnect_says_what_its_head_promises() {
    let source = include_str!("../../examples/reconnect.rs");
    let (_, promised) = source.split_once("//! ```text\n").unwrap();
    let (promised, _) = promised.split_once("//! ```").unwrap();
    let promised: Vec<&str> = promised.lines().map(|line| &line["//! ".len()..]).collect();

    for seed in 0..100 {
        let (simulation, said, last) = (Simulation::new(seed), Said::default(), Last::default());
        simulation.advance(SECOND);
        let before = simulation.reactor().statistics().sources;
        let sink = said.sink();
        let service = reconnect::keep_up(simulation.reactor(), "tcp:127.0.0.1:7007", sink).unwrap();
        // It says each second how it is; what counts is what is new.
        let lines = RefCell::new(Vec::new());
        let until = |count: usize| {
            let enough = simulation.run_until(20 * SECOND, || {
                lines.borrow_mut().extend(said.take());
                lines.borrow_mut().dedup();
                lines.borrow().len() >= count
            });
            assert!(enough, "seed {seed}: {lines:?}");
        };
        until(1);
        let port = open(&simulation, &last);
        until(4);
        last.take().unwrap().lose_connection();
        until(promised.len());
        assert_eq!(*lines.borrow(), promised, "seed {seed}");

        drop(service.stop());
        port.stop_listening();
        simulation.advance(SECOND);
        assert_eq!(simulation.reactor().statistics().sources, before, "seed {seed}");
    }
}
