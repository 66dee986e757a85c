//! nginx, one process, with what it is known for: sendfile, tcp_nopush, open files kept. It serves a folder, and the same over TLS.
//!
//! This process becomes nginx, so that the account and the core are its own. The port is found by binding it for a moment. What every
//! nginx here has in its configuration stands here too; `push::nchan` is the other one.

use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::{Setup, announce};

/// Places for connections. When fewer than a sixteenth of them are free, it closes those that are idle, as a publisher's is between two
/// messages: twice as many as anybody here has.
const CONNECTIONS: u32 = 40_000;

/// What to say where it is missing.
const MISSING: &str =
    "nginx is missing; get it with `apt-get install nginx-light`, or leave it out with --only";

/// Serves the folder until it is killed.
pub(super) fn run(setup: Setup) -> io::Result<()> {
    let folder = setup.folder.ok_or_else(|| io::Error::other("nginx serves a folder"))?;
    let listener = TcpListener::bind(setup.address)?;
    let address = listener.local_addr()?;
    let own = folder.join(format!(".nginx-{}", std::process::id()));
    std::fs::create_dir_all(&own)?;
    let tls = setup.tls.as_deref().map(secure).unwrap_or_default();
    let kind = if setup.tls.is_some() { " ssl" } else { "" };
    let text = format!(
        "{}http {{\n{}  sendfile on;\n  tcp_nopush on;\n  open_file_cache max=1000 inactive=20s;\n  \
         types {{ text/plain txt; }}\n  default_type text/plain;\n  \
         server {{ listen {address}{kind}; root {folder};{tls} }}\n}}\n",
        process(&own),
        temporary(&own),
        folder = folder.display(),
    );
    drop(listener);
    announce(address)?;
    Err(become_it(&own, &text))
}

/// Whether it is on this machine.
pub(super) fn is_here() -> bool {
    Command::new("nginx").arg("-v").output().is_ok()
}

/// The part of a configuration about the process, whose own things are in this folder.
pub(super) fn process(own: &Path) -> String {
    let own = own.display();
    format!(
        "daemon off;\nmaster_process off;\npid {own}/pid;\nerror_log {own}/error.log crit;\nevents {{ worker_connections {CONNECTIONS}; }}\n"
    )
}

/// What stands in `http` everywhere: no log, connections that last, and folders of its own.
pub(super) fn temporary(own: &Path) -> String {
    let own = own.display();
    format!(
        "  access_log off;\n  tcp_nodelay on;\n  keepalive_requests 1000000000;\n  \
         client_body_temp_path {own}/body;\n  proxy_temp_path {own}/proxy;\n  fastcgi_temp_path {own}/fastcgi;\n  \
         uwsgi_temp_path {own}/uwsgi;\n  scgi_temp_path {own}/scgi;\n"
    )
}

/// Never returns if it is there.
pub(super) fn become_it(own: &Path, configuration: &str) -> io::Error {
    let file = own.join("nginx.conf");
    if let Err(error) = std::fs::write(&file, configuration) {
        return error;
    }
    let error = Command::new("nginx").arg("-e").arg(own.join("error.log")).arg("-c").arg(file).exec();
    if error.kind() == io::ErrorKind::NotFound { io::Error::new(error.kind(), MISSING) } else { error }
}

fn secure(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        " ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache none; ssl_session_tickets on;"
    )
}
