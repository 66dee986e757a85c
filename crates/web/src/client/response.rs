//! `Response`: the head of an answer, and its body as it comes. Reading follows the program: a body that nobody reads stops the
//! server, one that is dropped lets go of the connection.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use ropewalk_reactor::{Deferred, Outcome, Reactor};
use ropewalk_wire::http1::{Framing, ResponseHead, Version};
use serde::de::DeserializeOwned;

use super::agent::Settings;
use super::coding::Inflater;
use super::error::ClientError;
use super::exchange::{Answered, Handle};
use super::url::Url;

/// An answer. Its head is there, its body comes as it is read.
///
/// It is a `Stream` of pieces as well, so that [`Body::stream`](crate::Body::stream) hands it on, no faster than it is taken.
pub struct Response {
    reactor: Reactor,
    url: Url,
    redirects: u32,
    head: ResponseHead,
    framing: Framing,
    handle: Handle,
    inflater: Option<Inflater>,
    collect_bytes_max: u64,
    /// What reading has failed of: it fails of that whenever it is asked for more.
    failed: Option<ClientError>,
    over: bool,
}

impl Response {
    pub(super) fn new(
        settings: &Settings,
        url: &Url,
        redirects: u32,
        handle: Handle,
        answered: Answered,
        unpacks: bool,
    ) -> Response {
        let Answered { head, framing } = answered;
        let coding = head.field("Content-Encoding").and_then(|value| std::str::from_utf8(value).ok());
        let coding = coding.filter(|_| unpacks && framing != Framing::None);
        Response {
            reactor: settings.reactor.clone(),
            url: url.clone(),
            redirects,
            inflater: coding.and_then(|coding| Inflater::new(coding, &settings.limits)),
            collect_bytes_max: settings.limits.collect_bytes_max,
            head,
            framing,
            handle,
            failed: None,
            over: false,
        }
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The reason phrase, which says nothing that the status does not.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.head.reason()
    }

    /// Whether the server speaks HTTP/1.1.
    #[must_use]
    pub fn is_http11(&self) -> bool {
        self.head.version() == Version::Http11
    }

    /// The first field of this name, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.field(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All fields, in the order they were sent.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.fields()
    }

    /// Where it comes from: after redirects, not where the request began.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// How many redirects were followed.
    #[must_use]
    pub fn redirects(&self) -> u32 {
        self.redirects
    }

    /// How many bytes its body has on the wire, if the head says so; fewer than are read of it where it is unpacked.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        match self.framing {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::UntilClose => None,
        }
    }

    /// Whether the body is unpacked as it is read. Then `Content-Encoding` and `Content-Length` tell of what was sent.
    #[must_use]
    pub fn is_unpacked(&self) -> bool {
        self.inflater.is_some()
    }

    /// The same, if the status is one of success (2xx).
    ///
    /// # Errors
    /// [`ClientError::Status`].
    pub fn success(self) -> Outcome<Response> {
        match self.status() {
            200..=299 => Ok(self),
            status => Err(ClientError::Status(status).into()),
        }
    }

    /// The same, and so many bytes may be kept by [`Response::bytes`], [`Response::text`] and [`Response::json`].
    #[must_use]
    pub fn with_bytes_max(mut self, bytes: u64) -> Response {
        self.collect_bytes_max = bytes;
        self
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`ClientError::TooLarge`] beyond 16 MiB or what was set, and those of [`Response::piece`].
    #[track_caller]
    pub fn bytes(self) -> Deferred<Vec<u8>> {
        self.reactor.clone().ensure_deferred(self.collect())
    }

    /// The whole body as text: in UTF-8, where wrong bytes become U+FFFD, or in the character set that its content type names, of
    /// which Latin-1 and ASCII are known besides.
    ///
    /// # Errors
    /// Those of [`Response::bytes`], and [`ClientError::Charset`].
    #[track_caller]
    pub fn text(self) -> Deferred<String> {
        self.reactor.clone().ensure_deferred(async move {
            let charset = self.charset();
            let bytes = match charset.as_deref() {
                None | Some("utf-8" | "utf8" | "us-ascii" | "ascii") => self.collect().await?,
                Some("iso-8859-1" | "latin1") => {
                    return Ok(self.collect().await?.into_iter().map(char::from).collect());
                }
                Some(other) => return Err(ClientError::Charset(other.to_owned()).into()),
            };
            Ok(String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
        })
    }

    /// The whole body, read as JSON.
    ///
    /// # Errors
    /// Those of [`Response::bytes`], and that of `serde_json`.
    #[track_caller]
    pub fn json<T: DeserializeOwned + 'static>(self) -> Deferred<T> {
        self.reactor
            .clone()
            .ensure_deferred(async move { Ok(serde_json::from_slice(&self.collect().await?)?) })
    }

    /// Gives every piece of the body to a function as it comes; answers how many bytes there were. A piece is asked for only when
    /// the one before was taken.
    ///
    /// # Errors
    /// Those of [`Response::piece`], and what the function fails of, which ends it.
    #[track_caller]
    pub fn copy_to(mut self, mut take: impl FnMut(&[u8]) -> Outcome<()> + 'static) -> Deferred<u64> {
        self.reactor.clone().ensure_deferred(async move {
            let mut copied = 0;
            while let Some(piece) = self.piece().await? {
                take(&piece)?;
                copied += piece.len() as u64;
            }
            Ok(copied)
        })
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// [`ClientError`]: the connection was lost before the end, a deadline has passed, the framing is wrong, a limit is passed. What
    /// was read before is then not the whole body.
    pub async fn piece(&mut self) -> Outcome<Option<Vec<u8>>> {
        poll_fn(|context| self.poll_piece(context)).await
    }

    /// [`Response::piece`] for hand-written futures.
    pub fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Outcome<Option<Vec<u8>>>> {
        if let Some(error) = &self.failed {
            return Poll::Ready(Err(error.clone().into()));
        }
        let polled = ready!(self.poll_unpacked(context));
        self.failed = polled.as_ref().err().cloned();
        Poll::Ready(Ok(polled?))
    }

    fn poll_unpacked(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, ClientError>> {
        loop {
            if let Some(inflater) = &mut self.inflater
                && let Some(piece) = inflater.piece()?
            {
                return Poll::Ready(Ok(Some(piece)));
            }
            let received = ready!(self.handle.0.poll_piece(context))?;
            match (received, &mut self.inflater) {
                (Some(piece), Some(inflater)) => inflater.feed(piece),
                (Some(piece), None) => return Poll::Ready(Ok(Some(piece))),
                (None, Some(inflater)) => {
                    inflater.finish()?;
                    return Poll::Ready(Ok(None));
                }
                (None, None) => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// The fields behind a chunked body, once it was read to its end.
    #[must_use]
    pub fn trailers(&self) -> Vec<(String, Vec<u8>)> {
        self.handle.0.trailers()
    }

    async fn collect(mut self) -> Outcome<Vec<u8>> {
        let bytes_max = self.collect_bytes_max;
        let too_large = || ClientError::TooLarge { bytes_max };
        if self.inflater.is_none() && self.content_length().is_some_and(|length| length > bytes_max) {
            return Err(too_large().into());
        }
        let mut whole = Vec::new();
        while let Some(piece) = self.piece().await? {
            if (whole.len() + piece.len()) as u64 > bytes_max {
                return Err(too_large().into());
            }
            if whole.is_empty() {
                whole = piece;
            } else {
                whole.extend_from_slice(&piece);
            }
        }
        Ok(whole)
    }

    fn charset(&self) -> Option<String> {
        let parameters = self.header("Content-Type")?.split(';').skip(1);
        let named = parameters.filter_map(|parameter| parameter.trim().split_once('='));
        let mut charsets = named.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
        charsets.next().map(|(_, value)| value.trim().trim_matches('"').to_ascii_lowercase())
    }
}

impl Stream for Response {
    type Item = Outcome<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Outcome<Vec<u8>>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let piece = ready!(self.poll_piece(context)).transpose();
        // A failure is told once, and then there is no more.
        self.over = !matches!(piece, Some(Ok(_)));
        Poll::Ready(piece)
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status())
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}
