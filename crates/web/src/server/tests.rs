//! What only the inside shows: how large things are, and that the exchange of a failed request goes back to the spares.

use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::{Address, listen};
use ropewalk_reactor::{Deferred, Failure, Simulation};

use super::HttpConnection;
use crate::{Request, Response, Router, Site};

const MS: Duration = Duration::from_millis(1);

#[test]
fn what_every_request_moves_about_stays_small() {
    assert_eq!(size_of::<crate::exchange::Exchange>(), 496);
    assert_eq!(size_of::<Response>(), 104);
    assert_eq!(size_of::<crate::Answer>(), 104);
    assert_eq!(size_of::<Request>(), 16);
    assert_eq!(size_of::<HttpConnection>(), 40);
}

fn failing() -> Router {
    Router::new()
        .get("/error", |_| Err::<String, _>(Failure::new("as asked")))
        .get("/later", |request: Request| async move {
            let (firing, deferred) = Deferred::<()>::new(request.reactor());
            request.reactor().call_later(5 * MS, move || {
                // It fails only when nobody waits.
                let _ = firing.errback(Failure::new("as asked"));
            });
            deferred.await
        })
        .get("/by-hand", |request: Request| request.responder().fail("as asked"))
        .get("/late", |request: Request| {
            let responder = request.responder();
            request.reactor().call_later(5 * MS, move || responder.finish());
            Err::<String, _>(Failure::new("as asked"))
        })
        .get("/after", |request: Request| {
            request.responder().finish();
            Err::<(), _>(Failure::new("as asked"))
        })
        .get("/forgotten", |request: Request| drop(request.responder()))
        .get("/begun", |request: Request| {
            request.responder().write("begun");
            Err::<(), _>(Failure::new("as asked"))
        })
}

#[test]
fn a_failed_request_leaves_nothing_of_itself() {
    for path in ["/error", "/later", "/by-hand", "/late", "/after", "/forgotten", "/begun"] {
        let simulation = Simulation::new(1);
        let site = Site::new(failing());
        let core = Rc::clone(&site.handle().0);
        let endpoint = "tcp:0:interface=127.0.0.1".parse().unwrap();
        let port = listen(simulation.reactor(), &endpoint, site).unwrap();
        let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
        let nobody = Rc::strong_count(&core);
        let peer = simulation.network().connect(address);
        simulation.advance(10 * MS);
        peer.write(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        simulation.advance(100 * MS);
        let kept = !peer.is_ended();
        assert_eq!(kept, path != "/begun", "{path}");
        // The one that was late held its exchange too long, and a lost connection's is not worth keeping: those are freed.
        assert_eq!(core.spares(), usize::from(kept && path != "/late"), "{path}");
        assert_eq!(
            Rc::strong_count(&core),
            nobody + usize::from(kept),
            "{path}: the connection, and no exchange"
        );
        assert_eq!(core.counters.failures.get(), 1, "{path}");
        drop(peer);
        simulation.advance(Duration::from_secs(5));
        assert_eq!(Rc::strong_count(&core), nobody, "{path}");
    }
}
