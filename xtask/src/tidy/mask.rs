//! Blanks out what is not code: comments, strings and characters become spaces; lines and columns stay.
//!
//! A small scanner instead of a parser: it knows nested comments, raw strings, byte and C strings, and the difference between
//! a character and a lifetime. The rules in `file` and `function` search what it leaves.

/// The same text with everything blank that is not code. It has as many lines, and as many bytes.
pub(crate) fn mask(text: &str) -> String {
    let mut masker = Masker { bytes: text.as_bytes(), place: 0, out: Vec::with_capacity(text.len()) };
    while masker.place < masker.bytes.len() {
        masker.step();
    }
    String::from_utf8(masker.out).expect("what was not ASCII has been blanked, byte by byte")
}

struct Masker<'a> {
    bytes: &'a [u8],
    place: usize,
    out: Vec<u8>,
}

impl Masker<'_> {
    /// Takes one token that matters, or one byte of code.
    fn step(&mut self) {
        let rest = &self.bytes[self.place..];
        match rest[0] {
            b'/' if rest.starts_with(b"//") => self.blank(line_comment(rest)),
            b'/' if rest.starts_with(b"/*") => self.blank(block_comment(rest)),
            b'"' => self.blank(string(rest)),
            b'\'' => match character(rest) {
                Some(length) => self.blank(length),
                None => self.keep(1),
            },
            byte if is_word(byte) => {
                let word = rest.iter().take_while(|byte| is_word(**byte)).count();
                match raw_string(rest, word) {
                    Some(length) => self.blank(length),
                    None => self.keep(word),
                }
            }
            _ => self.keep(1),
        }
    }

    fn keep(&mut self, length: usize) {
        // What is not ASCII is blanked even in code: no rule looks for it, and a word may not be cut in two.
        let code = &self.bytes[self.place..self.place + length];
        self.out.extend(code.iter().map(|byte| if byte.is_ascii() { *byte } else { b' ' }));
        self.place += length;
    }

    fn blank(&mut self, length: usize) {
        let end = (self.place + length).min(self.bytes.len());
        let hidden = &self.bytes[self.place..end];
        self.out.extend(hidden.iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
        self.place = end;
    }
}

pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn line_comment(rest: &[u8]) -> usize {
    rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
}

/// Block comments nest in Rust.
fn block_comment(rest: &[u8]) -> usize {
    let (mut place, mut depth) = (0, 0_usize);
    while place < rest.len() {
        if rest[place..].starts_with(b"/*") {
            depth += 1;
            place += 2;
        } else if rest[place..].starts_with(b"*/") {
            depth -= 1;
            place += 2;
            if depth == 0 {
                return place;
            }
        } else {
            place += 1;
        }
    }
    rest.len()
}

/// From one quote to the other, past escaped ones.
fn string(rest: &[u8]) -> usize {
    let mut place = 1;
    while place < rest.len() {
        match rest[place] {
            b'\\' => place += 2,
            b'"' => return place + 1,
            _ => place += 1,
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#`, `br"…"`, `cr"…"`; `word` is the length of what stands before the hashes. A raw identifier is none.
fn raw_string(rest: &[u8], word: usize) -> Option<usize> {
    if !matches!(&rest[..word], b"r" | b"br" | b"cr") {
        return None;
    }
    let hashes = rest[word..].iter().take_while(|byte| **byte == b'#').count();
    let opening = word + hashes;
    if rest.get(opening) != Some(&b'"') {
        return None;
    }
    let mut closing = vec![b'"'];
    closing.resize(1 + hashes, b'#');
    let body = &rest[opening + 1..];
    let end = body.windows(closing.len()).position(|window| window == closing);
    Some(end.map_or(rest.len(), |end| opening + 1 + end + closing.len()))
}

/// The length of a character, or `None` for a lifetime: `'a'` has a quote after one character, `'a` has not.
fn character(rest: &[u8]) -> Option<usize> {
    match rest.get(1)? {
        b'\\' => {
            // The byte after the backslash may itself be a quote.
            let end = rest.iter().skip(3).position(|byte| *byte == b'\'')?;
            Some(3 + end + 1)
        }
        first => {
            let width = match first {
                0x00..=0x7f => 1,
                0x80..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::mask;

    /// What is left, without the spaces that stand for what was hidden.
    fn left(text: &str) -> String {
        let masked = mask(text);
        assert_eq!(masked.len(), text.len(), "{text}");
        assert_eq!(masked.lines().count(), text.lines().count(), "{text}");
        masked.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_go_and_nest() {
        assert_eq!(left("a // {\nb"), "a b");
        assert_eq!(left("a /* { /* } */ { */ b"), "a b");
        assert_eq!(left("a /* never closed {"), "a");
        assert_eq!(left("/// doc {\n//! head }\nfn f() {}"), "fn f() {}");
    }

    #[test]
    fn strings_go_with_their_escapes() {
        assert_eq!(left(r#"a("{ \" // }") b"#), "a( ) b");
        assert_eq!(left(r#"a("\\") b"#), "a( ) b");
        assert_eq!(left("a(\"x\ny {\") b"), "a( ) b");
        assert_eq!(left(r#"a(b"{", c"}") b"#), "a(b , c ) b");
        assert_eq!(left("a(\"ä €\") ü b"), "a( ) b");
    }

    #[test]
    fn raw_strings_go_and_raw_identifiers_stay() {
        assert_eq!(left(r###"a(r"\", r#"{ " }"#, br##"}"# {"##) b"###), "a( , , ) b");
        assert_eq!(left("r#type { for r in rest }"), "r#type { for r in rest }");
        assert_eq!(left("a(r#\"never closed {"), "a(");
    }

    #[test]
    fn characters_go_and_lifetimes_stay() {
        assert_eq!(left(r"m('{', '\'', '\\', '\u{7b}', b'}', 'ä', '€') x"), "m( , , , , b , , ) x");
        assert_eq!(
            left("fn f<'a>(x: &'a str) -> X<'_> { 'outer: loop {} }"),
            "fn f<'a>(x: &'a str) -> X<'_> { 'outer: loop {} }"
        );
        assert_eq!(left("'\"' + \"'\""), "+");
    }
}
