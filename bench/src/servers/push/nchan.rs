//! Nchan, the push module of nginx, one process: an address is a channel, which takes a POST, an event stream and a WebSocket.
//!
//! As its manual has it; but that who subscribes begins with the next message, as everywhere here, and not with the oldest it keeps.

use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use super::super::{Setup, announce, nginx};

const MISSING: &str =
    "Nchan is missing, and is left out; get it with `apt-get install nginx libnginx-mod-nchan`";

/// Where distributions put modules.
const PLACES: [&str; 4] =
    ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules", "/etc/nginx/modules"];

fn module() -> Option<PathBuf> {
    PLACES.iter().map(|place| Path::new(place).join("ngx_nchan_module.so")).find(|file| file.is_file())
}

/// What is not here.
pub(in super::super) fn missing() -> Option<&'static str> {
    (module().is_none() || !nginx::is_here()).then_some(MISSING)
}

/// Serves channels until it is killed.
pub(in super::super) fn run(setup: Setup) -> io::Result<()> {
    let module = module().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, MISSING))?;
    let folder = setup.folder.ok_or_else(|| io::Error::other("nginx wants a folder for what is its own"))?;
    let listener = TcpListener::bind(setup.address)?;
    let address = listener.local_addr()?;
    let text = format!(
        "load_module {module};\n{}http {{\n{}  \
         server {{\n    listen {address};\n    location ~ ^/channels/(\\w+)$ {{\n      nchan_channel_id $1;\n      \
         nchan_publisher http;\n      nchan_subscriber eventsource websocket;\n      \
         nchan_subscriber_first_message newest;\n    }}\n  }}\n}}\n",
        nginx::process(&folder),
        nginx::temporary(&folder),
        module = module.display(),
    );
    drop(listener);
    announce(address)?;
    Err(nginx::become_it(&folder, &text))
}
