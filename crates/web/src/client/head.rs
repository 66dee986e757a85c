//! The head of one request as it goes on the wire: what the program has said, and what the agent adds.

use ropewalk_wire::http1::{
    self, BadField, Length, RequestTarget, encode_end, encode_field, encode_length, encode_request_line,
};

use super::agent::Settings;
use super::coding::ACCEPTED;
use super::encoding::basic;
use super::error::ClientError;
use super::proxy::Proxy;
use super::request::Plan;

/// Fields that say how the message is framed and what becomes of the connection: the agent writes them.
const RESERVED: [&str; 10] = [
    "Content-Length",
    "Transfer-Encoding",
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Upgrade",
    "Expect",
    "Proxy-Authorization",
];

pub(super) const USER_AGENT: &str = concat!("ropewalk/", env!("CARGO_PKG_VERSION"));

impl Plan {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether the agent asks for a compressed body, and so unpacks it: not where the program asks itself, nor for a part.
    pub(super) fn unpacks(&self) -> bool {
        self.decompress && self.field("Accept-Encoding").is_none() && self.field("Range").is_none()
    }

    /// The head, through `proxy` if there is one that is told of the request itself.
    pub(super) fn encode(
        &self,
        settings: &Settings,
        proxy: Option<&Proxy>,
        keep_alive: bool,
    ) -> Result<Vec<u8>, ClientError> {
        let mut out = Vec::with_capacity(512);
        let authority = self.url.origin().authority();
        let target = match proxy {
            Some(_) => RequestTarget::Absolute(self.url.origin().scheme(), &authority, self.url.target()),
            None => RequestTarget::Origin(self.url.target()),
        };
        encode_request_line(&mut out, &self.method, target).map_err(|_| {
            ClientError::Misuse("the method or the target cannot be written on a request line")
        })?;
        let mut fields = Fields { out: &mut out, plan: self };
        // RFC 9110 7.2: Host SHOULD be the first field.
        fields.add("Host", self.field("Host").unwrap_or(&authority))?;
        fields.unless_given("User-Agent", USER_AGENT)?;
        fields.unless_given("Accept", "*/*")?;
        if self.unpacks() {
            fields.add("Accept-Encoding", ACCEPTED)?;
        }
        if let Some((user, password)) = self.url.userinfo() {
            fields.unless_given("Authorization", &basic(user, password))?;
        }
        if let Some(authorization) = proxy.and_then(Proxy::authorization) {
            fields.add("Proxy-Authorization", authorization)?;
        }
        let jar = settings.cookies.as_ref();
        if let Some(cookies) = jar.and_then(|jar| jar.header(&self.url, settings.reactor.wall_clock())) {
            fields.unless_given("Cookie", &cookies)?;
        }
        fields.given()?;
        if self.expects {
            fields.add("Expect", "100-continue")?;
        }
        http1::encode_connection(&mut out, http1::Version::Http11, keep_alive);
        encode_length(&mut out, self.length());
        encode_end(&mut out);
        Ok(out)
    }

    pub(super) fn length(&self) -> Length {
        self.body.length(&self.method)
    }
}

struct Fields<'a> {
    out: &'a mut Vec<u8>,
    plan: &'a Plan,
}

impl Fields<'_> {
    fn add(&mut self, name: &str, value: &str) -> Result<(), ClientError> {
        encode_field(self.out, name, value.as_bytes()).map_err(|bad| {
            ClientError::Misuse(match bad {
                BadField::Name => "the name of a field is not a token",
                _ => "the value of a field holds a control character",
            })
        })
    }

    fn unless_given(&mut self, name: &str, value: &str) -> Result<(), ClientError> {
        if self.plan.field(name).is_some() { Ok(()) } else { self.add(name, value) }
    }

    /// What the program has given, but for Host, which stands in front.
    fn given(&mut self) -> Result<(), ClientError> {
        let plan = self.plan;
        let mut hosts = 0;
        for (name, value) in &plan.fields {
            if RESERVED.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                return Err(ClientError::Misuse(
                    "a field about framing or the connection is the agent's business",
                ));
            }
            if name.eq_ignore_ascii_case("Host") {
                hosts += 1;
                continue;
            }
            self.add(name, value)?;
        }
        if hosts > 1 { Err(ClientError::Misuse("there is more than one Host")) } else { Ok(()) }
    }
}

/// The head of a request for a tunnel (RFC 9110 section 9.3.6).
pub(super) fn tunnel(endpoint: &str, proxy: &Proxy) -> Result<Vec<u8>, ClientError> {
    let bad = |_| ClientError::Misuse("the proxy's credentials cannot be sent");
    let mut out = Vec::new();
    encode_request_line(&mut out, "CONNECT", RequestTarget::Authority(endpoint))
        .map_err(|_| ClientError::Misuse("the host cannot be asked of a proxy"))?;
    encode_field(&mut out, "Host", endpoint.as_bytes()).map_err(bad)?;
    encode_field(&mut out, "User-Agent", USER_AGENT.as_bytes()).map_err(bad)?;
    if let Some(authorization) = proxy.authorization() {
        encode_field(&mut out, "Proxy-Authorization", authorization.as_bytes()).map_err(bad)?;
    }
    encode_end(&mut out);
    Ok(out)
}
