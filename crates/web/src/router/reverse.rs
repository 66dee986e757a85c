//! From the name of a route and its arguments back to a path: `reverse_url`, as in Tornado. What comes out is matched by the
//! route again, with the same arguments; what would not be is an error.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};
use regex::Regex;
use ropewalk_reactor::failure::Place;

use super::error::Wrong;
use super::pattern::{self, Part};

/// What stands within a segment as it is (RFC 3986 section 3.3).
pub(crate) const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');
/// The same with slashes.
pub(crate) const PATH: &AsciiSet = &SEGMENT.remove(b'/');

/// A path as it stands in a URL (RFC 3986 section 3.3): slashes stay, what may not stand there is written as a code.
///
/// ```
/// assert_eq!(ropewalk_web::encode_path("/a b/ü".as_bytes()), "/a%20b/%C3%BC");
/// ```
#[must_use]
pub fn encode_path(path: &[u8]) -> String {
    percent_encode(path, PATH).to_string()
}

/// Why there is no path for a name and these arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// No route has this name.
    Unknown(String),
    /// The route has a parameter for which there is no argument.
    Missing(String),
    /// There is an argument for which the route has no parameter: its name, or its place from 1.
    Unused(String),
    /// The route would not match the path, or would find other arguments in it; or the path would begin with two slashes, or have a
    /// segment of dots, which every browser takes for something else.
    Unfit(String),
}

impl Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UrlError::Unknown(name) => write!(f, "no route is named {name:?}"),
            UrlError::Missing(param) => write!(f, "there is no argument for the parameter {param:?}"),
            UrlError::Unused(argument) => {
                write!(f, "the route has no parameter for the argument {argument:?}")
            }
            UrlError::Unfit(path) => write!(f, "the route does not take what would be {path:?}"),
        }
    }
}

impl std::error::Error for UrlError {}

/// The arguments of a path: `()`, a tuple of values in the order of the parameters, or an array, a slice or a `Vec` of names
/// and values.
pub trait UrlArgs {
    /// Values with their names, or without.
    fn values(&self) -> Vec<(Option<&str>, String)>;
}

impl UrlArgs for () {
    fn values(&self) -> Vec<(Option<&str>, String)> {
        Vec::new()
    }
}

macro_rules! tuples {
    ($($($name:ident)+,)*) => {
        $(impl<$($name: Display),+> UrlArgs for ($($name,)+) {
            #[allow(non_snake_case, reason = "the types' names are the variables'")]
            fn values(&self) -> Vec<(Option<&str>, String)> {
                let ($($name,)+) = self;
                vec![$((None, $name.to_string())),+]
            }
        })*
    };
}
tuples! { A, A B, A B C, A B C D, A B C D E, A B C D E F, }

impl<N: AsRef<str>, V: Display> UrlArgs for [(N, V)] {
    fn values(&self) -> Vec<(Option<&str>, String)> {
        self.iter().map(|(name, value)| (Some(name.as_ref()), value.to_string())).collect()
    }
}

impl<N: AsRef<str>, V: Display, const COUNT: usize> UrlArgs for [(N, V); COUNT] {
    fn values(&self) -> Vec<(Option<&str>, String)> {
        self.as_slice().values()
    }
}

impl<N: AsRef<str>, V: Display> UrlArgs for Vec<(N, V)> {
    fn values(&self) -> Vec<(Option<&str>, String)> {
        self.as_slice().values()
    }
}

impl<A: UrlArgs + ?Sized> UrlArgs for &A {
    fn values(&self) -> Vec<(Option<&str>, String)> {
        (**self).values()
    }
}

/// What a named route was written as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Path(String),
    Regex(String),
}

impl Source {
    pub(super) fn text(&self) -> &str {
        match self {
            Source::Path(text) | Source::Regex(text) => text,
        }
    }

    pub(super) fn below(&self, prefix: &str) -> Source {
        match self {
            Source::Path(path) => Source::Path(pattern::join(prefix, path)),
            Source::Regex(source) => Source::Regex(pattern::prefix_source(prefix) + source),
        }
    }
}

struct Named {
    source: Source,
    parts: Vec<Part>,
    regex: Option<Regex>,
    place: Place,
}

/// The named routes of a router.
#[derive(Default)]
pub struct Urls {
    names: BTreeMap<String, Named>,
}

impl Urls {
    /// The path of the route with this name.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn reverse(&self, name: &str, args: impl UrlArgs) -> Result<String, UrlError> {
        let named = self.names.get(name).ok_or_else(|| UrlError::Unknown(name.to_owned()))?;
        named.reverse(&args.values())
    }

    pub(super) fn add(&mut self, name: &str, source: Source, place: Place) -> Result<(), Wrong> {
        if let Some(known) = self.names.get(name) {
            return Err(Wrong::clash(
                format!("{:?} has that name already", known.source.text()),
                known.place,
            ));
        }
        let (parts, regex) = match &source {
            Source::Path(path) => (pattern::parts(path)?, None),
            Source::Regex(text) => {
                let regex = pattern::compile(text)?;
                (groups(text, &regex)?, Some(regex))
            }
        };
        self.names.insert(name.to_owned(), Named { source, parts, regex, place });
        Ok(())
    }

    pub(super) fn into_sources(self) -> impl Iterator<Item = (String, Source, Place)> {
        self.names.into_iter().map(|(name, named)| (name, named.source, named.place))
    }
}

impl Named {
    fn reverse(&self, args: &[(Option<&str>, String)]) -> Result<String, UrlError> {
        let values = self.assign(args)?;
        let path = match &self.regex {
            None => Some(self.build(&values, false)),
            // A group may take slashes as they are, or not; only the expression knows.
            Some(regex) => {
                [true, false].into_iter().map(|slashes| self.build(&values, slashes)).find(|path| {
                    pattern::captures(regex, path).is_some_and(|found| {
                        found.len() == values.len()
                            && found.iter().zip(&values).all(|((_, found), value)| decoded(found) == **value)
                    })
                })
            }
        };
        let empty = self.regex.is_none() && values.iter().any(|value| value.is_empty());
        let dots = values.iter().any(|value| pattern::has_dots(value));
        match path {
            Some(path) if is_fit(&path) && !empty && !dots => Ok(path),
            path => Err(UrlError::Unfit(path.unwrap_or_else(|| self.build(&values, true)))),
        }
    }

    /// The value of each parameter, in their order.
    fn assign<'a>(&self, args: &'a [(Option<&str>, String)]) -> Result<Vec<&'a str>, UrlError> {
        let mut used = vec![false; args.len()];
        let mut values = Vec::new();
        let names = self.parts.iter().filter_map(|part| match part {
            Part::Param { name, .. } => Some(name),
            Part::Literal(_) => None,
        });
        for (place, name) in names.enumerate() {
            let found = args.iter().position(|(known, _)| known.is_some_and(|known| known == name));
            let found = found.or_else(|| (args.get(place)?.0.is_none()).then_some(place));
            let index = found.ok_or_else(|| UrlError::Missing(name.clone()))?;
            used[index] = true;
            values.push(args[index].1.as_str());
        }
        match used.iter().position(|used| !used) {
            Some(index) => {
                let argument = args[index].0.map_or_else(|| (index + 1).to_string(), str::to_owned);
                Err(UrlError::Unused(argument))
            }
            None => Ok(values),
        }
    }

    fn build(&self, values: &[&str], slashes: bool) -> String {
        let mut values = values.iter();
        self.parts.iter().fold(String::new(), |mut path, part| {
            match part {
                Part::Literal(text) => path.push_str(text),
                Part::Param { rest, .. } => {
                    let set = if *rest || slashes { PATH } else { SEGMENT };
                    path.extend(utf8_percent_encode(values.next().copied().unwrap_or_default(), set));
                }
            }
            path
        })
    }
}

/// Whether clients send the path as it is: two slashes in front are a host to them, and dots are a way up.
fn is_fit(path: &str) -> bool {
    path.starts_with('/') && !path.starts_with("//") && !pattern::has_dots(path)
}

pub(crate) fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Takes a regular expression apart into text and groups. What is neither has no way back.
fn groups(source: &str, regex: &Regex) -> Result<Vec<Part>, Wrong> {
    let no_way_back =
        |what: &str| Wrong::from(format!("{what} outside of a group: there is no way back to a path"));
    let mut names = pattern::group_names(regex).into_iter();
    let (mut parts, mut literal) = (Vec::new(), String::new());
    let mut rest = source.strip_prefix('^').unwrap_or(source).chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\\' => match rest.next() {
                Some(escaped) if !escaped.is_alphanumeric() => literal.push(escaped),
                Some(class) => return Err(no_way_back(&format!("\\{class}"))),
                None => return Err(no_way_back("\\")),
            },
            '(' => {
                let inner = inside(&mut rest).ok_or_else(|| no_way_back("an open group"))?;
                let named = inner.starts_with("?P<") || inner.starts_with("?<");
                if (inner.starts_with('?') && !named) || has_group(&inner) {
                    return Err(
                        "a group within a group, or one that captures nothing: there is no way back".into()
                    );
                }
                if matches!(rest.peek(), Some('?' | '*' | '+' | '{')) {
                    return Err(no_way_back("a repetition"));
                }
                parts.push(Part::Literal(std::mem::take(&mut literal)));
                let name = names.next().unwrap_or_default();
                parts.push(Part::Param { name, rest: false });
            }
            '$' if rest.peek().is_none() => {}
            '.' | '[' | ']' | '*' | '+' | '?' | '|' | '^' | '$' | '{' | '}' | ')' => {
                return Err(no_way_back(&character.to_string()));
            }
            plain => literal.push(plain),
        }
    }
    parts.push(Part::Literal(literal));
    Ok(parts)
}

/// What stands in a group whose bracket was just read.
fn inside(rest: &mut impl Iterator<Item = char>) -> Option<String> {
    let (mut inner, mut depth, mut class) = (String::new(), 1, false);
    while let Some(character) = rest.next() {
        match character {
            '\\' => {
                inner.push('\\');
                inner.push(rest.next()?);
                continue;
            }
            '[' => class = true,
            ']' => class = false,
            '(' if !class => depth += 1,
            ')' if !class => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(inner);
        }
        inner.push(character);
    }
    None
}

/// Whether a group's inside captures something itself.
fn has_group(inner: &str) -> bool {
    let (mut rest, mut class) = (inner.chars().peekable(), false);
    while let Some(character) = rest.next() {
        match character {
            '\\' => drop(rest.next()),
            '[' => class = true,
            ']' => class = false,
            '(' if !class && rest.peek() != Some(&'?') => return true,
            _ => {}
        }
    }
    false
}
