//! Standard input and output of a whole program: the example `stdin_shout` as a child, between pipes, files, sockets and nothing.
//!
//! This binary is its own child: told so by an environment variable, it runs the example's main instead of the tests. So it has no
//! test harness, which would print between the example's lines.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]
#![allow(clippy::print_stdout, reason = "it is its own harness")]

use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode, Stdio};

#[allow(dead_code, unreachable_pub, reason = "an example is a program, here it is a module")]
#[path = "../examples/stdin_shout.rs"]
mod stdin_shout;

const CHILD: &str = "ROPEWALK_TEST_STDIO";
/// More than a pipe holds.
const PLENTY: usize = 1_000_000;

fn main() -> ExitCode {
    match std::env::var(CHILD).as_deref() {
        Ok("shout") => return stdin_shout::main(),
        Ok("endpoint") => return endpoint(),
        Ok("halves") => return halves(),
        _ => {}
    }
    let tests: [(&str, fn()); 9] = [
        ("a filter between pipes", a_filter_between_pipes),
        ("in a shell, as its head says", in_a_shell_as_its_head_says),
        ("a reader that has enough", a_reader_that_has_enough),
        ("files", files),
        ("nothing at both ends", nothing_at_both_ends),
        ("an output that is closed", an_output_that_is_closed),
        ("one socket, as inetd gives it", one_socket_as_inetd_gives_it),
        ("the endpoint", the_endpoint),
        ("an output that ends before the program", an_output_that_ends_before_the_program),
    ];
    for (name, test) in tests {
        test();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

fn program(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(CHILD, part);
    command
}

/// The program in a shell's pipeline; `$SHOUT` is its path.
fn shell(script: &str) -> (String, bool) {
    let mut command = Command::new("sh");
    command.args(["-c", script]).env(CHILD, "shout").env("SHOUT", std::env::current_exe().unwrap());
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{script}");
    (String::from_utf8(output.stdout).unwrap(), output.status.success())
}

fn piped(part: &str) -> Child {
    program(part).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn text(count: usize) -> Vec<u8> {
    (0..count).map(|index| if index % 61 == 60 { b'\n' } else { b'a' + (index % 23) as u8 }).collect()
}

fn a_filter_between_pipes() {
    let mut child = piped("shout");
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    // Each line comes back while the input is still open.
    for line in ["one\n", "two\n"] {
        input.write_all(line.as_bytes()).unwrap();
        let mut answer = vec![0; line.len()];
        output.read_exact(&mut answer).unwrap();
        assert_eq!(answer, line.to_uppercase().as_bytes());
    }
    let data = text(PLENTY);
    let loud = data.to_ascii_uppercase();
    let writer = std::thread::spawn(move || input.write_all(&data));
    let mut all = Vec::new();
    output.read_to_end(&mut all).unwrap();
    assert!(all == loud);
    writer.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success());
}

fn in_a_shell_as_its_head_says() {
    assert_eq!(shell(r"printf 'a\nb\n' | $SHOUT"), ("A\nB\n".to_owned(), true));
    // Two programs at one pipe: what the second one reads is not made nonblocking by the first.
    assert_eq!(shell(r"printf 'a\n' | { $SHOUT; cat; }; echo b | $SHOUT").0, "A\nB\n");
    assert_eq!(shell(r"echo once | $SHOUT | $SHOUT | cat").0, "ONCE\n");
}

fn a_reader_that_has_enough() {
    // The input never ends: it is the output that ends the program.
    assert_eq!(shell("yes | { $SHOUT; echo $? >&3; } 3>&1 | head -1; true").0.lines().next(), Some("Y"));
    // Also one that says nothing, while nothing is to be written.
    let mut child = piped("shout");
    let input = child.stdin.take().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    drop(input);
}

fn files() {
    let data = text(PLENTY);
    let mut from = temporary("from");
    from.write_all(&data).unwrap();
    from.rewind().unwrap();
    let mut to = temporary("to");
    let child = program("shout").stdin(from).stdout(to.try_clone().unwrap()).status().unwrap();
    assert!(child.success());
    let mut all = Vec::new();
    to.rewind().unwrap();
    to.read_to_end(&mut all).unwrap();
    assert!(all == data.to_ascii_uppercase());
}

fn temporary(name: &str) -> std::fs::File {
    let path = std::env::temp_dir().join(format!("ropewalk-shout-{}-{name}", std::process::id()));
    let file =
        std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

fn nothing_at_both_ends() {
    assert_eq!(shell("$SHOUT </dev/null"), (String::new(), true));
    assert_eq!(shell("echo x | $SHOUT >/dev/null"), (String::new(), true));
    // The run-time system opens what is closed as /dev/null before main.
    assert_eq!(shell("$SHOUT <&-"), (String::new(), true));
}

fn an_output_that_is_closed() {
    assert_eq!(shell("echo x | $SHOUT >&-"), (String::new(), true));
}

fn one_socket_as_inetd_gives_it() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let output = OwnedFd::from(theirs.try_clone().unwrap());
    let mut child = program("shout").stdin(OwnedFd::from(theirs)).stdout(output).spawn().unwrap();
    let data = text(PLENTY);
    let loud = data.to_ascii_uppercase();
    let mut writing = ours.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        writing.write_all(&data).and_then(|()| writing.shutdown(std::net::Shutdown::Write))
    });
    let mut all = Vec::new();
    ours.read_to_end(&mut all).unwrap();
    assert!(all == loud);
    writer.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success());
}

/// Listens at `stdio:` by its string, and tries a second connection, which there is none of.
fn endpoint() -> ExitCode {
    use ropewalk::net::{Address, listen};
    let reactor = ropewalk::Reactor::new().unwrap();
    let port = listen(&reactor, &"stdio:".parse().unwrap(), || stdin_shout::Shout).unwrap();
    assert_eq!(*port.address(), Address::Pipe);
    assert_eq!(port.endpoint().to_string(), "stdio:");
    let second = listen(&reactor, &"stdio:".parse().unwrap(), || stdin_shout::Shout).map(drop).unwrap_err();
    assert_eq!(second.kind(), std::io::ErrorKind::AlreadyExists);
    reactor.run().unwrap();
    assert_eq!(port.statistics().accepted, 1);
    ExitCode::SUCCESS
}

fn the_endpoint() {
    let mut child = piped("endpoint");
    child.stdin.take().unwrap().write_all(b"listen").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"LISTEN");
}

/// Ends its output at once, and itself when its input has ended.
struct Halves;
impl ropewalk::Protocol for Halves {
    fn connection_made(&mut self, transport: &ropewalk::Transport) {
        transport.write(b"that is all");
        transport.lose_write_connection();
    }
    fn data_received(&mut self, _: &ropewalk::Transport, _: &[u8]) {}
    fn connection_lost(&mut self, transport: &ropewalk::Transport, _: &ropewalk::Lost) {
        transport.reactor().stop();
    }
}

fn halves() -> ExitCode {
    let reactor = ropewalk::Reactor::new().unwrap();
    ropewalk::net::stdio(&reactor, Halves).unwrap();
    reactor.run().unwrap();
    // The descriptors are there, so that no file opened later gets their numbers, and lead nowhere.
    println!("heard by nobody");
    ExitCode::SUCCESS
}

fn an_output_that_ends_before_the_program() {
    let mut child = piped("halves");
    let input = child.stdin.take().unwrap();
    let mut all = String::new();
    child.stdout.take().unwrap().read_to_string(&mut all).unwrap();
    assert_eq!(all, "that is all");
    assert!(child.try_wait().unwrap().is_none(), "its input is still open");
    drop(input);
    assert!(child.wait().unwrap().success());
}
