//! Whom a certificate is for: the names in its subject and in its alternative names (RFC 5280 sections 4.1.2.6 and 4.2.1.6). What a
//! program asks about a client that has shown one; verifying is not done here, and was before.

use std::net::IpAddr;

use super::TlsInfo;
use super::der::{self, Reader};

/// The names in a certificate. Those that are no text are left out.
///
/// A name means what the authority means by it that has signed: compare those that it gives, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subject {
    /// The common name, the last one if there are several.
    pub common_name: Option<String>,
    /// The organization.
    pub organization: Option<String>,
    /// Names of hosts.
    pub dns: Vec<String>,
    /// Addresses of mail.
    pub emails: Vec<String>,
    /// URIs: what SPIFFE calls services by.
    pub uris: Vec<String>,
    /// Addresses of hosts.
    pub addresses: Vec<IpAddr>,
}

impl Subject {
    /// The names in a certificate of DER; `None` if it is none.
    ///
    /// ```
    /// use ropewalk_net::tls::Subject;
    /// assert_eq!(Subject::of_der(b"no certificate"), None);
    /// ```
    #[must_use]
    pub fn of_der(certificate: &[u8]) -> Option<Subject> {
        let outline = der::outline(certificate)?;
        let mut subject = Subject::default();
        subject.read_name(Reader(outline.subject));
        if let Some(extensions) = outline.extensions {
            subject.read_extensions(extensions);
        }
        Some(subject)
    }

    /// A sequence of sets of types and values.
    fn read_name(&mut self, mut sets: Reader<'_>) {
        const ORGANIZATION: &[u8] = &[0x55, 4, 10];
        const COMMON_NAME: &[u8] = &[0x55, 4, 3];
        while let Some(mut set) = sets.open(der::SET) {
            while let Some(mut pair) = set.open(der::SEQUENCE) {
                let (Some((_, _, kind)), Some((tag, _, value))) = (pair.next(), pair.next()) else {
                    continue;
                };
                match kind {
                    COMMON_NAME => self.common_name = text(tag, value).or(self.common_name.take()),
                    ORGANIZATION => self.organization = text(tag, value).or(self.organization.take()),
                    _ => {}
                }
            }
        }
    }

    fn read_extensions(&mut self, extensions: &[u8]) -> Option<()> {
        const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 17];
        let mut extensions = Reader(extensions).open(der::SEQUENCE)?;
        while let Some(mut extension) = extensions.open(der::SEQUENCE) {
            let (_, _, kind) = extension.next()?;
            if kind != ALTERNATIVE_NAMES {
                continue;
            }
            // Whether it is critical stands between, or not.
            while let Some((tag, _, value)) = extension.next() {
                if tag == der::OCTET_STRING {
                    self.read_alternatives(Reader(value).open(der::SEQUENCE)?);
                }
            }
        }
        Some(())
    }

    fn read_alternatives(&mut self, mut names: Reader<'_>) {
        while let Some((tag, _, value)) = names.next() {
            let is_text = value.iter().all(|byte| (b' '..=b'~').contains(byte));
            let text = || is_text.then(|| String::from_utf8_lossy(value).into_owned());
            match tag {
                0x81 => self.emails.extend(text()),
                0x82 => self.dns.extend(text()),
                0x86 => self.uris.extend(text()),
                0x87 => self.addresses.extend(address(value)),
                _ => {}
            }
        }
    }
}

/// The kinds of text that are in use; those that are none today (T61, BMP) are left out.
fn text(tag: u8, value: &[u8]) -> Option<String> {
    const UTF8: u8 = 0x0c;
    const PRINTABLE: u8 = 0x13;
    const IA5: u8 = 0x16;
    let text = std::str::from_utf8(value).ok().filter(|_| matches!(tag, UTF8 | PRINTABLE | IA5))?;
    // No name has a line's end or a null byte in it but to be taken for another one.
    (!text.contains(char::is_control)).then(|| text.to_owned())
}

fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

impl TlsInfo {
    /// Whom the peer's certificate is for, if it has shown one.
    #[must_use]
    pub fn peer_subject(&self) -> Option<Subject> {
        Subject::of_der(self.peer_certificates.first()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn certificate() -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["a.example".to_owned(), "10.0.0.7".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Ada Lövelace");
        params.distinguished_name.push(DnType::OrganizationName, "The Ropewalk");
        params.subject_alt_names.push(SanType::Rfc822Name("ada@example.org".try_into().unwrap()));
        params.subject_alt_names.push(SanType::URI("spiffe://example/ada".try_into().unwrap()));
        params.subject_alt_names.push(SanType::IpAddress("::1".parse().unwrap()));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn names_of_every_kind() {
        let subject = Subject::of_der(&certificate()).unwrap();
        assert_eq!(subject.common_name.as_deref(), Some("Ada Lövelace"));
        assert_eq!(subject.organization.as_deref(), Some("The Ropewalk"));
        assert_eq!(
            (subject.dns, subject.emails),
            (vec!["a.example".to_owned()], vec!["ada@example.org".to_owned()])
        );
        assert_eq!(subject.uris, ["spiffe://example/ada"]);
        assert_eq!(subject.addresses, ["10.0.0.7".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
    }

    #[test]
    fn what_is_cut_or_disturbed_is_no_panic() {
        let whole = certificate();
        for at in 0..whole.len() {
            assert_eq!(Subject::of_der(&whole[..at]), None, "cut at {at}");
            for bit in 0..8 {
                let mut disturbed = whole.clone();
                disturbed[at] ^= 1 << bit;
                let _ = Subject::of_der(&disturbed);
            }
        }
    }
}
