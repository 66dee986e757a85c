//! The client's handshake: a connection of an agent's connector is asked for WebSocket, and becomes one when the answer fits.

use std::fmt;
use std::rc::Rc;

use ropewalk_reactor::failure::TimedOut;
use ropewalk_reactor::{Deferred, Failure, Outcome};
use ropewalk_wire::websocket::{Accepted, Offered, Role, VERSION, key, offer_deflate};

use super::connection::Connection;
use super::conversation::{Conversation, Feeder};
use super::handle::{Rare, WebSocket};
use super::handler::WebSocketHandler;
use super::options::Options;
use super::shared::Shared;
use crate::client::{Agent, Ask, ClientError, Phase, Url};

/// The server did not complete the handshake.
///
/// ```
/// use ropewalk_reactor::Failure;
/// use ropewalk_web::websocket::HandshakeError;
/// fn is_refused(failure: &Failure) -> bool {
///     failure.check::<HandshakeError>().is_some_and(|error| matches!(error.status, 401 | 403))
/// }
/// assert!(is_refused(&Failure::new(HandshakeError { status: 403, why: "the status is not 101" })));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeError {
    /// The status of its answer.
    pub status: u16,
    /// What is wrong with it.
    pub why: &'static str,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no WebSocket: the server answers {}, {}", self.status, self.why)
    }
}

impl std::error::Error for HandshakeError {}

/// Connects to a `ws://` or `wss://` URL. The handler's [`open`](WebSocketHandler::open) is called when the connection stands; the deferred
/// fires with its handle. Cancelling it gives up.
///
/// Connections are made as the agent makes them: by its connector, through its proxy, with its cookies and fields. TLS is the connector's.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_net::listen;
/// use ropewalk_reactor::Simulation;
/// use ropewalk_web::client::Agent;
/// use ropewalk_web::websocket::{self, Message, Options, WebSocket, WebSocketHandler, code};
/// use ropewalk_web::{Request, Router, Site};
///
/// struct Echo;
/// impl WebSocketHandler for Echo {
///     fn message(&mut self, socket: &WebSocket, message: Message) {
///         socket.send(&message);
///     }
/// }
/// struct Asker;
/// impl WebSocketHandler for Asker {
///     fn open(&mut self, socket: &WebSocket) {
///         socket.send_text("Is anybody there?");
///     }
///     fn message(&mut self, socket: &WebSocket, message: Message) {
///         assert_eq!(message.as_text(), Some("Is anybody there?"));
///         socket.close(code::NORMAL, "thank you");
///     }
/// }
///
/// let simulation = Simulation::new(1);
/// let router = Router::new().get("/", |request: Request| websocket::upgrade(&request, Options::default(), Echo));
/// let port = listen(simulation.reactor(), &"tcp:80:interface=127.0.0.1".parse()?, Site::new(router))?;
/// let agent = Agent::new(simulation.reactor());
/// let connected = websocket::connect(&agent, "ws://localhost/", Options::default(), Asker);
/// let task = simulation.reactor().spawn(async move { connected.await.map(|socket| socket.closed()) });
/// simulation.advance(Duration::from_secs(1));
/// # assert!(task.is_finished());
/// # drop(port);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`HandshakeError`], [`ClientError`], or what [`ropewalk_net::connect`] fails of.
#[track_caller]
pub fn connect(
    agent: &Agent,
    url: &str,
    options: impl Into<Rc<Options>>,
    handler: impl WebSocketHandler,
) -> Deferred<WebSocket> {
    let (agent, url, options) = (agent.clone(), url.to_owned(), options.into());
    let reactor = agent.reactor().clone();
    reactor.ensure_deferred(async move { open(&agent, &url, options, Box::new(handler)).await })
}

/// The same as a [`Conversation`], which receives and sends. When it is dropped, the connection is closed.
///
/// ```no_run
/// use ropewalk_reactor::{Outcome, react};
/// use ropewalk_web::client::Agent;
/// use ropewalk_web::websocket::{self, Options};
///
/// react(|reactor| async move {
///     let mut socket = websocket::dial(&Agent::new(&reactor), "ws://example.org/news", Options::default()).await?;
///     socket.send_text("everything");
///     while let Some(message) = socket.receive().await {
///         println!("{message:?}");
///     }
///     Outcome::Ok(())
/// })?;
/// # Ok::<(), ropewalk_reactor::Failure>(())
/// ```
///
/// # Errors
/// As [`connect`].
#[track_caller]
pub fn dial(agent: &Agent, url: &str, options: impl Into<Rc<Options>>) -> Deferred<Conversation> {
    let (agent, url, options) = (agent.clone(), url.to_owned(), options.into());
    let reactor = agent.reactor().clone();
    reactor.ensure_deferred(async move {
        let feeder = Feeder::new();
        let conversation = feeder.conversation();
        open(&agent, &url, options, Box::new(feeder)).await.map(conversation)
    })
}

async fn open(
    agent: &Agent,
    url: &str,
    options: Rc<Options>,
    handler: Box<dyn WebSocketHandler>,
) -> Outcome<WebSocket> {
    let url = as_http(url)?;
    let reactor = agent.reactor();
    let key = key(Shared::of(reactor).random(reactor));
    let subprotocols = options.subprotocols.join(", ");
    let offer = options.deflate.as_ref().map(offer_deflate);
    let mut fields = vec![("Sec-WebSocket-Version", VERSION), ("Sec-WebSocket-Key", key.as_str())];
    if !options.subprotocols.is_empty() {
        fields.push(("Sec-WebSocket-Protocol", &subprotocols));
    }
    fields.extend(offer.as_deref().map(|offer| ("Sec-WebSocket-Extensions", offer)));
    fields.extend(options.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let ask = Ask { agent, url: &url, to: "websocket", fields };
    let transport = ask.connect().await?;
    let limit = options.handshake_timeout;
    let late = |failure: Failure| match failure.check::<TimedOut>() {
        Some(_) => ClientError::TimedOut { phase: Phase::Head, limit }.into(),
        None => failure,
    };
    let upgrading = reactor.with_timeout(limit, ask.ask(transport)).await.map_err(late)??;
    let status = upgrading.head.status();
    let offered =
        Offered { key: &key, subprotocols: &options.subprotocols, deflate: options.deflate.as_ref() };
    let Accepted { subprotocol, deflate } =
        offered.check(status, upgrading.head.fields()).map_err(|why| HandshakeError { status, why })?;
    let rare = subprotocol.map(|name| Box::new(Rare { subprotocol: Some(name.into()), ..Rare::default() }));
    let options = Rc::clone(&options);
    let connection = Connection::new(&upgrading.transport, Role::Client, options, deflate, rare, handler);
    let socket = connection.socket();
    upgrading.hand_over(Box::new(connection));
    Ok(socket)
}

/// RFC 6455 section 3: the schemes differ from HTTP's by their name, and a fragment has no meaning.
fn as_http(url: &str) -> Result<Url, ClientError> {
    let wrong =
        || ClientError::Misuse("the URL of a WebSocket begins with ws:// or wss://, and has no fragment");
    let (scheme, rest) = url.split_once("://").filter(|_| !url.contains('#')).ok_or_else(wrong)?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "ws" => "http",
        "wss" => "https",
        _ => return Err(wrong()),
    };
    Ok(format!("{scheme}://{rest}").parse()?)
}
