//! Memory per idle connection: each has done one request and is silent.
//!
//! The server's private memory before and after, divided by the connections. What the kernel holds for a socket is not in it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use super::{chosen, progress};
use crate::SuiteArgs;
use crate::account::Memory;
use crate::child::Child;
use crate::client;
use crate::machine::connections_max;
use crate::report::{Section, number};
use crate::servers::{BASE, Server};

/// Enough for a server to finish what it does behind the last answer, and less than anybody's keep-alive deadline.
const QUIET: Duration = Duration::from_millis(500);

/// One server's result, bytes per connection.
struct Row {
    name: &'static str,
    private_dirty: f64,
    resident: f64,
}

/// One server after the other: memory does not depend on what the neighbours do.
pub(super) fn run(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    let count = connections_max(arguments.idle);
    let mut rows = Vec::new();
    for server in chosen(arguments, |server| server.hello) {
        rows.push(measure(server, arguments.server_core, count)?);
        progress(&format!("{} has held {count} connections", server.name));
    }
    Ok((!rows.is_empty()).then(|| section(count, &rows)))
}

fn measure(server: &'static Server, core: usize, count: u32) -> io::Result<Row> {
    let child = Child::start(server, core, &[])?;
    client::verify(child.address)?;
    let before = settled(&child)?;
    let connections = open(child.address, count)?;
    let after = settled(&child)?;
    still_open(&connections).map_err(|error| io::Error::other(format!("{}: {error}", server.name)))?;
    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / f64::from(count);
    Ok(Row {
        name: server.name,
        private_dirty: each(after.private_dirty, before.private_dirty),
        resident: each(after.resident, before.resident),
    })
}

fn settled(child: &Child) -> io::Result<Memory> {
    thread::sleep(QUIET);
    child.memory()
}

fn open(address: SocketAddr, count: u32) -> io::Result<Vec<TcpStream>> {
    let request = client::request("/");
    let connections = (0..count).map(|number| {
        let mut stream = client::open(address, number)?;
        stream.write_all(request.as_bytes())?;
        client::read_response(&mut stream)?;
        Ok(stream)
    });
    connections.collect()
}

/// A server that has closed some of them has not held them.
fn still_open(connections: &[TcpStream]) -> io::Result<()> {
    for mut connection in connections {
        connection.set_nonblocking(true)?;
        match connection.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => return Err(io::Error::other("an idle connection was closed")),
        }
    }
    Ok(())
}

fn section(count: u32, rows: &[Row]) -> Section {
    let base =
        rows.iter().find(|row| row.name == BASE).map(|row| row.private_dirty).filter(|bytes| *bytes > 0.0);
    let mut section = Section::new(
        "idle",
        format!("idle: {count} keep-alive connections that have done one request"),
        "Bytes of the server's memory per connection. Private is Private_Dirty and Swap, resident is Rss, both from smaps_rollup.",
        &["server", "private", "resident", &format!("ratio to {BASE}")],
    );
    for Row { name, private_dirty, resident } in rows {
        let ratio = base.map_or_else(|| "–".to_owned(), |base| number(private_dirty / base, 1));
        section.row(
            vec![(*name).to_owned(), number(*private_dirty, 0), number(*resident, 0), ratio],
            serde_json::json!({ "server": name, "private_bytes": private_dirty, "resident_bytes": resident }),
        );
    }
    section
}
