//! Which files of a folder are pages, and by which URLs each is served: what `ropewalk_web::Files` does with names, backwards. No disk is
//! touched here.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use ropewalk_web::content_type;
use ropewalk_web::encode_path;

/// How a folder is served, as far as URLs go: the same that [`Files`](ropewalk_web::Files) is told.
///
/// ```
/// use ropewalk_hub::Names;
/// let names = Names { extensions: vec![".html".to_owned()], ..Names::default() };
/// assert_eq!(names.urls(b"blog/about.html"), ["/blog/about.html", "/blog/about"]);
/// assert_eq!(names.urls(b"blog/index.html"), ["/blog/index.html", "/blog/index", "/blog/"]);
/// ```
#[derive(Clone, Debug)]
pub struct Names {
    /// Files that answer for their folder. `index.html`.
    pub index: Vec<String>,
    /// Endings that may be left out, with their dot. None.
    pub extensions: Vec<String>,
    /// Types of endings that are not as usual. None.
    pub types: Vec<(String, String)>,
    /// Names that begin with a dot are served, too. No.
    pub hidden: bool,
    /// A folder answers with the list of what is in it. No.
    pub listing: bool,
    /// The root is a file, which is served at `/`. No.
    pub single: bool,
}

impl Default for Names {
    fn default() -> Names {
        Names {
            index: vec!["index.html".to_owned()],
            extensions: Vec::new(),
            types: Vec::new(),
            hidden: false,
            listing: false,
            single: false,
        }
    }
}

impl Names {
    /// The paths of the URLs at which a file is, by its path below the root.
    #[must_use]
    pub fn urls(&self, path: &[u8]) -> Vec<String> {
        if self.single {
            return vec!["/".to_owned()];
        }
        let coded = format!("/{}", encode_path(path));
        let (folder, name) = coded.split_at(coded.rfind('/').map_or(0, |slash| slash + 1));
        let shorter = self.extensions.iter().filter_map(|ending| coded.strip_suffix(&*code(ending)));
        let shorter: Vec<String> = shorter.filter(|rest| !rest.ends_with('/')).map(str::to_owned).collect();
        let answers = self.listing || self.index.iter().any(|index| *code(index) == *name);
        let folder = answers.then(|| folder.to_owned());
        let mut urls = if self.is_page(path) { vec![coded.clone()] } else { Vec::new() };
        if !urls.is_empty() {
            urls.extend(shorter);
        }
        urls.extend(folder);
        urls
    }

    /// Whether something is to be said when this file changes.
    pub(super) fn is_seen(&self, name: &[u8]) -> bool {
        // A list shows every file.
        self.listing || self.is_page(name)
    }

    fn is_page(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path).to_ascii_lowercase();
        let fits = |ending: &str| name.ends_with(ending.to_ascii_lowercase().as_bytes());
        let own = self.types.iter().filter(|(ending, _)| fits(ending)).max_by_key(|(ending, _)| ending.len());
        is_page(&own.map_or_else(|| content_type(path), |(_, media)| Cow::Owned(media.clone())))
    }
}

/// What subscribers follow: pages and feeds, and no pictures.
pub(crate) fn is_page(media: &str) -> bool {
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "image/svg+xml" => false,
        "text/html" | "application/json" | "application/feed+json" => true,
        other => other.ends_with("/xml") || other.ends_with("+xml"),
    }
}

/// A path with the same codes, however the client has written it.
pub(crate) fn canonical(path: &str) -> String {
    let decoded: Vec<u8> = percent_decode(path.as_bytes()).collect();
    encode_path(&decoded)
}

fn code(name: &str) -> Cow<'_, str> {
    encode_path(name.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_coded_as_clients_do() {
        let names = Names::default();
        assert_eq!(names.urls("füße & co.html".as_bytes()), ["/f%C3%BC%C3%9Fe%20&%20co.html"]);
        assert_eq!(canonical("/f%c3%bc%C3%9fe%20%26%20co%2Ehtml"), "/f%C3%BC%C3%9Fe%20&%20co.html");
        assert_eq!(names.urls(b"100%.html"), ["/100%25.html"]);
        assert_eq!(names.urls(b"\xff.xml"), ["/%FF.xml"]);
    }

    #[test]
    fn what_is_no_page_has_no_url() {
        let names = Names { types: vec![(".blog".into(), "text/html".into())], ..Names::default() };
        for name in ["picture.png", "drawing.svg", "style.css", "noending"] {
            assert!(names.urls(name.as_bytes()).is_empty(), "{name}");
        }
        assert_eq!(names.urls(b"feed.atom"), ["/feed.atom"]);
        assert_eq!(names.urls(b"my.BLOG"), ["/my.BLOG"]);
        let listed = Names { listing: true, ..names };
        assert_eq!(listed.urls(b"a/picture.png"), ["/a/"]);
        assert_eq!(Names { single: true, ..listed }.urls(b""), ["/"]);
    }
}
