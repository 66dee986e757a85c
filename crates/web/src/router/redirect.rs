//! `Redirect`: the handler that sends elsewhere, as Tornado's `RedirectHandler`. Parameters go into the address, and cannot make
//! another host of it.

use std::panic::Location;

use percent_encoding::utf8_percent_encode;
use ropewalk_reactor::failure::Place;

use super::error::{RouteError, Wrong};
use super::reverse::{PATH, decoded};
use super::{Handler, pattern::Part, pattern::parts};
use crate::answer::Answer;
use crate::request::Request;
use crate::response::Response;

/// Sends to another address: 301, or 302 when it is [temporary](Redirect::temporary). `{name}` and, for the parameters in their
/// order, `{0}` stand for what the route has matched. The query goes along.
///
/// An address of this site stays one of this site, whatever the parameters are: slashes and backslashes in front are made one.
///
/// ```
/// use ropewalk_web::{Redirect, Router};
/// let router = Router::new()
///     .redirect("/pictures/{*rest}", "/photos/{rest}")
///     .route("GET", "/lunch", Redirect::to("https://menu.example/today")?.temporary());
/// # router.check().unwrap();
/// # Ok::<(), ropewalk_web::RouteError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Redirect {
    parts: Vec<Part>,
    status: u16,
    place: Place,
}

impl Redirect {
    /// Redirects for good.
    ///
    /// # Errors
    /// The address is neither a path of this site nor an `http` or `https` URL, or has a parameter in its host.
    #[track_caller]
    pub fn to(address: &str) -> Result<Redirect, RouteError> {
        let place = Location::caller();
        let parts = check(address).map_err(|wrong| wrong.at(address, place))?;
        Ok(Redirect { parts, status: 301, place })
    }

    /// The same with 302: the address is to be asked for again next time.
    #[must_use]
    pub fn temporary(self) -> Redirect {
        self.status(302)
    }

    /// The same with another status: 307 and 308 keep the method and the body.
    #[must_use]
    pub fn status(mut self, status: u16) -> Redirect {
        self.status = status;
        self
    }

    /// The address for this request, or none when a parameter is not there.
    fn location(&self, request: &Request) -> Option<String> {
        let mut location = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => location.push_str(text),
                Part::Param { name, .. } => {
                    let params = request.params();
                    let (_, value) = match name.parse::<usize>() {
                        Ok(index) => params.get(index)?,
                        Err(_) => params.iter().find(|(known, _)| known == name)?,
                    };
                    location.extend(utf8_percent_encode(&decoded(value), PATH));
                }
            }
        }
        if location.starts_with('/') {
            // Two slashes would be a host.
            location = format!("/{}", location.trim_start_matches(['/', '\\']));
        }
        if let Some(query) = request.query() {
            let end = location.find('#').unwrap_or(location.len());
            let mark = if location[..end].contains('?') { '&' } else { '?' };
            location.insert_str(end, &format!("{mark}{query}"));
        }
        Some(location)
    }
}

fn check(address: &str) -> Result<Vec<Part>, Wrong> {
    let lower = address.to_ascii_lowercase();
    let scheme = ["http://", "https://"].into_iter().find(|scheme| lower.starts_with(scheme));
    let local = address.starts_with('/') && !address.starts_with("//") && !address.starts_with("/\\");
    if scheme.is_none() && !local {
        return Err("one is sent to a path of this site, or to an http or https URL".into());
    }
    if address.contains(|character: char| character.is_control() || character == ' ') {
        return Err("an address has neither spaces nor control characters".into());
    }
    if let Some(scheme) = scheme {
        let behind = &address[scheme.len()..];
        let host = behind.find(['/', '?', '#']).map(|end| &behind[..end]);
        // Without a slash behind the host, a parameter would be a part of it.
        if host.unwrap_or(behind).contains(['{', '}', '\\']) || host == Some("") || behind.is_empty() {
            return Err("the host of an address stands there in full".into());
        }
    }
    parts(address)
}

impl Handler for Redirect {
    fn handle(&self, request: Request) -> Answer {
        Answer::Now(match self.location(&request) {
            Some(location) => Response::redirect(self.status, location),
            None => Response::error(404, "there is nothing at this address"),
        })
    }

    fn place(&self, _: &str, _: &str) -> Option<Place> {
        Some(self.place)
    }
}
