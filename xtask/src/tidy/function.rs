//! Finds functions in masked source and counts their lines.
//!
//! It matches braces on what `mask` leaves; `file` calls it and says what is too long.

use super::mask::is_word;

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    /// The line of its `fn`, from 1.
    pub(crate) line: usize,
    /// From the `fn` to the closing brace, both counted.
    pub(crate) lines: usize,
}

/// Every function of a masked source, nested ones too.
pub(crate) fn functions(masked: &str) -> Vec<Function<'_>> {
    let bytes = masked.as_bytes();
    let mut found = Vec::new();
    for (place, _) in masked.match_indices("fn") {
        let before = place.checked_sub(1).map(|before| bytes[before]);
        let stands_alone = !before.is_some_and(is_word) && bytes.get(place + 2) == Some(&b' ');
        let Some(name) = stands_alone.then(|| name_after(masked, place + 2)).flatten() else {
            continue;
        };
        if let Some((_, end)) = body(bytes, place) {
            let line = 1 + count_lines(&bytes[..place]);
            found.push(Function { name, line, lines: 1 + count_lines(&bytes[place..end]) });
        }
    }
    found
}

/// `fn` in a type (`fn(u8)`) and in a macro (`fn $name`) has no name.
fn name_after(masked: &str, place: usize) -> Option<&str> {
    let rest = masked[place..].trim_start();
    let rest = rest.strip_prefix("r#").unwrap_or(rest);
    let end = rest.bytes().position(|byte| !is_word(byte)).unwrap_or(rest.len());
    (end > 0).then(|| &rest[..end])
}

/// Where the body opens and where it has closed; `None` for a declaration. Braces within brackets or parentheses belong to
/// the signature, as in `[u8; { N + 1 }]`.
fn body(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut nested = 0_usize;
    let mut place = from;
    let open = loop {
        match bytes.get(place)? {
            b'(' | b'[' => nested += 1,
            b')' | b']' => nested = nested.checked_sub(1)?,
            b';' if nested == 0 => return None,
            b'{' if nested == 0 => break place,
            _ => {}
        }
        place += 1;
    };
    closing(bytes, open).map(|close| (open, close))
}

fn closing(bytes: &[u8], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, byte) in bytes[open..].iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(open + offset + 1);
        }
    }
    None
}

fn count_lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::super::mask::mask;
    use super::*;

    fn lengths(text: &str) -> Vec<(String, usize, usize)> {
        let masked = mask(text);
        functions(&masked).into_iter().map(|found| (found.name.to_owned(), found.line, found.lines)).collect()
    }

    #[test]
    fn counts_from_fn_to_the_closing_brace() {
        assert_eq!(lengths("\nfn a() {\n    b();\n}\nfn c() {}\n"), [("a".into(), 2, 3), ("c".into(), 5, 1)]);
    }

    #[test]
    fn braces_in_strings_and_comments_do_not_count() {
        let text = "fn a() {\n  let x = \"}\"; // }\n  let y = '}';\n}\n";
        assert_eq!(lengths(text), [("a".into(), 1, 4)]);
    }

    #[test]
    fn declarations_and_pointers_are_none() {
        assert!(
            lengths("trait T { fn a(&self) -> [u8; 3]; }\ntype F = fn(u8) -> u8;\nlet often = 1;").is_empty()
        );
    }

    #[test]
    fn signatures_may_hold_braces_and_bodies_functions() {
        let text = "fn a<'x>(b: [u8; { 1 + 1 }])\nwhere\n    X: Y,\n{\n    fn inner() {\n    }\n}\n";
        assert_eq!(lengths(text), [("a".into(), 1, 7), ("inner".into(), 5, 2)]);
    }

    #[test]
    fn what_never_closes_is_left_to_the_compiler() {
        assert!(lengths("fn a() { {").is_empty());
        assert!(lengths("fn a").is_empty());
    }
}
