//! Endpoint strings, Twisted's: `tcp:8080:interface=127.0.0.1`, `unix:/run/app.sock:mode=660`, `tcp:host=example.org:port=80`.
//! A string becomes a value here; listening and connecting are in `listen` and `connect`.

mod proxy;
mod tls;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ropewalk_reactor::ListenOptions;

use crate::proxied::ProxyOptions;
use crate::systemd::Passed;
use crate::tls::{ClientFiles, ServerFiles};

/// Where a server listens.
///
/// ```
/// use ropewalk_net::ServerEndpoint;
/// let endpoint: ServerEndpoint = "tcp:8080:interface=127.0.0.1".parse()?;
/// assert_eq!(endpoint.to_string(), "tcp:8080:interface=127.0.0.1");
/// assert!("tcp:eighty".parse::<ServerEndpoint>().is_err());
/// # Ok::<(), ropewalk_net::EndpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEndpoint {
    /// `tcp:PORT[:interface=IP][:backlog=N]`, and `tcp6:` for IPv6. Port 0 takes a free one.
    Tcp {
        /// The port.
        port: u16,
        /// The address to bind; all interfaces unless given.
        interface: Option<IpAddr>,
        /// IPv6 where no interface says so.
        v6: bool,
        /// Connections that may wait to be accepted.
        backlog: u32,
    },
    /// `unix:PATH[:mode=OCTAL][:backlog=N]`. A socket file that nobody listens at is replaced. A path that begins with `@` is
    /// written `./@name`.
    Unix {
        /// The socket file.
        path: PathBuf,
        /// Its permissions; 666 unless given, as in Twisted.
        mode: u32,
        /// Connections that may wait to be accepted.
        backlog: u32,
    },
    /// `proxy:[trusted=NETWORKS:][version=1|2:][strangers=pass:][timeout=SECONDS:]ENDPOINT`, or `haproxy:`: connections that
    /// begin with a PROXY header (see [`crate::ProxyProtocol`]). Only loopback is trusted unless `trusted` says whom, as in
    /// `proxy:trusted=10.0.0.0/8,192.168.0.1:tcp:8080`; what follows its own arguments is the endpoint inside.
    Proxy {
        /// Where it listens.
        inner: Box<ServerEndpoint>,
        /// Who is believed.
        options: ProxyOptions,
    },
    /// `unix:@NAME[:backlog=N]`, as systemd and `ss` write it: a UNIX socket with a name outside the file system. It has no file, so
    /// nothing is left behind and nothing is to be removed; but it has no permissions either: whoever is in the same network
    /// namespace may connect.
    Abstract {
        /// The name without the `@`; 107 bytes at most.
        name: String,
        /// Connections that may wait to be accepted.
        backlog: u32,
    },
    /// `stdio:`: standard input and output, as one connection that is there at once. See [`crate::stdio()`].
    Stdio,
    /// `systemd:name=NAME` or `systemd:index=N`: a socket that systemd listens at and has handed over. Each is taken once; its file and
    /// its backlog are systemd's. `man 5 systemd.socket`, `FileDescriptorName=`.
    Systemd(Passed),
    /// `ssl:PORT:privateKey=FILE[:certKey=FILE][:extraCertChain=FILE][:cert=FILE]…[:clientCA=FILE[:clientAuth=optional]]`
    /// `[:interface=IP][:backlog=N]`, or `tls:`. TCP with TLS; `cert=` adds another certificate and may be repeated.
    Tls {
        /// The port.
        port: u16,
        /// The address to bind; all of IPv4 unless given.
        interface: Option<IpAddr>,
        /// Connections that may wait to be accepted.
        backlog: u32,
        /// The certificates.
        files: Box<ServerFiles>,
    },
}

/// Where a client connects.
///
/// ```
/// use ropewalk_net::ClientEndpoint;
/// let endpoint: ClientEndpoint = "tcp:example.org:80:timeout=5".parse()?;
/// assert_eq!(endpoint.to_string(), "tcp:host=example.org:port=80:timeout=5");
/// # Ok::<(), ropewalk_net::EndpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEndpoint {
    /// `tcp:host=H:port=P[:timeout=SECONDS][:bindAddress=IP]`, or `tcp:H:P`.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
        /// For all attempts together, name resolution included; 30 s unless given.
        timeout: Duration,
        /// The address of this machine from which to connect; the system's choice unless given.
        bind_address: Option<IpAddr>,
    },
    /// `unix:path=PATH[:timeout=SECONDS]`, or `unix:PATH`. A path that begins with `@` is written `./@name`.
    Unix {
        /// The socket file.
        path: PathBuf,
        /// 30 s unless given.
        timeout: Duration,
    },
    /// `unix:path=@NAME[:timeout=SECONDS]`, or `unix:@NAME`: a UNIX socket with a name outside the file system.
    Abstract {
        /// The name without the `@`.
        name: String,
        /// 30 s unless given.
        timeout: Duration,
    },
    /// `tls:HOST:PORT[:trustRoots=PATH][:certificate=FILE][:privateKey=FILE][:timeout=SECONDS][:bindAddress=IP]`, or
    /// `ssl:host=H:port=P…`. TCP with TLS; the certificate must be for the host.
    Tls {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
        /// For everything together, the handshake included; 30 s unless given.
        timeout: Duration,
        /// The address of this machine from which to connect; the system's choice unless given.
        bind_address: Option<IpAddr>,
        /// The certificates.
        files: Box<ClientFiles>,
    },
}

/// What is wrong with an endpoint string: one line, with what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointError(String);

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EndpointError {}

const TIMEOUT: Duration = Duration::from_secs(30);
const UNIX_MODE: u32 = 0o666;

impl ServerEndpoint {
    /// Whether it is a UNIX socket with a file: one that only one worker can listen at.
    #[must_use]
    pub fn is_file(&self) -> bool {
        match self {
            ServerEndpoint::Unix { .. } => true,
            ServerEndpoint::Proxy { inner, .. } => inner.is_file(),
            _ => false,
        }
    }

    /// Connections that may wait to be accepted.
    pub(crate) fn backlog(&self) -> u32 {
        match self {
            ServerEndpoint::Tcp { backlog, .. }
            | ServerEndpoint::Tls { backlog, .. }
            | ServerEndpoint::Unix { backlog, .. }
            | ServerEndpoint::Abstract { backlog, .. } => *backlog,
            ServerEndpoint::Proxy { inner, .. } => inner.backlog(),
            ServerEndpoint::Stdio | ServerEndpoint::Systemd(_) => ListenOptions::default().backlog,
        }
    }

    /// The same endpoint at this interface, if the string named none: how a program binds to loopback by default.
    #[must_use]
    pub fn or_interface(self, address: IpAddr) -> ServerEndpoint {
        match self {
            ServerEndpoint::Tcp { port, interface: None, v6: false, backlog } => {
                ServerEndpoint::Tcp { port, interface: Some(address), v6: false, backlog }
            }
            ServerEndpoint::Proxy { inner, options } => {
                ServerEndpoint::Proxy { inner: Box::new(inner.or_interface(address)), options }
            }
            ServerEndpoint::Tls { port, interface: None, backlog, files } => {
                ServerEndpoint::Tls { port, interface: Some(address), backlog, files }
            }
            other => other,
        }
    }

    /// The same endpoint at this port, if it has one: how several workers bind what the first of them was given.
    #[must_use]
    pub fn with_port(self, port: u16) -> ServerEndpoint {
        match self {
            ServerEndpoint::Tcp { interface, v6, backlog, .. } => {
                ServerEndpoint::Tcp { port, interface, v6, backlog }
            }
            ServerEndpoint::Tls { interface, backlog, files, .. } => {
                ServerEndpoint::Tls { port, interface, backlog, files }
            }
            ServerEndpoint::Proxy { inner, options } => {
                ServerEndpoint::Proxy { inner: Box::new(inner.with_port(port)), options }
            }
            other => other,
        }
    }

    /// The address to bind, of a TCP endpoint.
    #[must_use]
    pub fn interface(&self) -> Option<IpAddr> {
        match self {
            ServerEndpoint::Tcp { interface: Some(address), .. }
            | ServerEndpoint::Tls { interface: Some(address), .. } => Some(*address),
            ServerEndpoint::Tls { .. } => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            ServerEndpoint::Tcp { v6: true, .. } => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            ServerEndpoint::Tcp { .. } => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            ServerEndpoint::Proxy { inner, .. } => inner.interface(),
            ServerEndpoint::Unix { .. }
            | ServerEndpoint::Abstract { .. }
            | ServerEndpoint::Stdio
            | ServerEndpoint::Systemd(_) => None,
        }
    }

    /// The certificates of an `ssl:` endpoint, also behind `proxy:`.
    #[must_use]
    pub fn tls(&self) -> Option<&ServerFiles> {
        match self {
            ServerEndpoint::Tls { files, .. } => Some(files),
            ServerEndpoint::Proxy { inner, .. } => inner.tls(),
            _ => None,
        }
    }

    /// Whether only this machine can reach it. Never behind a proxy, which passes on the connections of others; and nobody knows of
    /// systemd's sockets before they are taken.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let elsewhere = matches!(self, ServerEndpoint::Systemd(_) | ServerEndpoint::Proxy { .. });
        !elsewhere && self.interface().is_none_or(|address| address.is_loopback())
    }
}

impl ClientEndpoint {
    /// A TCP endpoint with the usual timeout, for a host that is not part of a string yet.
    ///
    /// ```
    /// use ropewalk_net::ClientEndpoint;
    /// assert_eq!(ClientEndpoint::tcp("::1", 80).to_string(), "tcp:host=\\:\\:1:port=80");
    /// ```
    #[must_use]
    pub fn tcp(host: impl Into<String>, port: u16) -> ClientEndpoint {
        ClientEndpoint::Tcp { host: host.into(), port, timeout: TIMEOUT, bind_address: None }
    }
}

impl FromStr for ServerEndpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if let Some(endpoint) = proxy::parse(text)? {
            return Ok(endpoint);
        }
        let mut parts = Parts::parse(text)?;
        let kind = parts.kind.clone();
        let backlog = ListenOptions::default().backlog;
        let endpoint = match kind.as_str() {
            "tcp" | "tcp6" => {
                let v6 = kind == "tcp6";
                let port = parts.required("port", 0, "tcp:8080")?;
                let port = parts.number(&port, "port", "a number from 0 to 65535")?;
                let interface =
                    parts.key("interface").map(|text| parts.address("interface", &text, v6)).transpose()?;
                let backlog = parts.optional_number("backlog", backlog)?;
                ServerEndpoint::Tcp { port, interface, v6, backlog }
            }
            "unix" => {
                let path = parts.required("address", 0, "unix:/run/app.sock")?;
                let mode = parts.key("mode").map(|text| parts.octal(&text)).transpose()?;
                let backlog = parts.optional_number("backlog", backlog)?;
                match parts.abstract_name(&path)? {
                    Some(_) if mode.is_some() => {
                        return Err(parts.error(
                            "a name outside the file system has no mode: whoever knows it may connect",
                        ));
                    }
                    Some(name) => ServerEndpoint::Abstract { name, backlog },
                    None => {
                        ServerEndpoint::Unix { path: path.into(), mode: mode.unwrap_or(UNIX_MODE), backlog }
                    }
                }
            }
            "stdio" => {
                // Nothing is what stands behind its colon.
                parts.positional.retain(|argument| argument.as_deref() != Some(""));
                ServerEndpoint::Stdio
            }
            "systemd" => ServerEndpoint::Systemd(parts.passed()?),
            "ssl" | "tls" => parts.tls_server(backlog)?,
            _ => {
                return Err(parts.unknown_kind(
                    "tcp:PORT, tcp6:PORT, ssl:PORT, unix:PATH, stdio:, systemd:name=NAME or proxy:ENDPOINT",
                ));
            }
        };
        parts.finish()?;
        Ok(endpoint)
    }
}

impl FromStr for ClientEndpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let mut parts = Parts::parse(text)?;
        let kind = parts.kind.clone();
        let endpoint = match kind.as_str() {
            "tcp" => {
                let host = parts.required("host", 0, "tcp:host=example.org:port=80")?;
                let port = parts.required("port", 1, "tcp:host=example.org:port=80")?;
                let port = parts.number::<NonZeroU16>(&port, "port", "a number from 1 to 65535")?.get();
                let timeout = parts.timeout()?;
                let bind_address = parts.key("bindAddress");
                let bind_address =
                    bind_address.map(|text| parts.address("bindAddress", &text, false)).transpose()?;
                ClientEndpoint::Tcp { host, port, timeout, bind_address }
            }
            "unix" => {
                let path = parts.required("path", 0, "unix:path=/run/app.sock")?;
                let timeout = parts.timeout()?;
                match parts.abstract_name(&path)? {
                    Some(name) => ClientEndpoint::Abstract { name, timeout },
                    None => ClientEndpoint::Unix { path: path.into(), timeout },
                }
            }
            "tls" | "ssl" => parts.tls_client()?,
            _ => return Err(parts.unknown_kind("tcp:HOST:PORT, tls:HOST:PORT or unix:PATH")),
        };
        parts.finish()?;
        Ok(endpoint)
    }
}

impl fmt::Display for ServerEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = ListenOptions::default().backlog;
        let backlog = match self {
            ServerEndpoint::Tcp { port, interface, v6, backlog } => {
                let kind = if *v6 { "tcp6" } else { "tcp" };
                write!(f, "{kind}:{port}")?;
                if let Some(interface) = interface {
                    write!(f, ":interface={}", quote(&interface.to_string()))?;
                }
                backlog
            }
            ServerEndpoint::Unix { path, mode, backlog } => {
                write!(f, "unix:{}", quote(&path.to_string_lossy()))?;
                if *mode != UNIX_MODE {
                    write!(f, ":mode={mode:o}")?;
                }
                backlog
            }
            ServerEndpoint::Proxy { inner, options } => return proxy::write(f, inner, options),
            ServerEndpoint::Abstract { name, backlog } => {
                write!(f, "unix:@{}", quote(name))?;
                backlog
            }
            ServerEndpoint::Stdio => return f.write_str("stdio:"),
            ServerEndpoint::Systemd(which) => return write!(f, "systemd:{which}"),
            ServerEndpoint::Tls { port, interface, backlog, files } => {
                tls::write_server(f, *port, *interface, files)?;
                backlog
            }
        };
        if *backlog == usual { Ok(()) } else { write!(f, ":backlog={backlog}") }
    }
}

impl fmt::Display for ClientEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timeout = match self {
            ClientEndpoint::Tcp { host, port, timeout, bind_address } => {
                write!(f, "tcp:host={}:port={port}", quote(host))?;
                if let Some(address) = bind_address {
                    write!(f, ":bindAddress={}", quote(&address.to_string()))?;
                }
                timeout
            }
            ClientEndpoint::Unix { path, timeout } => {
                write!(f, "unix:path={}", quote(&path.to_string_lossy()))?;
                timeout
            }
            ClientEndpoint::Abstract { name, timeout } => {
                write!(f, "unix:path=@{}", quote(name))?;
                timeout
            }
            ClientEndpoint::Tls { host, port, timeout, bind_address, files } => {
                tls::write_client(f, host, *port, *bind_address, files)?;
                timeout
            }
        };
        if *timeout == TIMEOUT { Ok(()) } else { write!(f, ":timeout={}", timeout.as_secs_f64()) }
    }
}

/// Escapes what would end an argument: a backslash, a colon, an equals sign.
///
/// ```
/// assert_eq!(ropewalk_net::quote("C:/a=b"), "C\\:/a\\=b");
/// ```
#[must_use]
pub fn quote(argument: &str) -> String {
    let mut quoted = String::with_capacity(argument.len());
    for character in argument.chars() {
        if matches!(character, '\\' | ':' | '=') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted
}

/// A string taken apart: its kind, positional arguments, and keyed ones. Arguments are taken out as they are understood, so
/// that what is left over is what was mistyped.
struct Parts {
    text: String,
    kind: String,
    positional: Vec<Option<String>>,
    keyed: Vec<(String, String)>,
}

impl Parts {
    fn parse(text: &str) -> Result<Parts, EndpointError> {
        let mut parts =
            Parts { text: text.to_owned(), kind: String::new(), positional: Vec::new(), keyed: Vec::new() };
        let mut fields: Vec<(Option<String>, String)> = vec![(None, String::new())];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let (key, value) = fields.last_mut().expect("there is always one field");
            match character {
                '\\' => match characters.next() {
                    Some(escaped) => value.push(escaped),
                    None => return Err(parts.error("it ends in a backslash that escapes nothing")),
                },
                ':' => fields.push((None, String::new())),
                '=' if key.is_none() => *key = Some(std::mem::take(value)),
                other => value.push(other),
            }
        }
        let mut fields = fields.into_iter();
        if let Some((key, kind)) = fields.next() {
            if key.is_some() || kind.is_empty() {
                return Err(parts.error("it begins with the kind, as in tcp:8080 or unix:/run/app.sock"));
            }
            parts.kind = kind;
        }
        for (key, value) in fields {
            match key {
                Some(key) if key != "cert" && parts.keyed.iter().any(|(known, _)| *known == key) => {
                    return Err(parts.error(&format!("{key}= is given twice")));
                }
                Some(key) => parts.keyed.push((key, value)),
                None => parts.positional.push(Some(value)),
            }
        }
        Ok(parts)
    }

    fn error(&self, what: &str) -> EndpointError {
        EndpointError(format!("endpoint {:?}: {what}", self.text))
    }

    fn unknown_kind(&self, known: &str) -> EndpointError {
        let what = match self.kind.as_str() {
            "proxy" | "haproxy" => {
                format!("{}: is not built into this version", self.kind)
            }
            kind if kind.bytes().all(|byte| byte.is_ascii_digit()) => {
                return self.error(&format!("write tcp:{kind} for a port"));
            }
            kind => format!("there is no kind {kind:?}"),
        };
        self.error(&format!("{what}; write {known}"))
    }

    fn key(&mut self, name: &str) -> Option<String> {
        let index = self.keyed.iter().position(|(key, _)| key == name)?;
        Some(self.keyed.remove(index).1)
    }

    fn required(&mut self, name: &str, position: usize, example: &str) -> Result<String, EndpointError> {
        let value = match self.key(name) {
            Some(value) => Some(value),
            None => self.positional.get_mut(position).and_then(Option::take),
        };
        match value {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(self.error(&format!("the {name} is missing; write {example}"))),
        }
    }

    fn number<N: FromStr>(&self, text: &str, name: &str, range: &str) -> Result<N, EndpointError> {
        text.parse().map_err(|_| self.error(&format!("{name} {text:?} is not {range}")))
    }

    fn optional_number(&mut self, name: &str, default: u32) -> Result<u32, EndpointError> {
        match self.key(name) {
            Some(text) => match self.number(&text, name, "a number from 1 to 65535")? {
                number @ 1..=65535 => Ok(number),
                _ => Err(self.error(&format!("{name} {text:?} is not a number from 1 to 65535"))),
            },
            None => Ok(default),
        }
    }

    /// The name behind the `@` of a UNIX socket that has no file.
    fn abstract_name(&self, path: &str) -> Result<Option<String>, EndpointError> {
        match path.strip_prefix('@') {
            Some("") => Err(self.error("a name is missing behind the @; write unix:@app")),
            // The system's address has 108 bytes, of which the first is the null byte that an @ stands for.
            Some(name) if name.len() > 107 => {
                Err(self.error("the name behind the @ is longer than 107 bytes"))
            }
            name => Ok(name.map(str::to_owned)),
        }
    }

    /// Which of systemd's sockets is meant.
    fn passed(&mut self) -> Result<Passed, EndpointError> {
        match (self.key("name"), self.key("index")) {
            (Some(name), None) if !name.is_empty() => Ok(Passed::Name(name)),
            (None, Some(index)) => Ok(Passed::Index(self.number(&index, "index", "a number from 0 on")?)),
            _ => Err(self.error("it says which socket: write systemd:name=web or systemd:index=0")),
        }
    }

    fn octal(&self, text: &str) -> Result<u32, EndpointError> {
        match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o777 => Ok(mode),
            _ => Err(self.error(&format!("mode {text:?} is not an octal number up to 777"))),
        }
    }

    fn address(&self, key: &str, text: &str, v6: bool) -> Result<IpAddr, EndpointError> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let address = match bare {
            "localhost" if v6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => self.number(bare, key, "an IP address (escape the colons of IPv6: \\:\\:1)")?,
        };
        if v6 && address.is_ipv4() {
            return Err(self.error("tcp6: wants an IPv6 interface"));
        }
        Ok(address)
    }

    fn timeout(&mut self) -> Result<Duration, EndpointError> {
        self.timeout_or(TIMEOUT)
    }

    fn timeout_or(&mut self, usual: Duration) -> Result<Duration, EndpointError> {
        let Some(text) = self.key("timeout") else { return Ok(usual) };
        let seconds: f64 = self.number(&text, "timeout", "a number of seconds")?;
        let positive = Duration::try_from_secs_f64(seconds).ok().filter(|timeout| !timeout.is_zero());
        positive.ok_or_else(|| self.error(&format!("timeout {text:?} is not a number of seconds above 0")))
    }

    fn finish(self) -> Result<(), EndpointError> {
        if let Some((key, _)) = self.keyed.first() {
            return Err(self.error(&format!("{}: knows no {key}=", self.kind)));
        }
        if let Some(extra) = self.positional.iter().flatten().next() {
            return Err(self.error(&format!("{extra:?} is one argument too many")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Result<ServerEndpoint, String> {
        text.parse().map_err(|error: EndpointError| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "tcp:8080",
            "tcp:0:interface=127.0.0.1",
            "tcp:80:backlog=5",
            "tcp6:80",
            "tcp6:80:interface=\\:\\:1",
            "unix:/run/a\\:b.sock:mode=660",
            "unix:./@file",
            "stdio:",
            "systemd:name=a\\:b",
            "systemd:index=3",
            "unix:@app\\:1:backlog=5",
            "ssl:443:privateKey=key.pem:certKey=cert.pem:extraCertChain=chain.pem",
            "ssl:0:interface=127.0.0.1:privateKey=a\\:b.pem:clientCA=ca.pem:backlog=9",
            "ssl:443:cert=one.pem:cert=two.pem:clientCA=ca.pem:clientAuth=optional",
        ] {
            assert_eq!(server(text).expect(text).to_string(), text);
        }
        for text in [
            "tcp:host=example.org:port=80",
            "tcp:host=\\:\\:1:port=80:bindAddress=\\:\\:1:timeout=2",
            "tcp:host=a:port=80:bindAddress=127.0.0.2",
            "unix:path=/x:timeout=1.5",
            "unix:path=@x:timeout=1.5",
            "tls:host=example.org:port=443:trustRoots=ca.pem:certificate=c.pem:privateKey=k.pem:timeout=2",
        ] {
            assert_eq!(text.parse::<ClientEndpoint>().expect(text).to_string(), text);
        }
        assert_eq!(
            server("tcp:port=80:interface=localhost").unwrap().to_string(),
            "tcp:80:interface=127.0.0.1"
        );
        assert_eq!(server("tls:1:key.pem:cert.pem"), server("ssl:1:privateKey=key.pem:certKey=cert.pem"));
        assert_eq!(
            "ssl:a:1:caCertsDir=/ca".parse::<ClientEndpoint>(),
            "tls:host=a:port=1:trustRoots=/ca".parse()
        );
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (text, part) in [
            ("", "begins with the kind"),
            ("8080", "write tcp:8080"),
            ("tcp", "the port is missing"),
            ("tcp:", "the port is missing"),
            ("tcp:http", "\"http\" is not a number from 0 to 65535"),
            ("tcp:65536", "not a number from 0 to 65535"),
            ("tcp:80:interface=nowhere", "not an IP address"),
            ("tcp:80:backlog=0", "not a number from 1 to 65535"),
            ("tcp:80:colour=red", "knows no colour="),
            ("tcp:80:81", "one argument too many"),
            ("tcp:80:backlog=1:backlog=2", "given twice"),
            ("tcp6:80:interface=127.0.0.1", "IPv6"),
            ("unix:/x:mode=999", "octal"),
            ("unix:@", "missing behind the @"),
            ("stdio:1", "one argument too many"),
            ("systemd:", "write systemd:name=web"),
            ("systemd:name=a:index=0", "write systemd:name=web"),
            ("systemd:index=first", "not a number from 0 on"),
            ("systemd:domain=INET:index=0", "knows no domain="),
            ("unix:@x:mode=600", "has no mode"),
            ("ssl:443", "the privateKey is missing"),
            ("ssl:443:certKey=cert.pem:cert=other.pem", "the privateKey is missing"),
            ("ssl:443:privateKey=k:clientAuth=optional", "clientCA"),
            ("ssl:443:privateKey=k:clientCA=c:clientAuth=maybe", "neither required nor optional"),
            ("ssl:443:privateKey=k:privateKey=l", "given twice"),
            ("gopher:70", "no kind \"gopher\""),
            ("tcp:80\\", "backslash"),
        ] {
            let error = server(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        for (text, part) in [
            ("tcp:host=:port=80", "the host is missing"),
            ("tcp:a", "the port is missing"),
            ("tcp:a:0", "port \"0\" is not a number from 1 to 65535"),
            ("tcp:a:80:bindAddress=b", "bindAddress \"b\" is not an IP address"),
            ("tcp:a:80:timeout=0", "above 0"),
        ] {
            let error = text.parse::<ClientEndpoint>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
