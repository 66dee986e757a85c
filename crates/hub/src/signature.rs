//! `X-Hub-Signature` (WebSub section 7.1): a secret, the methods, signing and checking. No header is read or written here.

use std::fmt;
use std::str::FromStr;

use ring::hmac;

/// A secret is shorter than this (WebSub section 5.1): 200 bytes.
pub const SECRET_BYTES_MAX: usize = 199;

/// What a subscriber and its hub share. Nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A secret; `None` if it is empty or not shorter than 200 bytes.
    ///
    /// ```
    /// use ropewalk_hub::Secret;
    /// assert!(Secret::new("rope").is_some());
    /// assert!(Secret::new([b'x'; 200]).is_none());
    /// assert_eq!(format!("{:?}", Secret::new("rope")), "Some(Secret)");
    /// ```
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Option<Secret> {
        let bytes = bytes.into();
        (1..=SECRET_BYTES_MAX).contains(&bytes.len()).then_some(Secret(bytes))
    }

    /// Its bytes: for stores.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The value of `X-Hub-Signature` for this body: `sha256=…`.
    #[must_use]
    pub fn sign(&self, algorithm: Algorithm, body: &[u8]) -> String {
        let tag = hmac::sign(&hmac::Key::new(algorithm.ring(), &self.0), body);
        let mut text = format!("{algorithm}=");
        for byte in tag.as_ref() {
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }

    /// Whether this value of `X-Hub-Signature` is that of the body, by the method that it names (WebSub section 7.1.2). The time
    /// that takes does not tell where they differ.
    ///
    /// ```
    /// use ropewalk_hub::{Algorithm, Secret};
    /// let secret = Secret::new("rope").expect("short enough");
    /// let signature = secret.sign(Algorithm::Sha256, b"news");
    /// assert!(secret.verify(&signature, b"news"));
    /// assert!(!secret.verify(&signature, b"lies"));
    /// ```
    #[must_use]
    pub fn verify(&self, signature: &str, body: &[u8]) -> bool {
        let Some((method, hex)) = signature.trim().split_once('=') else { return false };
        let (Ok(algorithm), Some(tag)) = (method.parse::<Algorithm>(), bytes(hex)) else { return false };
        hmac::verify(&hmac::Key::new(algorithm.ring(), &self.0), body, &tag).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}

/// How a delivery is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// For subscribers that know nothing else: it is named as compromised.
    Sha1,
    /// What a hub begins with.
    #[default]
    Sha256,
    /// Longer.
    Sha384,
    /// Longest.
    Sha512,
}

impl Algorithm {
    fn ring(self) -> hmac::Algorithm {
        match self {
            Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha384 => hmac::HMAC_SHA384,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
        }
    }

    /// The name that stands in the header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha1 => "sha1",
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Algorithm, &'static str> {
        let all = [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];
        let found = all.into_iter().find(|known| known.name().eq_ignore_ascii_case(text));
        found.ok_or("write sha1, sha256, sha384 or sha512")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h31_known_tags_of_every_method() {
        // RFC 2202 test case 2, RFC 4231 test case 2.
        let secret = Secret::new("Jefe").unwrap();
        let text = b"what do ya want for nothing?";
        for (algorithm, tag) in [
            (Algorithm::Sha1, "sha1=effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (Algorithm::Sha256, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                Algorithm::Sha384,
                "sha384=af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
            ),
        ] {
            assert_eq!(secret.sign(algorithm, text), tag);
            assert!(secret.verify(tag, text));
            assert!(secret.verify(&tag.to_uppercase(), text), "names and digits in either case");
        }
        assert!(secret.verify(&secret.sign(Algorithm::Sha512, text), text));
    }

    #[test]
    fn s14_what_is_no_signature_is_refused() {
        let secret = Secret::new("k").unwrap();
        let good = secret.sign(Algorithm::Sha256, b"x");
        for bad in ["", "sha256", "sha256=", "sha256=zz", "md5=00", "sha256=0", "=ab", "sha256=é0"] {
            assert!(!secret.verify(bad, b"x"), "{bad}");
        }
        assert!(!secret.verify(&good[..good.len() - 2], b"x"));
        assert!(!secret.verify(&format!("{good}00"), b"x"));
    }
}
