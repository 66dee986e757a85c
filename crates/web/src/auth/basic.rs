//! Basic authentication (RFC 7617): a user and a password with every request. Only for encrypted connections, or where nobody listens.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use ring::hmac;
use ropewalk_reactor::Outcome;

use crate::answer::{Answer, IntoResponse};
use crate::middleware::{Middleware, Next, RateLimit};
use crate::request::Request;
use crate::response::Response;

/// Wrong guesses of one peer at once, and in a minute.
const GUESSES: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);

enum Verdict {
    Now(bool),
    Later(Pin<Box<dyn Future<Output = Outcome<bool>>>>),
}

type Verify = Box<dyn Fn(&Request, String, String) -> Verdict>;

/// Lets in whoever has a user's password; the others are asked for it by a 401. The [current user](Request::current_user) is the name, a
/// `String`.
///
/// A peer may guess wrong ten times at once and in a minute; then it waits, also with the right password, and is told so by a 429. Who a
/// peer is says [`RateLimit`].
///
/// ```
/// use ropewalk_web::{BasicAuth, Handler, Request, Router, handler};
/// let figures = handler(|request: Request| format!("for {}", request.current_user::<String>().unwrap_or_default()));
/// let router = Router::new()
///     .route("GET", "/figures", figures.with(BasicAuth::users("figures", [("ada", "correct horse")])))
///     // A hash that is slow on purpose is computed on a thread.
///     .route("GET", "/", handler(|_| "inside").with(BasicAuth::check_later("inside", |request: &Request, user, password| {
///         request.reactor().defer_to_thread(move || user == "ada" && password.len() > 20)
///     })));
/// # drop(router);
/// ```
pub struct BasicAuth {
    challenge: String,
    verify: Verify,
    guesses: Rc<RateLimit>,
}

impl BasicAuth {
    fn of(realm: &str, verify: impl Fn(&Request, String, String) -> Verdict + 'static) -> BasicAuth {
        // A quoted string (RFC 9110 section 5.6.4).
        let plain: String =
            realm.chars().filter(|letter| !letter.is_control() && !matches!(letter, '"' | '\\')).collect();
        let challenge = format!("Basic realm=\"{plain}\", charset=\"UTF-8\"");
        BasicAuth { challenge, verify: Box::new(verify), guesses: Rc::new(RateLimit::new(GUESSES, MINUTE)) }
    }

    /// These users with these passwords, which are kept hashed, and compared in a time that tells neither who is known nor where a password
    /// differs. For a few that the program knows.
    pub fn users<U, P>(realm: &str, users: impl IntoIterator<Item = (U, P)>) -> BasicAuth
    where
        U: AsRef<str>,
        P: AsRef<str>,
    {
        // Under a key that nobody knows, both are of one length, and equal only if they are.
        let key = hmac::Key::new(hmac::HMAC_SHA256, &crate::secret::bytes::<32>());
        let digest = move |text: &str| hmac::sign(&key, text.as_bytes());
        let known: Vec<_> = users
            .into_iter()
            .map(|(user, password)| (digest(user.as_ref()), digest(password.as_ref())))
            .collect();
        BasicAuth::of(realm, move |_, user, password| {
            let (user, password) = (digest(&user), digest(&password));
            // All of them are compared, both halves, whatever was found: no `any`, and no `&&`.
            let found = known.iter().fold(false, |found, (known, secret)| {
                let name = crate::constant_time_eq(known.as_ref(), user.as_ref());
                let word = crate::constant_time_eq(secret.as_ref(), password.as_ref());
                found | (name & word)
            });
            Verdict::Now(found)
        })
    }

    /// Whom this function knows. [`crate::constant_time_eq`] compares without telling.
    pub fn check(realm: &str, verify: impl Fn(&str, &str) -> bool + 'static) -> BasicAuth {
        BasicAuth::of(realm, move |_, user, password| Verdict::Now(verify(&user, &password)))
    }

    /// Whom this function knows, later: it gives a deferred or another future. One that fails is a 500.
    pub fn check_later<F>(realm: &str, verify: impl Fn(&Request, String, String) -> F + 'static) -> BasicAuth
    where
        F: Future<Output = Outcome<bool>> + 'static,
    {
        BasicAuth::of(realm, move |request, user, password| {
            Verdict::Later(Box::pin(verify(request, user, password)))
        })
    }

    /// The same with so many wrong guesses of one peer at once, and so many in this time.
    #[must_use]
    pub fn guesses(self, guesses: u32, per: Duration) -> BasicAuth {
        BasicAuth { guesses: Rc::new(RateLimit::new(guesses, per)), ..self }
    }

    fn ask(&self) -> Answer {
        let response = Response::error(401, "a user and a password are wanted");
        Answer::Now(response.header("WWW-Authenticate", self.challenge.clone()))
    }
}

impl Middleware for BasicAuth {
    fn handle(&self, request: Request, next: &Next) -> Answer {
        let Some((user, password)) = request.credentials() else { return self.ask() };
        // Taken before it is known whether the guess is wrong: many at the same time are as many.
        if let Err(refused) = self.guesses.admit(&request) {
            return Answer::Now(refused);
        }
        let future = match (self.verify)(&request, user.clone(), password) {
            Verdict::Now(false) => return self.ask(),
            Verdict::Now(true) => {
                self.guesses.give_back(&request);
                request.set_current_user(user);
                return next.handle(request);
            }
            Verdict::Later(future) => future,
        };
        let (guesses, next) = (Rc::clone(&self.guesses), next.clone());
        let Answer::Now(refusal) = self.ask() else { return Answer::Taken };
        Answer::Later(Box::pin(async move {
            match future.await {
                Ok(true) => {
                    guesses.give_back(&request);
                    request.set_current_user(user);
                    next.handle(request)
                }
                Ok(false) => Answer::Now(refusal),
                Err(failure) => Answer::Now(failure.into_response()),
            }
        }))
    }
}
