//! An HTTP client with a pool: 64 tasks, each of which asks for hello, reads the answer, and begins anew. The server is the bare
//! loop, a process of its own on another core.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use ropewalk_reactor::Reactor;
use ropewalk_web::client::{Agent, PoolLimits};

use super::{Meter, Slice};
use crate::child::Child;
use crate::{canned, servers};

/// Requests under way at any time.
pub(crate) const OUTSTANDING: usize = 64;

/// Enough for all connections to stand.
const WARM_UP: Duration = Duration::from_millis(200);

/// Not the first one, which the contestant has, where there are two.
const SERVER_CORE: usize = 1;

fn server() -> io::Result<Child> {
    Child::start(servers::named(servers::BASE)?, SERVER_CORE, &[])
}

pub(super) fn ropewalk(length: Duration) -> io::Result<Slice> {
    let server = server()?;
    let reactor = Reactor::new()?;
    let limits = PoolLimits { per_host_max: OUTSTANDING, ..PoolLimits::default() };
    let agent = Agent::new(&reactor).with_pool(limits);
    let done = Rc::new(Cell::new(0_u64));
    for _ in 0..OUTSTANDING {
        let (agent, done, url) = (agent.clone(), Rc::clone(&done), server.url("/"));
        reactor.spawn(async move {
            while let Ok(response) = agent.get(&url).send().await
                && response.bytes().await.is_ok_and(|body| body == canned::BODY.as_bytes())
            {
                done.set(done.get() + 1);
            }
        });
    }
    let outcome: Rc<RefCell<Option<io::Result<Slice>>>> = Rc::default();
    let (result, handle) = (Rc::clone(&outcome), reactor.clone());
    reactor.call_later(WARM_UP, move || {
        let (before, meter, inner) = (done.get(), Meter::start(), handle.clone());
        handle.call_later(length, move || {
            let part = meter.and_then(|meter| meter.stop("", done.get() - before));
            *result.borrow_mut() = Some(part.map(|part| Slice { parts: vec![part], bytes: None }));
            inner.stop();
        });
    });
    reactor.run()?;
    outcome.take().unwrap_or_else(|| Err(io::Error::other("the loop ended before the slice did")))
}

pub(super) fn hyper(length: Duration) -> io::Result<Slice> {
    let server = server()?;
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
        let done = Arc::new(AtomicU64::new(0));
        let url: hyper::Uri = server.url("/").parse().map_err(io::Error::other)?;
        for _ in 0..OUTSTANDING {
            let (client, done, url) = (client.clone(), Arc::clone(&done), url.clone());
            ::tokio::spawn(async move {
                while let Ok(response) = client.get(url.clone()).await
                    && let Ok(body) = response.into_body().collect().await
                    && body.to_bytes() == canned::BODY
                {
                    // One thread writes it: no need for a locked addition.
                    done.store(done.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                }
            });
        }
        ::tokio::time::sleep(WARM_UP).await;
        let (before, meter) = (done.load(Ordering::Relaxed), Meter::start()?);
        ::tokio::time::sleep(length).await;
        let part = meter.stop("", done.load(Ordering::Relaxed) - before)?;
        Ok(Slice { parts: vec![part], bytes: None })
    })
}
