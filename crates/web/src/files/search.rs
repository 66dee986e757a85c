//! From what a request wants to what there is: the file, its index, the same name with an ending, a coded copy beside it, the
//! page for what is missing, the list of a folder. It opens and asks the file system, on the loop or in the pool, and knows
//! nothing of fields or statuses.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::accept::{Coding, Codings};
use super::listing::{self, View};
use super::root::{Facts, Found, Pace, Root};

/// Where to look, and for what. It is shared with the pool.
#[derive(Clone, Debug)]
pub(super) struct Search {
    pub(super) root: Arc<Root>,
    pub(super) index: Vec<Vec<u8>>,
    /// The index names are no longer the default.
    pub(super) index_chosen: bool,
    /// Endings, with their dots, that a request may leave out.
    pub(super) extensions: Vec<Vec<u8>>,
    pub(super) precompressed: bool,
    pub(super) hidden: bool,
    pub(super) missing_page: Option<Vec<u8>>,
    pub(super) fallback: Option<Vec<u8>>,
}

/// What a request wants.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// Below the root; none for a path that never names a file.
    pub(super) name: Option<Cow<'a, [u8]>>,
    /// It was asked for with a slash behind it.
    pub(super) folder: bool,
    pub(super) codings: Codings,
    /// Somebody goes to a page.
    pub(super) navigation: bool,
    /// How a folder without an index is to be shown, if it is.
    pub(super) view: Option<View>,
}

impl Wanted<'_> {
    /// The same without the request.
    pub(super) fn into_owned(self) -> Wanted<'static> {
        let name = self.name.map(|name| Cow::Owned(name.into_owned()));
        Wanted { name, ..self }
    }
}

/// By which name a file was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Called {
    /// The one that was asked for.
    Asked,
    /// The index of this number.
    Index(usize),
    /// The one asked for, with the ending of this number.
    Extension(usize),
    /// It is what is shown instead of something missing.
    MissingPage,
    /// It is the page of an application that knows what to do with any path.
    Fallback,
}

/// A file that was found, open.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) file: OwnedFd,
    pub(super) facts: Facts,
    /// The file's own facts, where `file` is a coded copy of it.
    pub(super) original: Facts,
    pub(super) called: Called,
    pub(super) coding: Option<Coding>,
}

/// What there is.
#[derive(Debug)]
pub(super) enum Sight {
    File(Located),
    /// A folder that was asked for without a slash.
    Folder,
    /// The list of a folder, as it was to be shown.
    List(Vec<u8>),
}

impl Search {
    /// Looks. `Errno::AGAIN` on the loop means that it takes the pool: something is not in memory, or a folder is to be read.
    pub(super) fn look(&self, wanted: &Wanted<'_>, pace: Pace) -> Result<Sight, Errno> {
        let found = match &wanted.name {
            Some(name) => self.named(name, wanted, pace),
            None => Err(Errno::NOENT),
        };
        match found {
            Err(errno) if is_absent(errno) => self.instead(wanted, pace, errno),
            found => found,
        }
    }

    fn named(&self, name: &[u8], wanted: &Wanted<'_>, pace: Pace) -> Result<Sight, Errno> {
        match (self.root.find(name, wanted.folder, &self.index, pace), &wanted.view) {
            (Ok(Found::File { file, facts, index: None }), _) => {
                self.chosen(name, file, facts, Called::Asked, wanted, pace)
            }
            (Ok(Found::File { file, facts, index: Some(index) }), _) => {
                let name = match name {
                    b"" => Cow::Borrowed(self.index[index].as_slice()),
                    name => Cow::Owned([name, b"/", &self.index[index]].concat()),
                };
                self.chosen(&name, file, facts, Called::Index(index), wanted, pace)
            }
            (Ok(Found::Folder), _) => Ok(Sight::Folder),
            (Err(Errno::NOENT), Some(_)) if pace == Pace::Cached => Err(Errno::AGAIN),
            (Err(Errno::NOENT), Some(view)) => {
                listing::read(&self.root, name, self.hidden).map(|listing| Sight::List(view.show(listing)))
            }
            (Err(Errno::NOENT), None) if !wanted.folder => self.extended(name, wanted, pace),
            (Err(errno), _) => Err(errno),
        }
    }

    /// The name with one of the endings that a request may leave out.
    fn extended(&self, name: &[u8], wanted: &Wanted<'_>, pace: Pace) -> Result<Sight, Errno> {
        for (number, extension) in self.extensions.iter().enumerate() {
            let name = [name, extension].concat();
            match self.root.regular(&name, pace) {
                Err(errno) if is_absent(errno) => {}
                Err(errno) => return Err(errno),
                Ok((file, facts)) => {
                    return self.chosen(&name, file, facts, Called::Extension(number), wanted, pace);
                }
            }
        }
        Err(Errno::NOENT)
    }

    /// What is shown for something that is not there, or the reason why it is not.
    fn instead(&self, wanted: &Wanted<'_>, pace: Pace, why: Errno) -> Result<Sight, Errno> {
        let fallback = self.fallback.as_ref().filter(|_| wanted.navigation && wanted.name.is_some());
        let pages = [(fallback, Called::Fallback), (self.missing_page.as_ref(), Called::MissingPage)];
        for (name, called) in pages {
            let Some(name) = name else { continue };
            match self.root.regular(name, pace) {
                Err(errno) if is_absent(errno) => {}
                Err(errno) => return Err(errno),
                Ok((file, facts)) => return self.chosen(name, file, facts, called, wanted, pace),
            }
        }
        Err(why)
    }

    /// The file, or the copy of it that the client would rather have. One that is older than the file is of something else; one
    /// that cannot be opened, or leads out of the root, is none.
    fn chosen(
        &self,
        name: &[u8],
        file: OwnedFd,
        facts: Facts,
        called: Called,
        wanted: &Wanted<'_>,
        pace: Pace,
    ) -> Result<Sight, Errno> {
        for coding in wanted.codings.iter() {
            match self.root.regular(&[name, coding.ending()].concat(), pace) {
                Ok((copy, of_copy)) if of_copy.is_as_new_as(&facts) => {
                    let (file, coding) = (copy, Some(coding));
                    return Ok(Sight::File(Located {
                        file,
                        facts: of_copy,
                        original: facts,
                        called,
                        coding,
                    }));
                }
                Err(Errno::AGAIN) if pace == Pace::Cached => return Err(Errno::AGAIN),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(Sight::File(Located { file, facts, original: facts, called, coding: None }))
    }

    /// What the type of a file is guessed from.
    pub(super) fn name<'a>(&'a self, called: Called, wanted: &'a Wanted<'_>) -> &'a [u8] {
        match called {
            Called::Asked => wanted.name.as_deref().unwrap_or_default(),
            Called::Index(index) => &self.index[index],
            Called::Extension(number) => &self.extensions[number],
            Called::MissingPage => self.missing_page.as_deref().unwrap_or_default(),
            Called::Fallback => self.fallback.as_deref().unwrap_or_default(),
        }
    }
}

/// Whether it comes to "there is no such file": not there, not a folder on the way, a link out of the root or in a circle, a
/// socket, a name too long for one.
pub(super) fn is_absent(errno: Errno) -> bool {
    !matches!(
        errno,
        Errno::ACCESS
            | Errno::PERM
            | Errno::MFILE
            | Errno::NFILE
            | Errno::NOMEM
            | Errno::AGAIN
            | Errno::IO
            | Errno::STALE
    )
}
