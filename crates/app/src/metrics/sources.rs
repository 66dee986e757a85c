//! Where figures come from: what each statistics of the floors below is called on the page, and in which unit.

use std::cell::RefCell;
use std::rc::Rc;

use ropewalk_net::tls::TlsStatistics;
use ropewalk_net::{ClientService, Port, SystemResolver};
use ropewalk_reactor::{PoolStatistics, Reactor, Remote, Statistics, ThreadPool};
use ropewalk_web::client::Agent;
use ropewalk_web::{Metrics, Request, SiteHandle};

use super::clients;
use super::page::Page;
use super::process;
use super::registry::Registry;
use crate::log::{Level, Publisher};
use crate::logfile::LogWriter;

type Source = Box<dyn Fn(&mut Page)>;

/// The sources of a page of figures; the process itself always is one. Clones are one. They live on the home worker's thread.
///
/// A site that shows its own figures holds itself, and is there until the program ends.
///
/// ```no_run
/// # fn wire(app: &ropewalk_app::App, site: ropewalk_web::Site) {
/// use std::rc::Rc;
/// use ropewalk_app::metrics::Sources;
/// use ropewalk_web::Metrics;
/// let sources = Sources::new();
/// sources.reactor("home", app.reactor());
/// let requests = Metrics::new();
/// sources.requests(&requests);
/// let site = site.observe(Rc::new(requests));
/// sources.site("web", &site.handle());
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Sources(Rc<Inner>);

#[derive(Default)]
struct Inner {
    sources: RefCell<Vec<Rc<Source>>>,
    workers: RefCell<Vec<(String, Remote)>>,
    /// Workers that may not be there yet.
    found: RefCell<Vec<Find>>,
}

impl Sources {
    /// The process.
    #[must_use]
    pub fn new() -> Sources {
        Sources::default()
    }

    /// Adds a source of any kind: a function that puts its figures on the page, asked at every scrape.
    pub fn add(&self, source: impl Fn(&mut Page) + 'static) {
        self.0.sources.borrow_mut().push(Rc::new(Box::new(source)));
    }

    /// Adds the loop of this thread and its pool of threads. It ends as ever, sources or not.
    pub fn reactor(&self, worker: &str, reactor: &Reactor) {
        let (worker, reactor) = (worker.to_owned(), reactor.downgrade());
        self.add(move |page| {
            if let Some(reactor) = reactor.upgrade() {
                show_loop(page, &worker, &reactor.statistics());
                show_pool(page, &reactor.thread_pool_statistics());
            }
        });
    }

    /// Adds the loop of another worker. It is asked by a thread of the pool, and only where [`handler`](super::handler) shows it.
    pub fn worker(&self, worker: &str, remote: Remote) {
        self.0.workers.borrow_mut().push((worker.to_owned(), remote));
    }

    /// Adds the loops of workers that are found when they are asked.
    pub(crate) fn workers(&self, find: impl Fn() -> Vec<(String, Remote)> + 'static) {
        self.0.found.borrow_mut().push(Rc::new(find));
    }

    /// Adds a pool of threads.
    pub fn pool(&self, pool: &ThreadPool) {
        let pool = pool.clone();
        self.add(move |page| show_pool(page, &pool.statistics()));
    }

    /// Adds what happens where a service listens, with its TLS.
    pub fn port(&self, service: &str, port: &Port) {
        let (service, port) = (service.to_owned(), port.clone());
        self.add(move |page| show_port(page, &service, &port));
    }

    /// Adds a site.
    pub fn site(&self, service: &str, site: &SiteHandle) {
        let (service, site) = (service.to_owned(), site.clone());
        self.add(move |page| show_site(page, &service, &site));
    }

    /// Adds a client of HTTP: its connections and requests.
    pub fn agent(&self, name: &str, agent: &Agent) {
        let (name, agent) = (name.to_owned(), agent.clone());
        self.add(move |page| clients::agent(page, &name, &agent.statistics()));
    }

    /// Adds a connection that is kept up.
    pub fn client<H: Clone + 'static>(&self, name: &str, client: &ClientService<H>) {
        let (name, client) = (name.to_owned(), client.clone());
        self.add(move |page| clients::service(page, &name, &client.statistics()));
    }

    /// Adds the resolver of names.
    pub fn resolver(&self, resolver: &SystemResolver) {
        let resolver = resolver.clone();
        self.add(move |page| clients::resolver(page, &resolver.statistics()));
    }

    /// Adds what a [`Metrics`] has counted: requests by route, method and class of status. Once: its names are its own.
    pub fn requests(&self, requests: &Metrics) {
        let requests = requests.clone();
        self.add(move |page| page.raw(&requests.text()));
    }

    /// Adds a log file.
    pub fn log(&self, name: &str, log: &LogWriter) {
        let (name, log) = (name.to_owned(), log.clone());
        self.add(move |page| show_log(page, &name, &log));
    }

    /// Adds the events of the program's log.
    pub fn publisher(&self, publisher: &Publisher) {
        let publisher = publisher.clone();
        self.add(move |page| show_publisher(page, &publisher));
    }

    /// Adds figures of the program's own.
    pub fn registry(&self, registry: &Registry) {
        let registry = registry.clone();
        self.add(move |page| registry.show(page));
    }

    /// A page with everything but the other workers.
    pub(super) fn page(&self) -> Page {
        let mut page = Page::default();
        process::show(&mut page);
        // A source may add sources.
        let sources = self.0.sources.borrow().clone();
        sources.iter().for_each(|source| source(&mut page));
        page
    }

    /// Asks the other workers. One that has ended has no figures.
    pub(super) async fn add_workers(&self, page: &mut Page, request: &Request) {
        let mut workers = self.0.workers.borrow().clone();
        let found = self.0.found.borrow().clone();
        workers.extend(found.iter().flat_map(|find| find()));
        for (worker, remote) in workers {
            let ask = move || remote.blocking_call_from_thread(|reactor| reactor.statistics());
            if let Ok(Ok(statistics)) = request.reactor().defer_to_thread(ask).await {
                show_loop(page, &worker, &statistics);
            }
        }
    }
}

type Find = Rc<dyn Fn() -> Vec<(String, Remote)>>;

fn show_loop(page: &mut Page, worker: &str, statistics: &Statistics) {
    let labels: &[_] = &[("worker", worker)];
    let mut counter = |name, help, value: u64| page.counter(name, help, labels, value as f64);
    counter("ropewalk_loop_turns_total", "Turns of the loop.", statistics.turns);
    counter("ropewalk_loop_slow_turns_total", "Turns longer than a millisecond.", statistics.slow_turns);
    counter("ropewalk_loop_calls_total", "Ready callbacks and wake-ups that were run.", statistics.calls);
    counter("ropewalk_loop_events_total", "Events of the system that were handed over.", statistics.events);
    counter("ropewalk_loop_timers_fired_total", "Timers that fired.", statistics.timers_fired);
    counter(
        "ropewalk_loop_stalls_total",
        "Times that deadlines were put off: the loop was late.",
        statistics.stalls,
    );
    counter("ropewalk_loop_blocked_total", "Callbacks that held the loop for long.", statistics.blocked);
    let mut gauge = |name, help, value: f64| page.gauge(name, help, labels, value);
    gauge("ropewalk_loop_longest_turn_seconds", "The longest turn.", statistics.longest_turn.as_secs_f64());
    gauge("ropewalk_loop_timers", "Timers and deadlines that wait.", statistics.timers as f64);
    gauge("ropewalk_loop_sources", "Connections, listeners, tasks, descriptors.", statistics.sources as f64);
    gauge("ropewalk_loop_ready", "Callbacks that wait for their turn.", statistics.ready as f64);
}

fn show_pool(page: &mut Page, statistics: &PoolStatistics) {
    let labels: &[_] = &[("pool", statistics.name)];
    let mut gauge = |name, help, value: usize| page.gauge(name, help, labels, value as f64);
    gauge("ropewalk_pool_threads", "Threads there are.", statistics.threads);
    gauge("ropewalk_pool_threads_max", "Threads there may be.", statistics.threads_max);
    gauge("ropewalk_pool_threads_idle", "Threads without work.", statistics.idle);
    gauge("ropewalk_pool_jobs_queued", "Jobs that wait.", statistics.queued);
    gauge("ropewalk_pool_jobs_running", "Jobs that have begun and not ended.", statistics.running);
    let mut counter = |name, help, value: u64| page.counter(name, help, labels, value as f64);
    counter("ropewalk_pool_jobs_done_total", "Jobs that have ended.", statistics.done);
    counter("ropewalk_pool_jobs_panicked_total", "Jobs that panicked.", statistics.panicked);
    counter("ropewalk_pool_jobs_cancelled_total", "Jobs cancelled before they began.", statistics.cancelled);
}

fn show_port(page: &mut Page, service: &str, port: &Port) {
    let endpoint = port.endpoint().to_string();
    let labels: &[_] = &[("service", service), ("endpoint", &*endpoint)];
    let statistics = port.statistics();
    page.gauge("ropewalk_connections", "Connections that stand.", labels, statistics.connections as f64);
    let mut counter = |name, help, value: u64| page.counter(name, help, labels, value as f64);
    counter("ropewalk_connections_accepted_total", "Connections accepted.", statistics.accepted);
    counter("ropewalk_connections_refused_total", "Connections refused by a limit.", statistics.refused);
    counter("ropewalk_connections_starved_total", "Times that descriptors had run out.", statistics.starved);
    if let Some(tls) = port.tls() {
        show_tls(page, labels, &tls.statistics());
    }
    let Some(proxy) = port.proxy_statistics() else { return };
    for (outcome, value) in [
        ("client", proxy.clients),
        ("nameless", proxy.nameless),
        ("stranger", proxy.strangers),
        ("malformed", proxy.malformed),
        ("timeout", proxy.timed_out),
        ("ended", proxy.ended),
        ("over_limit", proxy.over_limit),
    ] {
        let labels: Vec<_> = labels.iter().copied().chain([("outcome", outcome)]).collect();
        page.counter("ropewalk_proxy_headers_total", "What became of PROXY headers.", &labels, value as f64);
    }
}

fn show_tls(page: &mut Page, labels: &[(&str, &str)], statistics: &TlsStatistics) {
    let mut counter = |name, help, value: u64| page.counter(name, help, labels, value as f64);
    counter("ropewalk_tls_handshakes_total", "Handshakes that ended in a connection.", statistics.handshakes);
    counter("ropewalk_tls_handshakes_resumed_total", "Those that resumed a session.", statistics.resumed);
    counter("ropewalk_tls_handshakes_failed_total", "Handshakes that ended in none.", statistics.failed);
    counter("ropewalk_tls_handshakes_timed_out_total", "Those that took too long.", statistics.timed_out);
    counter(
        "ropewalk_tls_truncated_total",
        "Connections that ended without a farewell.",
        statistics.truncated,
    );
}

fn show_site(page: &mut Page, service: &str, site: &SiteHandle) {
    let labels: &[_] = &[("service", service)];
    let statistics = site.statistics();
    let mut counter = |name, help, value: u64| page.counter(name, help, labels, value as f64);
    counter("ropewalk_site_requests_total", "Requests answered, or begun and lost.", statistics.requests);
    counter(
        "ropewalk_site_refused_total",
        "Requests that were not HTTP, or beyond a size.",
        statistics.refused,
    );
    counter("ropewalk_site_failures_total", "Handlers that failed in any way.", statistics.failures);
    counter("ropewalk_site_panics_total", "Those of them that panicked.", statistics.panics);
    counter("ropewalk_site_unanswered_total", "Those that gave no answer.", statistics.unanswered);
    for (phase, value) in [
        ("first_byte", statistics.first_byte_timeouts),
        ("head", statistics.head_timeouts),
        ("body", statistics.body_timeouts),
        ("body_rate", statistics.body_rate_timeouts),
        ("handler", statistics.handler_timeouts),
        ("keep_alive", statistics.keep_alive_timeouts),
    ] {
        let labels: &[_] = &[("service", service), ("phase", phase)];
        page.counter(
            "ropewalk_site_timeouts_total",
            "Connections ended by a deadline.",
            labels,
            value as f64,
        );
    }
}

fn show_log(page: &mut Page, name: &str, log: &LogWriter) {
    let labels: &[_] = &[("log", name)];
    let statistics = log.statistics();
    let mut counter = |name, help, value: u64| page.counter(name, help, labels, value as f64);
    counter("ropewalk_log_lines_total", "Lines that came.", statistics.lines);
    counter("ropewalk_log_lines_dropped_total", "Lines dropped: too many waited.", statistics.dropped);
    counter("ropewalk_log_lines_lost_total", "Lines that could not be written.", statistics.lost);
    counter(
        "ropewalk_log_writes_failed_total",
        "Batches that could not be written whole.",
        statistics.failed,
    );
    counter("ropewalk_log_rotations_total", "Files put aside.", statistics.rotations);
    page.gauge("ropewalk_log_waiting_bytes", "Bytes that wait.", labels, statistics.waiting_bytes as f64);
}

fn show_publisher(page: &mut Page, publisher: &Publisher) {
    let statistics = publisher.statistics();
    for (level, count) in Level::ALL.into_iter().zip(statistics.events) {
        let labels: &[_] = &[("level", level.name())];
        page.counter("ropewalk_events_total", "Events of the program's log.", labels, count as f64);
    }
    let panics = statistics.panics as f64;
    page.counter("ropewalk_observer_panics_total", "Panics of observers of the log.", &[], panics);
}
