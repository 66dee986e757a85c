//! `Content-Disposition` of a part: the field's name, and the name that a file had where it came from. Called by `head`.

use super::parameters;

/// What a part says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disposition {
    /// The word in front, in lower case: `form-data`.
    pub kind: String,
    /// The name of the field. What is not UTF-8 is replaced. As browsers send it: a quote in it is `%22`.
    pub name: Option<String>,
    /// The name of the file, where it is one, as somebody else chose it: never a path to write to; see [`safe_file_name`].
    pub file_name: Option<String>,
}

impl Disposition {
    /// Reads it. None when it is malformed, or names something twice: two readers might take two different names.
    pub(super) fn read(value: &[u8]) -> Option<Disposition> {
        let (kind, parameters) = parameters::parse(value)?;
        let mut read = Disposition { kind, ..Disposition::default() };
        let mut extended = None;
        for (name, value) in parameters {
            let place = match name.as_str() {
                "name" => &mut read.name,
                "filename" => &mut read.file_name,
                "filename*" => &mut extended,
                _ => continue,
            };
            let text = if name.ends_with('*') {
                decode(&value)?
            } else {
                String::from_utf8_lossy(&value).into_owned()
            };
            if place.replace(text).is_some() {
                return None;
            }
        }
        // RFC 7578 section 4.2 does not want it, and programs send it all the same: then it is the better one (RFC 6266 section 4.3).
        read.file_name = extended.or(read.file_name);
        Some(read)
    }
}

/// RFC 8187 section 3.2: `UTF-8''na%C3%AFve`.
fn decode(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let (charset, rest) = text.split_once('\'')?;
    let (_, encoded) = rest.split_once('\'')?;
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    loop {
        match rest {
            [] => break,
            [b'%', high, low, after @ ..] => {
                bytes.push(digit(*high)? << 4 | digit(*low)?);
                rest = after;
            }
            [b'%', ..] => return None,
            [byte, after @ ..] => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    match charset.to_ascii_lowercase().as_str() {
        "utf-8" => String::from_utf8(bytes).ok(),
        "iso-8859-1" => Some(bytes.into_iter().map(char::from).collect()),
        _ => None,
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Of a name that somebody else chose what may stand in a folder of ours: its last segment, whatever system it came from, without
/// controls, without characters that turn text around, and without those that some file systems do not have; no dot in front, at most
/// 200 bytes, and no name of a device. None when nothing is left.
///
/// ```
/// use ropewalk_wire::multipart::safe_file_name;
/// assert_eq!(safe_file_name("../../etc/passwd").as_deref(), Some("passwd"));
/// assert_eq!(safe_file_name(r"C:\photos\rope.jpg").as_deref(), Some("rope.jpg"));
/// assert_eq!(safe_file_name(".."), None);
/// ```
#[must_use]
pub fn safe_file_name(name: &str) -> Option<String> {
    const BYTES_MAX: usize = 200;
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut safe: String = last.chars().filter(|&letter| !is_hidden(letter)).map(plain).collect();
    if safe.len() > BYTES_MAX {
        shorten(&mut safe, BYTES_MAX);
    }
    let trimmed = safe.trim_matches(|letter: char| letter == '.' || letter.is_whitespace());
    if trimmed.is_empty() {
        return None;
    }
    let stem = trimmed.split('.').next().unwrap_or_default().to_ascii_uppercase();
    Some(if is_device(&stem) { format!("_{trimmed}") } else { trimmed.to_owned() })
}

fn is_hidden(letter: char) -> bool {
    let turns = matches!(letter, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}');
    letter.is_control() || turns
}

fn plain(letter: char) -> char {
    if matches!(letter, '<' | '>' | ':' | '"' | '|' | '?' | '*') { '_' } else { letter }
}

/// Keeps what stands behind the last dot: by that a file is known.
fn shorten(name: &mut String, bytes_max: usize) {
    let dot = name.rfind('.').filter(|dot| name.len() - dot <= 16);
    let ending = dot.map(|dot| name.split_off(dot)).unwrap_or_default();
    let mut end = bytes_max - ending.len();
    while !name.is_char_boundary(end.min(name.len())) {
        end -= 1;
    }
    name.truncate(end);
    name.push_str(&ending);
}

fn is_device(stem: &str) -> bool {
    let numbered = |prefix| {
        stem.strip_prefix(prefix)
            .is_some_and(|rest| rest.len() == 1 && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    matches!(stem, "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_programs_send_them() {
        let read = |value: &str| Disposition::read(value.as_bytes());
        let of = |name: Option<&str>, file: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            Some(Disposition { kind: "form-data".to_owned(), name: owned(name), file_name: owned(file) })
        };
        assert_eq!(read("form-data; name=\"a\""), of(Some("a"), None));
        assert_eq!(read("form-data; name=a; filename=\"\""), of(Some("a"), Some("")));
        assert_eq!(read("form-data; name=\"f\"; filename=\"naïve.txt\""), of(Some("f"), Some("naïve.txt")));
        assert_eq!(
            read("form-data; name=\"f\"; filename=\"x\"; filename*=UTF-8''na%C3%AFve.txt"),
            of(Some("f"), Some("naïve.txt"))
        );
        assert_eq!(read("form-data; name=f; filename*=iso-8859-1'en'na%EFve"), of(Some("f"), Some("naïve")));
        for wrong in [
            "form-data; name=a; name=b",
            "form-data; name=a; filename=x; filename=y",
            "form-data; name=a; filename*=UTF-8''%GG",
            "form-data; name=a; filename*=UTF-8''%F",
            "form-data; name=a; filename*=UTF-8''%FF",
            "form-data; name=a; filename*=koi8-r''x",
            "form-data; name=a; filename*=x",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn no_name_leaves_its_folder() {
        for (name, safe) in [
            ("rope.txt", Some("rope.txt")),
            ("../../../etc/passwd", Some("passwd")),
            ("..\\..\\boot.ini", Some("boot.ini")),
            ("/", None),
            ("..", None),
            ("", None),
            (" . ", None),
            (".htaccess", Some("htaccess")),
            ("a\0b\r\nc", Some("abc")),
            ("photo\u{202E}gpj.exe", Some("photogpj.exe")),
            ("a<b>:c", Some("a_b__c")),
            ("nul.txt", Some("_nul.txt")),
            ("COM1", Some("_COM1")),
            ("COM10", Some("COM10")),
            ("日本.txt", Some("日本.txt")),
        ] {
            assert_eq!(safe_file_name(name).as_deref(), safe, "{name:?}");
        }
        for letter in ["x", "é", "日"] {
            let long = safe_file_name(&format!("{}.jpeg", letter.repeat(500))).unwrap();
            assert!(long.len() <= 200 && long.len() > 195 && long.ends_with(".jpeg"), "{long}");
        }
    }
}
