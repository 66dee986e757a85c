//! `ropewalk web --hub URL`: the options, the links that every worker's pages carry, and the service at home that watches the folder and tells
//! the hubs. What it does is in `ropewalk_hub::folder` and `herald`.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use clap::Args;
use ropewalk_app::{App, Bound, Neighbour, Service, StartError};
use ropewalk_hub::{FolderOptions, FolderPublisher, Herald, Names, advertise_pages};
use ropewalk_reactor::Reactor;
use ropewalk_web::Middleware;
use ropewalk_web::client::{Agent, Url};

#[derive(Args)]
pub(crate) struct PublishArgs {
    /// A WebSub hub: pages and feeds name it, and it is told when a file of them changes, comes or goes; may be given several times
    #[arg(long, value_name = "URL")]
    hub: Vec<Url>,
    /// The site's public URL, as hubs and subscribers reach it [default: http://ADDRESS/]
    #[arg(long, requires = "hub")]
    url: Option<Url>,
}

impl PublishArgs {
    /// What there is to publish with, if there is a hub.
    pub(crate) fn publishing(&self, root: &Path, names: Names) -> Option<Publishing> {
        if self.hub.is_empty() {
            return None;
        }
        let url = Arc::new(OnceLock::new());
        if let Some(known) = &self.url {
            // It is empty: nobody else has it yet.
            let _ = url.set(known.to_string());
        }
        let hubs = self.hub.iter().map(ToString::to_string).collect();
        Some(Publishing { hubs, url, root: root.to_owned(), names })
    }
}

/// A folder that publishes. Clones, on every worker, are one.
#[derive(Clone)]
pub(crate) struct Publishing {
    hubs: Vec<String>,
    /// Known when the site is bound, at the latest.
    url: Arc<OnceLock<String>>,
    root: PathBuf,
    names: Names,
}

impl Publishing {
    /// What names the hubs in answers.
    pub(crate) fn links(&self) -> impl Middleware + use<> {
        let url = Arc::clone(&self.url);
        advertise_pages(self.hubs.clone(), self.names.single, move || url.get().cloned())
    }

    /// Adds the service, behind the one that serves the folder.
    pub(crate) fn add(self, app: &mut App, site: &str) -> Result<(), StartError> {
        let site = app.neighbour(site).ok_or_else(|| StartError::new("there is no site to publish"))?;
        app.add(PublishService { publishing: self, site, running: None });
        Ok(())
    }
}

struct PublishService {
    publishing: Publishing,
    site: Neighbour,
    running: Option<(FolderPublisher, Herald)>,
}

impl Service for PublishService {
    fn name(&self) -> &str {
        "publisher"
    }

    fn start(&mut self, reactor: &Reactor) -> Result<Vec<Bound>, StartError> {
        let Publishing { hubs, url, root, names } = &self.publishing;
        let bound = url.get().cloned().or_else(|| self.site.url());
        let bound = bound.ok_or_else(|| {
            StartError::new("a site without an address wants --url, as hubs and subscribers reach it")
        })?;
        let options = FolderOptions {
            url: url.get_or_init(|| bound).clone(),
            names: names.clone(),
            ..FolderOptions::default()
        };
        let herald = Herald::new(&Agent::new(reactor), hubs.iter().cloned());
        let folder = FolderPublisher::start(reactor, herald.clone(), root.clone(), options);
        self.running = Some((folder, herald));
        Ok(Vec::new())
    }

    fn ready(&mut self) -> Pin<Box<dyn Future<Output = Result<(), StartError>>>> {
        let folder = self.running.as_ref().map(|(folder, _)| folder.clone());
        Box::pin(async move {
            match folder {
                Some(folder) => folder.begun().await.map_err(StartError::new),
                None => Ok(()),
            }
        })
    }

    fn health(&self) -> Result<(), String> {
        let Some((folder, herald)) = &self.running else { return Ok(()) };
        let statistics = herald.statistics();
        match (folder.is_well(), statistics.away) {
            (false, _) => Err("the folder cannot be read: changes are not told".to_owned()),
            (true, 0) => Ok(()),
            (true, away) => Err(format!("{away} hubs are away; {} pings wait", statistics.waiting)),
        }
    }

    fn stop(&mut self) -> Pin<Box<dyn Future<Output = ()>>> {
        if let Some((_, herald)) = &self.running {
            let statistics = herald.statistics();
            if statistics.away > 0 {
                tracing::warn!(
                    waiting = statistics.waiting,
                    "hubs are away, and are not told what has changed"
                );
            }
        }
        Box::pin(std::future::ready(()))
    }

    fn busy(&self) -> usize {
        self.running.as_ref().map_or(0, |(_, herald)| herald.busy())
    }
}
