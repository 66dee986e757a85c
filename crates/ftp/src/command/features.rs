//! FEAT and OPTS (RFC 2389), LANG and UTF8 (RFC 2640), HELP (RFC 959 4.1.3). FEAT names what works as the server was started, and
//! nothing else.

use ropewalk_wire::ftp::{FactSet, Reply, Verb};

use super::{Answer, text};
use crate::session::Core;

pub(super) fn feat(core: &Core) -> Reply {
    let mut features: Vec<String> = Vec::new();
    if core.server.options.tls.is_some() {
        features.extend(["AUTH TLS", "PBSZ", "PROT"].map(str::to_owned));
    }
    features.extend(["EPRT", "EPSV", "LANG EN*", "MDTM", "MFMT"].map(str::to_owned));
    features.push(format!("MLST {}", core.state.borrow().facts.advertise()));
    features.extend(["REST STREAM", "SIZE", "TVFS", "UTF8"].map(str::to_owned));
    let lines = features.into_iter().map(|feature| format!(" {feature}"));
    Reply::with_lines(211, "Features", lines, "End")
}

pub(super) fn opts(core: &Core, argument: &[u8]) -> Answer {
    let argument = text(argument)?;
    let (name, options) = argument.split_once(' ').unwrap_or((argument, ""));
    match (name.to_ascii_uppercase().as_str(), options.trim().to_ascii_uppercase().as_str()) {
        ("UTF8", "ON" | "" | "NLST") => Ok(Reply::new(200, "Paths are UTF-8, as always")),
        ("UTF8", "OFF") => Err(Reply::new(504, "Paths are UTF-8, always")),
        ("MLST", options) => {
            let set = FactSet::parse(options.as_bytes());
            core.state.borrow_mut().facts = set;
            Ok(Reply::new(200, format!("MLST OPTS {}", set.chosen()).trim_end()))
        }
        _ => Err(Reply::new(501, "There is nothing to choose about that")),
    }
}

pub(super) fn lang(argument: &[u8]) -> Answer {
    let language = text(argument)?.to_ascii_lowercase();
    match language.as_str() {
        "" | "en" => Ok(Reply::new(200, "English it is")),
        other if other.starts_with("en-") => Ok(Reply::new(200, "English it is")),
        _ => Err(Reply::new(504, "English is all there is")),
    }
}

pub(super) fn help(argument: &[u8]) -> Answer {
    let argument = text(argument)?;
    if argument.is_empty() {
        let served: Vec<&str> =
            Verb::ALL.iter().filter(|verb| is_served(**verb)).map(|verb| verb.name()).collect();
        let lines = served.chunks(12).map(|names| format!(" {}", names.join(" ")));
        return Ok(Reply::with_lines(214, "These commands are served", lines, "End"));
    }
    match Verb::find(argument.as_bytes()).filter(|verb| is_served(*verb)) {
        Some(verb) => Ok(Reply::new(214, format!("Syntax: {}{}", verb.name(), verb.syntax()))),
        None => Err(Reply::new(502, "There is no such command here")),
    }
}

fn is_served(verb: Verb) -> bool {
    !matches!(verb, Verb::Smnt | Verb::Adat | Verb::Mic | Verb::Conf | Verb::Enc | Verb::Ccc)
}
