//! Certificates for the tests, made as they are needed: an authority, and whom it certifies. No test of its own.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it, as a module of its own")]

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use ropewalk_net::tls::{
    ClientAuth, Identity, Pem, Roots, TlsClient, TlsClientOptions, TlsServer, TlsServerOptions,
};

/// Who signs.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "the tests' authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Authority { issuer }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn roots(&self) -> Pem {
        Pem::text(self.pem())
    }

    /// A certificate and its key, for these names.
    pub fn pair(&self, names: &[&str]) -> (String, String) {
        self.sign(names, |_| {})
    }

    /// One that has expired long ago.
    pub fn expired(&self, names: &[&str]) -> (String, String) {
        self.sign(names, |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        })
    }

    pub fn sign(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    pub fn identity(&self, names: &[&str]) -> Identity {
        let (chain, key) = self.pair(names);
        Identity::text(chain, key)
    }

    /// The options of a server at 127.0.0.1 and localhost.
    pub fn server_options(&self) -> TlsServerOptions {
        TlsServerOptions::new(self.identity(&["localhost", "127.0.0.1"]))
    }

    pub fn server(&self) -> TlsServer {
        TlsServer::new(self.server_options()).unwrap()
    }

    /// A server that wants certificates from its clients.
    pub fn strict_server(&self, required: bool) -> TlsServer {
        let client_auth =
            if required { ClientAuth::Required(self.roots()) } else { ClientAuth::Optional(self.roots()) };
        TlsServer::new(TlsServerOptions { client_auth, ..self.server_options() }).unwrap()
    }

    pub fn client_options(&self) -> TlsClientOptions {
        TlsClientOptions { roots: Roots::Pem(self.roots()), ..TlsClientOptions::default() }
    }

    pub fn client(&self) -> TlsClient {
        TlsClient::new(self.client_options()).unwrap()
    }
}
