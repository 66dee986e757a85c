//! `ropewalk subscribe`: follows pages through their WebSub hubs, and hands on what is delivered. Two services: `callbacks`, at which hubs
//! ask and deliver, and `subscriber`, which keeps the subscriptions. What a subscriber does is in `ropewalk_hub`.

mod exec;
mod outlet;

use std::cell::RefCell;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use ropewalk_app::{App, Bound, Neighbour, OpenDatabase, Service, StartError};
use ropewalk_hub::{LEDGER_SCHEMA, Ledger, MemoryLedger, SqliteLedger, State, Subscriber, SubscriberOptions};
use ropewalk_net::ServerEndpoint;
use ropewalk_reactor::Reactor;
use ropewalk_web::client::{Agent, Url};
use ropewalk_web::{Answer, Handler, Request, Response, Site};

use crate::command::WEB_ENDPOINT;
use crate::data;
use crate::kinds::local;
use crate::push::age;
use outlet::{Outlet, Place};

/// How long hubs may take at the end to ask whether one really leaves.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(crate) struct SubscribeArgs {
    /// Pages and feeds to follow: each names its hub
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<Url>,
    /// Where hubs ask and deliver. There is no access log: the addresses of callbacks are secrets
    #[arg(long, value_name = "ENDPOINT", default_value = WEB_ENDPOINT)]
    listen: ServerEndpoint,
    /// The public URL of that place, as hubs reach it, such as https://me.example/websub/ [default: http://ADDRESS/]
    #[arg(long, value_name = "URL")]
    callback_base: Option<Url>,
    /// The folder in which subscriptions are kept [default: ropewalk-data, or memory if that cannot be written]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Run this in a shell for each delivery: the content is its standard input, and WEBSUB_TOPIC, WEBSUB_PAGE and CONTENT_TYPE are in its
    /// environment. A code other than 0 lets the hub come again [default: print a line of JSON]
    #[arg(long, value_name = "COMMAND", conflicts_with = "push")]
    exec: Option<String>,
    /// Publish each delivery in this channel of ropewalk push, such as http://127.0.0.1:8081/channels/news
    #[arg(long, value_name = "URL")]
    push: Option<Url>,
    /// The token that the channel wants
    #[arg(long, value_name = "TOKEN", requires = "push")]
    push_token: Option<String>,
    /// Deliveries that are worked on at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = count)]
    at_once: u16,
    /// How long one may take; hubs wait no longer than a quarter or half of a minute
    #[arg(long, value_name = "AGE", default_value = "20s", value_parser = age)]
    limit: Duration,
    /// The lease that hubs are asked for; it is renewed in time
    #[arg(long, value_name = "AGE", default_value = "10d", value_parser = age)]
    lease: Duration,
    /// How often pages are looked at themselves, in case a hub has gone silent
    #[arg(long, value_name = "AGE", default_value = "6h", value_parser = age)]
    poll: Duration,
    /// Never look at pages themselves
    #[arg(long, conflicts_with = "poll")]
    no_poll: bool,
    /// Tell the hubs at the end that nothing more is wanted
    #[arg(long)]
    unsubscribe: bool,
}

fn count(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "write a number from 1 on".to_owned())
}

/// Adds the services `callbacks` and `subscriber`.
pub(crate) fn build(app: &mut App, args: SubscribeArgs) -> Result<(), StartError> {
    let door = Door::default();
    let answering = door.clone();
    app.serve_own("callbacks", local(args.listen.clone()), move |_| Ok(Site::new(answering)));
    let callbacks = app.neighbour("callbacks").ok_or_else(|| StartError::new("there are no callbacks"))?;
    let database = OpenDatabase::default();
    app.store(database.clone());
    app.add(SubscribeService { args, door, callbacks, database, running: None });
    Ok(())
}

/// Callbacks are bound before there is a subscriber, whose wishes name the place.
#[derive(Clone, Default)]
struct Door(Rc<RefCell<Option<Rc<dyn Handler>>>>);

impl Handler for Door {
    fn handle(&self, request: Request) -> Answer {
        let handler = self.0.borrow().clone();
        match handler {
            Some(handler) => handler.handle(request),
            None => Answer::Now(Response::empty(503).header("Retry-After", "10")),
        }
    }
}

struct SubscribeService {
    args: SubscribeArgs,
    door: Door,
    callbacks: Neighbour,
    database: OpenDatabase,
    running: Option<(Subscriber, Outlet)>,
}

impl SubscribeService {
    fn place(&self) -> Place {
        match (&self.args.exec, &self.args.push) {
            (Some(command), _) => Place::Command(command.clone()),
            (None, Some(url)) => Place::Channel(url.clone(), self.args.push_token.clone()),
            (None, None) => Place::Output,
        }
    }

    fn ledger(&self, reactor: &Reactor) -> Result<Rc<dyn Ledger>, StartError> {
        let folder = self.args.store.as_deref();
        let opened = data::open(reactor, folder, "subscribe.sqlite", LEDGER_SCHEMA, &self.database)?;
        Ok(match opened {
            Some(database) => Rc::new(SqliteLedger::new(database)),
            None => Rc::new(MemoryLedger::new(reactor)),
        })
    }
}

impl Service for SubscribeService {
    fn name(&self) -> &str {
        "subscriber"
    }

    fn start(&mut self, reactor: &Reactor) -> Result<Vec<Bound>, StartError> {
        let args = &self.args;
        let url = args.callback_base.as_ref().map(ToString::to_string).or_else(|| self.callbacks.url());
        let url = url.ok_or_else(|| {
            StartError::new("callbacks without an address want --callback-base, as hubs reach them")
        })?;
        let poll = (!args.no_poll).then_some(args.poll);
        let options = SubscriberOptions { url, lease: args.lease, poll, ..SubscriberOptions::default() };
        let agent = Agent::new(reactor);
        let outlet = Outlet::new(&agent, self.place(), usize::from(args.at_once), args.limit);
        let taking = outlet.clone();
        let take = move |delivery| taking.take(delivery);
        let subscriber = Subscriber::new(&agent, self.ledger(reactor)?, options, take);
        *self.door.0.borrow_mut() = Some(Rc::new(subscriber.handler()));
        subscriber.keep(args.topics.iter().map(ToString::to_string));
        self.running = Some((subscriber, outlet));
        Ok(Vec::new())
    }

    fn ready(&mut self) -> Pin<Box<dyn Future<Output = Result<(), StartError>>>> {
        let subscriber = self.running.as_ref().map(|(subscriber, _)| subscriber.clone());
        Box::pin(async move {
            match subscriber {
                Some(subscriber) => subscriber.loaded().await.map_err(StartError::new),
                None => Ok(()),
            }
        })
    }

    fn health(&self) -> Result<(), String> {
        let Some((subscriber, _)) = &self.running else { return Ok(()) };
        let rows = subscriber.list();
        let active = |topic: &&Url| {
            let page = topic.to_string();
            rows.iter().any(|row| row.page == page && row.state == State::Active)
        };
        match self.args.topics.iter().filter(|topic| !active(topic)).count() {
            0 => Ok(()),
            count => Err(format!("{count} of {} topics have no subscription now", self.args.topics.len())),
        }
    }

    fn stop(&mut self) -> Pin<Box<dyn Future<Output = ()>>> {
        let Some((subscriber, _)) = self.running.as_ref() else { return Box::pin(std::future::ready(())) };
        let (subscriber, leaves) = (subscriber.clone(), self.args.unsubscribe);
        Box::pin(async move {
            // The callbacks are still open: hubs ask back there.
            if leaves && let Err(failure) = subscriber.leave_within(LEAVE_WITHIN).await {
                tracing::warn!("not every hub has let go of its subscription: {failure}");
            }
            subscriber.close();
        })
    }

    fn busy(&self) -> usize {
        self.running.as_ref().map_or(0, |(_, outlet)| outlet.busy())
    }
}
