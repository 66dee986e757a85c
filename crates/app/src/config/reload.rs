//! `reload`: what has changed is replaced, and nothing else notices. A service whose words are the same stays, with its connections; one that
//! has changed hands its listening sockets to its successor, so that nobody is refused meanwhile.

use std::cell::RefCell;
use std::rc::Rc;

use super::plan::{Configuration, Planned};
use crate::application::{App, Store};
use crate::life::{Reload, Running};
use crate::service::{Inherited, StartError};
use crate::state::Forgotten;
use crate::tree::{Node, is_within};

/// What reads the configuration again.
pub(crate) type Reader = Rc<dyn Fn() -> Result<Configuration, StartError>>;

/// The reload of a program that runs `now`.
pub(crate) fn reload_of(now: Configuration, read: Reader) -> Reload {
    let now = Rc::new(RefCell::new(now));
    Rc::new(move |running| {
        let (now, read, running) = (Rc::clone(&now), Rc::clone(&read), Rc::clone(running));
        Box::pin(async move {
            let next = read()?;
            let before = now.borrow().clone();
            let done = change(&running, &before, &next).await?;
            *now.borrow_mut() = next;
            Ok(done)
        })
    })
}

async fn change(
    running: &Rc<Running>,
    before: &Configuration,
    next: &Configuration,
) -> Result<Vec<String>, StartError> {
    let mut done = Vec::new();
    // The new ones first: what is wrong with them is found before anything is touched.
    let mut fresh: Vec<(&Planned, bool, Prepared)> = Vec::new();
    for planned in &next.services {
        let old = before.services.iter().find(|old| old.name == planned.name);
        if old.is_some_and(|old| old.is_same(planned)) {
            continue;
        }
        match prepare(running, planned, old.is_some()) {
            Ok(prepared) => fresh.push((planned, old.is_some(), prepared)),
            Err(error) => {
                for (planned, _, prepared) in &fresh {
                    give_up(&running.app.borrow(), planned, prepared);
                }
                return Err(error);
            }
        }
    }
    let is_gone = |old: &&Planned| !next.services.iter().any(|planned| planned.name == old.name);
    for old in before.services.iter().filter(is_gone) {
        retire(running, &old.name, &[]).await;
        running.app.borrow().states.forget(&old.name);
        done.push(format!("{} is gone", old.name));
    }
    for (planned, is_known, prepared) in fresh {
        if is_known {
            retire(running, &planned.name, &prepared.nodes).await;
        }
        running.app.borrow_mut().stores.extend(prepared.stores);
        for node in &prepared.nodes {
            node.start(&running.reactor, false).await?;
        }
        done.push(format!("{} is {}", planned.name, if is_known { "changed" } else { "new" }));
    }
    running.app.borrow().tree.sort()?;
    if before.options != next.options {
        done.push("the program's own options count from the next start on".to_owned());
    }
    Ok(done)
}

/// A service that is bound and not started.
struct Prepared {
    nodes: Vec<Rc<Node>>,
    stores: Vec<(String, Rc<dyn Store>)>,
    /// The predecessor's, which has them again if nothing comes of it.
    forgotten: Forgotten,
}

/// It is not to be.
fn give_up(app: &App, planned: &Planned, prepared: &Prepared) {
    prepared.nodes.iter().for_each(|node| app.tree.remove(node));
    app.states.restore(&planned.name, &prepared.forgotten);
}

/// Builds and binds a service beside the one of the same name, if there is one, whose sockets it gets.
fn prepare(running: &Running, planned: &Planned, is_known: bool) -> Result<Prepared, StartError> {
    let mut app = running.app.borrow_mut();
    let before = app.tree.nodes();
    let inherited = Inherited::default();
    let stores = app.stores.len();
    let forgotten = if is_known { app.states.forget(&planned.name) } else { Forgotten::default() };
    if is_known {
        for node in before.iter().filter(|node| is_within(&node.name(), &planned.name)) {
            for (endpoint, fd) in node.service.borrow().descriptors() {
                inherited.add(&node.name(), &endpoint, fd);
            }
        }
    }
    let built = planned.build(&mut app);
    let mut nodes = app.tree.nodes();
    nodes.retain(|node| !before.iter().any(|old| Rc::ptr_eq(old, node)));
    let bound =
        built.and_then(|()| nodes.iter().try_for_each(|node| node.bind(&running.reactor, &inherited)));
    // Not among those that are open before the predecessor's are closed.
    let stores = app.stores.split_off(stores);
    let prepared = Prepared { nodes, stores, forgotten };
    match bound {
        Ok(()) => Ok(prepared),
        Err(error) => {
            give_up(&app, planned, &prepared);
            Err(error)
        }
    }
}

/// Ends the services of this name, but for `successors`. Their connections are asked to come to an end.
async fn retire(running: &Running, name: &str, successors: &[Rc<Node>]) {
    let (tree, reactor) = (running.app.borrow().tree.clone(), running.reactor.clone());
    for node in tree.nodes().iter().rev().filter(|node| is_within(&node.name(), name)) {
        if successors.iter().any(|new| Rc::ptr_eq(new, node)) {
            continue;
        }
        for port in node.service.borrow().ports() {
            port.announce_stop();
            if !successors.is_empty() {
                port.hand_over();
            }
        }
        node.stop(&reactor).await;
        tree.remove(node);
    }
    let stores = {
        let mut app = running.app.borrow_mut();
        let (own, others): (Vec<_>, Vec<_>) =
            app.stores.drain(..).partition(|(group, _)| is_within(group, name));
        app.stores = others;
        own
    };
    for (_, store) in stores {
        if let Err(error) = store.release().await {
            tracing::error!("{name}: a store is not closed as it should be: {error}");
        }
    }
}
