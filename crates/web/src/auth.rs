//! Who asks, and who may: the current user of a request, the guard before what only some may see, and Basic authentication. Passwords are
//! not kept here, and how a visitor proves who they are is the program's own business.

mod basic;
mod target;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use ropewalk_reactor::Outcome;

use crate::answer::{Answer, IntoResponse};
use crate::extract::{FromHead, Rejection};
use crate::handlers::Call;
use crate::middleware::{Middleware, Next};
use crate::request::Request;
use crate::response::Response;

pub use basic::BasicAuth;
pub use target::local_target;

/// A user who was set; of a type of its own, so that it is not taken for another part.
struct User<T>(Rc<T>);
/// Somebody was set.
struct Known;

impl Request {
    /// Who asks, as [`Identify`], [`BasicAuth`], or a middleware of the program's has set it.
    #[must_use]
    pub fn current_user<T: 'static>(&self) -> Option<Rc<T>> {
        self.exchange().part::<User<T>>().map(|user| Rc::clone(&user.0))
    }

    /// Who asks, or the refusal of whoever is nobody: a 401. For what one method of a handler type or a resource shows to some only; see
    /// [`Authenticated`] for all of a handler.
    ///
    /// ```
    /// use ropewalk_web::handlers::{Call, RequestHandler};
    /// use ropewalk_web::Outcome;
    /// struct Diary;
    /// impl RequestHandler for Diary {
    ///     async fn get(&mut self, call: &mut Call) -> Outcome<()> {
    ///         let name = call.request().required_user::<String>()?;
    ///         call.write(format!("dear {name}"));
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// There is no current user of this type.
    pub fn required_user<T: 'static>(&self) -> Result<Rc<T>, Rejection> {
        self.current_user().ok_or_else(nobody)
    }

    /// Says who asks, to all that is within: a value of the program's own type.
    pub fn set_current_user<T: 'static>(&self, user: T) {
        self.exchange().set_part(User(Rc::new(user)));
        self.exchange().set_part(Known);
    }
}

impl Call {
    /// [`Request::current_user`].
    #[must_use]
    pub fn current_user<T: 'static>(&self) -> Option<Rc<T>> {
        self.request().current_user()
    }
}

/// The current user as an argument: `typed(|CurrentUser(user): CurrentUser<Account>| …)`. Without one the answer is 401; an `Option` is
/// `None`.
#[derive(Debug)]
pub struct CurrentUser<T>(pub Rc<T>);

impl<T: 'static> FromHead for CurrentUser<T> {
    fn from_head(request: &Request) -> Result<CurrentUser<T>, Rejection> {
        request.required_user().map(CurrentUser)
    }
}

fn nobody() -> Rejection {
    let rejection = Rejection::absent("this is only for those who have signed in");
    rejection.with_status(401).header("WWW-Authenticate", CHALLENGE)
}

/// RFC 9110 section 15.5.2 wants a challenge with every 401; this one is no scheme that a browser would ask its user about.
const CHALLENGE: &str = "Session";

type Finding = Pin<Box<dyn Future<Output = Outcome<Option<Box<dyn FnOnce(&Request)>>>>>>;

/// Finds out who asks, before the handlers within it do anything: out of the session, a token, a table. Nobody is no failure: see
/// [`Authenticated`] for that.
///
/// ```
/// use ropewalk_web::{Identify, MemorySessions, Request, Router, Sessions, Site};
/// struct Account {
///     name: String,
/// }
/// let identify = Identify::new(|request: Request| async move {
///     let name = request.session()?.get::<String>("user").await?;
///     Ok(name.map(|name| Account { name }))
/// });
/// let router = Router::new().get("/", |request: Request| match request.current_user::<Account>() {
///     Some(account) => format!("Hello, {}!", account.name),
///     None => "Hello, stranger!".to_owned(),
/// });
/// let site = Site::new(router).with(Sessions::new(MemorySessions::new(10_000))).with(identify);
/// # drop(site);
/// ```
pub struct Identify(Box<dyn Fn(Request) -> Finding>);

impl Identify {
    /// From a function that answers with the user, with nobody, or with what went wrong, which is a 500 unless it is a [`Rejection`]. It is
    /// given the head of the request; the body is the handler's.
    pub fn new<U, F>(find: impl Fn(Request) -> F + 'static) -> Identify
    where
        U: 'static,
        F: Future<Output = Outcome<Option<U>>> + 'static,
    {
        Identify(Box::new(move |request| {
            let finding = find(request);
            Box::pin(async move {
                let user = finding.await?;
                Ok(user.map(|user| -> Box<dyn FnOnce(&Request)> {
                    Box::new(move |request| request.set_current_user(user))
                }))
            })
        }))
    }
}

impl Middleware for Identify {
    fn handle(&self, request: Request, next: &Next) -> Answer {
        let (finding, next) = ((self.0)(request.again()), next.clone());
        Answer::Later(Box::pin(async move {
            match finding.await {
                Ok(Some(set)) => set(&request),
                Ok(None) => {}
                Err(failure) => {
                    let json = request.exchange().wants_json();
                    return Answer::Now(match failure.check::<Rejection>() {
                        Some(rejection) => rejection.clone().answer(json),
                        None => failure.into_response(),
                    });
                }
            }
            next.handle(request)
        }))
    }
}

/// Lets in only requests with a [current user](Request::current_user), as Tornado's `authenticated`. Whoever is nobody gets a 401; or, where
/// there is a page to sign in at, whoever was about to look at a page is sent there, and the address they wanted goes along as `next`.
///
/// ```
/// use ropewalk_web::{Authenticated, Handler, Request, Response, Router, handler, local_target};
/// let diary = handler(|_| "dear diary").with(Authenticated::new().login("/login"));
/// let router = Router::new().route("GET", "/diary", diary).post("/login", |request: Request| async move {
///     let form = request.form().await?;
///     // … and here the password is looked at …
///     // A link may have brought the visitor here, with a `next` that leads to a stranger's page.
///     let next = form.first("next").and_then(local_target).unwrap_or("/");
///     Ok::<_, ropewalk_web::Rejection>(Response::redirect(303, next.to_owned()))
/// });
/// # drop(router);
/// ```
#[derive(Default)]
pub struct Authenticated {
    login: Option<String>,
    status: Option<u16>,
}

impl Authenticated {
    /// 401 for nobody.
    #[must_use]
    pub fn new() -> Authenticated {
        Authenticated::default()
    }

    /// The same sending those who look at pages to this one: `GET` and `HEAD` that do not ask for JSON. It is a path of this site, or an address.
    #[must_use]
    pub fn login(self, page: impl Into<String>) -> Authenticated {
        Authenticated { login: Some(page.into()), ..self }
    }

    /// The same with another status than 401: 403, or 404 where nobody shall know that there is something.
    #[must_use]
    pub fn status(self, status: u16) -> Authenticated {
        Authenticated { status: Some(status), ..self }
    }

    fn refuse(&self, request: &Request) -> Response {
        let looks = matches!(request.method(), "GET" | "HEAD") && !request.exchange().wants_json();
        if let Some(page) = self.login.as_ref().filter(|_| looks) {
            let question = if page.contains('?') { '&' } else { '?' };
            let wanted = match request.query() {
                Some(query) => format!("{}?{query}", request.path()),
                None => request.path().to_owned(),
            };
            let next: String = form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
            // Who comes back signed in shall not be sent here by a cache.
            return Response::redirect(302, format!("{page}{question}next={next}"))
                .header("Cache-Control", "no-store");
        }
        let status = self.status.unwrap_or(401);
        let response = Response::error(status, "this is only for those who have signed in");
        if status == 401 { response.header("WWW-Authenticate", CHALLENGE) } else { response }
    }
}

impl Middleware for Authenticated {
    fn handle(&self, request: Request, next: &Next) -> Answer {
        match request.exchange().part::<Known>() {
            Some(_) => next.handle(request),
            None => Answer::Now(self.refuse(&request)),
        }
    }
}
