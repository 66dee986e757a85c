//! A whole form: its fields as arguments, its files in memory or on the disk.

use std::rc::Rc;

use ropewalk_wire::multipart::{Decoder, Event, Limits as Sizes};
use serde::de::DeserializeOwned;

use super::part::{PartInfo, too_large};
use super::spill::Upload;
use super::{Multipart, MultipartLimits, boundary, refused};
use crate::extract::{Extracted, FromRequest, Rejection, read_form, via};
use crate::request::{Arguments, Request};

/// A form with files, collected: `multipart/form-data`, or a form without files in the other format. Small files are in memory, larger ones on
/// the disk, and are gone with this value unless they are [kept](Upload::keep).
///
/// ```
/// use ropewalk_web::extract::typed;
/// use ropewalk_web::{Failure, FormData, Router};
/// #[derive(serde::Deserialize)]
/// struct Picture {
///     title: String,
/// }
/// let router = Router::new().post("/pictures", typed(|form: FormData| async move {
///     let picture: Picture = form.read()?;
///     let Some(file) = form.file("file") else { return Ok("which file?".to_owned()) };
///     Ok::<_, ropewalk_web::Rejection>(format!("{}: {} bytes", picture.title, file.len()))
/// }));
/// # drop(router);
/// ```
#[derive(Debug)]
pub struct FormData {
    /// The fields that are no files.
    pub fields: Arguments,
    /// The files, in order. A file field for which none was chosen is none.
    pub files: Vec<Upload>,
}

impl FormData {
    /// The fields as a struct or a map, as [`crate::extract::Form`] reads them.
    ///
    /// # Errors
    /// They do not fit: 422.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        read_form(self.fields.clone())
    }

    /// The first file of this name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&Upload> {
        self.files.iter().find(|file| file.name() == name)
    }

    /// The first file of this name, taken out, to be [kept](Upload::keep).
    pub fn take_file(&mut self, name: &str) -> Option<Upload> {
        let at = self.files.iter().position(|file| file.name() == name)?;
        Some(self.files.remove(at))
    }

    /// The form of a request, of either type, by the limits of its router.
    ///
    /// # Errors
    /// The body is no form (415), malformed (400), beyond a limit (413), or cannot be read; or a disk is full, which is a 500.
    pub async fn of(request: Request) -> Result<FormData, Rejection> {
        if request.has_type("application/x-www-form-urlencoded") {
            let fields = Arguments::read(&request.bytes().await?);
            return Ok(FormData { fields, files: Vec::new() });
        }
        Multipart::new(request)?.collect().await
    }
}

impl Multipart {
    /// All that is left of it.
    ///
    /// # Errors
    /// The form is malformed (400), beyond a limit (413), or its body cannot be read; or a disk is full, which is a 500.
    pub async fn collect(mut self) -> Result<FormData, Rejection> {
        let (mut fields, mut files) = (Vec::new(), Vec::new());
        let limits = Rc::clone(&self.limits);
        let reactor = self.request().reactor().clone();
        while let Some(mut part) = self.next().await? {
            if !part.is_file() {
                let name = part.name().to_owned();
                fields.push((name, part.text(limits.field_bytes_max).await?));
                continue;
            }
            let mut file = Upload::new((*part).clone());
            while let Some(piece) = part.piece().await? {
                let pushed = file.push(&reactor, piece, limits.memory_bytes_max, limits.folder.as_deref());
                pushed.await.map_err(|failure| unkept(&failure))?;
            }
            file.flush().await.map_err(|failure| unkept(&failure))?;
            // What browsers send for a file field without a file.
            if !(file.is_empty() && file.file_name() == Some("")) {
                files.push(file);
            }
        }
        Ok(FormData { fields: Arguments::from_pairs(fields), files })
    }
}

impl Multipart {
    /// The fields that are left of it; files are passed over.
    pub(crate) async fn fields(mut self) -> Result<Arguments, Rejection> {
        let (mut fields, limits) = (Vec::new(), Rc::clone(&self.limits));
        while let Some(part) = self.next().await? {
            if !part.is_file() {
                let name = part.name().to_owned();
                fields.push((name, part.text(limits.field_bytes_max).await?));
            }
        }
        Ok(Arguments::from_pairs(fields))
    }
}

fn unkept(failure: &ropewalk_reactor::Failure) -> Rejection {
    Rejection::new(500, format!("an upload could not be kept: {failure}"))
}

impl FromRequest<via::Body> for FormData {
    fn from_request(request: Request) -> Extracted<FormData> {
        Extracted::later(FormData::of(request))
    }
}

/// A file of a form that was read whole.
pub(crate) struct InMemory {
    pub(crate) info: PartInfo,
    pub(crate) bytes: Vec<u8>,
}

/// A form that is here already, as [`crate::handlers`] has it.
pub(crate) fn read_whole(request: &Request, body: &[u8]) -> Result<(Arguments, Vec<InMemory>), Rejection> {
    let limits = request.state::<MultipartLimits>().unwrap_or_default();
    let sizes = Sizes { parts_max: limits.parts_max, head_bytes_max: limits.head_bytes_max };
    let mut decoder = Decoder::new(&boundary(request)?);
    let (mut parts, mut rest): (Vec<InMemory>, _) = (Vec::new(), body);
    loop {
        let (consumed, event) = decoder.decode(rest, &sizes).map_err(refused)?;
        match event {
            Event::NeedMore | Event::End => break,
            Event::Part(head) => parts.push(InMemory { info: PartInfo::of(&head)?, bytes: Vec::new() }),
            Event::Data(data) => {
                if let Some(part) = parts.last_mut() {
                    let own = if part.info.is_file() {
                        limits.part_bytes_max
                    } else {
                        Some(limits.field_bytes_max)
                    };
                    if own.is_some_and(|max| (part.bytes.len() + data.len()) as u64 > max) {
                        return Err(too_large(&part.info));
                    }
                    part.bytes.extend_from_slice(data);
                }
            }
            Event::PartEnd => {}
        }
        rest = &rest[consumed..];
    }
    decoder.finish().map_err(refused)?;
    let (files, fields): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| part.info.is_file());
    let text =
        |part: InMemory| (part.info.name().to_owned(), String::from_utf8_lossy(&part.bytes).into_owned());
    let files =
        files.into_iter().filter(|file| !(file.bytes.is_empty() && file.info.file_name() == Some("")));
    Ok((Arguments::from_pairs(fields.into_iter().map(text).collect()), files.collect()))
}
