//! The program's figures, as Prometheus reads them, and whether it lives and is ready. What they are is counted where it happens
//! (reactor, net, web, the logs); here it gets names, units and a page.
//!
//! ```text
//!  Statistics of loops, ports, sites, pools, logs ─┐
//!  Registry: counters, gauges, histograms ─────────┼─► Sources ─► exposition ─► handler at /metrics
//!  the process, from /proc ────────────────────────┘
//! ```
//!
//! They tell strangers what a program does: the page belongs to an address of its own, or behind a secret.

mod clients;
mod page;
mod process;
mod registry;
mod sources;
#[cfg(test)]
mod tests;

pub use page::{Kind, Page};
pub use registry::{Counter, Gauge, Histogram, MetricError, Registry};
pub use sources::Sources;

use ropewalk_web::{Handler, Request, Response, handler as handles};

/// The content type of the text format that every Prometheus reads.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All figures as a page of Prometheus' text format, version 0.0.4; without those of other workers, whose loops would have to be
/// waited for.
///
/// ```
/// use ropewalk_app::metrics::{Registry, Sources, exposition};
/// let registry = Registry::new();
/// let sold = registry.counter("shop_ropes_sold_total", "Ropes that were sold.", &[("kind", "hemp")]).unwrap();
/// sold.add(3);
/// let sources = Sources::new();
/// sources.registry(&registry);
/// let page = exposition(&sources);
/// assert!(page.contains("# TYPE shop_ropes_sold_total counter\nshop_ropes_sold_total{kind=\"hemp\"} 3\n"));
/// assert!(page.contains("process_resident_memory_bytes"));
/// ```
#[must_use]
pub fn exposition(sources: &Sources) -> String {
    sources.page().text()
}

/// A handler that shows all figures, those of other workers among them.
///
/// ```
/// use ropewalk_app::metrics::{self, Sources};
/// use ropewalk_web::Router;
/// let sources = Sources::new();
/// let router = Router::new()
///     .route("GET", "/metrics", metrics::handler(&sources))
///     .route("GET", "/healthz", metrics::healthz())
///     .route("GET", "/readyz", metrics::readyz(|| Err("the catalogue is being read".to_owned())));
/// # drop(router);
/// ```
#[must_use]
pub fn handler(sources: &Sources) -> impl Handler + use<> {
    let sources = sources.clone();
    handles(move |request: Request| {
        let sources = sources.clone();
        async move {
            let mut page = sources.page();
            sources.add_workers(&mut page, &request).await;
            Response::new(page.text()).content_type(CONTENT_TYPE).header("Cache-Control", "no-store")
        }
    })
}

/// A handler that says that the program lives: it answers, so it does.
#[must_use]
pub fn healthz() -> impl Handler {
    handles(|_| Response::text("ok\n").header("Cache-Control", "no-store"))
}

/// A handler that says whether the program is to be sent requests: 200, or 503 with the reason that `ready` gives.
#[must_use]
pub fn readyz(ready: impl Fn() -> Result<(), String> + 'static) -> impl Handler {
    handles(move |_| {
        let answer = match ready() {
            Ok(()) => Response::text("ok\n"),
            Err(reason) => Response::text(format!("{reason}\n")).status(503),
        };
        answer.header("Cache-Control", "no-store")
    })
}
