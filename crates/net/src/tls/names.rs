//! Several certificates at one endpoint: which one is shown, by the name that the client asks for. rustls asks, `server` fills it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::identity::Loaded;

thread_local! {
    // rustls tells the name to whoever chooses the certificate and to nobody else in the form without buffers. It does so
    // within `process`, whose caller takes it from here.
    static ASKED: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// The name that was asked for in the handshake message that was just worked through.
pub(super) fn take_asked() -> Option<Box<str>> {
    ASKED.with_borrow_mut(Option::take)
}

/// Certificates by name. The first is for everybody who asks for no name, or for one that none of them has.
#[derive(Debug, Default)]
pub(super) struct ByName {
    default: Vec<Arc<CertifiedKey>>,
    /// A wildcard is found under what follows its asterisk, `.example.org`.
    names: BTreeMap<String, Vec<Arc<CertifiedKey>>>,
}

impl ByName {
    pub(super) fn new(loaded: &[Loaded]) -> ByName {
        let mut by_name = ByName::default();
        for (index, Loaded { names, certified, .. }) in loaded.iter().enumerate() {
            if index == 0 || names.iter().eq(loaded[0].names.iter()) {
                // The same names with a key of another kind: for clients of another kind.
                by_name.default.push(Arc::clone(certified));
            }
            for name in names {
                let key = name.strip_prefix('*').unwrap_or(name).to_owned();
                by_name.names.entry(key).or_default().push(Arc::clone(certified));
            }
        }
        by_name
    }

    fn find(&self, name: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        let name = name.to_ascii_lowercase();
        // A wildcard stands for exactly one label: RFC 6125 section 6.4.3.
        self.names.get(&name).or_else(|| self.names.get(&name[name.find('.')?..]))
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name();
        ASKED.set(asked.map(Box::from));
        let fitting = asked.and_then(|name| self.find(name)).unwrap_or(&self.default);
        let offered = hello.signature_schemes();
        let usable = |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(offered).is_some();
        fitting.iter().find(usable).or(fitting.first()).cloned()
    }
}
