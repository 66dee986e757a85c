//! From the tables of a file, the environment and `--set` to services that can be built. Every mistake is found, not only the first.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::kind::Kind;
use super::mistake::{ConfigError, Mistake, advice};
use super::table::{self, Entry, Section, Word};
use crate::application::App;
use crate::service::StartError;
use crate::settings::{AccessLog, Settings};

/// A configuration that holds: what is to run.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Where it was read.
    pub path: PathBuf,
    /// The program's own options, as a command line has them.
    pub options: Vec<OsString>,
    /// The services, in their order.
    pub services: Vec<Planned>,
}

/// A service that can be built.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its name in the tree.
    pub name: String,
    /// What it comes after.
    pub after: Vec<String>,
    /// Where it is said.
    pub place: String,
    pub(crate) kind: Kind,
    /// Its options as a command line has them: the same words are the same service.
    pub(crate) words: Vec<String>,
    matches: ArgMatches,
}

impl Planned {
    /// Adds its services to an application, as a group.
    ///
    /// # Errors
    /// What is wrong with it, with the place.
    pub fn build(&self, app: &mut App) -> Result<(), StartError> {
        let before = app.tree.len();
        let built = app.group(&self.name, |app| self.kind.build(app, &mut self.matches.clone()));
        for node in &app.tree.nodes()[before..] {
            node.after.borrow_mut().extend(self.after.iter().cloned());
        }
        built.map_err(|error| StartError::new(format!("{}: services.{}: {error}", self.place, self.name)))
    }

    /// Whether it is exactly the same service.
    pub(crate) fn is_same(&self, other: &Planned) -> bool {
        self.name == other.name
            && self.kind.name() == other.kind.name()
            && self.words == other.words
            && self.after == other.after
    }
}

impl Configuration {
    /// Reads a file. `kinds` are those that there are, `options` the command with the program's own options, and `set` what the command
    /// line has to say instead of the file, as `services.site.listen=tcp:0`. In between is the environment: `ROPEWALK_GRACE`,
    /// `ROPEWALK_SERVICES_SITE_LISTEN`.
    ///
    /// # Errors
    /// All mistakes, each with its place.
    pub fn read(
        path: &Path,
        kinds: &[Kind],
        options: &Command,
        set: &[String],
    ) -> Result<Configuration, ConfigError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
            mistakes: vec![Mistake { place: file.clone(), what: format!("it cannot be read: {error}") }],
        })?;
        Configuration::of_text(path, &text, kinds, options, set, |name| std::env::var(name).ok())
    }

    /// The program's own options of a file, as far as they hold: enough to find what runs, whatever else is wrong with it.
    #[must_use]
    pub fn options_only(path: &Path, options: &Command, set: &[String]) -> Configuration {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // What is wrong is said by whoever starts it.
        let mut mistakes = Vec::new();
        let mut tables = table::read(&path.display().to_string(), &text, &mut mistakes);
        for text in set {
            let _ = apply(text, &mut tables);
        }
        let options =
            words(options, &tables.program, &mut mistakes).into_iter().map(OsString::from).collect();
        Configuration { path: path.to_owned(), options, services: Vec::new() }
    }

    /// The same of a text.
    pub(crate) fn of_text(
        path: &Path,
        text: &str,
        kinds: &[Kind],
        options: &Command,
        set: &[String],
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Configuration, ConfigError> {
        let mut mistakes = Vec::new();
        let mut tables = table::read(&path.display().to_string(), text, &mut mistakes);
        let names: Vec<String> = options.get_arguments().filter_map(key_of).collect();
        for name in &names {
            let variable_name = format!("ROPEWALK_{}", upper(name));
            if let Some(value) = variable(&variable_name) {
                replace(&mut tables.program, name, &value, &variable_name);
            }
        }
        for section in &mut tables.services {
            for key in keys_of(section, kinds) {
                let variable_name = format!("ROPEWALK_SERVICES_{}_{}", upper(&section.name), upper(&key));
                if let Some(value) = variable(&variable_name) {
                    replace(&mut section.entries, &key, &value, &variable_name);
                }
            }
        }
        for text in set {
            if let Err(what) = apply(text, &mut tables) {
                mistakes.push(Mistake { place: format!("--set {text}"), what });
            }
        }
        let options =
            words(options, &tables.program, &mut mistakes).into_iter().map(OsString::from).collect();
        let mut services = Vec::new();
        for section in &tables.services {
            services.extend(plan(section, kinds, &mut mistakes));
        }
        check_order(&tables.services, &services, &mut mistakes);
        if mistakes.is_empty() {
            Ok(Configuration { path: path.to_owned(), options, services })
        } else {
            Err(ConfigError { mistakes })
        }
    }

    /// Looks whether it can be built, without binding anything.
    ///
    /// # Errors
    /// What is wrong with the first service that is refused.
    pub fn check(&self, name: &str) -> Result<(), StartError> {
        let settings = Settings { access_log: AccessLog::Off, ..Settings::default() };
        let mut app = App::new(name, settings, None)?;
        self.build(&mut app)?;
        app.tree.sort()
    }

    /// Adds all services.
    ///
    /// # Errors
    /// What is wrong with the first that is refused.
    pub fn build(&self, app: &mut App) -> Result<(), StartError> {
        self.services.iter().try_for_each(|planned| planned.build(app))
    }
}

fn upper(name: &str) -> String {
    let mapped = |character: char| {
        if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' }
    };
    name.chars().map(mapped).collect()
}

/// What an option is called in a table: as on the command line, without the dashes.
pub(crate) fn key_of(arg: &Arg) -> Option<String> {
    if arg.is_hide_set()
        || matches!(
            arg.get_action(),
            ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
        )
    {
        return None;
    }
    Some(arg.get_long().map_or_else(|| arg.get_id().to_string(), str::to_owned))
}

fn keys_of(section: &Section, kinds: &[Kind]) -> Vec<String> {
    let Some(kind) = kind_of(section, kinds) else { return Vec::new() };
    kind.command().get_arguments().filter_map(key_of).collect()
}

fn kind_of<'a>(section: &Section, kinds: &'a [Kind]) -> Option<&'a Kind> {
    let entry = section.entries.iter().find(|entry| entry.key == "kind")?;
    kinds.iter().find(|kind| entry.word == Word::Text(kind.name().to_owned()))
}

/// What is said elsewhere counts instead.
fn replace(entries: &mut Vec<Entry>, key: &str, value: &str, place: &str) {
    let word = match value {
        "true" => Word::Switch(true),
        "false" => Word::Switch(false),
        text => Word::Text(text.to_owned()),
    };
    entries.retain(|entry| entry.key != key);
    entries.push(Entry { key: key.to_owned(), word, place: place.to_owned() });
}

/// `services.NAME.KEY=VALUE`, or `KEY=VALUE` of the program.
fn apply(text: &str, tables: &mut table::Tables) -> Result<(), String> {
    let example = "write services.NAME.KEY=VALUE or KEY=VALUE";
    let (key, value) = text.split_once('=').ok_or(example)?;
    let place = format!("--set {key}");
    let Some(path) = key.strip_prefix("services.") else {
        replace(&mut tables.program, key, value, &place);
        return Ok(());
    };
    let (name, key) = path.rsplit_once('.').ok_or(example)?;
    let names: Vec<String> = tables.services.iter().map(|section| section.name.clone()).collect();
    let section = tables.services.iter_mut().find(|section| section.name == name);
    let section = section.ok_or_else(|| format!("there is no service {name:?}; {}", advice(name, &names)))?;
    replace(&mut section.entries, key, value, &place);
    Ok(())
}

/// One service, or what is wrong with it.
fn plan(section: &Section, kinds: &[Kind], mistakes: &mut Vec<Mistake>) -> Option<Planned> {
    let known: Vec<String> = kinds.iter().map(|kind| kind.name().to_owned()).collect();
    let mut refuse = |place: &str, what: String| {
        mistakes
            .push(Mistake { place: place.to_owned(), what: format!("services.{}: {what}", section.name) });
        None
    };
    if section.name.is_empty() || section.name.contains('/') {
        return refuse(&section.place, "a service's name has letters, and no slash".to_owned());
    }
    let Some(kind) = section.entries.iter().find(|entry| entry.key == "kind") else {
        return refuse(&section.place, format!("kind is missing; the kinds are {}", known.join(", ")));
    };
    let Some(found) = kind_of(section, kinds) else {
        let what = match &kind.word {
            Word::Text(word) => format!("there is no kind {word:?}; {}", advice(word, &known)),
            _ => format!("kind wants a text; the kinds are {}", known.join(", ")),
        };
        return refuse(&kind.place, what);
    };
    let own = |entry: &&Entry| entry.key == "kind" || entry.key == "after";
    let options: Vec<Entry> = section.entries.iter().filter(|entry| !own(entry)).cloned().collect();
    let after = section.entries.iter().find(|entry| entry.key == "after");
    let after = match after.map(|entry| (&entry.word, entry)) {
        None => Vec::new(),
        Some((Word::Text(name), _)) => vec![name.clone()],
        Some((Word::List(names), _)) => names.clone(),
        Some((Word::Switch(_), entry)) => {
            return refuse(&entry.place, "after wants names of services".to_owned());
        }
    };
    let before = mistakes.len();
    let mut own_mistakes = Vec::new();
    let command = found.command();
    let words = words(&command, &options, &mut own_mistakes);
    for mistake in own_mistakes {
        mistakes.push(Mistake { what: format!("services.{}: {}", section.name, mistake.what), ..mistake });
    }
    if mistakes.len() > before {
        return None;
    }
    let command = command.no_binary_name(true);
    match command.try_get_matches_from(&words) {
        Ok(matches) => Some(Planned {
            name: section.name.clone(),
            after,
            place: section.place.clone(),
            kind: found.clone(),
            words,
            matches,
        }),
        Err(error) => {
            let what = crate::program::first_paragraph(&error.render().to_string());
            mistakes.push(Mistake {
                place: section.place.clone(),
                what: format!("services.{}: {what}", section.name),
            });
            None
        }
    }
}

/// The entries of a table as words of a command line, each looked at by itself so that its own line is to blame.
fn words(command: &Command, entries: &[Entry], mistakes: &mut Vec<Mistake>) -> Vec<String> {
    let known: Vec<String> = command.get_arguments().filter_map(key_of).collect();
    let (mut options, mut positional) = (Vec::new(), Vec::new());
    for entry in entries {
        let arg = command.get_arguments().find(|arg| key_of(arg).as_ref() == Some(&entry.key));
        let Some(arg) = arg else {
            let what = format!("there is no key {:?}; {}", entry.key, advice(&entry.key, &known));
            mistakes.push(Mistake { place: entry.place.clone(), what });
            continue;
        };
        match words_of(command, arg, entry) {
            Ok(mut words) if arg.is_positional() => positional.append(&mut words),
            Ok(mut words) => options.append(&mut words),
            Err(what) => {
                mistakes.push(Mistake { place: entry.place.clone(), what: format!("{}: {what}", entry.key) })
            }
        }
    }
    if !positional.is_empty() {
        options.push("--".to_owned());
        options.append(&mut positional);
    }
    options
}

fn words_of(command: &Command, arg: &Arg, entry: &Entry) -> Result<Vec<String>, String> {
    let takes_value = arg.get_action().takes_values();
    let many = matches!(arg.get_action(), ArgAction::Append);
    let texts = match &entry.word {
        Word::Switch(on) if !takes_value => {
            return Ok(if *on { vec![format!("--{}", entry.key)] } else { Vec::new() });
        }
        _ if !takes_value => return Err("it wants true or false".to_owned()),
        Word::Switch(_) => return Err("it wants a text or a number, not true or false".to_owned()),
        Word::List(_) if !many => return Err("it wants one value, not a list".to_owned()),
        Word::List(texts) => texts.clone(),
        Word::Text(text) => vec![text.clone()],
    };
    let word = |text: String| match arg.is_positional() {
        true => text,
        false => format!("--{}={text}", entry.key),
    };
    let words: Vec<String> = texts.into_iter().map(word).collect();
    // By itself: what else is missing is somebody else's mistake. The other options are there since it may name them.
    let others =
        command.get_arguments().filter(|other| !other.is_positional() && other.get_id() != arg.get_id());
    let all = others.chain([arg]).map(|arg| arg.clone().required(false));
    let alone = Command::new("alone").no_binary_name(true).args(all);
    let escaped = arg.is_positional().then(|| "--".to_owned());
    match alone.try_get_matches_from(escaped.into_iter().chain(words.iter().cloned())) {
        Ok(_) => Ok(words),
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => Ok(words),
        Err(error) => Err(match std::error::Error::source(&error) {
            Some(source) => source.to_string(),
            None => crate::program::first_paragraph(&error.render().to_string()),
        }),
    }
}

/// Who comes after whom has to be there.
fn check_order(sections: &[Section], services: &[Planned], mistakes: &mut Vec<Mistake>) {
    let names: Vec<String> = sections.iter().map(|section| section.name.clone()).collect();
    for planned in services {
        for wanted in planned.after.iter().filter(|wanted| !names.contains(wanted)) {
            let what = format!(
                "services.{}: after: there is no service {wanted:?}; {}",
                planned.name,
                advice(wanted, &names)
            );
            mistakes.push(Mistake { place: planned.place.clone(), what });
        }
    }
}

#[cfg(test)]
mod tests;
