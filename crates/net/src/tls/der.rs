//! The few parts of an X.509 certificate that rustls and webpki do not tell: until when it holds, whom it is for, and its key also where
//! webpki reads no further (version 1, as `openssl x509 -req` makes them). It verifies nothing: it reads files of one's own, and what peers
//! have shown whose certificates were verified before.

/// What is read out of a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outline<'a> {
    /// Seconds of the UNIX clock.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// The SubjectPublicKeyInfo, with its own tag and length.
    pub(super) key: &'a [u8],
    /// The content of the subject.
    pub(super) subject: &'a [u8],
    /// What holds the extensions, if there are any.
    pub(super) extensions: Option<&'a [u8]>,
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
const EXTENSIONS: u8 = 0xa3;
const VERSION: u8 = 0xa0;

/// Reads the outline; `None` if this is no certificate. RFC 5280 section 4.1 gives the order of the fields.
pub(super) fn outline(certificate: &[u8]) -> Option<Outline<'_>> {
    let mut whole = Reader(certificate);
    let mut certificate = whole.open(SEQUENCE)?;
    let mut fields = certificate.open(SEQUENCE)?;
    if fields.0.first() == Some(&VERSION) {
        fields.next()?;
    }
    fields.open(INTEGER)?; // serial number
    fields.open(SEQUENCE)?; // signature algorithm
    fields.open(SEQUENCE)?; // issuer
    let mut validity = fields.open(SEQUENCE)?;
    let not_before = validity.time()?;
    let not_after = validity.time()?;
    let subject = fields.open(SEQUENCE)?.0;
    let (tag, key, _) = fields.next()?;
    let mut extensions = None;
    while let Some((tag, _, content)) = fields.next() {
        if tag == EXTENSIONS {
            extensions = Some(content);
        }
    }
    (tag == SEQUENCE).then_some(Outline { not_before, not_after, key, subject, extensions })
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next element: its tag, all of it, and its content.
    pub(super) fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        let all = &self.0[..self.0.len() - after.len()];
        self.0 = after;
        Some((tag, all, content))
    }

    pub(super) fn open(&mut self, wanted: u8) -> Option<Reader<'a>> {
        let (tag, _, content) = self.next()?;
        (tag == wanted).then_some(Reader(content))
    }

    /// `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` after.
    fn time(&mut self) -> Option<i64> {
        let (tag, _, text) = self.next()?;
        let (text, zone) = text.split_at_checked(text.len().checked_sub(1)?)?;
        if zone != b"Z" || !text.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number = |digits: &[u8]| digits.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0'));
        let (year, rest) = match (tag, text.len()) {
            (UTC_TIME, 12) => {
                let year = number(&text[..2]);
                (if year < 50 { 2000 + year } else { 1900 + year }, &text[2..])
            }
            (GENERALIZED_TIME, 14) => (number(&text[..4]), &text[4..]),
            _ => return None,
        };
        let field = |at: usize| number(&rest[at * 2..at * 2 + 2]);
        let (month, day) = (field(0), field(1));
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        Some(days(year, month, day) * 86_400 + field(2) * 3600 + field(3) * 60 + field(4))
    }
}

/// Days from 1970-01-01 in the Gregorian calendar: years begin in March, so that the leap day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The day of a time of the UNIX clock, as `2027-03-01`.
pub(super) fn date(seconds: i64) -> String {
    let day = seconds.div_euclid(86_400);
    let mut year = 1970 + day / 366;
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let month = (1..=12).rev().find(|&month| days(year, month, 1) <= day).unwrap_or(1);
    format!("{year:04}-{month:02}-{:02}", day - days(year, month, 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_across_leap_years() {
        for (text, seconds) in [
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400),
            ("2024-12-31", 1_735_603_200),
            ("2038-01-19", 2_147_472_000),
            ("2100-03-01", 4_107_542_400),
        ] {
            let field = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
            assert_eq!(days(field(0..4), field(5..7), field(8..10)) * 86_400, seconds, "{text}");
            assert_eq!(date(seconds + 86_399), text);
        }
    }

    #[test]
    fn times_are_read_in_both_forms() {
        let utc = [&[UTC_TIME, 13][..], b"491231235959Z"].concat();
        assert_eq!(Reader(&utc).time(), Some(days(2049, 12, 31) * 86_400 + 86_399));
        let general = [&[GENERALIZED_TIME, 15][..], b"20500101000001Z"].concat();
        assert_eq!(Reader(&general).time(), Some(days(2050, 1, 1) * 86_400 + 1));
        for wrong in [&b"4912312359590"[..], b"491331235959Z", b"49123123595Z"] {
            let bytes = [&[UTC_TIME, wrong.len() as u8][..], wrong].concat();
            assert_eq!(Reader(&bytes).time(), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_certificate_is_read_and_what_is_cut_off_is_not() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let der = made.cert.der();
        let whole = outline(der).unwrap();
        assert!(whole.not_before < whole.not_after);
        let parsed = webpki::EndEntityCert::try_from(der).unwrap();
        assert_eq!(whole.key, &*parsed.subject_public_key_info());
        for cut in 0..der.len() {
            assert!(outline(&der[..cut]).is_none(), "cut at {cut}");
        }
    }
}
