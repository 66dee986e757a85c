//! suppaftp, the FTP client that Rust programs use, against a server on real sockets: in the clear and over TLS, passive and active.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::io::{Cursor, Read};
use std::sync::Arc;
use std::time::Duration;

use common::{Served, Users};
use ropewalk_ftp::{FtpOptions, FtpServer, MemoryStorage};
use ropewalk_net::tls::{Identity, TlsServer, TlsServerOptions};
use rustls::{ClientConfig, RootCertStore};
use suppaftp::list::{File, ListParser};
use suppaftp::types::FileType;
use suppaftp::{
    FtpError, FtpStream, ImplFtpStream, Mode, RustlsConnector, RustlsFtpStream, Status, TlsStream,
};

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than the buffers of both ends hold.
const LARGE_BYTES: usize = 24 << 20;

/// A server, and what a client needs to trust it.
struct Ground {
    served: Served,
    trust: Arc<ClientConfig>,
}

impl Ground {
    fn new() -> Ground {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let identity = Identity::text(made.cert.pem(), made.signing_key.serialize_pem());
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let trust = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let served = Served::new("tcp:0:interface=127.0.0.1", || {
            let tls = TlsServer::new(TlsServerOptions::new(identity)).unwrap();
            let options = FtpOptions { tls: Some(tls), ..FtpOptions::default() };
            FtpServer::new(Users(Arc::new(MemoryStorage::new(64 << 20))), options)
        });
        Ground { served, trust: Arc::new(trust) }
    }

    fn plain(&self) -> FtpStream {
        FtpStream::connect_timeout(self.served.address, PATIENCE).unwrap()
    }

    /// AUTH TLS, and PROT P for the data.
    fn private(&self) -> RustlsFtpStream {
        let client = RustlsFtpStream::connect_timeout(self.served.address, PATIENCE).unwrap();
        client.into_secure(RustlsConnector::from(Arc::clone(&self.trust)), "localhost").unwrap()
    }
}

fn begin<T: TlsStream>(client: &mut ImplFtpStream<T>) {
    client.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    client.login("ada", "x").unwrap();
    client.transfer_type(FileType::Binary).unwrap();
}

fn fetch<T: TlsStream>(client: &mut ImplFtpStream<T>, name: &str) -> Vec<u8> {
    client.retr_as_buffer(name).unwrap().into_inner()
}

/// What the client reads out of the lines of a list.
fn entries(lines: &[String], parse: impl Fn(&str) -> Option<File>) -> Vec<(String, usize, bool)> {
    let read = lines.iter().filter_map(|line| parse(line));
    let mut entries: Vec<_> =
        read.map(|file| (file.name().to_owned(), file.size(), file.is_directory())).collect();
    entries.sort();
    entries
}

/// Everything that a program does with files.
fn all_of_it<T: TlsStream>(client: &mut ImplFtpStream<T>) {
    begin(client);
    let content: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    client.mkdir("shop").unwrap();
    client.cwd("shop").unwrap();
    assert_eq!(client.pwd().unwrap(), "/shop");
    assert_eq!(client.put_file("goods.bin", &mut Cursor::new(&content)).unwrap(), 300_000);
    assert_eq!(client.size("goods.bin").unwrap(), 300_000);
    assert!(fetch(client, "goods.bin") == content, "what was put is what is got");
    client.mdtm("goods.bin").unwrap();
    // From the middle on, and in the middle.
    client.resume_transfer(299_000).unwrap();
    assert_eq!(fetch(client, "goods.bin"), content[299_000..]);
    client.resume_transfer(100).unwrap();
    client.put_file("goods.bin", &mut Cursor::new(b"stamp")).unwrap();
    client.append_file("goods.bin", &mut Cursor::new(b" and more")).unwrap();
    let now = fetch(client, "goods.bin");
    assert_eq!((&now[98..106], &now[300_000..]), (&b"\x62\x63stamp\x69"[..], &b" and more"[..]));
    // Names with spaces, in another alphabet, and a folder.
    client.put_file("a ü.txt", &mut Cursor::new(b"words\n")).unwrap();
    client.mkdir("inner").unwrap();
    let expected = [("a ü.txt".to_owned(), 6, false), ("goods.bin".to_owned(), 300_009, false)];
    let files = |lines: &[String], parse: &dyn Fn(&str) -> Option<File>| -> Vec<_> {
        let entries = entries(lines, parse);
        assert!(entries.iter().any(|(name, _, folder)| name == "inner" && *folder), "{lines:?}");
        entries.into_iter().filter(|(_, _, folder)| !folder).collect()
    };
    assert_eq!(files(&client.list(None).unwrap(), &|line| ListParser::parse_posix(line).ok()), expected);
    assert_eq!(files(&client.mlsd(None).unwrap(), &|line| ListParser::parse_mlsd(line).ok()), expected);
    assert_eq!(client.nlst(None).unwrap(), ["a ü.txt", "goods.bin", "inner"]);
    let facts = ListParser::parse_mlst(client.mlst(Some("goods.bin")).unwrap().trim()).unwrap();
    assert_eq!(facts.size(), 300_009);
    // Renamed, broken off, refused, and away with it.
    client.rename("a ü.txt", "inner/b.txt").unwrap();
    assert_eq!(fetch(client, "inner/b.txt"), b"words\n");
    // So large that the network does not take it whole: then there is something to break off.
    client.put_file("large.bin", &mut Cursor::new(vec![7; LARGE_BYTES])).unwrap();
    let mut stream = client.retr_as_stream("large.bin").unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    client.abort(stream).unwrap();
    client.noop().unwrap();
    match client.retr_as_buffer("missing") {
        Err(FtpError::UnexpectedResponse(response)) => assert_eq!(response.status, Status::FileUnavailable),
        other => panic!("{other:?}"),
    }
    client.rm("inner/b.txt").unwrap();
    client.rm("large.bin").unwrap();
    client.rm("goods.bin").unwrap();
    client.rmdir("inner").unwrap();
    client.cdup().unwrap();
    client.rmdir("shop").unwrap();
    assert_eq!(client.nlst(None).unwrap(), Vec::<String>::new());
    client.quit().unwrap();
}

#[test]
fn in_the_clear_in_each_mode() {
    let ground = Ground::new();
    for mode in [Mode::Passive, Mode::ExtendedPassive, Mode::Active] {
        let mut client = ground.plain().active_mode(PATIENCE);
        client.set_mode(mode);
        all_of_it(&mut client);
    }
}

#[test]
fn over_tls_in_each_mode() {
    let ground = Ground::new();
    for mode in [Mode::Passive, Mode::ExtendedPassive, Mode::Active] {
        let mut client = ground.private().active_mode(PATIENCE);
        client.set_mode(mode);
        all_of_it(&mut client);
    }
}

#[test]
fn what_the_server_offers_is_understood() {
    let ground = Ground::new();
    let mut client = ground.plain();
    begin(&mut client);
    let features = client.feat().unwrap();
    for feature in ["MLST", "REST", "SIZE", "MDTM", "UTF8", "EPSV", "AUTH"] {
        assert!(features.contains_key(feature), "{feature}: {features:?}");
    }
    client.opts("UTF8", Some("ON")).unwrap();
    // A control connection that was encrypted stays so.
    let mut client = ground.private();
    begin(&mut client);
    assert!(client.clear_command_channel().is_err());
    // A wrong password is an error, and no end.
    let mut client = ground.plain();
    assert!(matches!(client.login("ada", "wrong"), Err(FtpError::UnexpectedResponse(_))));
    client.login("ada", "x").unwrap();
}
