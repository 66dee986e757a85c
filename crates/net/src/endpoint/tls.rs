//! Endpoint strings of TLS, read and written: `ssl:443:privateKey=key.pem:certKey=cert.pem`, `tls:example.org:443`. What the files
//! become is in `tls/endpoint`.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use super::{ClientEndpoint, EndpointError, Parts, ServerEndpoint, quote};
use crate::tls::{ClientFiles, ServerFiles};

impl Parts {
    fn path(&mut self, name: &str) -> Option<PathBuf> {
        self.key(name).map(PathBuf::from)
    }

    pub(super) fn tls_server(&mut self, backlog: u32) -> Result<ServerEndpoint, EndpointError> {
        const EXAMPLE: &str = "ssl:443:privateKey=key.pem:certKey=cert.pem";
        let port = self.required("port", 0, EXAMPLE)?;
        let port = self.number(&port, "port", "a number from 0 to 65535")?;
        let mut files = ServerFiles::default();
        while let Some(path) = self.path("cert") {
            files.certs.push(path);
        }
        files.private_key = match self.required("privateKey", 1, EXAMPLE) {
            Ok(path) => Some(path.into()),
            // Pairs of another kind will do.
            Err(error) => files.certs.is_empty().then_some(error).map_or(Ok(None), Err)?,
        };
        files.cert_key = self.path("certKey").or_else(|| self.position(2));
        files.extra_cert_chain = self.path("extraCertChain");
        if files.private_key.is_none() && (files.cert_key.is_some() || files.extra_cert_chain.is_some()) {
            return Err(self.error(&format!("the privateKey is missing; write {EXAMPLE}")));
        }
        files.client_ca = self.path("clientCA");
        files.client_auth_optional = match self.key("clientAuth").as_deref() {
            Some(_) if files.client_ca.is_none() => {
                return Err(self.error("clientAuth= needs clientCA=FILE, who signs the clients"));
            }
            None | Some("required") => false,
            Some("optional") => true,
            Some(other) => {
                return Err(self.error(&format!("clientAuth {other:?} is neither required nor optional")));
            }
        };
        let interface =
            self.key("interface").map(|text| self.address("interface", &text, false)).transpose()?;
        let backlog = self.optional_number("backlog", backlog)?;
        Ok(ServerEndpoint::Tls { port, interface, backlog, files: Box::new(files) })
    }

    pub(super) fn tls_client(&mut self) -> Result<ClientEndpoint, EndpointError> {
        const EXAMPLE: &str = "tls:example.org:443";
        let host = self.required("host", 0, EXAMPLE)?;
        let port = self.required("port", 1, EXAMPLE)?;
        let port = self.number::<NonZeroU16>(&port, "port", "a number from 1 to 65535")?.get();
        let timeout = self.timeout()?;
        let bind_address = self.key("bindAddress");
        let bind_address = bind_address.map(|text| self.address("bindAddress", &text, false)).transpose()?;
        // `ssl:` of old has other names for the same.
        let files = ClientFiles {
            trust_roots: self.path("trustRoots").or_else(|| self.path("caCertsDir")),
            certificate: self.path("certificate").or_else(|| self.path("certKey")),
            private_key: self.path("privateKey"),
        };
        if files.private_key.is_some() && files.certificate.is_none() {
            return Err(self.error("the certificate is missing; write certificate=FILE beside privateKey="));
        }
        Ok(ClientEndpoint::Tls { host, port, timeout, bind_address, files: Box::new(files) })
    }

    fn position(&mut self, position: usize) -> Option<PathBuf> {
        self.positional.get_mut(position).and_then(Option::take).map(PathBuf::from)
    }
}

pub(super) fn write_server(
    f: &mut fmt::Formatter<'_>,
    port: u16,
    interface: Option<IpAddr>,
    files: &ServerFiles,
) -> fmt::Result {
    write!(f, "ssl:{port}")?;
    if let Some(interface) = interface {
        write!(f, ":interface={}", quote(&interface.to_string()))?;
    }
    write_path(f, "privateKey", files.private_key.as_ref())?;
    write_path(f, "certKey", files.cert_key.as_ref())?;
    write_path(f, "extraCertChain", files.extra_cert_chain.as_ref())?;
    files.certs.iter().try_for_each(|path| write_path(f, "cert", Some(path)))?;
    write_path(f, "clientCA", files.client_ca.as_ref())?;
    if files.client_auth_optional { f.write_str(":clientAuth=optional") } else { Ok(()) }
}

pub(super) fn write_client(
    f: &mut fmt::Formatter<'_>,
    host: &str,
    port: u16,
    bind_address: Option<IpAddr>,
    files: &ClientFiles,
) -> fmt::Result {
    write!(f, "tls:host={}:port={port}", quote(host))?;
    if let Some(address) = bind_address {
        write!(f, ":bindAddress={}", quote(&address.to_string()))?;
    }
    write_path(f, "trustRoots", files.trust_roots.as_ref())?;
    write_path(f, "certificate", files.certificate.as_ref())?;
    write_path(f, "privateKey", files.private_key.as_ref())
}

fn write_path(f: &mut fmt::Formatter<'_>, key: &str, path: Option<&PathBuf>) -> fmt::Result {
    path.map_or(Ok(()), |path| write!(f, ":{key}={}", quote(&path.to_string_lossy())))
}
