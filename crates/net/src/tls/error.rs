//! What can be wrong with TLS, grouped by blame: files of one's own, the peer, or this side's use of it. Each is one line.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};

use super::der;

/// What is wrong. Of connections it is inside of an [`io::Error`] of the kind `InvalidData`; see [`TlsError::of`].
///
/// ```
/// use ropewalk_net::tls::{Identity, TlsError, TlsServer, TlsServerOptions};
///
/// let options = TlsServerOptions::new(Identity::files("no-such-cert.pem", "no-such-key.pem"));
/// let error = TlsServer::new(options).expect_err("the files are not there");
/// assert!(matches!(error, TlsError::Unreadable { .. }));
/// assert!(error.to_string().starts_with("no-such-cert.pem: "));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: Arc<io::Error>,
    },
    /// A file, or text, is not what it should be.
    Unusable {
        /// Which.
        what: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A certificate is not valid any more.
    Expired {
        /// Which.
        what: String,
        /// When it ended: seconds of the UNIX clock.
        at: i64,
    },
    /// The private key is not the one of the certificate.
    Mismatch {
        /// Which certificate.
        certificate: String,
        /// Which key.
        key: String,
    },
    /// The program asked for what cannot be.
    Misuse(String),
    /// The peer's certificate is not accepted; which rule of it was broken.
    Certificate(String),
    /// The peer has refused: its alert.
    Alert(String),
    /// The peer does not speak TLS, or not in a way that is allowed.
    Protocol(String),
}

impl TlsError {
    /// The TLS error inside of an error of a connection, if it is one.
    ///
    /// ```
    /// use ropewalk_net::{Lost, tls::TlsError};
    /// fn is_refused(lost: &Lost) -> bool {
    ///     matches!(lost, Lost::Broken(error) if matches!(TlsError::of(error), Some(TlsError::Alert(_))))
    /// }
    /// ```
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&TlsError> {
        error.get_ref()?.downcast_ref()
    }

    pub(super) fn unusable(what: impl fmt::Display, why: impl fmt::Display) -> TlsError {
        TlsError::Unusable { what: what.to_string(), why: why.to_string() }
    }

    /// The same error once more; the cause keeps its kind, and what it is.
    pub(crate) fn again(error: &io::Error) -> io::Error {
        match TlsError::of(error) {
            Some(cause) => cause.clone().into_io(),
            None => io::Error::new(error.kind(), error.to_string()),
        }
    }

    pub(crate) fn into_io(self) -> io::Error {
        let kind = match &self {
            TlsError::Certificate(_) | TlsError::Alert(_) | TlsError::Protocol(_) => {
                io::ErrorKind::InvalidData
            }
            _ => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, self)
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> TlsError {
        match error {
            rustls::Error::InvalidCertificate(why) => TlsError::Certificate(explain(&why)),
            rustls::Error::NoCertificatesPresented => TlsError::Certificate("it has shown none".to_owned()),
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => TlsError::Alert(
                "CertificateRequired: it wants a certificate of this side; give an identity".to_owned(),
            ),
            rustls::Error::AlertReceived(alert) => TlsError::Alert(format!("{alert:?}")),
            other => TlsError::Protocol(other.to_string()),
        }
    }
}

/// What is wrong with a peer's certificate, and who can do what about it.
fn explain(why: &CertificateError) -> String {
    let date = |time: &UnixTime| der::date(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    match why {
        CertificateError::UnknownIssuer => {
            "its issuer is unknown (UnknownIssuer); if it is to be believed, name the issuer's certificate as a \
             root, or pin the key"
                .to_owned()
        }
        CertificateError::BadSignature => {
            "it was not signed by the root that has its issuer's name (BadSignature); if that was renewed, read the new one"
                .to_owned()
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("it has expired on {}; its owner has to renew it", date(not_after))
        }
        CertificateError::Expired => "it has expired; its owner has to renew it".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("it is valid from {} on; look whether this machine's clock is right", date(not_before))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            let names = if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") };
            let expected = expected.to_str();
            format!("it is for {names}, and not for {expected}; connect to a name that it has")
        }
        other => other.to_string(),
    }
}

/// `DnsName("localhost")` as rustls writes it, without its kind.
fn bare(name: &str) -> &str {
    let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inside.trim_matches('"')
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Unreadable { path, error } => write!(f, "{}: {error}", path.display()),
            TlsError::Unusable { what, why } => write!(f, "{what}: {why}"),
            TlsError::Expired { what, at } => {
                write!(f, "{what}: the certificate has expired on {}; renew it", der::date(*at))
            }
            TlsError::Mismatch { certificate, key } => {
                write!(f, "{key}: it is not the private key of the certificate in {certificate}")
            }
            TlsError::Misuse(why) => f.write_str(why),
            TlsError::Certificate(why) => write!(f, "TLS: the peer's certificate is not accepted: {why}"),
            TlsError::Alert(alert) => write!(f, "TLS: the peer has refused: {alert}"),
            TlsError::Protocol(why) => write!(f, "TLS: {why}"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TlsError::Unreadable { error, .. } => Some(&**error),
            _ => None,
        }
    }
}
