//! One part of a form, while it comes.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use ropewalk_wire::multipart::{PartHead, safe_file_name};

use super::{Multipart, Next, refused};
use crate::extract::Rejection;

/// What a part says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartInfo {
    name: String,
    file_name: Option<String>,
    content_type: Option<String>,
}

impl PartInfo {
    pub(super) fn of(head: &PartHead) -> Result<PartInfo, Rejection> {
        let disposition = head.disposition().map_err(refused)?;
        let name = disposition.name.unwrap_or_default();
        let content_type = head.content_type().map(str::to_owned);
        Ok(PartInfo { name, file_name: disposition.file_name, content_type })
    }

    /// The name of the field.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name that the file had where it came from; none for a field that is no file, and empty for one for which no file was chosen.
    /// Somebody else's words: to be escaped on a page, and never a path; see [`PartInfo::safe_file_name`].
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.file_name.as_deref()
    }

    /// What of that name may stand in a folder: one segment without tricks; see [`safe_file_name`]. Two uploads may have the same.
    #[must_use]
    pub fn safe_file_name(&self) -> Option<String> {
        self.file_name.as_deref().and_then(safe_file_name)
    }

    /// Whether it is a file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.file_name.is_some()
    }

    /// What the sender says it is. Before it goes to other visitors, look: an HTML page may come as `image/png`.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }
}

/// A part of a form, and its bytes as they come; it is also a `futures` stream of them. Dropping it passes over the rest.
pub struct Part<'a> {
    form: &'a mut Multipart,
    info: PartInfo,
}

impl std::ops::Deref for Part<'_> {
    type Target = PartInfo;

    fn deref(&self) -> &PartInfo {
        &self.info
    }
}

impl<'a> Part<'a> {
    pub(super) fn new(form: &'a mut Multipart, info: PartInfo) -> Part<'a> {
        Part { form, info }
    }

    /// The next piece of it; none at its end.
    ///
    /// # Errors
    /// It is larger than it may be (413), the form is malformed (400), or its body cannot be read.
    pub async fn piece(&mut self) -> Result<Option<Vec<u8>>, Rejection> {
        poll_fn(|context| self.poll_piece(context)).await
    }

    /// [`Part::piece`] for hand-written futures.
    pub fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, Rejection>> {
        if !self.form.open {
            return Poll::Ready(Ok(None));
        }
        self.form.poll_event(context).map_ok(|next| match next {
            Next::Data(data) => Some(data),
            Next::PartEnd | Next::End | Next::Part(_) => None,
        })
    }

    /// All of it, if that is not more than so many bytes.
    ///
    /// # Errors
    /// It is more (413), the form is malformed (400), or its body cannot be read.
    pub async fn bytes(mut self, bytes_max: u64) -> Result<Vec<u8>, Rejection> {
        let mut whole = Vec::new();
        while let Some(piece) = self.piece().await? {
            if (whole.len() + piece.len()) as u64 > bytes_max {
                return Err(too_large(&self.info));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    /// The same as text; what is not UTF-8 is replaced.
    ///
    /// # Errors
    /// As [`Part::bytes`].
    pub async fn text(self, bytes_max: u64) -> Result<String, Rejection> {
        Ok(String::from_utf8_lossy(&self.bytes(bytes_max).await?).into_owned())
    }
}

pub(super) fn too_large(info: &PartInfo) -> Rejection {
    Rejection::new(413, "a field of the form is larger than it may be").field(info.name()).closing()
}

impl Stream for Part<'_> {
    type Item = Result<Vec<u8>, Rejection>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_piece(context).map(Result::transpose)
    }
}
