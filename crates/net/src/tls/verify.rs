//! Whether a server's certificate is accepted: by roots, by pinned keys, by both, or, dangerously, always. rustls and webpki verify;
//! this only decides what they are asked. `client` chooses.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, SupportedCipherSuite,
};

use super::client::{Roots, TlsClientOptions};
use super::error::TlsError;
use super::identity::{self, Trusted};
use super::{der, provider};

/// The SHA-256 of a key (its SubjectPublicKeyInfo): it stays the same when the certificate is renewed with the same key.
///
/// It is written as curl's `--pinnedpubkey` has it, `sha256//` and base64, or as 64 hexadecimal digits:
/// ```text
/// openssl x509 -in cert.pem -pubkey -noout | openssl pkey -pubin -outform der | sha256sum
/// ```
/// ```
/// use ropewalk_net::tls::Pin;
/// let pin: Pin = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".parse()?;
/// assert_eq!(pin, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".parse()?);
/// # Ok::<(), ropewalk_net::tls::TlsError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pin(pub [u8; 32]);

impl Pin {
    /// The pin of the first certificate in PEM text.
    ///
    /// # Errors
    /// There is none in it.
    pub fn of_pem(text: &str) -> Result<Pin, TlsError> {
        use rustls::pki_types::pem::PemObject;
        let certificate = CertificateDer::from_pem_slice(text.as_bytes());
        let pin = certificate.ok().and_then(|certificate| Pin::of(&certificate));
        pin.ok_or_else(|| TlsError::unusable("a pin", "there is no certificate in this text"))
    }

    fn of(certificate: &CertificateDer<'_>) -> Option<Pin> {
        let hash = sha256(der::outline(certificate)?.key)?;
        hash.try_into().ok().map(Pin)
    }
}

/// SHA-256 as the provider has it: the suites name their hash.
fn sha256(bytes: &[u8]) -> Option<Vec<u8>> {
    let provider = provider();
    let suites = provider.cipher_suites.iter().filter_map(SupportedCipherSuite::tls13);
    let hash = suites.map(|suite| suite.common.hash_provider).find(|hash| hash.output_len() == 32)?;
    Some(hash.hash(bytes).as_ref().to_vec())
}

impl FromStr for Pin {
    type Err = TlsError;

    fn from_str(text: &str) -> Result<Pin, TlsError> {
        let bytes = match text.strip_prefix("sha256//") {
            Some(base64) => from_base64(base64),
            None => from_hex(text),
        };
        let pin = bytes.and_then(|bytes| bytes.try_into().ok()).map(Pin);
        pin.ok_or_else(|| TlsError::unusable("a pin", "write sha256// and base64, or 64 hexadecimal digits"))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    Some(bytes)
}

pub(super) fn verifier(options: &TlsClientOptions) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let algorithms = provider().signature_verification_algorithms;
    if options.dangerous_accept_any_certificate {
        return Ok(Arc::new(Chosen { roots: None, known: Vec::new(), pins: Vec::new(), algorithms }));
    }
    let trusted = match &options.roots {
        Roots::Pinned if options.pins.is_empty() => {
            return Err(TlsError::Misuse("TLS: nobody is believed, and no key is pinned".to_owned()));
        }
        Roots::Pinned => None,
        Roots::Platform => Some(Trusted { store: platform()?, certificates: Vec::new() }),
        Roots::Pem(pem) => Some(identity::trusted(pem)?),
    };
    let (mut roots, mut known) = (None, Vec::new());
    if let Some(trusted) = trusted {
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(trusted.store), provider());
        roots = Some(builder.build().map_err(|error| TlsError::unusable("roots", error))?);
        known = trusted.certificates;
    }
    Ok(Arc::new(Chosen { roots, known, pins: options.pins.clone(), algorithms }))
}

/// Whether a certificate is one of these, and holds today.
pub(super) fn is_known(
    known: &[CertificateDer<'static>],
    certificate: &CertificateDer<'_>,
    now: UnixTime,
) -> Result<bool, Error> {
    if !known.iter().any(|known| **known == **certificate) {
        return Ok(false);
    }
    let Some(outline) = der::outline(certificate) else { return Ok(false) };
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    match now {
        now if now < outline.not_before => Err(Error::InvalidCertificate(CertificateError::NotValidYet)),
        now if now > outline.not_after => Err(Error::InvalidCertificate(CertificateError::Expired)),
        _ => Ok(true),
    }
}

fn platform() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // A system has roots that nobody can read any more; the others are good.
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let error = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        let advice = "there are none; install the package ca-certificates, or name roots of your own";
        return Err(TlsError::unusable("the system's roots", format!("{advice}{error}")));
    }
    Ok(store)
}

/// Roots and pins, pins alone, or neither: then everything is accepted.
#[derive(Debug)]
struct Chosen {
    roots: Option<Arc<WebPkiServerVerifier>>,
    /// Believed as they are, under their names.
    known: Vec<CertificateDer<'static>>,
    pins: Vec<Pin>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Chosen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if is_known(&self.known, end_entity, now)? {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        } else if let Some(roots) = &self.roots {
            roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        }
        let pinned = || Pin::of(end_entity).is_some_and(|pin| self.pins.contains(&pin));
        if self.pins.is_empty() || pinned() {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    // That the peer has the key of the certificate is verified in every case.

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_read_in_both_forms_and_nothing_else_is() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let pin = Pin::of_pem(&made.cert.pem()).unwrap();
        assert_eq!(pin.to_string().parse::<Pin>().unwrap(), pin);
        for wrong in ["", "sha256//", "sha256//AAAA", "zz", &"0".repeat(63), &"g".repeat(64)] {
            assert!(wrong.parse::<Pin>().is_err(), "{wrong}");
        }
        assert!(Pin::of_pem("hello").is_err());
    }
}
