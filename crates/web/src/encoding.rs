//! Content codings (RFC 9110 section 8.4): answers are compressed as their clients like it, bodies of requests unpacked. What a
//! client likes and what is worth it is decided here; the codecs are in `pack` and `unpack`, their middlewares' other halves in
//! `stream` and `inflow`.

mod inflow;
mod pack;
mod stream;
mod unpack;

use std::rc::Rc;

use crate::accept::Preference;
use crate::answer::Answer;
use crate::exchange::Exchange;
use crate::middleware::{Middleware, Next};
use crate::request::Request;
use crate::response::{Body, Response};

pub use inflow::Decompression;
pub(crate) use inflow::Inflow;
use stream::Packing;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `zstd` (RFC 8878): the cheapest for what it saves.
    Zstd,
    /// `br` (RFC 7932): the smallest text.
    Brotli,
    /// `gzip` (RFC 1952): what everyone understands.
    Gzip,
}

impl Coding {
    const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    /// As it stands in a field.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
        }
    }

    /// The coding of this name. `x-gzip` is `gzip` (RFC 9110 section 8.4.1.3).
    fn named(name: &str) -> Option<Coding> {
        let name = if name.eq_ignore_ascii_case("x-gzip") { "gzip" } else { name };
        Coding::ALL.into_iter().find(|coding| coding.name().eq_ignore_ascii_case(name))
    }
}

/// Compresses answers for clients that say they can unpack them (`Accept-Encoding`, with weights): zstd, br, or gzip, in this order
/// where a client likes them equally.
///
/// Compressed is what becomes smaller: text, JSON, XML, SVG and the like, from 1 KiB on. As they are go files (see [`crate::Files`]), parts
/// of something (206), what has a coding already, what says `Cache-Control: no-transform`, connections that are taken over,
/// `text/event-stream`, and what a [`crate::Responder`] writes. A stream is compressed piece by piece, and what it has given is sent when
/// it pauses. Large bodies are compressed a piece per turn of the loop. A strong `ETag` becomes a weak one, for the bytes are others; every
/// answer that might have been compressed says `Vary: Accept-Encoding`. To a client that takes no coding of ours and nothing plain
/// either (`identity;q=0`) the answer is 406.
///
/// **Secrets.** The length of a compressed page tells something of its content. Where a page holds a secret (a token in a form) beside
/// text that a stranger may choose (an argument that is repeated), and travels encrypted, the stranger may guess the secret byte by
/// byte: BREACH. Such pages say [`Request::uncompressed`], or `Cache-Control: no-transform`.
///
/// ```
/// use ropewalk_web::{Compression, Request, Router, Site};
/// let router = Router::new().get("/", |_| "word ".repeat(1_000)).get("/form", |request: Request| {
///     request.uncompressed();
///     format!("<input type=hidden name=token value=…>{}", request.argument("name").unwrap_or_default())
/// });
/// let site = Site::new(router).with(Compression::new());
/// # drop(site);
/// ```
pub struct Compression(Rc<Rules>);

struct Rules {
    bytes_min: u64,
    codings: Vec<Coding>,
}

impl Default for Compression {
    fn default() -> Self {
        Compression(Rc::new(Rules { bytes_min: 1024, codings: Coding::ALL.to_vec() }))
    }
}

impl Compression {
    /// With zstd, br and gzip, from 1 KiB on.
    #[must_use]
    pub fn new() -> Compression {
        Compression::default()
    }

    /// The same for bodies of so many bytes and more; those of unknown length are always compressed.
    #[must_use]
    pub fn bytes_min(self, bytes_min: u64) -> Compression {
        Compression(Rc::new(Rules { bytes_min, codings: self.0.codings.clone() }))
    }

    /// The same with these codings, the one that is liked best first.
    #[must_use]
    pub fn codings(self, codings: impl IntoIterator<Item = Coding>) -> Compression {
        Compression(Rc::new(Rules { bytes_min: self.0.bytes_min, codings: codings.into_iter().collect() }))
    }
}

impl Middleware for Compression {
    fn handle(&self, request: Request, next: &Next) -> Answer {
        let rules = Rc::clone(&self.0);
        request
            .exchange()
            .rare()
            .amends
            .push(Box::new(move |exchange, response| rules.apply(exchange, response)));
        next.handle(request)
    }
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Plain,
    /// Compressed; `must` when the client would not take it plain.
    Packed {
        coding: Coding,
        must: bool,
    },
    /// The client takes nothing that we have.
    Nothing,
}

impl Rules {
    fn apply(&self, exchange: &Exchange, response: Response) -> Response {
        if exchange.if_rare(|rare| Some(rare.uncompressed)).unwrap_or_default() || !may_be_packed(&response) {
            return response;
        }
        let choice = self.choose(&Preference::of(&exchange.head, "Accept-Encoding"));
        if response.status == 304 {
            // It stands for the answer that it spares, so it has the fields of that one.
            let response = response.vary("Accept-Encoding");
            return if choice == Choice::Plain { response } else { weaken(response) };
        }
        let worth = response.body.len().is_none_or(|length| length >= self.bytes_min)
            && response.media_type().is_some_and(is_compressible);
        match choice {
            Choice::Nothing if (200..300).contains(&response.status) => {
                Response::error(406, "there is no coding of this that the client takes")
                    .vary("Accept-Encoding")
            }
            Choice::Packed { coding, must } if worth || must => pack(response, coding, must),
            _ if worth => response.vary("Accept-Encoding"),
            _ => response,
        }
    }

    /// RFC 9110 section 12.5.3.
    fn choose(&self, preference: &Preference<'_>) -> Choice {
        if !preference.said {
            return Choice::Plain;
        }
        let any = preference.weight("*");
        let weigh = |coding: &Coding| {
            let alias = if *coding == Coding::Gzip { preference.weight("x-gzip") } else { None };
            preference.weight(coding.name()).or(alias).or(any).unwrap_or(0)
        };
        let identity = preference.weight("identity");
        let refused = identity.or(any) == Some(0);
        // Of equals the first.
        let best = self.codings.iter().rev().max_by_key(|coding| weigh(coding));
        match best.map(|coding| (*coding, weigh(coding))).filter(|(_, weight)| *weight > 0) {
            Some((_, weight)) if identity.is_some_and(|identity| identity > weight) => Choice::Plain,
            Some((coding, _)) => Choice::Packed { coding, must: refused },
            None if refused => Choice::Nothing,
            None => Choice::Plain,
        }
    }
}

fn may_be_packed(response: &Response) -> bool {
    /// They speak of the very bytes that are sent, or of a part of them.
    const BOUND: [&str; 5] = ["Content-Encoding", "Content-Range", "Content-Digest", "Digest", "Content-MD5"];
    let body = match &response.body {
        Body::Static(_) | Body::Bytes(_) | Body::Shared(_) | Body::Stream(..) => true,
        _ => response.status == 304,
    };
    let transform = |value: &str| !value.to_ascii_lowercase().contains("no-transform");
    body && !matches!(response.status, 0..200 | 204..=206)
        && BOUND.iter().all(|name| response.field(name).is_none())
        && response.values("Cache-Control").all(transform)
}

fn pack(mut response: Response, coding: Coding, must: bool) -> Response {
    match Packing::of(std::mem::take(&mut response.body), coding, must) {
        Ok(body) => response.body = body,
        Err(plain) => {
            response.body = plain;
            return response.vary("Accept-Encoding");
        }
    }
    // A range would be one of the packed bytes, which nobody keeps.
    response.fields.retain(|(name, _)| !name.eq_ignore_ascii_case("accept-ranges"));
    weaken(response).header("Content-Encoding", coding.name()).vary("Accept-Encoding")
}

/// The same content in other bytes: equal is what a weak tag says (RFC 9110 section 8.8.1).
fn weaken(mut response: Response) -> Response {
    for (name, value) in &mut response.fields {
        if name.eq_ignore_ascii_case("etag") && value.starts_with('"') {
            *value = format!("W/{value}").into();
        }
    }
    response
}

/// Whether bytes of this type are likely to become fewer.
fn is_compressible(media_type: &str) -> bool {
    const ALSO: [&str; 14] = [
        "application/json",
        "application/javascript",
        "application/x-javascript",
        "application/xml",
        "application/x-ndjson",
        "application/wasm",
        "application/rtf",
        "application/graphql",
        "application/x-www-form-urlencoded",
        "application/vnd.ms-fontobject",
        "font/ttf",
        "font/otf",
        "image/bmp",
        "image/x-icon",
    ];
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_text = essence.starts_with("text/") && essence != "text/event-stream";
    is_text || essence.ends_with("+json") || essence.ends_with("+xml") || ALSO.contains(&essence.as_str())
}

#[cfg(test)]
mod tests;
