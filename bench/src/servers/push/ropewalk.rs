//! This project's push service, as `ropewalk push` serves it: channels by their names, in memory or with a journal on disk.

use std::io;

use ropewalk_channel::{Channels, ChannelsOptions, SqliteJournal};
use ropewalk_net::{Address, ServerEndpoint, listen};
use ropewalk_reactor::Reactor;
use ropewalk_web::Site;
use ropewalk_web::push::{self, PushOptions};

use super::super::{Setup, announce};

/// Serves channels until it is killed; with a folder, durable ones.
pub(in super::super) fn run(setup: Setup) -> io::Result<()> {
    let reactor = Reactor::new()?;
    let options = ChannelsOptions::default();
    let channels = match setup.folder {
        Some(folder) => {
            let journal = SqliteJournal::open(&reactor, &folder.join("push.db")).map_err(io::Error::other)?;
            Channels::durable(&reactor, journal, options)
        }
        None => Channels::in_memory(&reactor, options),
    };
    let options = PushOptions { loopback_only: true, ..PushOptions::default() };
    let site = Site::new(push::service(&channels, options));
    let (port, ip) = (setup.address.port(), setup.address.ip());
    let endpoint: ServerEndpoint = format!("tcp:{port}:interface={ip}").parse().map_err(io::Error::other)?;
    let port = listen(&reactor, &endpoint, site)?;
    if let Address::Inet(address) = port.address() {
        announce(*address)?;
    }
    reactor.run()
}
