//! The client who behaves: it puts a file in its place and gets it back, again and again, and every reply is as it has to be.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shared;

/// Who it is: nobody else here.
pub const USER: &str = "proper";
/// Its file.
pub const PLACE: &str = "/proper.bin";
/// No answer takes longer, whatever the others do.
const PATIENCE: Duration = Duration::from_secs(30);

struct Client {
    control: BufReader<TcpStream>,
    peer: SocketAddr,
}

/// Behaves until the siege is over; answers how often it was served.
pub fn behave(address: SocketAddr, shared: &Shared) -> u64 {
    let mut rounds = 0;
    while !shared.over.load(Ordering::SeqCst) {
        let mut client = Client::open(address);
        let content: Vec<u8> = (0..20_000u64).map(|at| (at * (rounds + 3) % 251) as u8).collect();
        let mut data = client.passive();
        client.expect(&format!("STOR {PLACE}"), "1");
        let written = data.write_all(&content);
        drop(data);
        client.hears("226", &format!("{written:?}"));
        client.expect(&format!("SIZE {PLACE}"), "213 20000");
        let mut data = client.passive();
        client.expect(&format!("RETR {PLACE}"), "1");
        let mut back = Vec::new();
        let read = data.read_to_end(&mut back);
        client.hears("226", &format!("{read:?}"));
        assert_eq!(back, content, "what was put is what is got");
        client.expect("QUIT", "221");
        rounds += 1;
    }
    rounds
}

impl Client {
    /// Logged in, in type I.
    fn open(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let peer = stream.peer_addr().unwrap();
        let mut client = Client { control: BufReader::new(stream), peer };
        assert!(client.reply().starts_with("220"));
        client.expect(&format!("USER {USER}"), "331");
        client.expect("PASS x", "230");
        client.expect("TYPE I", "200");
        client
    }

    fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.control.read_line(&mut line).unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    #[track_caller]
    fn hears(&mut self, begin: &str, what: &str) {
        let reply = self.reply();
        assert!(reply.starts_with(begin), "{what}: {reply:?}");
    }

    #[track_caller]
    fn expect(&mut self, line: &str, begin: &str) -> String {
        self.control.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let reply = self.reply();
        assert!(reply.starts_with(begin), "{line}: {reply:?}");
        reply
    }

    fn passive(&mut self) -> TcpStream {
        let reply = self.expect("EPSV", "229");
        let port: u16 = reply.split('|').nth(3).unwrap().parse().unwrap();
        let stream = TcpStream::connect_timeout(&SocketAddr::new(self.peer.ip(), port), PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}
