//! The server's handshake: a request is looked at, and becomes a 101 with a connection behind it, or is refused.

use std::future::Future;
use std::rc::Rc;

use ropewalk_reactor::Outcome;
use ropewalk_wire::websocket::{Asked, Deflate, Role, Unfit, VERSION, accept_deflate, accept_key};

use super::connection::Connection;
use super::conversation::{Conversation, Feeder};
use super::handle::Rare;
use super::handler::WebSocketHandler;
use super::options::Options;
use crate::request::Request;
use crate::response::Response;

/// Answers a request by a WebSocket: 101, and the connection is this handler's. A request that is no handshake is answered with 400 or 426,
/// and one of a foreign page with 403 (see [`Origins`](super::Origins)).
///
/// ```
/// use std::rc::Rc;
/// use ropewalk_web::websocket::{self, Message, Options, WebSocket, WebSocketHandler};
/// use ropewalk_web::{Request, Response, Router};
///
/// struct Greeter(String);
/// impl WebSocketHandler for Greeter {
///     fn open(&mut self, socket: &WebSocket) {
///         socket.send_text(&format!("Hello, {}!", self.0));
///     }
///     fn message(&mut self, _: &WebSocket, _: Message) {}
/// }
///
/// let options = Rc::new(Options::default());
/// let router = Router::new().get("/greet", move |request: Request| match request.user() {
///     Some(user) => websocket::upgrade(&request, Rc::clone(&options), Greeter(user)),
///     None => Response::error(401, "who are you?"),
/// });
/// # drop(router);
/// ```
#[must_use]
pub fn upgrade(
    request: &Request,
    options: impl Into<Rc<Options>>,
    handler: impl WebSocketHandler,
) -> Response {
    accept(request, options.into(), || Box::new(handler))
}

/// The same with an async function, which receives and sends. When it ends, the connection is closed with 1000; if it fails or panics,
/// with 1011, and the log says why. When the connection is gone, [`Conversation::receive`] says so, and the function has
/// [`Options::grace`] to come to its end.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_web::websocket::{self, Options};
/// use ropewalk_web::{Request, Router};
///
/// let router = Router::new().get("/countdown", |request: Request| {
///     websocket::upgrade_with(&request, Options::default(), |mut socket| async move {
///         let from = socket.receive().await.and_then(|message| message.as_text()?.parse::<u32>().ok());
///         for left in (0..=from.unwrap_or(10)).rev() {
///             socket.send_text(&left.to_string());
///             socket.reactor().sleep(Duration::from_secs(1)).await;
///         }
///         Ok(())
///     })
/// });
/// # drop(router);
/// ```
#[must_use]
pub fn upgrade_with<F>(
    request: &Request,
    options: impl Into<Rc<Options>>,
    handler: impl FnOnce(Conversation) -> F + 'static,
) -> Response
where
    F: Future<Output = Outcome<()>> + 'static,
{
    accept(request, options.into(), || Box::new(Feeder::driving(handler)))
}

fn accept(
    request: &Request,
    options: Rc<Options>,
    handler: impl FnOnce() -> Box<dyn WebSocketHandler>,
) -> Response {
    let fields = request.headers();
    let asked = match Asked::read(request.method(), request.upgrade(), fields) {
        Ok(asked) => asked,
        Err(unfit) => return refused(unfit),
    };
    if !options.origins.welcome(request) {
        return Response::error(403, "this page may not connect to this address");
    }
    let subprotocol = asked.choose(options.subprotocols.iter().map(String::as_str));
    let agreed = options.deflate.as_ref().and_then(|wants| accept_deflate(&asked.extensions, wants));
    let (deflate, extension): (Option<Deflate>, Option<String>) = agreed.unzip();
    let rare = kept(request, &options, subprotocol);
    let accepted = accept_key(asked.key);
    let subprotocol = subprotocol.map(str::to_owned);
    let connection = Connection::new(request.transport(), Role::Server, options, deflate, rare, handler());
    let mut response = Response::upgrade("websocket", connection).header("Sec-WebSocket-Accept", accepted);
    if let Some(subprotocol) = subprotocol {
        response = response.header("Sec-WebSocket-Protocol", subprotocol);
    }
    if let Some(extension) = extension {
        response = response.header("Sec-WebSocket-Extensions", extension);
    }
    response
}

/// RFC 6455 section 4.4: whatever is wrong, the version that is spoken here is said.
fn refused(unfit: Unfit) -> Response {
    let response = Response::error(unfit.status(), unfit.reason()).header("Sec-WebSocket-Version", VERSION);
    match unfit {
        // RFC 9110 section 15.5.22: MUST.
        Unfit::Upgrade(_) => response.header("Upgrade", "websocket"),
        _ => response,
    }
}

/// What outlives the request, if anything does.
fn kept(request: &Request, options: &Options, subprotocol: Option<&str>) -> Option<Box<Rare>> {
    if subprotocol.is_none() && options.keep.is_empty() {
        return None;
    }
    let mut rare = Rare { subprotocol: subprotocol.map(Into::into), ..Rare::default() };
    if !options.keep.is_empty() {
        rare.target = Some(request.target().into());
    }
    for name in &options.keep {
        if let Some(value) = request.header(name) {
            rare.kept.push((name.as_str().into(), value.into()));
        }
    }
    Some(Box::new(rare))
}
