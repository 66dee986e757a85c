//! The client under the simulated clock and network: against the web server of this crate, and against servers that follow a
//! script, the hostile ones among them.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

// Certificates are made in one place.
#[path = "../../net/tests/authority/mod.rs"]
mod authority;
#[path = "client/basics.rs"]
mod basics;
#[path = "client/cancelling.rs"]
mod cancelling;
#[path = "client/chaos.rs"]
mod chaos;
#[path = "client/common.rs"]
mod common;
#[path = "client/deadlines.rs"]
mod deadlines;
#[path = "client/hostile.rs"]
mod hostile;
#[path = "client/proxies.rs"]
mod proxies;
#[path = "client/redirects.rs"]
mod redirects;
#[path = "client/reuse.rs"]
mod reuse;
#[path = "client/tls.rs"]
mod tls;
