//! Forms with files on their way to a handler: part by part as they come, or collected, where what is large lies on the disk. The codec is
//! `wire::multipart`; here are its bytes, its limits, and what becomes of a part.

mod collect;
mod part;
mod spill;

use std::path::PathBuf;
use std::rc::Rc;
use std::task::{Context, Poll};

use ropewalk_wire::multipart::{Boundary, Decoder, Event, Limits as Sizes, Malformed};

use crate::extract::{Extracted, FromRequest, Rejection, via};
use crate::request::Request;

pub use collect::FormData;
pub(crate) use collect::{InMemory, read_whole};
pub use part::{Part, PartInfo};
pub use spill::Upload;

/// What a form may be. Of a router's [state](crate::Router::state) of this type the form is read by, else by the defaults.
#[derive(Clone, Debug)]
pub struct MultipartLimits {
    /// Parts, 100; 413 beyond.
    pub parts_max: usize,
    /// Bytes of the head of a part, 8 KiB; 400 beyond.
    pub head_bytes_max: usize,
    /// Bytes of one file, or of a part that is taken as it comes; none of their own, only the whole form's. 413 beyond.
    pub part_bytes_max: Option<u64>,
    /// Bytes of a field that is no file, where fields are collected, 1 MiB; 413 beyond.
    pub field_bytes_max: u64,
    /// Bytes of the whole form, in place of the site's limit for bodies (8 MiB); 413 beyond.
    pub form_bytes_max: Option<u64>,
    /// Bytes of a collected file that are kept in memory, 64 KiB; a larger one goes to the disk.
    pub memory_bytes_max: usize,
    /// The folder that they go to: the system's for temporary files, unless it is said. Only a program that is killed leaves any of them
    /// behind; their names begin with `ropewalk-upload-`.
    pub folder: Option<PathBuf>,
}

impl Default for MultipartLimits {
    fn default() -> MultipartLimits {
        MultipartLimits {
            parts_max: 100,
            head_bytes_max: 8 * 1024,
            part_bytes_max: None,
            field_bytes_max: 1024 * 1024,
            form_bytes_max: None,
            memory_bytes_max: 64 * 1024,
            folder: None,
        }
    }
}

/// A `multipart/form-data` body, part by part as it comes: the client is read on only when somebody asks for more.
///
/// ```
/// use ropewalk_web::extract::typed;
/// use ropewalk_web::{Multipart, Rejection, Router};
/// let router = Router::new().post("/measure", typed(|mut form: Multipart| async move {
///     let mut lines = String::new();
///     while let Some(mut part) = form.next().await? {
///         let mut bytes = 0;
///         while let Some(piece) = part.piece().await? {
///             bytes += piece.len();
///         }
///         lines += &format!("{}: {bytes} bytes\n", part.name());
///     }
///     Ok::<_, Rejection>(lines)
/// }));
/// # drop(router);
/// ```
pub struct Multipart {
    request: Request,
    decoder: Decoder,
    limits: Rc<MultipartLimits>,
    /// The piece of the body that is being worked through, and how far.
    piece: Vec<u8>,
    at: usize,
    /// A part has begun and not ended, and has so many bytes.
    open: bool,
    part_bytes: u64,
    /// What has come in all, unpacked where it was packed: of that, whoever limits what is sent knows nothing.
    form_bytes: u64,
    ended: bool,
}

/// What comes next of a form.
enum Next {
    Part(PartInfo),
    Data(Vec<u8>),
    PartEnd,
    End,
}

impl Multipart {
    /// The form of a request, by the limits of its router or the defaults.
    ///
    /// # Errors
    /// The body is of another type (415), or does not name its boundary (400).
    pub fn new(request: Request) -> Result<Multipart, Rejection> {
        let limits = request.state::<MultipartLimits>().unwrap_or_default();
        Multipart::with(request, limits)
    }

    /// The same by these limits.
    ///
    /// # Errors
    /// As [`Multipart::new`].
    pub fn with_limits(request: Request, limits: MultipartLimits) -> Result<Multipart, Rejection> {
        Multipart::with(request, Rc::new(limits))
    }

    fn with(request: Request, limits: Rc<MultipartLimits>) -> Result<Multipart, Rejection> {
        let boundary = boundary(&request)?;
        if let Some(bytes) = limits.form_bytes_max {
            request.set_body_bytes_max(bytes);
        }
        let decoder = Decoder::new(&boundary);
        Ok(Multipart {
            request,
            decoder,
            limits,
            piece: Vec::new(),
            at: 0,
            open: false,
            part_bytes: 0,
            form_bytes: 0,
            ended: false,
        })
    }

    /// The next part; none behind the last. What was not read of the one before is passed over.
    ///
    /// # Errors
    /// The form is malformed (400), beyond a limit (413), or its body cannot be read.
    pub async fn next(&mut self) -> Result<Option<Part<'_>>, Rejection> {
        loop {
            match std::future::poll_fn(|context| self.poll_event(context)).await? {
                Next::Part(info) => return Ok(Some(Part::new(self, info))),
                Next::Data(_) | Next::PartEnd => {}
                Next::End => return Ok(None),
            }
        }
    }

    /// The request, whose head is still of interest.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Result<Next, Rejection>> {
        loop {
            if let Some(next) = self.advance()? {
                return Poll::Ready(Ok(next));
            }
            match self.request.poll_piece(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Ready(Ok(Some(piece))) => {
                    self.form_bytes += piece.len() as u64;
                    if self.limits.form_bytes_max.is_some_and(|max| self.form_bytes > max) {
                        return Poll::Ready(Err(crate::BodyError::TooLarge.into()));
                    }
                    (self.piece, self.at) = (piece, 0);
                }
                Poll::Ready(Ok(None)) => {
                    self.decoder.finish().map_err(refused)?;
                    return Poll::Ready(Ok(Next::End));
                }
            }
        }
    }

    /// What comes of the piece that is here.
    fn advance(&mut self) -> Result<Option<Next>, Rejection> {
        if self.ended {
            // What comes behind the last part means nothing, but it is read to its end, so that the connection stays.
            (self.piece, self.at) = (Vec::new(), 0);
            return Ok(None);
        }
        if self.at == self.piece.len() {
            return Ok(None);
        }
        let sizes = Sizes { parts_max: self.limits.parts_max, head_bytes_max: self.limits.head_bytes_max };
        let (consumed, event) = self.decoder.decode(&self.piece[self.at..], &sizes).map_err(refused)?;
        let next = match event {
            Event::NeedMore => None,
            Event::Part(head) => {
                (self.open, self.part_bytes) = (true, 0);
                Some(Next::Part(PartInfo::of(&head)?))
            }
            Event::Data(data) => {
                self.part_bytes += data.len() as u64;
                Some(Next::Data(data.to_vec()))
            }
            Event::PartEnd => {
                self.open = false;
                Some(Next::PartEnd)
            }
            Event::End => {
                self.ended = true;
                None
            }
        };
        self.at += consumed;
        if self.limits.part_bytes_max.is_some_and(|max| self.part_bytes > max) {
            return Err(Rejection::new(413, "a part of the form is larger than it may be").closing());
        }
        Ok(next)
    }
}

/// The boundary of a request's form.
fn boundary(request: &Request) -> Result<Boundary, Rejection> {
    if !request.has_type("multipart/form-data") {
        let absent = request.media_type().is_none() && !request.exchange().inbound_used.get();
        let rejection = Rejection::media("multipart/form-data");
        return Err(if absent {
            Rejection::absent("a form is wanted: multipart/form-data")
        } else {
            rejection
        });
    }
    let value = request.header("content-type").unwrap_or_default();
    Boundary::of(value.as_bytes()).ok_or_else(|| Rejection::new(400, "the form does not name its boundary"))
}

/// What a form that is refused is answered with.
fn refused(why: Malformed) -> Rejection {
    let status = if why == Malformed::TooManyParts { 413 } else { 400 };
    Rejection::new(status, why.to_string()).closing()
}

impl FromRequest<via::Body> for Multipart {
    fn from_request(request: Request) -> Extracted<Multipart> {
        Extracted::Now(Multipart::new(request))
    }
}
