//! What a channel, and a client, may be called, and patterns of names.
//!
//! Called by the registry for every name that comes from outside.

use crate::error::ChannelError;

/// A name has at most so many bytes: it stands in addresses, logs and indexes.
pub const NAME_BYTES_MAX: usize = 200;

/// Checks a name: 1 to 200 bytes of UTF-8 without control characters, white space, `/`, `?`, `#`, `\` or `*`, and neither `.` nor
/// `..`: what can be one segment of an address, one word in a log, and no pattern.
///
/// ```
/// use ropewalk_channel::check_name;
///
/// assert!(check_name("room:42").is_ok() && check_name("grüße").is_ok());
/// assert!(check_name("").is_err() && check_name("a/b").is_err() && check_name("..").is_err());
/// ```
///
/// # Errors
/// [`ChannelError::Name`], which says what is wrong with it.
pub fn check_name(name: &str) -> Result<(), ChannelError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(ChannelError::Name("a name has 1 to 200 bytes"));
    }
    if name == "." || name == ".." {
        return Err(ChannelError::Name("neither . nor .. is a name"));
    }
    let bad = |letter: char| {
        letter.is_control() || letter.is_whitespace() || matches!(letter, '/' | '?' | '#' | '\\' | '*')
    };
    if name.chars().any(bad) {
        return Err(ChannelError::Name(
            "a name has no white space, no control characters, and none of / ? # \\ *",
        ));
    }
    Ok(())
}

/// Whether a pattern, in which `*` stands for any run of letters, is about this name.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_into_an_address_and_a_log() {
        let long = "x".repeat(201);
        for good in ["a", "room:42", "logs.web-1_x", "grüße", "~", "a@b,c+d=e", &long[..200]] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a\n", "a/b", "a?b", "a#b", "a\\b", "*", "\u{85}", &long] {
            assert!(matches!(check_name(bad), Err(ChannelError::Name(_))), "{bad:?}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, name) in [
            ("a", "a"),
            ("*", "x"),
            ("logs.*", "logs.web"),
            ("*.web", "logs.web"),
            ("a*b*c", "a-b-b-c"),
            ("a*a", "aa"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("a", "b"), ("logs.*", "log.web"), ("*.web", "web"), ("a*b*c", "acb"), ("a*a", "a")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
