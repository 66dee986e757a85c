//! What the program's own clients are called on the page: HTTP's, connections that are kept up, and the resolver. `sources` calls it.

use ropewalk_net::{ClientStatistics, ResolverStatistics};
use ropewalk_web::client::AgentStatistics;

use super::page::Page;

pub(super) fn agent(page: &mut Page, name: &str, statistics: &AgentStatistics) {
    let labels: &[_] = &[("agent", name)];
    let mut gauge = |name, help, value: usize| page.gauge(name, help, labels, value as f64);
    gauge("ropewalk_agent_connections", "Connections that stand or are being made.", statistics.open);
    gauge("ropewalk_agent_connections_idle", "Connections kept without a request.", statistics.idle);
    gauge("ropewalk_agent_requests_waiting", "Requests that wait for a connection.", statistics.waiting);
    let mut counter = |name, help, value: u64| page.counter(name, help, labels, value as f64);
    counter("ropewalk_agent_connections_made_total", "Connections made.", statistics.made);
    counter("ropewalk_agent_requests_reused_total", "Requests on a used connection.", statistics.reused);
    counter("ropewalk_agent_requests_resent_total", "Requests sent a second time.", statistics.resent);
    counter("ropewalk_agent_requests_answered_total", "Requests that were answered.", statistics.answered);
}

pub(super) fn service(page: &mut Page, name: &str, statistics: &ClientStatistics) {
    let labels: &[_] = &[("client", name)];
    let up = f64::from(u8::from(statistics.connected_since.is_some()));
    page.gauge("ropewalk_client_connected", "Whether it is connected: 1, or 0.", labels, up);
    let in_a_row = f64::from(statistics.failures_in_a_row);
    page.gauge("ropewalk_client_failures_in_a_row", "Failures since the last connection.", labels, in_a_row);
    page.gauge("ropewalk_client_waiting", "Who waits for a connection.", labels, statistics.waiting as f64);
    let mut counter = |name, help, value: u64| page.counter(name, help, labels, value as f64);
    counter("ropewalk_client_attempts_total", "Attempts to connect.", statistics.attempts);
    counter("ropewalk_client_failures_total", "Attempts that failed.", statistics.failures);
    counter("ropewalk_client_connections_total", "Connections made.", statistics.connections);
}

pub(super) fn resolver(page: &mut Page, statistics: &ResolverStatistics) {
    let mut gauge = |name, help, value: usize| page.gauge(name, help, &[], value as f64);
    gauge("ropewalk_resolver_names", "Names whose answer is remembered.", statistics.names);
    gauge("ropewalk_resolver_asking", "Names that the system is asked for.", statistics.asking);
    gauge("ropewalk_resolver_waiting", "Requests that wait for these.", statistics.waiting);
    let mut counter = |name, help, value: u64| page.counter(name, help, &[], value as f64);
    counter(
        "ropewalk_resolver_shared_total",
        "Requests that needed no lookup of their own.",
        statistics.shared,
    );
    counter("ropewalk_resolver_lookups_total", "Lookups begun.", statistics.lookups);
}
