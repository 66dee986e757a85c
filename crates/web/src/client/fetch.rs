//! The course of one request: a connection, an answer, perhaps the same again on another connection, perhaps the next hop of a
//! redirect. A future; dropping it gives up at whatever stage it is.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::{Outcome, Time};
use ropewalk_wire::http1::ResponseHead;

use super::agent::Agent;
use super::error::{ClientError, Phase};
use super::exchange::{Answered, Exchange, Fate, Handle};
use super::open::{Way, within};
use super::pool::{Grant, Key, Want};
use super::proxy::Proxy;
use super::redirect;
use super::request::{Payload, Plan};
use super::response::Response;

/// So often one request is tried: a connection may be lost before anything was sent more than once, but not for ever.
const TRIES_MAX: u32 = 3;

pub(super) struct Course {
    agent: Agent,
    plan: Plan,
    /// When all of it must be over, and how long that was.
    total: Option<(Time, Duration)>,
}

impl Course {
    pub(super) fn new(agent: Agent, mut plan: Plan) -> Course {
        for (name, value) in &agent.settings.fields {
            if plan.field(name).is_none() {
                plan.fields.push((name.clone(), value.clone()));
            }
        }
        let total = plan.deadlines.total.map(|limit| (agent.reactor().now() + limit, limit));
        Course { agent, plan, total }
    }

    pub(super) async fn run(self) -> Outcome<Response> {
        let (reactor, total) = (self.agent.reactor().clone(), self.total.map(|(_, limit)| limit));
        // Pinned here: what is handed on by value is kept twice in the future of the function that it is handed to.
        within(&reactor, total, Phase::Total, pin!(self.follow())).await?
    }

    /// From hop to hop.
    async fn follow(mut self) -> Outcome<Response> {
        let mut hops = 0;
        loop {
            let (handle, answered) = self.hop().await?;
            self.take_cookies(&answered.head);
            let plan = &mut self.plan;
            let Some(step) = redirect::next(&plan.url, &plan.method, &answered.head, plan.redirects)? else {
                let unpacks = plan.unpacks();
                return Ok(Response::new(&self.agent.settings, &plan.url, hops, handle, *answered, unpacks));
            };
            if hops == plan.redirects.most {
                return Err(ClientError::TooManyRedirects(hops).into());
            }
            hops += 1;
            redirect::strip(&mut plan.fields, &step);
            if step.becomes_get {
                (plan.method, plan.body, plan.expects) = ("GET".into(), Payload::Empty, false);
            }
            if plan.body.is_gone() {
                return Err(ClientError::Redirect("its body was sent and cannot be sent again").into());
            }
            plan.url = if step.leaves { step.url } else { step.url.with_userinfo_of(&plan.url) };
        }
    }

    fn take_cookies(&self, head: &ResponseHead) {
        let settings = &self.agent.settings;
        let Some(jar) = &settings.cookies else { return };
        let now = settings.reactor.wall_clock();
        for (_, value) in head.fields().filter(|(name, _)| name.eq_ignore_ascii_case("Set-Cookie")) {
            jar.store(&self.plan.url, &String::from_utf8_lossy(value), now);
        }
    }

    /// One request to one server, sent again only where that is safe.
    async fn hop(&mut self) -> Outcome<(Handle, Box<Answered>)> {
        let settings = Rc::clone(&self.agent.settings);
        let pool = Rc::clone(&self.agent.pool);
        let origin = self.plan.url.origin().clone();
        let proxy = settings.proxy.as_deref().filter(|proxy| proxy.is_for(&self.plan.url));
        let needs_tls = origin.is_secure() || proxy.is_some_and(|proxy| proxy.origin().is_secure());
        if needs_tls && !settings.connector.has_tls() {
            return Err(ClientError::NeedsTls.into());
        }
        let told = proxy.filter(|_| !origin.is_secure());
        let key = told.map_or(Key::Origin(origin.clone()), |proxy| Key::Proxy(proxy.origin().clone()));
        let keep_alive = !pool.limits.idle.is_zero();
        let head = self.plan.encode(&settings, told, keep_alive)?;
        let mut want = Want { fresh: false, pipelined: self.plan.pipelined };
        let mut tries = 0;
        loop {
            tries += 1;
            let (outcome, kept) = self.attempt(&key, want, proxy, &head).await?;
            let (error, fate) = match outcome {
                Ok(answered) => {
                    pool.answered.set(pool.answered.get() + 1);
                    return Ok(answered);
                }
                Err(lost) => lost,
            };
            // Nothing of it was sent; or it may be sent twice, and it was the connection that was old.
            let is_safe = fate == Fate::Unsent || fate == Fate::Unanswered && kept && self.plan.idempotent;
            if !is_safe || self.plan.body.is_gone() || tries == TRIES_MAX {
                return Err(error.into());
            }
            pool.resent.set(pool.resent.get() + 1);
            want = Want { fresh: true, pipelined: false };
        }
    }

    /// Sends it once. Answers also whether the connection had served a request before.
    async fn attempt(
        &mut self,
        key: &Key,
        want: Want,
        proxy: Option<&Proxy>,
        head: &[u8],
    ) -> Outcome<(Result<(Handle, Box<Answered>), (ClientError, Fate)>, bool)> {
        let (agent, plan) = (&self.agent, &mut self.plan);
        let checkout = agent.pool.checkout(key.clone(), want);
        let grant = within(agent.reactor(), plan.deadlines.queue, Phase::Queue, pin!(checkout)).await??;
        let lease = match grant {
            Grant::Kept(lease) => lease,
            Grant::Make(slot) => {
                let way = Way { agent, origin: plan.url.origin(), proxy, deadlines: &plan.deadlines };
                // Rare and large: it would make every request's future as large.
                Box::pin(way.open(slot, want)).await?
            }
        };
        let (kept, length) = (lease.is_kept(), plan.length());
        let outgoing = plan.body.take(length);
        let limits = &agent.settings.limits;
        let exchange = Exchange::new(&plan.method, &plan.deadlines, limits, self.total, outgoing);
        if plan.expects {
            exchange.continues_at.set(Some(agent.reactor().now() + plan.deadlines.continues));
        }
        let handle = Handle(exchange);
        lease.begin(&handle.0, head);
        match poll_fn(|context| handle.0.poll_head(context)).await {
            Ok(answered) => Ok((Ok((handle, answered)), kept)),
            Err((error, fate)) => {
                if fate == Fate::Unsent {
                    plan.body.put_back(handle.0.reclaim(), length);
                }
                Ok((Err((error, fate)), kept))
            }
        }
    }
}
