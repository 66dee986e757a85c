//! AUTH TLS, PBSZ and PROT with a TLS client of our own, in virtual time: what is encrypted, what is refused, what is forgotten.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use common::{Ground, PATIENCE};
use ropewalk_ftp::FtpOptions;
use ropewalk_net::tls::{
    Identity, Pem, Roots, TlsClient, TlsClientOptions, TlsServer, TlsServerOptions, TlsSide,
};
use ropewalk_net::{ClientEndpoint, Lost, Stream, StreamError};
use ropewalk_reactor::Reactor;

/// Both sides of a certificate for `localhost`.
fn pair() -> (TlsServer, TlsClient) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let roots = Roots::Pem(Pem::text(chain.clone()));
    let server = TlsServer::new(TlsServerOptions::new(Identity::text(chain, key))).unwrap();
    let client = TlsClient::new(TlsClientOptions { roots, ..TlsClientOptions::default() }).unwrap();
    (server, client)
}

struct Client {
    reactor: Reactor,
    control: Stream,
    tls: TlsClient,
}

impl Client {
    async fn open(reactor: Reactor, address: SocketAddr, tls: TlsClient) -> Client {
        let control = stream(&reactor, address).await;
        let mut client = Client { reactor, control, tls };
        assert_eq!(client.code().await, "220");
        client
    }

    async fn line(&mut self) -> String {
        String::from_utf8(self.control.read_until(b"\r\n", 10_000).await.unwrap_or_default()).unwrap()
    }

    /// The code of the next reply, of however many lines.
    async fn code(&mut self) -> String {
        loop {
            let line = self.line().await;
            if line.as_bytes().get(3) != Some(&b'-') && !line.starts_with(' ') {
                return line.chars().take(3).collect();
            }
        }
    }

    async fn say(&mut self, line: &str) -> String {
        // Whoever is refused reads that, if anything.
        let _ = self.control.write(format!("{line}\r\n").as_bytes()).await;
        self.code().await
    }

    #[track_caller]
    fn expect(&mut self, line: &str, code: &'static str) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move { assert_eq!(self.say(line).await, code, "{line} at {place}") }
    }

    async fn secure(&mut self) {
        self.expect("AUTH TLS", "234").await;
        self.control.start_tls(TlsSide::Client(&self.tls, "localhost")).unwrap();
    }

    async fn login(&mut self) {
        self.expect("USER ada", "331").await;
        self.expect("PASS x", "230").await;
        self.expect("TYPE I", "200").await;
    }

    /// A passive data connection, under TLS or not.
    async fn data(&mut self, secure: bool) -> Stream {
        self.control.write(b"EPSV\r\n").await.unwrap();
        let line = self.line().await;
        let port: u16 = line.split('|').nth(3).unwrap().parse().unwrap();
        let mut data = stream(&self.reactor, ([127, 0, 0, 1], port).into()).await;
        if secure {
            data.start_tls(TlsSide::Client(&self.tls, "localhost")).unwrap();
        }
        data
    }

    async fn fetch(&mut self, line: &str) -> Vec<u8> {
        let mut data = self.data(true).await;
        assert!(self.say(line).await.starts_with('1'), "{line}");
        let all = data.read_until_close(1 << 20).await.unwrap();
        assert!(self.code().await.starts_with("226"));
        all
    }
}

async fn stream(reactor: &Reactor, address: SocketAddr) -> Stream {
    let endpoint = ClientEndpoint::tcp(address.ip().to_string(), address.port());
    Stream::connect(reactor, &endpoint).await.unwrap()
}

/// Plays a conversation on the simulation until it is over.
fn play<F: Future<Output = ()> + 'static>(
    seed: u64,
    change: impl FnOnce(&mut FtpOptions),
    play: impl FnOnce(Reactor, SocketAddr, TlsClient) -> F,
) -> Ground {
    let (server, client) = pair();
    let mut options = FtpOptions { tls: Some(server), ..FtpOptions::default() };
    change(&mut options);
    let ground = Ground::with(seed, options);
    let reactor = ground.simulation.reactor().clone();
    let task = reactor.spawn(play(reactor.clone(), ground.address, client));
    assert!(ground.simulation.run_until(PATIENCE, || task.is_finished()), "the conversation hangs");
    let outcome = Rc::new(RefCell::new(None));
    let into = Rc::clone(&outcome);
    reactor.spawn(async move { *into.borrow_mut() = Some(task.await) });
    ground.simulation.advance(Duration::from_millis(1));
    if let Some(Err(failure)) = outcome.take() {
        panic!("{failure}");
    }
    ground
}

#[test]
fn files_go_both_ways_over_tls_under_many_seeds() {
    for seed in 0..20 {
        let content: Vec<u8> = (0..200_000u32).map(|index| (index % 251) as u8).collect();
        let sent = content.clone();
        let ground = play(
            seed,
            |_| {},
            |reactor, address, tls| async move {
                let mut client = Client::open(reactor, address, tls).await;
                client.secure().await;
                client.login().await;
                client.expect("PROT P", "503").await;
                client.expect("PBSZ 0", "200").await;
                client.expect("PROT P", "200").await;
                let data = client.data(true).await;
                assert!(client.say("STOR big").await.starts_with('1'));
                data.write(&sent).await.unwrap();
                data.close();
                assert_eq!(client.code().await, "226");
                assert!(client.fetch("RETR big").await == sent);
                // An end in good order also where there is nothing before it.
                client.expect("MKD none", "257").await;
                assert_eq!(client.fetch("LIST none").await, b"");
                assert_eq!(client.fetch("NLST").await, b"big\r\nhello.txt\r\nnone\r\nsub\r\n");
                client.expect("PROT C", "200").await;
                let mut plain = client.data(false).await;
                assert!(client.say("RETR hello.txt").await.starts_with('1'));
                assert_eq!(plain.read_until_close(100).await.unwrap(), b"hello\nworld\n");
                assert_eq!(client.code().await, "226");
            },
        );
        assert!(ground.storage.take("/big").unwrap() == content, "seed {seed}");
    }
}

#[test]
fn what_was_said_in_the_clear_is_forgotten() {
    play(
        1,
        |_| {},
        |reactor, address, tls| async move {
            let mut client = Client::open(reactor, address, tls).await;
            client.login().await;
            client.expect("PBSZ 0", "503").await;
            client.expect("AUTH GSSAPI", "504").await;
            client.expect("AUTH", "501").await;
            client.secure().await;
            client.expect("PWD", "530").await;
            client.expect("AUTH TLS", "534").await;
            client.expect("CCC", "534").await;
            client.expect("REIN", "502").await;
            client.login().await;
            client.expect("PBSZ x", "501").await;
            client.expect("PBSZ 100", "200").await;
            client.expect("PROT S", "536").await;
            client.expect("PROT X", "504").await;
            client.expect("PROT P", "200").await;
            assert!(client.control.tls().is_some());
            client.expect("QUIT", "221").await;
        },
    );
}

#[test]
fn commands_behind_auth_in_the_same_bytes_are_never_run() {
    for secret in ["USER ada\r\nPASS x\r\nDELE hello.txt\r\n", "NOOP\r\n"] {
        let ground = play(
            1,
            |_| {},
            move |reactor, address, tls| async move {
                let mut client = Client::open(reactor, address, tls).await;
                client.control.write(format!("AUTH TLS\r\n{secret}").as_bytes()).await.unwrap();
                assert_eq!(client.code().await, "234");
                // It was taken for the handshake, and is none: the connection ends without another reply.
                let rest = client.control.read_until_close(1000).await.unwrap_or_default();
                assert!(
                    !rest.windows(3).any(|window| [&b"331"[..], b"230", b"200", b"250"].contains(&window)),
                    "{rest:?}"
                );
            },
        );
        assert!(ground.storage.take("/hello.txt").is_some());
        assert_eq!(ground.server.statistics().logins, 0);
    }
}

#[test]
fn where_tls_is_required_nothing_goes_without_it() {
    let ground = play(
        1,
        |options| options.tls_required = true,
        |reactor, address, tls| async move {
            let mut client = Client::open(reactor, address, tls).await;
            client.expect("USER ada", "530").await;
            client.expect("PASS x", "530").await;
            client.expect("FEAT", "211").await;
            client.secure().await;
            client.login().await;
            let _data = client.data(false).await;
            for line in ["RETR hello.txt", "STOR x", "LIST", "MLSD"] {
                client.expect(line, "521").await;
            }
            client.expect("PBSZ 0", "200").await;
            client.expect("PROT C", "534").await;
            client.expect("PROT P", "200").await;
            assert_eq!(client.fetch("RETR hello.txt").await, b"hello\nworld\n");
        },
    );
    assert_eq!(ground.server.statistics().downloads, 1);
}

#[test]
fn a_data_connection_in_the_clear_is_no_use_after_prot_p() {
    let ground = play(
        1,
        |_| {},
        |reactor, address, tls| async move {
            let mut client = Client::open(reactor, address, tls).await;
            client.secure().await;
            client.login().await;
            client.expect("PBSZ 0", "200").await;
            client.expect("PROT P", "200").await;
            let mut plain = client.data(false).await;
            assert!(client.say("STOR clear").await.starts_with('1'));
            plain.write(b"in the clear").await.unwrap();
            assert_eq!(client.code().await, "426");
            // What comes is TLS's complaint at the most.
            let rest = plain.read_until_close(1000).await.unwrap_or_default();
            assert!(rest.len() < 20);
            // One who says nothing at all is given ten seconds for the handshake.
            let _silent = client.data(false).await;
            assert!(client.say("RETR hello.txt").await.starts_with('1'));
            assert_eq!(client.code().await, "426");
            client.expect("NOOP", "200").await;
        },
    );
    assert!(ground.storage.take("/clear").is_none());
}

#[test]
fn an_upload_without_a_farewell_counts_only_where_none_is_required() {
    for (required, code) in [(false, "226"), (true, "426")] {
        let ground = play(
            1,
            |options| options.farewell_required = required,
            move |reactor, address, tls| async move {
                let mut client = Client::open(reactor, address, tls).await;
                client.secure().await;
                client.login().await;
                client.expect("PBSZ 0", "200").await;
                client.expect("PROT P", "200").await;
                let data = client.data(true).await;
                assert!(client.say("STOR cut").await.starts_with('1'));
                data.write(b"some of it").await.unwrap();
                data.flush().await.unwrap();
                // The socket ends under TLS: what a third party can do as well.
                end_below(&data);
                assert_eq!(client.code().await, code);
                assert!(matches!(
                    data.flush().await,
                    Ok(()) | Err(StreamError::Closed(Lost::Ended | Lost::Closed | Lost::Broken(_)))
                ));
            },
        );
        assert_eq!(ground.storage.take("/cut").is_some(), !required);
    }
}

/// Ends a connection's socket without the farewell of its layers.
fn end_below(stream: &Stream) {
    use ropewalk_net::{Below, Layer};
    use std::any::Any;
    use std::io;

    /// Ends the socket at the first byte that it is given.
    struct Scissors;
    impl Layer for Scissors {
        fn write(&mut self, below: &Below, from: &[u8]) -> io::Result<usize> {
            below.socket().shutdown(std::net::Shutdown::Write)?;
            Ok(from.len())
        }
        fn as_any(&mut self) -> &mut dyn Any {
            self
        }
    }
    stream.transport().push_layer(Box::new(Scissors));
    stream.transport().write(b"x");
}
