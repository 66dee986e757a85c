//! Routers within routers: merged, nested at a prefix, chosen by the host, and handlers of another kind mounted at a prefix. The
//! routes of a nested router become routes of the outer one, so that there is one search, one set of names, and no conflict that
//! nobody sees. What a nested router has for all else, its fallback and its 405, stays a property of its prefix.

use std::panic::Location;
use std::rc::Rc;

use ropewalk_reactor::failure::Place;

use super::error::Wrong;
use super::hosts::Hosts;
use super::reverse::Source;
use super::{Handler, Router, pattern};
use crate::request::Params;

/// What holds below a prefix.
pub(super) struct Below {
    prefix: String,
    pub(super) fallback: Option<Rc<dyn Handler>>,
    pub(super) refusing: Option<Rc<dyn Handler>>,
    /// The fallback is told where its own part of the path begins.
    pub(super) mounted: bool,
    place: Place,
}

impl Below {
    pub(super) fn wrap(&mut self, wrap: &dyn Fn(Rc<dyn Handler>) -> Rc<dyn Handler>) {
        for handler in [&mut self.fallback, &mut self.refusing].into_iter().flatten() {
            *handler = wrap(Rc::clone(handler));
        }
    }
}

impl Router {
    /// Takes over the routes, the names, and the state of another router, and its fallback where this one has none.
    #[must_use]
    #[track_caller]
    pub fn merge(mut self, router: Router) -> Router {
        self.last = None;
        self.take_in("/", router, Location::caller());
        self
    }

    /// Puts another router's routes behind a prefix. Its `/` becomes the prefix itself, parameters of the prefix are visible to all of
    /// its handlers, and its fallback and its 405 hold below the prefix. Its names stay as they are.
    ///
    /// ```
    /// use ropewalk_web::{Request, Router};
    /// let member = Router::new()
    ///     .get("/", |request: Request| format!("member {}", request.param("id").unwrap_or_default()))
    ///     .get("/notes/{note}", |_| "a note")
    ///     .named("note");
    /// let router = Router::new().nest("/members/{id}", member);
    /// assert_eq!(router.reverse_url("note", (7, "first")).unwrap(), "/members/7/notes/first");
    /// # router.check().unwrap();
    /// ```
    #[must_use]
    #[track_caller]
    pub fn nest(mut self, prefix: &str, router: Router) -> Router {
        let place = Location::caller();
        self.last = None;
        match pattern::check_prefix(prefix) {
            Ok(()) => self.take_in(prefix, router, place),
            Err(wrong) => self.errors.push(wrong.at(prefix, place)),
        }
        self
    }

    /// Gives everything at and below a prefix, unless a route takes it, to a handler of another kind: a
    /// [resource](crate::resource::Tree), [`Files`](crate::Files). Which part of the path is left for it says [`Request::rest`](crate::Request::rest).
    #[must_use]
    #[track_caller]
    pub fn mount(mut self, prefix: &str, handler: impl Handler) -> Router {
        let place = Location::caller();
        self.last = None;
        let handler = self.dressed(Rc::new(handler));
        let added = pattern::check_prefix(prefix).and_then(|()| {
            let prefix = prefix.to_owned();
            self.own().add_below(Below {
                prefix,
                fallback: Some(handler),
                refusing: None,
                mounted: true,
                place,
            })
        });
        self.note(added, prefix, place);
        self
    }

    /// A router for one host, in any case and on any port, or for all hosts below a name: `*.example.org`. The whole name goes
    /// before a wildcard, and a longer wildcard before a shorter one; all other hosts, and requests without one, find the routes
    /// that belong to no host.
    ///
    /// ```
    /// use ropewalk_web::Router;
    /// let router = Router::new()
    ///     .host("example.org", Router::new().get("/", |_| "home"))
    ///     .host("*.example.org", Router::new().get("/", |_| "somebody's page"))
    ///     .get("/", |_| "who are you looking for?");
    /// # router.check().unwrap();
    /// ```
    #[must_use]
    #[track_caller]
    pub fn host(mut self, host: &str, mut router: Router) -> Router {
        let place = Location::caller();
        self.last = None;
        self.errors.append(&mut router.errors);
        for (name, source, place) in std::mem::take(&mut router.urls).into_sources() {
            let added = self.urls.add(&name, source, place);
            self.note(added, &name, place);
        }
        if let Some(states) = self.states.clone() {
            router.wrap(&|handler| Rc::new(super::Stated(handler, Rc::clone(&states))));
        }
        let added = if router.hosts.is_some() {
            Err("a router for one host has no further hosts".into())
        } else {
            self.hosts().add(host, router, place)
        };
        self.note(added, host, place);
        self
    }

    /// The hosts; when there were none, all routes so far become those of the others.
    pub(super) fn hosts(&mut self) -> &mut Hosts {
        if self.hosts.is_none() {
            let others = Router {
                literal: std::mem::take(&mut self.literal),
                patterns: std::mem::take(&mut self.patterns),
                matched: std::mem::take(&mut self.matched),
                expressions: std::mem::take(&mut self.expressions),
                below: std::mem::take(&mut self.below),
                fallback: self.fallback.take(),
                refusing: self.refusing.take(),
                ..Router::default()
            };
            self.hosts = Some(Box::new(Hosts { others, list: Vec::new() }));
        }
        self.hosts.get_or_insert_default()
    }

    fn take_in(&mut self, prefix: &str, mut router: Router, place: Place) {
        self.errors.append(&mut router.errors);
        if router.hosts.is_some() {
            self.note(Err("hosts are told apart by the outermost router".into()), prefix, place);
            return;
        }
        for (path, methods) in router.literal.into_iter().chain(router.matched) {
            let path = pattern::join(prefix, &path);
            for (method, handler, place) in methods.into_entries() {
                let added = self.add(method, &path, handler, place);
                self.note(added, &path, place);
            }
        }
        for expression in router.expressions {
            let source = Source::Regex(expression.source).below(prefix);
            for (method, handler, place) in expression.methods.into_entries() {
                let added = self.add_expression(method, source.text(), handler, place);
                self.note(added, source.text(), place);
            }
        }
        for (name, source, place) in router.urls.into_sources() {
            let added = self.urls.add(&name, source.below(prefix), place);
            self.note(added, &name, place);
        }
        let own = Below {
            prefix: "/".to_owned(),
            fallback: router.fallback,
            refusing: router.refusing,
            mounted: false,
            place,
        };
        let own = (own.fallback.is_some() || own.refusing.is_some()).then_some(own);
        for mut below in router.below.into_iter().chain(own) {
            below.prefix = pattern::join(prefix, &below.prefix);
            below.fallback = below.fallback.map(|handler| self.dressed(handler));
            below.refusing = below.refusing.map(|handler| self.dressed(handler));
            let (prefix, place) = (below.prefix.clone(), below.place);
            let added = self.own().add_below(below);
            self.note(added, &prefix, place);
        }
    }

    fn add_below(&mut self, below: Below) -> Result<(), Wrong> {
        if below.prefix == "/" && !below.mounted {
            // Merged: there is one for the whole, and this router's goes first.
            self.fallback = self.fallback.take().or(below.fallback);
            self.refusing = self.refusing.take().or(below.refusing);
            return Ok(());
        }
        let clash = |known: &&Below| {
            known.prefix == below.prefix
                && ((known.fallback.is_some() && below.fallback.is_some())
                    || (known.refusing.is_some() && below.refusing.is_some()))
        };
        if let Some(known) = self.below.iter().find(clash) {
            return Err(Wrong::clash("that prefix has a handler already", known.place));
        }
        self.below.push(below);
        Ok(())
    }

    /// What holds at a path: of the longest prefix that fits, one without parameters first.
    pub(super) fn nearest(
        &self,
        path: &str,
        wanted: impl Fn(&Below) -> bool,
    ) -> Option<(&Below, (Params, usize))> {
        let fitting = self.below.iter().filter(|below| wanted(below));
        let matched = fitting.filter_map(|below| Some((below, pattern::match_prefix(&below.prefix, path)?)));
        matched.max_by_key(|(below, (params, _))| (segments(&below.prefix), std::cmp::Reverse(params.len())))
    }
}

fn segments(prefix: &str) -> usize {
    prefix.split('/').filter(|segment| !segment.is_empty()).count()
}
