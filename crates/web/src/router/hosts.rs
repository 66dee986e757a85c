//! Several sites on one address, told apart by the host that is asked for: Twisted's `NameVirtualHost`, Tornado's host patterns.

use ropewalk_reactor::failure::Place;

use super::Router;
use super::error::Wrong;
use crate::request::Request;

/// Hosts with routers of their own, and the router for all others.
#[derive(Default)]
pub(super) struct Hosts {
    pub(super) list: Vec<Host>,
    pub(super) others: Router,
}

pub(super) struct Host {
    /// In lower case; what stands behind the star of a wildcard, with its dot.
    name: String,
    wildcard: bool,
    router: Router,
    place: Place,
}

impl Hosts {
    pub(super) fn add(&mut self, pattern: &str, router: Router, place: Place) -> Result<(), Wrong> {
        let (name, wildcard) = pattern.strip_prefix('*').map_or((pattern, false), |name| (name, true));
        let fine = |name: &str| !name.is_empty() && !name.contains(['*', '/', ' ', '@', '\r', '\n']);
        if !fine(name) || (wildcard && !name.starts_with('.')) {
            return Err("a host is a name without a port, or a wildcard as in *.example.org".into());
        }
        if !name.starts_with('[') && name.contains(':') {
            return Err("a host is named without its port".into());
        }
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if let Some(known) = self.list.iter().find(|host| host.name == name && host.wildcard == wildcard) {
            return Err(Wrong::clash("that host has a router already", known.place));
        }
        self.list.push(Host { name, wildcard, router, place });
        Ok(())
    }

    /// The name itself, else the longest wildcard, else the router for all others.
    pub(super) fn find(&self, request: &Request) -> &Router {
        let asked = request.host_name().unwrap_or_default();
        let asked = asked.trim_end_matches('.').to_ascii_lowercase();
        let exact = self.list.iter().find(|host| !host.wildcard && host.name == asked);
        let found = exact.or_else(|| {
            let fits =
                |host: &&Host| host.wildcard && asked.len() > host.name.len() && asked.ends_with(&host.name);
            self.list.iter().filter(fits).max_by_key(|host| host.name.len())
        });
        found.map_or(&self.others, |host| &host.router)
    }

    pub(super) fn routers(&mut self) -> impl Iterator<Item = &mut Router> {
        self.list.iter_mut().map(|host| &mut host.router).chain([&mut self.others])
    }
}
