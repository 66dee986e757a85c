//! Sessions: what a site remembers of a visitor from one request to the next, under an id that only the visitor's browser knows.
//!
//! ```text
//!  Sessions (middleware) ─► handler: request.session() ─► get, set, renew, end ─► the store ─► the answer, with its cookie
//! ```
//! Nothing is loaded before somebody asks, and nothing is saved that has not changed. An answer that a handler returns, or gives whole, waits
//! until the change is in the store. The stores are below: [`MemorySessions`], [`SqliteSessions`], and [`SharedSessions`] for several
//! workers; [`Sessions::in_cookie`] has none.

mod commit;
mod cookie;
mod live;
mod memory;
mod shared;
mod sqlite;
mod store;
mod sweep;

use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::Failure;

use crate::answer::Answer;
use crate::exchange::Exchange;
use crate::extract::{FromHead, Rejection};
use crate::handlers::Call;
use crate::middleware::{Middleware, Next};
use crate::request::Request;
use crate::signed::Keys;

pub use live::Session;
pub use memory::MemorySessions;
pub use shared::SharedSessions;
pub use sqlite::SqliteSessions;
pub use store::{Changes, Record, SessionKey, SessionStore, Swept, check_session_store};
use sweep::Sweeper;

/// For how long a session lives without a request: half an hour.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// For how long it lives at all: half a day. Then a visitor has to say again who they are.
const ABSOLUTE: Duration = Duration::from_secs(12 * 60 * 60);
/// Bytes of JSON that a session may be, 64 KiB: it is read at every request that asks for it.
const BYTES_MAX: usize = 64 * 1024;

/// Where sessions are kept.
pub(crate) enum Keeper {
    Store(Rc<dyn SessionStore>),
    Cookie(Keys),
}

/// Is told of a session that has expired.
type Notice = Box<dyn Fn(&Record)>;

/// What all sessions of a site have in common.
pub(crate) struct Core {
    keeper: Keeper,
    name: String,
    idle: Duration,
    absolute: Duration,
    remembered: bool,
    bytes_max: usize,
    on_expire: Option<Notice>,
    sweeper: Sweeper,
}

/// Gives the handlers within it a session for each visitor: [`Request::session`].
///
/// The id is 256 bits of the system's randomness. The store is told only its hash, so that whoever reads the store can be nobody; an id that
/// the store does not know, whoever sent it, is never made one. Its cookie is kept from scripts and from other sites, and sent only over
/// encrypted connections if the visitor's own is one. Of an answer of 500 and above, nothing is saved.
///
/// ```
/// use ropewalk_web::{Failure, MemorySessions, Request, Response, Router, Sessions, Site};
/// let router = Router::new()
///     .get("/", |request: Request| async move {
///         let session = request.session()?;
///         let visits = session.get::<u32>("visits").await?.unwrap_or(0) + 1;
///         session.set("visits", &visits).await?;
///         Ok::<_, Failure>(format!("visit number {visits}"))
///     })
///     .post("/login", |request: Request| async move {
///         let session = request.session()?;
///         // A new id for what is allowed more: somebody may know the old one.
///         session.renew().await?;
///         session.set("user", "ada").await?;
///         Ok::<_, Failure>(Response::redirect(303, "/"))
///     })
///     .post("/logout", |request: Request| async move {
///         request.session()?.end().await?;
///         Ok::<_, Failure>(Response::redirect(303, "/"))
///     });
/// let site = Site::new(router).with(Sessions::new(MemorySessions::new(10_000)));
/// # drop(site);
/// ```
#[derive(Clone)]
pub struct Sessions(Rc<Core>);

impl Sessions {
    /// Sessions in a store: 30 minutes idle, 12 hours in all, in the cookie `session`.
    #[must_use]
    pub fn new(store: impl SessionStore) -> Sessions {
        Sessions::over(Keeper::Store(Rc::new(store)))
    }

    /// Sessions that the browser keeps itself, in a signed cookie: about 2 900 bytes of JSON, which the visitor can read and not change.
    /// Nobody else can end one: what was signed is good until it is too old.
    #[must_use]
    pub fn in_cookie(keys: Keys) -> Sessions {
        Sessions::over(Keeper::Cookie(keys))
    }

    fn over(keeper: Keeper) -> Sessions {
        Sessions(Rc::new(Core {
            keeper,
            name: "session".to_owned(),
            idle: IDLE,
            absolute: ABSOLUTE,
            remembered: false,
            bytes_max: BYTES_MAX,
            on_expire: None,
            sweeper: Sweeper::default(),
        }))
    }

    fn change(self, change: impl FnOnce(&mut Core)) -> Sessions {
        let mut core = self.0;
        match Rc::get_mut(&mut core) {
            Some(core) => change(core),
            None => tracing::error!("sessions that are in use already are not changed"),
        }
        Sessions(core)
    }

    /// The same ending after this time without a request.
    #[must_use]
    pub fn idle(self, idle: Duration) -> Sessions {
        self.change(|core| core.idle = idle)
    }

    /// The same ending after this time, however busy.
    #[must_use]
    pub fn absolute(self, absolute: Duration) -> Sessions {
        self.change(|core| core.absolute = absolute)
    }

    /// The same under another cookie: `__Host-session` where all visitors come by `https`, so that no other host of the domain can set it.
    #[must_use]
    pub fn cookie_name(self, name: &str) -> Sessions {
        self.change(|core| core.name = name.to_owned())
    }

    /// The same with a cookie that outlives the browser's window, up to [`Sessions::absolute`].
    #[must_use]
    pub fn remembered(self) -> Sessions {
        self.change(|core| core.remembered = true)
    }

    /// The same with so many bytes of JSON in a session, 65 536 if it is not said.
    #[must_use]
    pub fn bytes_max(self, bytes_max: usize) -> Sessions {
        self.change(|core| core.bytes_max = bytes_max)
    }

    /// The same calling this with each session that has expired, as Twisted's `notifyOnExpire`: at most a second late, and once whichever
    /// worker notices. Sessions that are [ended](Session::end) are not among them, nor those in a cookie, of which nobody knows.
    ///
    /// ```
    /// use ropewalk_web::{MemorySessions, Sessions};
    /// let sessions = Sessions::new(MemorySessions::new(1000)).on_expire(|record| {
    ///     if let Some(user) = record.data.get("user") {
    ///         println!("{user} has gone");
    ///     }
    /// });
    /// # drop(sessions);
    /// ```
    #[must_use]
    pub fn on_expire(self, call: impl Fn(&Record) + 'static) -> Sessions {
        self.change(|core| core.on_expire = Some(Box::new(call)))
    }
}

impl Middleware for Sessions {
    fn handle(&self, request: Request, next: &Next) -> Answer {
        let exchange = request.exchange();
        let session = Session::of(&self.0, &request);
        exchange.set_part(session.clone());
        let (gate, amend) = (session.clone(), session);
        exchange.set_gate(Box::new(move |response| gate.pass(response)));
        // It is there yet where an answer is written piece by piece.
        let amend = Box::new(move |exchange: &Exchange, response| {
            let gate = exchange.take_gate();
            amend.sign_off(gate.is_some(), response)
        });
        exchange.rare().amends.push(amend);
        let exchange = Rc::clone(exchange);
        match next.handle(request) {
            Answer::Now(response) => exchange.pass_gate(response),
            Answer::Later(future) => Answer::Later(Box::pin(async move {
                match future.await.settle().await {
                    Answer::Now(response) => exchange.pass_gate(response),
                    other => other,
                }
            })),
            Answer::Taken => Answer::Taken,
        }
    }
}

/// There is no [`Sessions`] around the handler: a mistake of the program.
fn absent() -> Rejection {
    Rejection::absent("no sessions are here: put `Sessions` around the handler").with_status(500)
}

impl Request {
    /// The visitor's session, of which nothing is loaded before it is asked for something. All of a request have the same.
    ///
    /// # Errors
    /// There is no [`Sessions`] around the handler.
    pub fn session(&self) -> Result<Session, Failure> {
        match self.exchange().part::<Session>() {
            Some(session) => Ok((*session).clone()),
            None => Err(Failure::new(absent())),
        }
    }
}

impl Call {
    /// [`Request::session`].
    ///
    /// # Errors
    /// There is no [`Sessions`] around the handler.
    pub fn session(&self) -> Result<Session, Failure> {
        self.request().session()
    }
}

/// `typed(|session: Session| async move { … })`.
impl FromHead for Session {
    fn from_head(request: &Request) -> Result<Session, Rejection> {
        request.exchange().part::<Session>().map(|session| (*session).clone()).ok_or_else(absent)
    }
}
