//! Which byte may stand where (RFC 9110 5.5 and 5.6.2, RFC 3986), and how to run over many of them at once.
//!
//! Not a parser: no function here knows in which part of a message it is used. The scanners and the encoder call it.

const TOKEN: u8 = 1;
const TARGET: u8 = 1 << 1;
const QUERY: u8 = 1 << 2;
const REG_NAME: u8 = 1 << 3;
const VALUE: u8 = 1 << 4;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = classes_of(byte as u8);
        byte += 1;
    }
    table
}

const fn classes_of(byte: u8) -> u8 {
    let mut classes = 0;
    if byte.is_ascii_alphanumeric() || contains(b"!#$%&'*+-.^_`|~", byte) {
        classes |= TOKEN;
    }
    // A '#' would begin a fragment, which is never sent (RFC 9112 3.2).
    if byte.is_ascii_graphic() && byte != b'#' {
        classes |= QUERY;
        if byte != b'?' {
            classes |= TARGET;
        }
    }
    // Unreserved and sub-delims of RFC 3986 3.2.2; percent-encoding is looked at by its caller.
    if byte.is_ascii_alphanumeric() || contains(b"-._~!$&'()*+,;=", byte) {
        classes |= REG_NAME;
    }
    // RFC 9110 5.5: field-vchar (with obs-text), SP and HTAB.
    if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
        classes |= VALUE;
    }
    classes
}

const fn contains(set: &[u8], byte: u8) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

/// Whether the byte may stand in a field value.
#[inline]
pub(super) fn is_value(byte: u8) -> bool {
    CLASS[byte as usize] & VALUE != 0
}

/// Whether the byte may stand in a token.
#[inline]
pub(crate) fn is_token(byte: u8) -> bool {
    CLASS[byte as usize] & TOKEN != 0
}

#[inline]
fn run<const CLASSES: u8>(bytes: &[u8], at: usize) -> usize {
    let mut at = at;
    while let Some(&byte) = bytes.get(at)
        && CLASS[byte as usize] & CLASSES != 0
    {
        at += 1;
    }
    at
}

/// The first index from `at` on whose byte is no token byte.
#[inline]
pub(super) fn token_end(bytes: &[u8], at: usize) -> usize {
    run::<TOKEN>(bytes, at)
}

/// The first index from `at` on whose byte ends a target's path: a '?' or a byte that no target holds.
#[inline]
pub(super) fn path_end(bytes: &[u8], at: usize) -> usize {
    run::<TARGET>(bytes, at)
}

/// The first index from `at` on whose byte no target holds.
#[inline]
pub(super) fn query_end(bytes: &[u8], at: usize) -> usize {
    run::<QUERY>(bytes, at)
}

/// The first index from `at` on whose byte stands in no registered name and no IPv4 address.
#[inline]
pub(super) fn reg_name_end(bytes: &[u8], at: usize) -> usize {
    run::<REG_NAME>(bytes, at)
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The first index from `at` on whose byte may not stand in a field value.
///
/// Eight bytes at a time, because cookies are what makes heads long.
#[inline]
pub(super) fn value_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at;
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*eight);
        // The usual "has a byte below n" and "has a zero byte". A borrow runs upwards only, so the lowest mark is true.
        let below_space = word.wrapping_sub(ONES * 0x20) & !word;
        let no_del = word ^ (ONES * 0x7f);
        let del = no_del.wrapping_sub(ONES) & !no_del;
        let marks = (below_space | del) & HIGHS;
        if marks == 0 {
            at += 8;
            continue;
        }
        at += marks.trailing_zeros() as usize / 8;
        if bytes[at] != b'\t' {
            return at;
        }
        at += 1;
    }
    run::<VALUE>(bytes, at)
}

/// Whether all of these bytes make a token. Without an early end, so that the lookups overlap.
#[inline]
pub(super) fn is_token_text(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().fold(TOKEN, |classes, &byte| classes & CLASS[byte as usize]) != 0
}

/// Optional whitespace (RFC 9110 5.6.3): SP and HTAB, nothing else.
#[inline]
pub(super) fn is_ows(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// The slice without optional whitespace at its ends.
pub(super) fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_ows(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_ows(*last)
    {
        bytes = rest;
    }
    bytes
}

/// The elements of a comma-separated list; empty ones are passed over (RFC 9110 5.6.1.2 MUST).
pub(super) fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(trim_ows).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_eight_agree_with_single_bytes() {
        for bad in 0..=255u8 {
            for at in 0..20 {
                let mut bytes = *b"abcdefgh\tjklmnop\xff\x80st";
                bytes[at] = bad;
                for from in 0..20 {
                    assert_eq!(
                        value_end(&bytes, from),
                        run::<VALUE>(&bytes, from),
                        "{bad:#x} at {at} from {from}"
                    );
                }
            }
        }
    }

    #[test]
    fn whitespace_is_trimmed_at_both_ends_only() {
        assert_eq!(trim_ows(b" \t a b\t "), b"a b");
        assert_eq!(trim_ows(b" \t "), b"");
    }

    #[test]
    fn empty_list_elements_are_passed_over() {
        assert_eq!(elements(b", a,,b c ,").collect::<Vec<_>>(), [&b"a"[..], b"b c"]);
    }
}
