//! Addresses and ports as text, judged while they arrive: whether what is there can still become one. Version 1's reader
//! calls it for every byte, so that nonsense is refused at its first byte and not at the end of the line.

/// Whether this can become an IPv4 address: four numbers up to 255, without zeroes in front.
pub(super) fn may_become_v4(text: &[u8]) -> bool {
    let octets: Vec<&[u8]> = text.split(|&byte| byte == b'.').collect();
    let (last, whole) = octets.split_last().expect("splitting gives one piece at least");
    octets.len() <= 4
        && whole.iter().all(|octet| !octet.is_empty() && is_number(octet, 255))
        && is_number(last, 255)
}

/// Whether this can become an IPv6 address. Its last 32 bits may be dotted, as system libraries print those of mapped
/// IPv4 addresses, although the specification speaks of hexadecimal digits only.
pub(super) fn may_become_v6(text: &[u8]) -> bool {
    if !text.contains(&b'.') {
        return may_become_groups(text, 8);
    }
    let Some(colon) = text.iter().rposition(|&byte| byte == b':') else { return false };
    let (groups, dotted) = (&text[..=colon], &text[colon + 1..]);
    // Two groups' worth follow: the six in front must be there, or a double colon in their place.
    let in_place = groups.iter().filter(|&&byte| byte == b':').count() == 6 || has_double(groups);
    in_place && may_become_groups(groups, 7) && dotted_room(groups) && may_become_v4(dotted)
}

/// Whether this can become a port.
pub(super) fn may_become_port(text: &[u8]) -> bool {
    is_number(text, 65535)
}

/// Digits up to `max`, without zeroes in front; nothing at all can become a number.
fn is_number(text: &[u8], max: u32) -> bool {
    let zero_in_front = text.len() > 1 && text[0] == b'0';
    let digits = text.iter().all(u8::is_ascii_digit);
    let value = || text.iter().fold(0u32, |value, digit| value.saturating_mul(10) + u32::from(digit - b'0'));
    !zero_in_front && digits && value() <= max
}

fn has_double(text: &[u8]) -> bool {
    text.windows(2).any(|pair| pair == b"::")
}

/// Whether two groups still fit behind these, which end in a colon.
fn dotted_room(groups: &[u8]) -> bool {
    let count = groups.split(|&byte| byte == b':').filter(|group| !group.is_empty()).count();
    count <= if has_double(groups) { 5 } else { 6 }
}

/// Whether these can become groups of hexadecimal digits, `most` of them, or fewer with one double colon.
fn may_become_groups(text: &[u8], most: usize) -> bool {
    let Some(double) = text.windows(2).position(|pair| pair == b"::") else {
        let first_colon_alone = text == b":";
        return first_colon_alone || are_groups(text).is_some_and(|count| count <= most);
    };
    let (left, right) = (&text[..double], &text[double + 2..]);
    let left = if left.is_empty() { Some(0) } else { are_groups(left) };
    let right = match right {
        [] => Some(0),
        // A third colon.
        [b':', ..] => None,
        _ => are_groups(right),
    };
    // A double colon stands for one group at least.
    matches!((left, right), (Some(left), Some(right)) if left + right < 8)
}

/// How many groups these are; only the last may still be empty.
fn are_groups(text: &[u8]) -> Option<usize> {
    let groups: Vec<&[u8]> = text.split(|&byte| byte == b':').collect();
    let (last, whole) = groups.split_last()?;
    let fits = |group: &[u8]| group.len() <= 4 && group.iter().all(u8::is_ascii_hexdigit);
    let good = fits(last) && whole.iter().all(|group| !group.is_empty() && fits(group));
    good.then_some(groups.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    /// What, put behind a beginning, makes an address of it if anything does.
    fn endings() -> Vec<String> {
        let mut endings = vec![String::new()];
        for first in ["", "0", ":", "::", ".0", "0.0", ":0", "1:"] {
            for count in 0..8 {
                for rest in [":0", ".0"] {
                    endings.push(format!("{first}{}", rest.repeat(count)));
                }
                endings.push(format!("{first}{}:0.0.0.0", ":0".repeat(count)));
            }
        }
        endings
    }

    #[test]
    fn a_beginning_is_good_exactly_if_it_has_an_ending() {
        let endings = endings();
        let starts = [
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:1.2.3.4",
            "::ffff:10.0.0.255",
            "fe80::1:2",
            "::",
            "1::",
            "1:2::3:4:5:6:7",
            "1:2:3:4:5:6:7::",
            "::1:2:3:4:5:1.2.3.4",
            "1:2:3:4:5::1.2.3.4",
            "255.255.255.255",
            "0.10.1.0",
            "abcd:EF01::",
        ];
        let mut seen = 0;
        for text in starts {
            for cut in 0..=text.len() {
                for next in
                    [""].into_iter().chain(["0", "1", "9", "f", "g", ":", ".", "::", "25", "256", "-", " "])
                {
                    let start = format!("{}{next}", &text[..cut]);
                    let v6 = endings.iter().any(|end| format!("{start}{end}").parse::<Ipv6Addr>().is_ok());
                    assert_eq!(may_become_v6(start.as_bytes()), v6, "{start:?}");
                    let v4 = endings.iter().any(|end| format!("{start}{end}").parse::<Ipv4Addr>().is_ok());
                    assert_eq!(may_become_v4(start.as_bytes()), v4, "{start:?}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 1000, "{seen}");
    }

    #[test]
    fn ports_have_no_zeroes_in_front() {
        for (text, good) in
            [("", true), ("0", true), ("65535", true), ("65536", false), ("00", false), ("8x", false)]
        {
            assert_eq!(may_become_port(text.as_bytes()), good, "{text}");
        }
    }
}
