//! The example `proxy` as a process of its own, over real sockets: a quarter of a GiB each way at once, and what memory that takes.
//!
//! A GiB each way is `ROPEWALK_PROXY_MIB=1024 cargo test --release -p ropewalk --test proxy_memory -- --nocapture`. This binary is its own child: told so by
//! an environment variable, it runs the example's main. So it has no test harness, which would read the example's words.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]
#![allow(clippy::print_stdout, reason = "it is its own harness")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

#[allow(dead_code, unreachable_pub, reason = "an example is a program, here it is a module")]
#[path = "../examples/proxy.rs"]
mod proxy;

const CHILD: &str = "ROPEWALK_TEST_PROXY";
const PATIENCE: Duration = Duration::from_secs(20);
const MIB: usize = 1 << 20;
/// What a proxy may need beyond what it needs to begin with, however much passes.
const GROWTH_BYTES_MAX: u64 = 16 << 20;
/// What is sent, again and again: a length that no buffer has, so that a piece in the wrong place is seen.
const TAPE_BYTES: usize = 251 * 257;

fn main() -> ExitCode {
    if std::env::var_os(CHILD).is_some() {
        return proxy::main();
    }
    let mib = std::env::var("ROPEWALK_PROXY_MIB").map_or(256, |mib| mib.parse().unwrap());
    carries(mib, None);
    // Two seconds' worth, of which one is saved up.
    carries(64, Some(32 << 20));
    ExitCode::SUCCESS
}

/// So many MiB in each direction, both ends at once; `rate` is in bytes in a second.
fn carries(mib: usize, rate: Option<u64>) {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(&target, rate);
    let client = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
    let server = target.accept().unwrap().0;
    let before = proxy.resident_bytes();
    let start = Instant::now();
    let (mut most, total) = (before, mib * MIB);
    thread::scope(|scope| {
        let sending = [&client, &server].map(|stream| scope.spawn(move || send(stream, total)));
        let other = scope.spawn(|| receive(&server, total, || ()));
        receive(&client, total, || most = most.max(proxy.resident_bytes()));
        other.join().unwrap();
        sending.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let (seconds, grown) = (start.elapsed().as_secs_f64(), most - before);
    println!(
        "test {mib} MiB each way through the proxy ... ok ({seconds:.1} s, {:.0} MiB/s each way; resident {} KiB, and {} KiB more at most)",
        mib as f64 / seconds,
        before / 1024,
        grown / 1024
    );
    assert!(grown < GROWTH_BYTES_MAX, "it has grown by {grown} bytes");
    if let Some(rate) = rate {
        // The throttle counts by the proxy's clock, which waits for nobody: never faster, and slower on a busy machine.
        let due = total as f64 / rate as f64 - 1.0;
        assert!(seconds > due * 0.95, "{seconds} s, {due} were due");
    }
}

/// Killed when the test is over.
struct Proxy {
    child: Child,
    port: u16,
}

impl Proxy {
    fn start(target: &TcpListener, rate: Option<u64>) -> Proxy {
        let mut command = Command::new(std::env::current_exe().unwrap());
        if let Some(rate) = rate {
            command.args(["--rate", &rate.to_string()]);
        }
        command.args(["tcp:0".to_owned(), format!("tcp:{}", target.local_addr().unwrap())]);
        let mut child = command.env(CHILD, "1").stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        let port = said.strip_prefix("listening on tcp:").and_then(|rest| rest.split(':').next());
        Proxy { child, port: port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{said}")) }
    }

    /// The second figure of statm is resident pages.
    fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        let pages: u64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
        pages * rustix::param::page_size() as u64
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It fails when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tape() -> Vec<u8> {
    (0..TAPE_BYTES).map(|index| (index ^ (index >> 8)) as u8).collect()
}

/// Sends so many bytes, and the end.
fn send(mut stream: &TcpStream, total: usize) {
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let (tape, mut sent) = (tape(), 0);
    while sent < total {
        let piece = &tape[sent % TAPE_BYTES..];
        sent += stream.write(&piece[..piece.len().min(total - sent)]).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Receives so many bytes, each in its place, and the end; `look` is called after each MiB.
fn receive(mut stream: &TcpStream, total: usize, mut look: impl FnMut()) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (tape, mut buffer, mut received) = (tape(), vec![0; 64 * 1024], 0);
    loop {
        let most = buffer.len().min(TAPE_BYTES - received % TAPE_BYTES);
        let count = stream.read(&mut buffer[..most]).unwrap();
        if count == 0 {
            break;
        }
        assert!(buffer[..count] == tape[received % TAPE_BYTES..][..count], "at byte {received}");
        if (received + count) / MIB > received / MIB {
            look();
        }
        received += count;
    }
    assert_eq!(received, total);
}
