//! The kinds of services that `ropewalk` knows: each is a sub-command, and a table of the configuration. A new one is a file of its own
//! with its options and a function that adds its services, and a line here.

use std::net::{IpAddr, Ipv4Addr};

use ropewalk_app::Kind;
use ropewalk_net::ServerEndpoint;

use crate::{folder, ftp, hub, push, subscribe, tail};

/// All of them, in the order of the help.
pub(crate) fn all() -> Vec<Kind> {
    vec![
        Kind::new("web", "Serve a folder as a web site", folder::build),
        Kind::new("tail", "Stream the lines of files as they grow, to every viewer at once", tail::build),
        Kind::new(
            "push",
            "Serve channels: publish by POST, read by event stream, JSON lines or long poll",
            push::build,
        ),
        Kind::new("hub", "Run a WebSub hub, or ask one that runs", hub::build),
        Kind::new("subscribe", "Follow pages through their WebSub hubs", subscribe::build),
        Kind::new("ftp", "Serve a folder by FTP, with or without TLS", ftp::serve),
    ]
}

/// A service that was given no interface is for this machine only.
pub(crate) fn local(endpoint: ServerEndpoint) -> ServerEndpoint {
    endpoint.or_interface(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
