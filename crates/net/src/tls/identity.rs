//! Certificates and keys, from PEM to what rustls signs with. The files of `openssl genrsa`, `openssl ecparam -genkey`, `openssl req
//! -x509` and of ACME clients work as they are. `server` and `client` call it; what a peer shows is not checked here.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;

use super::der;
use super::error::TlsError;

/// A file is read no further: a bundle of all roots of a system has a quarter of this.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// PEM: in a file, which is read again when it changes, or at hand.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pem {
    /// The file's path. Of roots it may be a folder: every `.pem` and `.crt` file in it.
    File(PathBuf),
    /// The text itself.
    Text(String),
}

impl Pem {
    /// A file.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Pem {
        Pem::File(path.into())
    }

    /// Text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Pem {
        Pem::Text(text.into())
    }

    fn read(&self) -> Result<Vec<u8>, TlsError> {
        match self {
            Pem::Text(text) => Ok(text.clone().into_bytes()),
            Pem::File(path) => read_file(path),
        }
    }
}

/// A private key is not for logs.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::File(path) => write!(f, "{}", path.display()),
            Pem::Text(_) => f.write_str("(PEM text)"),
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable =
        |error: io::Error| TlsError::Unreadable { path: path.to_owned(), error: Arc::new(error) };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > FILE_BYTES_MAX {
        return Err(TlsError::unusable(path.display(), "it is far too long for certificates and keys"));
    }
    std::fs::read(path).map_err(unreadable)
}

/// Who one is: a certificate, those between it and a root, and the private key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The certificate, first, and those that certify it, in order.
    pub chain: Pem,
    /// More of them, where they are in a file of their own.
    pub extra_chain: Option<Pem>,
    /// The private key: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: Pem,
}

impl Identity {
    /// From a file with the certificates and one with the key. They may be the same file.
    #[must_use]
    pub fn files(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Identity {
        Identity { chain: Pem::file(chain), extra_chain: None, key: Pem::file(key) }
    }

    /// From text.
    #[must_use]
    pub fn text(chain: impl Into<String>, key: impl Into<String>) -> Identity {
        Identity { chain: Pem::text(chain), extra_chain: None, key: Pem::text(key) }
    }

    /// From one path. A folder holds `fullchain.pem` and `privkey.pem`, as ACME clients lay them down; a file holds the
    /// certificates and the key, or the key is beside it, in the file of the same name that ends in `.key`.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Identity {
        let path = path.into();
        if path.is_dir() {
            return Identity::files(path.join("fullchain.pem"), path.join("privkey.pem"));
        }
        let beside = path.with_extension("key");
        let key = if beside.is_file() { beside } else { path.clone() };
        Identity::files(path, key)
    }

    pub(super) fn files_of(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.chain), self.extra_chain.as_ref(), Some(&self.key)].into_iter().flatten().filter_map(
            |pem| match pem {
                Pem::File(path) => Some(path.as_path()),
                Pem::Text(_) => None,
            },
        )
    }

    /// Reads all of it, and makes sure that it fits together and holds today.
    pub(super) fn load(&self) -> Result<Loaded, TlsError> {
        let mut chain = certificates(&self.chain)?;
        if let Some(extra) = &self.extra_chain {
            chain.extend(certificates(extra)?);
        }
        let key = private_key(&self.key)?;
        let provider = super::provider();
        let key = provider.key_provider.load_private_key(key).map_err(|error| {
            TlsError::unusable(
                &self.key,
                format!("the private key is of a kind that cannot be used: {error}"),
            )
        })?;
        let Some(outline) = der::outline(&chain[0]) else {
            return Err(TlsError::unusable(&self.chain, "the certificate is damaged"));
        };
        if key.public_key().is_some_and(|public| &*public != outline.key) {
            return Err(TlsError::Mismatch {
                certificate: self.chain.to_string(),
                key: self.key.to_string(),
            });
        }
        let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
        if outline.not_after < now {
            return Err(TlsError::Expired { what: self.chain.to_string(), at: outline.not_after });
        }
        if outline.not_before > now {
            // Mostly a clock that is wrong; it will be right before anybody is turned away.
            let from = der::date(outline.not_before);
            tracing::warn!("{}: the certificate is not valid before {from}", self.chain);
        }
        let names = names(&chain[0]);
        let remaining = Duration::from_secs(u64::try_from(outline.not_after - now).unwrap_or(0));
        Ok(Loaded { names, certified: Arc::new(CertifiedKey::new(chain, key)), remaining })
    }
}

/// An identity that was read.
pub(super) struct Loaded {
    /// The names that the certificate is for, in small letters; some begin with `*.`.
    pub(super) names: Vec<String>,
    pub(super) certified: Arc<CertifiedKey>,
    /// How long it still holds.
    pub(super) remaining: Duration,
}

fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    match webpki::EndEntityCert::try_from(certificate) {
        Ok(parsed) => parsed.valid_dns_names().map(str::to_ascii_lowercase).collect(),
        // Version 1 has no names of this kind: such a certificate is shown where no other fits.
        Err(_) => Vec::new(),
    }
}

/// At least one certificate.
fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = pem.read()?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| TlsError::unusable(pem, format!("no proper PEM: {error}")))?;
    if found.is_empty() {
        return Err(TlsError::unusable(pem, "there is no certificate in it (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(found)
}

fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = pem.read()?;
    let has = |mark: &[u8]| memchr::memmem::find(&bytes, mark).is_some();
    if has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
        let advice = "the private key is encrypted; take the passphrase off: openssl pkey -in IT -out NEW";
        return Err(TlsError::unusable(pem, advice));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            TlsError::unusable(pem, "there is no private key in it (-----BEGIN PRIVATE KEY-----)")
        }
        error => TlsError::unusable(pem, format!("no proper PEM: {error}")),
    })
}

/// Certificates that are believed: as roots, and as they are.
pub(super) struct Trusted {
    pub(super) store: RootCertStore,
    /// The same ones. Who shows one of these need not be certified by anybody: `openssl req -x509` makes certificates that
    /// are their own authority, and webpki would not have an authority for a peer.
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

/// From a file, or from every `.pem` and `.crt` file of a folder.
pub(super) fn trusted(pem: &Pem) -> Result<Trusted, TlsError> {
    let mut found = Trusted { store: RootCertStore::empty(), certificates: Vec::new() };
    let mut add = |pem: &Pem| -> Result<(), TlsError> {
        for root in certificates(pem)? {
            found.certificates.push(root.clone());
            let added = found.store.add(root);
            added.map_err(|error| TlsError::unusable(pem, format!("it cannot be a root: {error}")))?;
        }
        Ok(())
    };
    match pem {
        Pem::File(folder) if folder.is_dir() => {
            let unreadable =
                |error: io::Error| TlsError::Unreadable { path: folder.clone(), error: Arc::new(error) };
            for entry in std::fs::read_dir(folder).map_err(unreadable)? {
                let path = entry.map_err(unreadable)?.path();
                if path.extension().is_some_and(|end| end == "pem" || end == "crt") {
                    add(&Pem::File(path))?;
                }
            }
        }
        pem => add(pem)?,
    }
    if found.store.is_empty() {
        return Err(TlsError::unusable(pem, "there is no root certificate in it"));
    }
    Ok(found)
}
