//! One deadline per connection; the phase says what it means. Setting it, and what happens when it has passed. The connection
//! calls it at the end of every callback.
//!
//! A request that comes in one piece and is answered at once leaves the deadline where it is, with the pause before it: only when that
//! has passed, it is looked at how long this one has lasted.

use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::{Lost, Transport};
use ropewalk_reactor::Time;
use ropewalk_wire::http1::Head;

use super::{HttpConnection, Phase};
use crate::exchange::Stage;
use crate::inbound::BodyError;
use crate::limits::count;
use crate::response::Response;

impl HttpConnection {
    /// Sets the deadline of the phase, when the phase has changed.
    #[inline]
    pub(super) fn arm(&mut self, transport: &Transport) {
        if self.armed != Some(self.phase) {
            self.arm_anew(transport);
        }
    }

    fn arm_anew(&mut self, transport: &Transport) {
        let phase = self.phase;
        self.armed = Some(phase);
        let limits = &self.site.limits;
        let patience = match phase {
            Phase::First => limits.first_byte,
            Phase::Idle => limits.keep_alive,
            Phase::Head => limits.head,
            Phase::Body => Some(limits.body.unwrap_or(Duration::MAX).min(limits.body_grace)),
            Phase::Wait => limits.handler.filter(|_| !self.is_patient()),
            // The transport has its own for what is still to be sent.
            Phase::Closing | Phase::HandedOver => return,
        };
        transport.set_deadline(patience.map(|patience| transport.reactor().now() + patience));
    }

    /// The pause before the next request begins.
    pub(super) fn is_idle_from_now(&mut self, transport: &Transport) {
        self.idle_ms = low_ms(transport.reactor().now());
        if self.armed != Some(Phase::Idle) {
            self.armed = None;
        }
    }

    /// How long this pause may still last; `None` if it has lasted long enough.
    fn idle_left(&self, transport: &Transport) -> Option<Duration> {
        let lasted_ms = low_ms(transport.reactor().now()).wrapping_sub(self.idle_ms);
        let left = self.site.limits.keep_alive?.checked_sub(Duration::from_millis(lasted_ms.into()))?;
        (!left.is_zero()).then_some(left)
    }

    /// Sets the deadline to where this pause has to end, if it is not there.
    pub(super) fn arm_exactly(&mut self, transport: &Transport) {
        if self.armed == Some(Phase::Idle)
            && let Some(left) = self.idle_left(transport)
        {
            transport.set_deadline(Some(transport.reactor().now() + left));
        }
    }

    /// The deadline of this pause is the transport's, whatever else is known of it.
    pub(super) fn is_idle_until_deadline(&mut self) {
        let patience_ms = self.site.limits.keep_alive.map_or(0, |patience| patience.as_millis());
        self.idle_ms = 0_u32.wrapping_sub(u32::try_from(patience_ms).unwrap_or(u32::MAX));
        self.armed = Some(Phase::Idle);
    }

    /// Whether the handler may take its time: it said so, or the answer has begun.
    pub(super) fn is_patient(&self) -> bool {
        self.exchange
            .as_ref()
            .is_some_and(|exchange| exchange.patient.get() || exchange.stage.get() != Stage::Waiting)
    }

    /// The deadline of the phase has passed.
    pub(super) fn expired(&mut self, transport: &Transport) {
        self.armed = None;
        let site = Rc::clone(&self.site);
        match self.phase {
            Phase::First => {
                count(&site.counters.first_byte);
                self.close(transport, false);
            }
            // The client is still reading its answer; the transport sees to it that it does.
            Phase::Idle if transport.buffered() > 0 => self.arm(transport),
            Phase::Idle if self.idle_left(transport).is_some() => {
                self.armed = Some(Phase::Idle);
                self.arm_exactly(transport);
            }
            Phase::Idle => {
                count(&site.counters.keep_alive);
                self.close(transport, false);
            }
            Phase::Head => {
                count(&site.counters.head);
                let carrier = self.carrier(transport);
                if let Some(exchange) = self.exchange.as_mut().and_then(Rc::get_mut) {
                    exchange.belongs_to(carrier, &site);
                }
                self.expire(transport, 408, "the request did not arrive in time");
            }
            Phase::Body => self.judge_body(transport),
            Phase::Wait if self.is_patient() => {}
            Phase::Wait => self.handler_is_late(transport),
            Phase::Closing | Phase::HandedOver => {}
        }
    }

    /// It is answered for; whether it goes on is as if its client had left ([`crate::IfClientLeaves`]). Writes that come later reach
    /// nobody.
    fn handler_is_late(&mut self, transport: &Transport) {
        count(&self.site.counters.handler);
        let head = self.exchange.as_ref().map(|exchange| &exchange.head);
        let (method, path) = (head.map(Head::method), head.map(Head::path));
        tracing::error!(method, path, "a handler did not begin to answer in time");
        self.expire(transport, 503, "the server took too long to answer");
    }

    /// A body's deadline: whoever keeps up the rate gets more time, up to the limit for the whole. The time in which the
    /// client waited for this side is the handler's, not its own.
    fn judge_body(&mut self, transport: &Transport) {
        /// Looking more often would be a timer per byte for a client that is just fast enough.
        const LOOK_AGAIN: Duration = Duration::from_secs(1);
        let now = transport.reactor().now();
        let site = Rc::clone(&self.site);
        let limits = &site.limits;
        let Some(exchange) = self.exchange.clone() else { return };
        let (held_since, held) = exchange.inbound.borrow().held(now);
        let flight = self.flight();
        let elapsed = now.since(flight.body_began).saturating_sub(held);
        let allowed =
            time_for(flight.received, limits.body_bytes_per_second_min).saturating_add(limits.body_grace);
        let left = match held_since {
            Some(since) => match limits.handler.filter(|_| !self.is_patient()) {
                Some(handler) if now.since(since) >= handler => return self.handler_is_late(transport),
                Some(handler) => handler.saturating_sub(now.since(since)).min(limits.body_grace),
                None => limits.body_grace,
            },
            None => allowed.min(limits.body.unwrap_or(Duration::MAX)).saturating_sub(elapsed),
        };
        if left.is_zero() {
            let whole = limits.body.is_some_and(|body| elapsed >= body);
            count(if whole { &site.counters.body } else { &site.counters.body_rate });
            exchange.body_error(BodyError::TimedOut);
            return self.expire(transport, 408, "the body came too slowly");
        }
        self.armed = Some(Phase::Body);
        transport.set_deadline(Some(now + left.max(LOOK_AGAIN)));
    }

    /// A deadline's answer: a status, and the end.
    fn expire(&mut self, transport: &Transport, status: u16, why: &'static str) {
        self.give_up(transport, Response::error(status, why).close(), &Lost::TimedOut(why));
    }
}

fn low_ms(time: Time) -> u32 {
    (time.as_millis_ceil() & u64::from(u32::MAX)) as u32
}

/// What a body of so many bytes may have taken at the least rate.
fn time_for(bytes: u64, per_second: u32) -> Duration {
    if per_second == 0 {
        Duration::MAX
    } else {
        Duration::from_secs_f64(bytes as f64 / f64::from(per_second))
    }
}
