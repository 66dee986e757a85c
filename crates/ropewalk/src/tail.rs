//! `ropewalk tail`: its options, and the two services that they come to. Following files is the tail crate's business.

use std::future::ready;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;

use clap::Args;
use ropewalk_app::{App, StartError, Store};
use ropewalk_net::ServerEndpoint;
use ropewalk_tail::{Tail, TailOptions};
use ropewalk_web::Site;

use crate::command::WEB_ENDPOINT;
use crate::kinds::local;

const RAW_ENDPOINT: &str = "tcp:8888";

#[derive(Args)]
pub(crate) struct TailArgs {
    /// Files to follow; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where the lines are streamed raw, for nc
    #[arg(long, value_name = "ENDPOINT", default_value = RAW_ENDPOINT)]
    raw: ServerEndpoint,
    /// Where the page, the event stream (/events) and the long poll (/poll) are served
    #[arg(long, value_name = "ENDPOINT", default_value = WEB_ENDPOINT)]
    web: ServerEndpoint,
    /// Lines of history that a raw viewer or an event stream begins with
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = lines, allow_negative_numbers = true)]
    history: usize,
    /// What viewers must know: ?token=… on the web, the first line on the raw endpoint
    #[arg(long)]
    token: Option<String>,
    /// Begin each line with the name of its file
    #[arg(long)]
    label: bool,
}

fn lines(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "write a number of lines, such as 100".to_owned())
}

/// Adds the services `raw` and `web`.
pub(crate) fn build(app: &mut App, args: TailArgs) -> Result<(), StartError> {
    let (raw, web) = (local(args.raw), local(args.web));
    if args.token.as_deref().is_none_or(str::is_empty) && !(raw.is_local() && web.is_local()) {
        return Err(StartError::new(
            "a log that others can reach, be it through a proxy, wants --token SECRET; or leave the interfaces at 127.0.0.1",
        ));
    }
    let options = TailOptions {
        sources: args.files,
        history: args.history,
        token: args.token,
        label: args.label,
        ..TailOptions::default()
    };
    let tail = Tail::start(app.reactor(), options).map_err(StartError::new)?;
    app.store(Carried(tail.clone()));
    let viewers = tail.clone();
    app.serve_factory("raw", raw, move |_| Ok(Rc::new(viewers.raw_viewers())));
    app.serve_home("web", web, move |_| Ok(Site::new(tail.handler())));
    Ok(())
}

/// In an upgrade the lines that are kept go along, and how far the files were read.
struct Carried(Tail);

impl Store for Carried {
    fn release(&self) -> Pin<Box<dyn Future<Output = Result<(), String>>>> {
        Box::pin(ready(Ok(())))
    }

    fn reclaim(&self) -> Result<(), String> {
        self.0.go_on();
        Ok(())
    }

    fn pack(&self) -> Vec<u8> {
        self.0.pack()
    }

    fn unpack(&self, packed: &[u8]) -> Result<(), String> {
        if self.0.unpack(packed) { Ok(()) } else { Err("the lines of a tail are not understood".to_owned()) }
    }
}
