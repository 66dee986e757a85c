//! A configuration file for people to begin with: every kind with all of its keys, each with its help and its default.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

use super::kind::Kind;
use super::plan::key_of;

/// The text of a file that shows everything and does what `active` says. `options` is the command with the program's own options.
#[must_use]
pub fn example(program: &str, kinds: &[Kind], options: &Command, active: &str) -> String {
    let mut text = format!(
        "# What {program} runs. {program} check looks at it, {program} reload changes what has changed.\n\
         # Paths are relative to the folder of this file. A key can be given elsewhere, too, and counts there:\n\
         # ROPEWALK_GRACE=10, ROPEWALK_SERVICES_SITE_LISTEN=tcp:80, --set services.site.listen=tcp:80.\n\n"
    );
    options.get_arguments().for_each(|arg| describe(&mut text, arg));
    let _ = write!(text, "\n{}\n", active.trim_end());
    for kind in kinds {
        let _ = write!(
            text,
            "\n# [services.NAME]\n# kind = \"{}\"          # {}\n# after = [\"OTHER\"]\n",
            kind.name(),
            kind.help()
        );
        kind.command().get_arguments().for_each(|arg| describe(&mut text, arg));
    }
    text
}

fn describe(text: &mut String, arg: &Arg) {
    let Some(key) = key_of(arg) else { return };
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let hint = arg.get_value_names().and_then(|names| names.first()).map_or("VALUE", |name| name.as_str());
    let value = match (arg.get_action(), defaults.first()) {
        (ArgAction::SetTrue, _) => "false".to_owned(),
        (_, Some(number)) if number.parse::<f64>().is_ok() => number.clone(),
        (_, Some(default)) => format!("\"{default}\""),
        (ArgAction::Append, None) => format!("[\"{hint}\"]"),
        (_, None) => format!("\"{hint}\""),
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let quoted = if key.chars().all(|character| character.is_ascii_alphanumeric() || character == '-') {
        key
    } else {
        format!("{key:?}")
    };
    let _ = writeln!(text, "# {:<32} # {help}", format!("{quoted} = {value}"));
}
