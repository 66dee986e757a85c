//! A connection that leaves HTTP: made as any other, through the proxy's tunnel and TLS, asked for another protocol, and handed over when the
//! answer's head is here. It never belongs to the pool. What is asked, and whether the answer will do, is for whoever calls: WebSocket.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use ropewalk_net::{Factory, Lost, Protocol, Transport};
use ropewalk_reactor::Outcome;
use ropewalk_wire::http1::{
    Fed, Refusal, RequestTarget, ResponseHead, encode_end, encode_field, encode_request_line,
};

use super::agent::Agent;
use super::encoding::basic;
use super::error::ClientError;
use super::head::{USER_AGENT, tunnel};
use super::proxy::Proxy;
use super::url::{Origin, Url};

/// Who is asked, and with which fields.
pub(crate) struct Ask<'a> {
    pub(crate) agent: &'a Agent,
    pub(crate) url: &'a Url,
    /// The protocol that is asked for.
    pub(crate) to: &'a str,
    pub(crate) fields: Vec<(&'a str, &'a str)>,
}

/// A connection whose answer is here. It is broken off unless it is handed over.
pub(crate) struct Upgrading {
    pub(crate) head: ResponseHead,
    pub(crate) transport: Transport,
    guard: Guard,
}

impl Upgrading {
    /// Gives the connection to its new protocol, with the bytes that came behind the head.
    pub(crate) fn hand_over(mut self, protocol: Box<dyn Protocol>) {
        self.guard.0 = None;
        self.transport.switch(protocol);
    }
}

impl Ask<'_> {
    /// Connects and asks. The connector's deadline holds for connecting; what comes after has none here.
    pub(crate) async fn connect(&self) -> Outcome<Transport> {
        let settings = &self.agent.settings;
        let proxy = self.proxy();
        let secure = self.url.is_secure() || proxy.is_some_and(|proxy| proxy.origin().is_secure());
        if secure && !settings.connector.has_tls() {
            return Err(ClientError::NeedsTls.into());
        }
        let to = proxy.map_or(self.url.origin(), Proxy::origin);
        let factory: Rc<dyn Factory> = Rc::new(|| Asking(Rc::default()));
        let limit = settings.deadlines.connect;
        settings.connector.connect(&settings.reactor, to.host(), to.port(), limit, factory).await
    }

    /// What comes behind connecting, up to the answer's head.
    pub(crate) async fn ask(&self, transport: Transport) -> Outcome<Upgrading> {
        let guard = Guard(Some(transport.clone()));
        let origin = self.url.origin();
        if let Some(proxy) = self.proxy() {
            if proxy.origin().is_secure() {
                self.secure(&transport, proxy.origin()).await?;
            }
            // RFC 6455 section 4.1: a tunnel, also where the connection is not encrypted.
            let head = self.request(&transport, &tunnel(&origin.endpoint(), proxy)?).await?;
            if !(200..300).contains(&head.status()) {
                return Err(ClientError::Proxy(head.status()).into());
            }
        }
        if origin.is_secure() {
            self.secure(&transport, origin).await?;
        }
        let head = self.request(&transport, &self.encode()?).await?;
        self.take_cookies(&head);
        Ok(Upgrading { head, transport, guard })
    }

    fn proxy(&self) -> Option<&Proxy> {
        self.agent.settings.proxy.as_deref().filter(|proxy| proxy.is_for(self.url))
    }

    /// TLS. It is fed by the transport, so that reading goes on; its protocol hears only of the end.
    async fn secure(&self, transport: &Transport, origin: &Origin) -> Outcome<()> {
        let desk = Desk::attach(transport);
        let secure = self.agent.settings.connector.secure(transport, origin.host());
        let mut secure = std::pin::pin!(secure);
        let outcome = poll_fn(|context| {
            if let Poll::Ready(outcome) = secure.as_mut().poll(context) {
                return Poll::Ready(outcome);
            }
            match desk.lost.take() {
                Some(lost) => Poll::Ready(Err(ClientError::Unanswered(lost).into())),
                None => {
                    desk.waker.replace(Some(context.waker().clone()));
                    Poll::Pending
                }
            }
        });
        outcome.await
    }

    /// Sends a head, and waits for the answer's.
    async fn request(&self, transport: &Transport, head: &[u8]) -> Outcome<ResponseHead> {
        let desk = Desk::attach(transport);
        desk.limits.replace(Some(self.agent.settings.limits.wire.head));
        transport.write(head);
        poll_fn(|context| {
            if let Some(outcome) = desk.outcome.take() {
                return Poll::Ready(outcome.map_err(|refusal| ClientError::Answer(refusal).into()));
            }
            if let Some(lost) = desk.lost.take() {
                return Poll::Ready(Err(ClientError::Unanswered(lost).into()));
            }
            desk.waker.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await
    }

    fn encode(&self) -> Result<Vec<u8>, ClientError> {
        let settings = &self.agent.settings;
        let mut out = Vec::with_capacity(512);
        encode_request_line(&mut out, "GET", RequestTarget::Origin(self.url.target()))
            .map_err(|_| ClientError::Misuse("the target cannot be written on a request line"))?;
        let given = |name: &str| {
            let own = self.fields.iter().map(|(known, _)| *known);
            own.chain(settings.fields.iter().map(|(known, _)| known.as_str()))
                .any(|known| known.eq_ignore_ascii_case(name))
        };
        let authority = self.url.origin().authority();
        let authorization = self.url.userinfo().map(|(user, password)| basic(user, password));
        let jar = settings.cookies.as_ref();
        let cookies = jar.and_then(|jar| jar.header(self.url, settings.reactor.wall_clock()));
        let usual = [
            ("Host", Some(authority)),
            ("User-Agent", Some(USER_AGENT.to_owned())),
            ("Authorization", authorization),
            ("Cookie", cookies),
        ];
        let usual = usual.iter().filter(|(name, _)| !given(name));
        let usual = usual.filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        let agents = settings.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let upgrade = [("Upgrade", self.to), ("Connection", "Upgrade")];
        for (name, value) in usual.chain(upgrade).chain(agents).chain(self.fields.iter().copied()) {
            encode_field(&mut out, name, value.as_bytes())
                .map_err(|_| ClientError::Misuse("a field of the handshake cannot be sent"))?;
        }
        encode_end(&mut out);
        Ok(out)
    }

    fn take_cookies(&self, head: &ResponseHead) {
        let settings = &self.agent.settings;
        let Some(jar) = &settings.cookies else { return };
        let now = settings.reactor.wall_clock();
        let set = head.fields().filter(|(name, _)| name.eq_ignore_ascii_case("Set-Cookie"));
        for (_, value) in set {
            jar.store(self.url, &String::from_utf8_lossy(value), now);
        }
    }
}

/// A connection that is being made: broken off unless it is handed over.
struct Guard(Option<Transport>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(transport) = self.0.take() {
            transport.abort_connection();
        }
    }
}

/// Between the connection's protocol and the future that asks.
#[derive(Default)]
struct Desk {
    /// Set while a head is waited for.
    limits: Cell<Option<ropewalk_wire::http1::HeadLimits>>,
    head: RefCell<ResponseHead>,
    outcome: RefCell<Option<Result<ResponseHead, Refusal>>>,
    lost: RefCell<Option<Lost>>,
    waker: RefCell<Option<Waker>>,
}

impl Desk {
    /// A fresh one for the next step; the connection's bytes go there from now on.
    fn attach(transport: &Transport) -> Rc<Desk> {
        let desk: Rc<Desk> = Rc::default();
        if transport.is_disconnected() {
            desk.lost.replace(Some(Lost::Ended));
        }
        transport.switch(Box::new(Asking(Rc::clone(&desk))));
        desk
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The protocol while it is asked.
struct Asking(Rc<Desk>);

impl Protocol for Asking {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        let desk = &*self.0;
        let Some(limits) = desk.limits.get() else {
            // For whoever comes next.
            transport.unread(data);
            return transport.pause_reading();
        };
        let mut rest = data;
        loop {
            let fed = desk.head.borrow_mut().feed(rest, &limits);
            let outcome = match fed {
                Ok(Fed::NeedMore) => return,
                Ok(Fed::Complete { consumed }) => {
                    rest = &rest[consumed..];
                    let head = desk.head.take();
                    // RFC 9110 section 15.2: any number of them may come before the answer.
                    if head.is_interim() && !rest.is_empty() {
                        continue;
                    } else if head.is_interim() {
                        return;
                    }
                    transport.unread(rest);
                    transport.pause_reading();
                    Ok(head)
                }
                Err(refusal) => Err(refusal),
            };
            desk.limits.set(None);
            desk.outcome.replace(Some(outcome));
            return desk.wake();
        }
    }

    fn read_ended(&mut self, transport: &Transport) {
        self.0.lost.replace(Some(Lost::Ended));
        self.0.wake();
        transport.lose_connection();
    }

    fn connection_lost(&mut self, _transport: &Transport, lost: &Lost) {
        self.0.lost.replace(Some(lost.clone()));
        self.0.wake();
    }
}
