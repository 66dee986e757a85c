//! Parameters behind a media type or a disposition (RFC 9110 section 5.6.6), as browsers and programs write them.
//!
//! Called by `boundary` and `disposition`.

/// Names and values, in order.
pub(super) type Parameters = Vec<(String, Vec<u8>)>;

/// The word in front, in lower case, and the parameters with their names in lower case. None for what is malformed.
pub(super) fn parse(value: &[u8]) -> Option<(String, Parameters)> {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let kind = std::str::from_utf8(value[..end].trim_ascii()).ok()?.to_ascii_lowercase();
    let mut parameters = Vec::new();
    let mut rest = &value[end..];
    while let Some(after) = rest.strip_prefix(b";") {
        rest = after.trim_ascii_start();
        if rest.is_empty() || rest.starts_with(b";") {
            // Some write a semicolon at the end.
            continue;
        }
        let equals = rest.iter().position(|&byte| byte == b'=' || byte == b';')?;
        let name = std::str::from_utf8(rest[..equals].trim_ascii()).ok()?;
        if rest[equals] != b'=' || name.is_empty() || !name.bytes().all(is_token) {
            return None;
        }
        let (text, after) = read(rest[equals + 1..].trim_ascii_start())?;
        parameters.push((name.to_ascii_lowercase(), text));
        rest = after.trim_ascii_start();
    }
    rest.is_empty().then_some((kind, parameters))
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A value, quoted or not, and what stands behind it.
fn read(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        let end = memchr::memchr(b';', text).unwrap_or(text.len());
        let value = text[..end].trim_ascii_end();
        // A quote in the middle is read differently by everybody.
        return (!value.contains(&b'"')).then(|| (value.to_vec(), &text[end..]));
    };
    let mut value = Vec::new();
    loop {
        match rest {
            [b'"', after @ ..] => return Some((value, after)),
            // A backslash hides only a quote and itself: old browsers send whole paths of Windows as they are.
            [b'\\', hidden @ (b'"' | b'\\'), after @ ..] => {
                value.push(*hidden);
                rest = after;
            }
            [byte, after @ ..] => {
                value.push(*byte);
                rest = after;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> Option<String> {
        let (kind, parameters) = parse(value.as_bytes())?;
        let texts = parameters.iter().map(|(name, value)| format!("{name}={}", value.escape_ascii()));
        Some(std::iter::once(kind).chain(texts).collect::<Vec<_>>().join("|"))
    }

    #[test]
    fn words_and_their_parameters() {
        for (value, read) in [
            ("form-data", "form-data"),
            ("Form-Data; NAME=a", "form-data|name=a"),
            ("form-data; name=\"a b\" ; filename=\"x;y\"", "form-data|name=a b|filename=x;y"),
            (r#"form-data; name="a\"b\\c\d""#, r#"form-data|name=a\"b\\c\\d"#),
            (r#"form-data; filename="C:\dir\file.txt""#, r"form-data|filename=C:\\dir\\file.txt"),
            ("form-data;name=\"\";", "form-data|name="),
            ("a;;b=c", "a|b=c"),
        ] {
            assert_eq!(shown(value).as_deref(), Some(read), "{value}");
        }
        for wrong in ["a; b", "a; =b", "a; b=\"c", "a; b=\"c\" d", "a; b c=d", "a; b=c\"d\"", "a; b=\"c\"e=f"]
        {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }
}
