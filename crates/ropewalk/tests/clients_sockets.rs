//! Python's sockets against plain protocols: lines, netstrings, datagrams, a PROXY header in bytes, a throttle, half-closed connections.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

#[allow(dead_code, unreachable_pub, reason = "an example is a program, here it is a module")]
#[path = "../examples/echo.rs"]
mod echo;

use ropewalk::net::policy::{Rates, Throttle, apply};
use ropewalk::net::{NetstringReceiver, Networks, ProxyProtocol};
use ropewalk::{LineReceiver, listen};
use support::protocols::{Reverse, Shout, Tally, Who};
use support::*;

const PRELUDE: &str = "
import socket, struct, sys

def connect():
    s = socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=20)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s

def read(s, count):
    data = b''
    while len(data) < count:
        piece = s.recv(count - len(data))
        assert piece, f'it ended after {data!r}'
        data += piece
    return data

def rest(s):
    data = b''
    while piece := s.recv(65536):
        data += piece
    return data

def ask(s, question, answer):
    s.sendall(question)
    heard = read(s, len(answer))
    assert heard == answer, heard

def ask_bytewise(s, question, answer):
    for byte in question:
        s.sendall(bytes([byte]))
    heard = read(s, len(answer))
    assert heard == answer, heard
";

/// What the script asserts must hold; `place` is its argument.
fn check(script: &str, place: impl ToString) {
    python(&format!("{PRELUDE}{script}"), &place.to_string());
}

#[test]
fn lines_come_back_in_capitals() {
    let server = Server::start(|reactor| listen_tcp(reactor, || LineReceiver::new(Shout)));
    check(
        r"
s = connect()
ask(s, b'hemp\r\nju', b'HEMP\r\n')
ask(s, b'te\r\n', b'JUTE\r\n')
ask_bytewise(s, b'sisal\r\n\r\n', b'SISAL\r\n\r\n')
# A line that is too long is not answered.
s.sendall(b'x' * 20000)
assert rest(s) == b''
",
        server.place,
    );
}

#[test]
fn netstrings_come_back_reversed() {
    let server = Server::start(|reactor| listen_tcp(reactor, || NetstringReceiver::new(Reverse)));
    check(
        r"
s = connect()
ask(s, b'4:hemp,0:,3:ju', b'4:pmeh,0:,')
ask(s, b't,', b'3:tuj,')
ask_bytewise(s, b'12:hello world!,', b'12:!dlrow olleh,')
ask(s, b'50000:' + b'x' * 49999 + b'y,', b'50000:y' + b'x' * 49999 + b',')
# What is no netstring ends it, and what was answered before still comes.
s.sendall(b'1:a,2:abc')
assert rest(s) == b'1:a,'
",
        server.place,
    );
}

#[test]
fn datagrams_come_back_whole() {
    let server = Server::start(listen_udp);
    check(
        r"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
for size in [0, 1, 100, 8192]:
    s.sendto(b'd' * size, ('127.0.0.1', int(sys.argv[1])))
    data, sender = s.recvfrom(65536)
    assert data == b'd' * size and sender == ('127.0.0.1', int(sys.argv[1])), (size, len(data), sender)
# One that is longer than is allowed is dropped; the next one is answered.
for size in [9000, 3]:
    s.sendto(b'd' * size, ('127.0.0.1', int(sys.argv[1])))
assert s.recv(65536) == b'ddd'
",
        server.place,
    );
}

#[test]
fn a_half_closed_connection_is_answered() {
    let server = Server::start(|reactor| listen_tcp(reactor, Tally::default));
    check(
        r"
s = connect()
s.sendall(b'x' * 300000)
s.shutdown(socket.SHUT_WR)
count, took = rest(s).split()
assert count == b'300000', count
",
        server.place,
    );
}

#[test]
fn a_socket_without_a_file() {
    let name = format!("ropewalk-clients-sockets-{}", std::process::id());
    let endpoint = format!("unix:@{name}").parse().unwrap();
    let _server = Server::start(move |reactor| drop(listen(reactor, &endpoint, || echo::Echo).unwrap()));
    check(
        r"
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
s.connect('\0' + sys.argv[1])
ask(s, b'hemp', b'hemp')
s.shutdown(socket.SHUT_WR)
assert rest(s) == b''
",
        name,
    );
}

/// The rate is held by the server's own clock: how long the script takes says nothing on a busy machine.
#[test]
fn a_throttled_server_takes_its_time() {
    let server = Server::start(|reactor| {
        let throttle = Throttle::new(reactor).each(Rates::read(500_000));
        listen_tcp(reactor, apply(throttle, Tally::default))
    });
    check(
        r"
s = connect()
s.sendall(b'x' * 1000000)
s.shutdown(socket.SHUT_WR)
count, took = map(int, rest(s).split())
# A second's worth is saved up; the other half takes a second.
assert count == 1000000 and took >= 990, (count, took)
",
        server.place,
    );
}

#[test]
fn a_proxys_header_in_bytes() {
    let server = Server::start(|reactor| {
        let trusted: Networks = "127.0.0.1".parse().unwrap();
        listen_tcp(reactor, ProxyProtocol::new(|| Who, trusted))
    });
    check(
        r"
SIGNATURE = b'\r\n\r\n\0\r\nQUIT\n'
def header(command, family, body):
    return SIGNATURE + struct.pack('!BBH', 0x20 | command, family, len(body)) + body
four = socket.inet_pton(socket.AF_INET, '203.0.113.7') + socket.inet_pton(socket.AF_INET, '192.0.2.1')
six = socket.inet_pton(socket.AF_INET6, '2001:db8::7') + socket.inet_pton(socket.AF_INET6, '2001:db8::1')
ports = struct.pack('!HH', 4711, 80)
extension = struct.pack('!BH', 0x05, 4) + b'hemp'
for body, family, peer in [
    (four + ports, 0x11, b'203.0.113.7:4711'),
    (four + ports + extension, 0x11, b'203.0.113.7:4711'),
    (six + ports, 0x21, b'[2001:db8::7]:4711'),
]:
    # The words in the same piece, behind it, and bytewise.
    s = connect()
    ask(s, header(1, family, body) + b'hello', peer + b' said hello')
    ask(s, b'more', peer + b' said more')
    s = connect()
    s.sendall(header(1, family, body))
    ask(s, b'hello', peer + b' said hello')
    s = connect()
    for byte in header(1, family, body):
        s.sendall(bytes([byte]))
    ask(s, b'hello', peer + b' said hello')
# The proxy speaks for itself: the peer is the socket's.
s = connect()
own = '%s:%d' % s.getsockname()
ask(s, header(0, 0, b'') + b'hello', own.encode() + b' said hello')
# What is no header is answered by nobody.
s = connect()
s.sendall(b'GET / HTTP/1.0\r\n\r\n')
try:
    assert rest(s) == b''
except ConnectionResetError:
    pass
",
        server.place,
    );
}
