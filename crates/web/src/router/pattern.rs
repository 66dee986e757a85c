//! Paths with parameters as text: joining one behind another, matching the beginning of a path, and regular expressions.
//! Whole paths with parameters are matched by `matchit`, in the router itself.

use regex::Regex;

use super::error::Wrong;
use super::methods::Methods;
use crate::request::Params;

/// A part of a path as it is written: `/user/{id}/{*rest}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Literal(String),
    /// Takes what is within one segment, or, of a last one, all that is left.
    Param {
        name: String,
        rest: bool,
    },
}

/// Takes a path apart. `{{` and `}}` are braces that stand for themselves.
pub(super) fn parts(path: &str) -> Result<Vec<Part>, Wrong> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = path;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, behind) = rest.split_at(at);
        literal.push_str(before);
        if let Some(behind) = behind.strip_prefix("{{") {
            literal.push('{');
            rest = behind;
        } else if let Some(behind) = behind.strip_prefix("}}") {
            literal.push('}');
            rest = behind;
        } else {
            let inner = behind.strip_prefix('{').and_then(|behind| behind.split_once('}'));
            let Some((name, behind)) = inner else { return Err("a brace has no partner".into()) };
            let (name, is_rest) = name.strip_prefix('*').map_or((name, false), |name| (name, true));
            if name.is_empty() || name.contains(['{', '*', '/']) {
                return Err("a parameter is a name in braces".into());
            }
            if parts.iter().any(|part| matches!(part, Part::Param { name: known, .. } if known == name)) {
                return Err(format!("the parameter {name:?} stands there twice").into());
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Param { name: name.to_owned(), rest: is_rest });
            rest = behind;
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

/// What a router may be nested at.
pub(super) fn check_prefix(prefix: &str) -> Result<(), Wrong> {
    if !prefix.starts_with('/') {
        return Err("a path begins with a slash".into());
    }
    let parts = parts(prefix)?;
    if parts.iter().any(|part| matches!(part, Part::Param { rest: true, .. })) {
        return Err("a prefix has no parameter that takes the rest".into());
    }
    let whole = prefix.split('/').all(|segment| {
        !segment.contains(['{', '}'])
            || (segment.starts_with('{') && segment.find('}') == Some(segment.len() - 1))
    });
    if whole { Ok(()) } else { Err("in a prefix, a parameter is a whole segment".into()) }
}

/// A path of a nested router: its `/` is the prefix itself.
pub(super) fn join(prefix: &str, path: &str) -> String {
    match path {
        "/" => prefix.to_owned(),
        _ => format!("{}{path}", prefix.trim_end_matches('/')),
    }
}

/// What a prefix is within a regular expression.
pub(super) fn prefix_source(prefix: &str) -> String {
    let parts = parts(prefix.trim_end_matches('/')).unwrap_or_default();
    parts.iter().fold(String::new(), |source, part| match part {
        Part::Literal(text) => source + &regex::escape(text),
        Part::Param { name, .. } => format!("{source}(?P<{name}>[^/]+)"),
    })
}

/// Matches a prefix with whole segments: its parameters, and how many bytes of the path it is.
pub(super) fn match_prefix(prefix: &str, path: &str) -> Option<(Params, usize)> {
    let (mut params, mut at) = (Params::new(), 0);
    for segment in prefix.split('/').skip(1).filter(|segment| !segment.is_empty()) {
        let behind = path[at..].strip_prefix('/')?;
        let end = behind.find('/').unwrap_or(behind.len());
        let found = &behind[..end];
        match segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}')) {
            Some(_) if found.is_empty() => return None,
            Some(name) => params.push((name.to_owned(), found.to_owned())),
            None if segment != found => return None,
            None => {}
        }
        at += 1 + end;
    }
    Some((params, at))
}

/// A route that is a regular expression.
pub(super) struct Expression {
    /// As written, and with the prefixes that it was nested at in front.
    pub(super) source: String,
    pub(super) regex: Regex,
    pub(super) methods: Methods,
}

/// The whole path has to match, as in Tornado.
pub(super) fn compile(source: &str) -> Result<Regex, Wrong> {
    Regex::new(&format!("^(?:{source})$")).map_err(|error| match error {
        regex::Error::Syntax(why) => Wrong::from(format!("not a regular expression: {}", last_line(&why))),
        other => Wrong::from(format!("not a regular expression: {other}")),
    })
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}

/// The names of an expression's groups in order; those without one are counted from 1.
pub(super) fn group_names(regex: &Regex) -> Vec<String> {
    let mut unnamed = 0;
    let names = regex.capture_names().skip(1);
    names
        .map(|name| {
            name.map_or_else(
                || {
                    unnamed += 1;
                    unnamed.to_string()
                },
                str::to_owned,
            )
        })
        .collect()
}

/// The groups of a path that an expression matches. A group that took no part is left out.
pub(super) fn captures(regex: &Regex, path: &str) -> Option<Params> {
    let captures = regex.captures(path)?;
    let groups = group_names(regex).into_iter().zip(captures.iter().skip(1));
    Some(groups.filter_map(|(name, group)| Some((name, group?.as_str().to_owned()))).collect())
}

/// Whether a decoded value is a way up, or has one in it. No parameter is that.
pub(super) fn has_dots(value: &str) -> bool {
    value.split('/').any(|segment| matches!(segment, "." | ".."))
}
