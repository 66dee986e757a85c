//! `ropewalk hub`: a WebSub hub as a service, and the commands that ask one that runs. What a hub does is in `ropewalk_hub`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use clap::{Args, Subcommand};
use ropewalk_app::{Activity, App, Bound, OpenDatabase, StartError, Tenant};
use ropewalk_hub::store::{MemoryStore, SCHEMA, SqliteStore, Store};
use ropewalk_hub::{Algorithm, Guard, Hub, HubOptions, TopicPolicy};
use ropewalk_net::{Networks, ServerEndpoint};
use ropewalk_reactor::{Failure, Outcome, Reactor, react};
use ropewalk_web::Site;
use ropewalk_web::client::{Agent, Response, Url};
use serde_json::Value;

use crate::command::WEB_ENDPOINT;
use crate::data;
use crate::kinds::local;

/// Rows that are asked for at once.
const ROWS: &str = "1000";

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct HubArgs {
    /// Where it is served: the hub at /hub, a page for people at /, its state at /state
    #[arg(long, value_name = "ENDPOINT", default_value = WEB_ENDPOINT)]
    pub(crate) listen: ServerEndpoint,
    /// The folder in which subscriptions and what waits are kept [default: ropewalk-data, or memory if that cannot be written]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Networks from which topics may be fetched, beside public addresses; may be given several times
    #[arg(long, value_name = "CIDR")]
    allow_topics: Vec<Networks>,
    /// Networks in which subscribers may be, beside public addresses; may be given several times
    #[arg(long, value_name = "CIDR")]
    allow_callbacks: Vec<Networks>,
    /// The hub's public URL [default: http://ADDRESS/hub]
    #[arg(long)]
    url: Option<Url>,
    /// What shows the state at /state, and what publishers show who send contents instead of pings
    #[arg(long)]
    token: Option<String>,
    /// Serve topics below this URL only; may be given several times
    #[arg(long, value_name = "URL", conflicts_with = "topics_naming_us")]
    topics_below: Vec<Url>,
    /// Serve only topics that name this hub themselves
    #[arg(long)]
    topics_naming_us: bool,
    /// Send of feeds (Atom, RSS) only the entries that a subscriber does not have
    #[arg(long)]
    feed_diff: bool,
    /// How deliveries are signed: sha1, sha256, sha384 or sha512
    #[arg(long, value_name = "METHOD", default_value = "sha256")]
    signature: Algorithm,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// List what a running hub has: topics, subscriptions, letters or wishes
    List {
        #[arg(value_parser = ["topics", "subscriptions", "letters", "wishes"], default_value = "subscriptions")]
        what: String,
        #[command(flatten)]
        running: Running,
    },
    /// Show how a running hub fares, or one subscription of it
    Show {
        #[arg(requires = "callback")]
        topic: Option<String>,
        callback: Option<String>,
        #[command(flatten)]
        running: Running,
    },
    /// Deliver again what was given up
    Retry {
        #[arg(requires = "callback", required_unless_present = "all")]
        topic: Option<String>,
        callback: Option<String>,
        /// All dead letters
        #[arg(long, conflicts_with = "topic")]
        all: bool,
        #[command(flatten)]
        running: Running,
    },
    /// End a subscription, and tell the subscriber
    Deny {
        topic: String,
        callback: String,
        /// What the subscriber is told
        #[arg(long, default_value = "ended by the hub's operator")]
        reason: String,
        #[command(flatten)]
        running: Running,
    },
}

#[derive(Args)]
struct Running {
    /// The running hub
    #[arg(long)]
    url: Url,
    /// Its token
    #[arg(long)]
    token: String,
}

impl HubArgs {
    /// Asks a running hub, if that is what the command line says.
    pub(crate) fn ask(&self, program: &str) -> Option<ExitCode> {
        let verb = self.verb.as_ref()?;
        let (url, token) = verb.running();
        let call = verb.call();
        let asked = react(move |reactor| async move { ask(&reactor, &url, &token, call).await });
        Some(match asked {
            Ok(text) => {
                // Where nobody listens there is nobody to tell.
                let _ = io::stdout().write_all(text.as_bytes());
                ExitCode::SUCCESS
            }
            Err(failure) => {
                let _ = writeln!(io::stderr(), "{program}: {failure}");
                ExitCode::FAILURE
            }
        })
    }

    fn options(&self) -> HubOptions {
        let guard = |list: &[Networks]| {
            let text: Vec<String> = list.iter().map(ToString::to_string).collect();
            // Each of them was read before.
            Guard::allowing(text.join(",").parse().unwrap_or_default())
        };
        let topics = match (self.topics_naming_us, self.topics_below.as_slice()) {
            (true, _) => TopicPolicy::Naming,
            (false, []) => TopicPolicy::Open,
            (false, below) => TopicPolicy::Below(below.to_vec()),
        };
        HubOptions {
            url: self.url.as_ref().map(ToString::to_string).unwrap_or_default(),
            topics,
            topic_guard: guard(&self.allow_topics),
            callback_guard: guard(&self.allow_callbacks),
            token: self.token.clone().filter(|token| !token.is_empty()),
            algorithm: self.signature,
            feed_diff: self.feed_diff,
            ..HubOptions::default()
        }
    }

    fn store(&self, reactor: &Reactor, opened: &OpenDatabase) -> Result<Rc<dyn Store>, StartError> {
        Ok(match data::open(reactor, self.store.as_deref(), "hub.sqlite", SCHEMA, opened)? {
            Some(database) => Rc::new(SqliteStore::new(database)),
            None => Rc::new(MemoryStore::new(reactor)),
        })
    }
}

/// Adds the hub to the program.
pub(crate) fn build(app: &mut App, args: HubArgs) -> Result<(), StartError> {
    if args.verb.is_some() {
        return Err(StartError::new(
            "list, show, retry and deny ask a hub that runs: write them behind ropewalk hub",
        ));
    }
    let database = OpenDatabase::default();
    app.store(database.clone());
    app.serve_tenant("hub", local(args.listen.clone()), move |reactor| {
        // Not before it starts: another process may still have the store.
        let hub = Hub::new(reactor, args.store(reactor, &database)?, args.options());
        Ok((Site::new(hub.handler()), HubTenant(hub)))
    });
    Ok(())
}

/// A hub learns its URL from where it is bound, and has deliveries on their way at the end.
struct HubTenant(Hub);

impl Tenant for HubTenant {
    fn bound(&mut self, bound: &Bound) -> Result<(), StartError> {
        if self.0.url().is_empty() {
            let Some(url) = &bound.url else {
                return Err(StartError::new("a hub without an address wants --url, as subscribers reach it"));
            };
            self.0.set_url(&format!("{url}hub"));
        }
        Ok(())
    }

    fn stop(&mut self) {
        // What is on its way may arrive; what waits is written down.
        self.0.drain();
    }

    fn busy(&self) -> usize {
        self.0.statistics().running
    }

    fn activities(&self) -> Vec<Activity> {
        let figures = self.0.statistics();
        let (waiting, running, given_up) = (figures.waiting, figures.running, figures.given_up);
        let line = format!(
            "{running} tasks run, {waiting} wait; {} deliveries, {given_up} given up",
            figures.delivered
        );
        let activity = Activity::new(line).with("running", running).with("waiting", waiting);
        vec![activity.with("delivered", figures.delivered).with("given_up", given_up)]
    }
}

/// What is asked of a running hub.
struct Call {
    path: &'static str,
    /// Sent by POST, unless it only asks.
    changes: bool,
    arguments: Vec<(&'static str, String)>,
    /// Rows of this name are a table, a page at a time.
    rows: Option<String>,
}

impl Verb {
    fn running(&self) -> (Url, String) {
        let (Verb::List { running, .. }
        | Verb::Show { running, .. }
        | Verb::Retry { running, .. }
        | Verb::Deny { running, .. }) = self;
        (running.url.clone(), running.token.clone())
    }

    fn call(&self) -> Call {
        let pair = |topic: &Option<String>, callback: &Option<String>| -> Vec<(&'static str, String)> {
            let named = [("topic", topic), ("callback", callback)];
            named.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
        };
        match self {
            Verb::List { what, .. } => {
                let path = match what.as_str() {
                    "topics" => "/state/topics",
                    "letters" => "/state/letters",
                    "wishes" => "/state/wishes",
                    _ => "/state/subscriptions",
                };
                Call { path, changes: false, arguments: Vec::new(), rows: Some(what.clone()) }
            }
            Verb::Show { topic, callback, .. } => {
                let arguments = pair(topic, callback);
                let path = if arguments.is_empty() { "/state" } else { "/state/subscriptions" };
                Call { path, changes: false, arguments, rows: None }
            }
            Verb::Retry { topic, callback, all, .. } => {
                let mut arguments = pair(topic, callback);
                arguments.extend(all.then(|| ("all", "1".to_owned())));
                Call { path: "/state/retry", changes: true, arguments, rows: None }
            }
            Verb::Deny { topic, callback, reason, .. } => {
                let mut arguments = pair(&Some(topic.clone()), &Some(callback.clone()));
                arguments.push(("reason", reason.clone()));
                Call { path: "/state/deny", changes: true, arguments, rows: None }
            }
        }
    }
}

async fn ask(reactor: &Reactor, hub: &Url, token: &str, call: Call) -> Outcome<String> {
    let agent = Agent::new(reactor);
    let url = hub.join(call.path).map_err(Failure::new)?.to_string();
    let arguments: Vec<(&str, &str)> =
        call.arguments.iter().map(|(name, value)| (*name, value.as_str())).collect();
    if call.changes {
        let request = agent.post(&url).bearer_auth(token).form(&arguments);
        let value: Value = answered(request.send().await?).await?;
        return Ok(format!("{value:#}\n"));
    }
    let (mut text, mut after) = (String::new(), String::new());
    loop {
        let mut request = agent.get(&url).bearer_auth(token).query("limit", ROWS).query("after", &after);
        for (name, value) in &arguments {
            request = request.query(name, value);
        }
        let value = answered(request.send().await?).await?;
        let Some(rows) = call.rows.as_deref().and_then(|name| value[name].as_array()) else {
            return Ok(format!("{value:#}\n"));
        };
        for row in rows {
            text.push_str(&line(row));
        }
        match rows.last() {
            Some(last) if rows.len().to_string() == ROWS => after = key(last),
            _ => return Ok(text),
        }
    }
}

async fn answered(response: Response) -> Outcome<Value> {
    match response.status() {
        200 => response.json().await,
        401 => Err(Failure::new("the hub does not know this token")),
        status => Err(Failure::new(format!("the hub answers {status}: {}", response.text().await?.trim()))),
    }
}

/// Values with tabs between: for people, `cut` and `awk`.
fn line(row: &Value) -> String {
    let values = row.as_object().into_iter().flatten().map(|(name, value)| match value {
        Value::String(text) => format!("{name}={}", text.replace(['\t', '\n'], " ")),
        other => format!("{name}={other}"),
    });
    let mut line = values.collect::<Vec<_>>().join("\t");
    line.push('\n');
    line
}

/// What the next page begins behind.
fn key(row: &Value) -> String {
    let text = |name: &str| row[name].as_str().unwrap_or_default();
    if text("callback").is_empty() {
        text("topic").to_owned()
    } else {
        format!("{} {}", text("topic"), text("callback"))
    }
}
