//! Tokens that say what a client may do: JWT (RFC 7519), signed by one key and in one way.
//!
//! Only checked here, never made. The way is chosen with the key and not by the token, so that a token cannot pass a public key off as a
//! secret, nor be signed by nobody (RFC 8725 section 3.1). Times are judged by the reactor's clock.

use std::fmt;
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Validation, decode};
use ropewalk_reactor::deferred;
use serde::Deserialize;

use super::grant::{Admit, Grant};
use crate::request::Request;
use crate::response::Response;

/// The cookie that may have the token, where a client cannot send a field.
const COOKIE: &str = "ropewalk_token";
/// By so much the clock of who makes tokens may be ahead of ours.
const SKEW: Duration = Duration::from_secs(10);
/// RFC 7518 section 3.2: a secret MUST be as long as the hash.
const SECRET_BYTES_MIN: usize = 32;

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256: the key is a secret of at least 32 bytes, which whoever makes tokens has also.
    Hs256,
    /// RSA with SHA-256: the key is a public one, in PEM.
    Rs256,
    /// ECDSA on P-256 with SHA-256: the key is a public one, in PEM.
    Es256,
    /// Ed25519: the key is a public one, in PEM.
    EdDsa,
}

impl Algorithm {
    const ALL: [Algorithm; 4] = [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];

    fn name(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    fn key(self, key: &[u8]) -> Option<DecodingKey> {
        match self {
            Algorithm::Hs256 => Some(DecodingKey::from_secret(key)),
            Algorithm::Rs256 => DecodingKey::from_rsa_pem(key).ok(),
            Algorithm::Es256 => DecodingKey::from_ec_pem(key).ok(),
            Algorithm::EdDsa => DecodingKey::from_ed_pem(key).ok(),
        }
    }

    fn theirs(self) -> jsonwebtoken::Algorithm {
        match self {
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

impl FromStr for Algorithm {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Algorithm, KeyError> {
        let found = Algorithm::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(text));
        found.ok_or(KeyError("tokens are signed by HS256, RS256, ES256 or EdDSA"))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyError(&'static str);

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for KeyError {}

/// Checks tokens. Their claims are `publish` and `subscribe`, lists of patterns as [`Grant`] has them; `exp`, which there must be; and `nbf` and
/// `aud`, which are honoured. A token comes as `Authorization: Bearer TOKEN`, or in the cookie `ropewalk_token`; never in an
/// address, which ends up in logs.
///
/// ```
/// use ropewalk_web::push::{Algorithm, PushOptions, Tokens};
/// let tokens = Tokens::new(b"a secret that has thirty-two bytes", Some(Algorithm::Hs256))?;
/// let options = PushOptions { admit: Some(tokens.admit()), ..PushOptions::default() };
/// # drop(options);
/// # Ok::<(), ropewalk_web::push::KeyError>(())
/// ```
#[derive(Clone)]
pub struct Tokens {
    key: DecodingKey,
    validation: Validation,
    cookie: String,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    publish: Vec<String>,
    #[serde(default)]
    subscribe: Vec<String>,
    exp: f64,
    nbf: Option<f64>,
}

impl Tokens {
    /// Tokens that this key signs. Without an algorithm, it is what the key is good for: HS256 for what is no PEM.
    ///
    /// # Errors
    /// The key is too short, or is not one of that algorithm.
    pub fn new(key: &[u8], algorithm: Option<Algorithm>) -> Result<Tokens, KeyError> {
        let is_pem = key.trim_ascii_start().starts_with(b"-----BEGIN");
        let algorithm = match algorithm {
            Some(Algorithm::Hs256) | None if !is_pem => Algorithm::Hs256,
            Some(Algorithm::Hs256) => {
                return Err(KeyError(
                    "a PEM file is no secret for HS256; whoever knows a public key could sign",
                ));
            }
            Some(algorithm) => algorithm,
            None => *Algorithm::ALL[1..]
                .iter()
                .find(|algorithm| algorithm.key(key).is_some())
                .ok_or(KeyError("the file has no public key of RSA, P-256 or Ed25519"))?,
        };
        if algorithm == Algorithm::Hs256 && key.len() < SECRET_BYTES_MIN {
            return Err(KeyError("a secret for HS256 has 32 bytes at least"));
        }
        let key = algorithm.key(key).ok_or(KeyError("the key is not one of this algorithm"))?;
        let mut validation = Validation::new(algorithm.theirs());
        // Those of the crate would look at the system's clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.required_spec_claims.clear();
        Ok(Tokens { key, validation, cookie: COOKIE.to_owned() })
    }

    /// The audience that this service is. Without it, a token that names one is refused (RFC 7519 section 4.1.3: MUST).
    #[must_use]
    pub fn audience(mut self, audience: &str) -> Tokens {
        self.validation.set_audience(&[audience]);
        self.validation.set_required_spec_claims(&["aud"]);
        self
    }

    /// Another cookie.
    #[must_use]
    pub fn cookie(mut self, name: &str) -> Tokens {
        name.clone_into(&mut self.cookie);
        self
    }

    /// What a token grants at this time.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn grant(&self, token: &str, now: SystemTime) -> Result<Grant, &'static str> {
        let decoded =
            decode::<Claims>(token, &self.key, &self.validation).map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => "its signature is not by the key",
                ErrorKind::InvalidAlgorithm => "it is signed in another way",
                ErrorKind::InvalidAudience => "it is for another audience",
                ErrorKind::MissingRequiredClaim(_) => "it names no audience",
                ErrorKind::Json(_) => {
                    "its claims are not understood; exp is a number, publish and subscribe are lists"
                }
                _ => "it is none",
            })?;
        // RFC 7515 section 4.1.11: what must be understood, and is not, MUST be refused.
        if decoded.header.crit.is_some() {
            return Err("it wants an extension that is not known here");
        }
        let Claims { publish, subscribe, exp, nbf } = decoded.claims;
        let until = at(exp).ok_or("its exp is no time")?;
        if until <= now {
            return Err("it has expired");
        }
        if let Some(from) = nbf
            && at(from).is_none_or(|from| from > now + SKEW)
        {
            return Err("it is not valid yet");
        }
        Ok(Grant { publish, subscribe, until: Some(until) })
    }

    /// Admits who has a token, as [`PushOptions::admit`](super::PushOptions::admit) wants it.
    #[must_use]
    pub fn admit(self) -> Admit {
        Rc::new(move |request| {
            let granted = match self.token_of(request) {
                Some(token) => self.grant(&token, request.reactor().wall_clock()).map_err(refused),
                None => Err(unknown()),
            };
            deferred::succeed(request.reactor(), granted)
        })
    }

    /// A field that is there counts, even if it is no token: a client that sends one means it.
    fn token_of(&self, request: &Request) -> Option<String> {
        let Some(field) = request.header("authorization") else { return request.cookie(&self.cookie) };
        let (scheme, token) = field.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    }
}

/// A NumericDate (RFC 7519 section 2), which may have a fraction.
fn at(seconds: f64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// RFC 6750 section 3.1: a request without a token is told no error.
fn unknown() -> Response {
    Response::error(401, "this wants a token").header("WWW-Authenticate", "Bearer realm=\"channels\"")
}

fn refused(why: &'static str) -> Response {
    let challenge =
        format!("Bearer realm=\"channels\", error=\"invalid_token\", error_description=\"{why}\"");
    Response::error(401, &format!("the token is refused: {why}")).header("WWW-Authenticate", challenge)
}
