//! Channels of home, served on every worker: a handler that makes its replica when the worker's first request comes, since only
//! then it knows its reactor.
//!
//! Called by programs with several workers, inside the function that makes a site for each.

use std::cell::OnceCell;

use ropewalk_channel::{Channels, ChannelsOptions, Home};

use super::{Push, PushOptions};
use crate::answer::Answer;
use crate::request::Request;
use crate::response::Response;
use crate::router::Handler;

/// What [`service`](super::service) is, for the channels of another worker; those should have the same options. A site that knows its
/// reactor when it is made takes [`Channels::replica`](ropewalk_channel::Channels::replica) instead.
///
/// ```
/// use ropewalk_channel::{Channels, ChannelsOptions};
/// use ropewalk_reactor::Simulation;
/// use ropewalk_web::{Site, push};
/// let home = Simulation::new(1);
/// let channels = Channels::in_memory(home.reactor(), ChannelsOptions::default());
/// let way = channels.home();
/// // This may go to other threads, as `App::serve_site` wants it.
/// let make = move || Site::new(push::following(&way, ChannelsOptions::default(), push::PushOptions::default()));
/// # fn is_send(_: impl Send) {}
/// # is_send(make);
/// ```
#[must_use]
pub fn following(home: &Home, options: ChannelsOptions, push: PushOptions) -> impl Handler + use<> {
    Following { home: home.clone(), options, push, made: OnceCell::new() }
}

struct Following {
    home: Home,
    options: ChannelsOptions,
    push: PushOptions,
    made: OnceCell<Box<dyn Handler>>,
}

impl Handler for Following {
    fn handle(&self, request: Request) -> Answer {
        if let Some(handler) = self.made.get() {
            return handler.handle(request);
        }
        match Channels::replica(request.reactor(), &self.home, self.options.clone()) {
            Ok(channels) => {
                let handler = Push::new(&channels, self.push.clone()).handler();
                self.made.get_or_init(|| Box::new(handler)).handle(request)
            }
            // The next request asks again.
            Err(_) => {
                let why = "the worker that has the channels does not answer";
                Answer::Now(Response::error(503, why).header("Retry-After", "1").close())
            }
        }
    }
}
