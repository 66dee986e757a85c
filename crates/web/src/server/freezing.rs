//! An HTTP connection on its way to another process: when it may go, what it puts down, and how it goes on there. The transport calls
//! it by way of the connection; the form of the record is `travel`'s.
//!
//! Between two requests there is nearly nothing to say; of a head that has come by half the bytes are handed back, and travel as
//! unread. A request whose handler waits for events goes with its place, and is asked again there. Any other handler comes to its
//! end first.

use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::{Frozen, Protocol, Transport};
use ropewalk_wire::http1::{Fed, Framing};

use super::{HttpConnection, Phase};
use crate::carrier::Carrier;
use crate::exchange::{Exchange, Stage};
use crate::site::SiteCore;
use crate::travel::{Arrived, Asked, Record};

/// A handler that means to wait, has done so for so long, and has not said that it may go, waits for something else than a channel.
const PACKED_WITHIN: Duration = Duration::from_secs(1);
/// A body that is no longer is waited for: it comes in a moment, and then its request is answered where it was begun.
const BODY_BYTES_AWAITED: u64 = 64 * 1024;

impl HttpConnection {
    /// Whether it can come to a point at which it may go.
    pub(super) fn may_travel(&self) -> bool {
        match self.phase {
            _ if self.stopping || self.congested => false,
            Phase::First | Phase::Idle | Phase::Head => true,
            Phase::Wait => self.exchange.as_ref().is_some_and(|exchange| is_near_its_end(exchange)),
            Phase::Body => self.exchange.as_ref().is_some_and(|exchange| {
                let short = matches!(exchange.head.framing(), Framing::Length(length) if length <= BODY_BYTES_AWAITED);
                short && exchange.stage.get() == Stage::Waiting
            }),
            Phase::Closing | Phase::HandedOver => false,
        }
    }

    pub(super) fn put_down(&mut self, transport: &Transport) -> Option<Frozen> {
        let mut record = Record { served: self.served, asked: None };
        match self.phase {
            Phase::First => {}
            Phase::Idle => self.arm_exactly(transport),
            Phase::Head => self.hand_back_head(transport),
            Phase::Wait => record.asked = Some(self.asked(transport)?),
            Phase::Body | Phase::Closing | Phase::HandedOver => return None,
        }
        Some(record.freeze())
    }

    /// As if the head had not begun to come: its bytes come again, here or there.
    fn hand_back_head(&mut self, transport: &Transport) {
        if let Some(exchange) = self.exchange.take() {
            transport.unread(exchange.head.raw());
            self.site.give_back(exchange);
        }
        self.phase = if self.served == 0 { Phase::First } else { Phase::Idle };
        self.armed = None;
    }

    /// The request that waits, if it is one that may go.
    fn asked(&self, transport: &Transport) -> Option<Asked> {
        let exchange = self.exchange.as_ref().filter(|exchange| exchange.stage.get() == Stage::Waiting)?;
        let packed = exchange.packed().filter(|_| exchange.given.borrow().is_none())?;
        let left = packed.until.since(transport.reactor().now());
        Some(Asked {
            begun: None,
            place: packed.place,
            left_ms: Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
            close: exchange.close.get(),
            holding: self.holding,
            head: exchange.head.raw().to_vec(),
        })
    }

    /// What a connection was in another process; none if this program does not understand it.
    pub(crate) fn thaw(site: &Rc<SiteCore>, frozen: &Frozen) -> Option<Box<dyn Protocol>> {
        let record = Record::read(frozen)?;
        let mut connection = HttpConnection::new(site);
        connection.served = record.served;
        match record.asked {
            Some(asked) => connection.take_up(asked)?,
            // What is left of its patience has travelled.
            None if record.served == 0 => connection.armed = Some(Phase::First),
            None => {
                connection.phase = Phase::Idle;
                connection.is_idle_until_deadline();
            }
        }
        Some(Box::new(connection))
    }

    fn take_up(&mut self, asked: Asked) -> Option<()> {
        let mut exchange = self.site.take_exchange();
        let unshared = Rc::get_mut(&mut exchange).expect("a spare exchange is nobody else's");
        let fed = unshared.head.feed(&asked.head, &self.site.limits.head_sizes);
        let whole = fed == Ok(Fed::Complete { consumed: asked.head.len() });
        if !whole || !matches!(unshared.head.framing(), Framing::None | Framing::Length(0)) {
            return None;
        }
        unshared.close.set(asked.close);
        unshared.set_part(Arrived {
            place: asked.place,
            left: asked.left_ms.map(Duration::from_millis),
            begun: asked.begun,
        });
        self.exchange = Some(exchange);
        self.holding = asked.holding;
        self.phase = Phase::Wait;
        Some(())
    }

    /// Asks the request again.
    pub(super) fn go_on_here(&mut self, transport: &Transport) {
        let Some(mut exchange) = self.exchange.take() else { return };
        let unshared = Rc::get_mut(&mut exchange).expect("nobody has seen it yet");
        unshared.belongs_to(Carrier::new(transport, self.served), &self.site);
        self.call_handler(transport, &exchange);
        self.proceed(transport, exchange);
        self.arm(transport);
    }
}

/// Whether the answer is worth waiting for, or the request may go before it.
fn is_near_its_end(exchange: &Exchange) -> bool {
    let waited = exchange.carrier().reactor().now().since(exchange.started);
    exchange.stage.get() == Stage::Waiting
        && (!exchange.patient.get() || exchange.packed().is_some() || waited < PACKED_WITHIN)
}
