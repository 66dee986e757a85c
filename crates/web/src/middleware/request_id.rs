//! Request ids: one for each request, in the answer and in the logs, so that a visitor's complaint, a proxy's log and ours can be
//! brought together.

use std::rc::Rc;

use super::{Middleware, Next};
use crate::answer::Answer;
use crate::request::Request;

/// Longer ones are a load on every log.
const BYTES_MAX: usize = 128;

/// Gives every request an id: [`Request::id`], the field `X-Request-Id` of the answer, `request_id` of the
/// [`crate::AccessRecord`], and `request` of an incident in the log. One that comes with the request is kept if a
/// [trusted proxy](crate::Site::trust_proxies) sent it, and if it is letters, digits and `._~-` only, 128 at most; nobody else
/// chooses what stands in our logs. Else it is made of the reactor's randomness, 32 hexadecimal digits.
///
/// ```
/// use ropewalk_web::{Request, RequestId, Router, Site};
/// let router = Router::new().get("/", |request: Request| format!("you are {}", request.id().unwrap_or_default()));
/// let site = Site::new(router).with(RequestId::new());
/// # drop(site);
/// ```
#[derive(Default)]
pub struct RequestId(());

impl RequestId {
    /// In the field `X-Request-Id`.
    #[must_use]
    pub fn new() -> RequestId {
        RequestId::default()
    }
}

impl Middleware for RequestId {
    fn handle(&self, request: Request, next: &Next) -> Answer {
        let exchange = request.exchange();
        let trusted = exchange.site().trusts(request.peer().ip());
        let sent = request.header("x-request-id").filter(|id| trusted && is_sane(id));
        let id: Rc<str> = match sent {
            Some(id) => id.into(),
            None => format!("{:016x}{:016x}", request.reactor().random(), request.reactor().random()).into(),
        };
        exchange.rare().id = Some(Rc::clone(&id));
        request.on_answer(move |response| response.header("X-Request-Id", id.to_string()));
        next.handle(request)
    }
}

fn is_sane(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    !id.is_empty() && id.len() <= BYTES_MAX && id.bytes().all(plain)
}
