//! How urgent an event is, and from which level on events of a namespace are wanted: rules by prefix that can be set while the
//! program runs. Publishers ask them before anything is put together.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

/// How urgent an event is. The order is from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Every step.
    Trace,
    /// For who looks for a fault.
    Debug,
    /// What a program does.
    Info,
    /// Something that may become an error.
    Warn,
    /// Something that failed.
    Error,
    /// Something without which the program cannot go on.
    Critical,
}

impl Level {
    /// All of them, the least urgent first.
    pub const ALL: [Level; 6] =
        [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Critical];

    /// What it is called in a line of the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Critical => "critical",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<tracing::Level> for Level {
    fn from(level: tracing::Level) -> Level {
        match level {
            tracing::Level::TRACE => Level::Trace,
            tracing::Level::DEBUG => Level::Debug,
            tracing::Level::INFO => Level::Info,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::ERROR => Level::Error,
        }
    }
}

/// What cannot be read as levels; its text says what can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelError(String);

impl fmt::Display for LevelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LevelError(word) = self;
        write!(
            f,
            "{word:?} is no level; write trace, debug, info, warn, error, critical or off, or NAMESPACE=LEVEL"
        )
    }
}

impl std::error::Error for LevelError {}

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Level, LevelError> {
        let known = Level::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| LevelError(text.to_owned()))
    }
}

/// From which level on events are wanted, by namespace. The longest rule that fits counts: `ropewalk_web` fits `ropewalk_web` and
/// `ropewalk_web::site`, not `ropewalk_website`. Clones are one, and what is set counts at once, on every thread.
///
/// ```
/// use ropewalk_app::log::{Level, Levels};
/// let levels: Levels = "warn,ropewalk_net=debug,ropewalk_net::tls=off".parse().unwrap();
/// assert!(levels.allows("ropewalk_net::listen", Level::Debug));
/// assert!(!levels.allows("ropewalk_net::tls::layer", Level::Critical));
/// levels.set("ropewalk_web", Level::Trace);
/// assert!(levels.allows("ropewalk_web", Level::Trace));
/// assert!(!levels.allows("ropewalk_website", Level::Info));
/// ```
#[derive(Clone)]
pub struct Levels(Arc<Shared>);

struct Shared {
    rules: RwLock<Rules>,
    /// They are those of the whole program: the `log` crate is told, too.
    installed: AtomicBool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rules {
    /// `None` is never.
    rest: Option<Level>,
    by_namespace: Vec<(String, Option<Level>)>,
}

impl Levels {
    /// This level for every namespace; `None` for nothing at all.
    #[must_use]
    pub fn new(level: impl Into<Option<Level>>) -> Levels {
        Levels::of_rules(Rules { rest: level.into(), by_namespace: Vec::new() })
    }

    fn of_rules(rules: Rules) -> Levels {
        Levels(Arc::new(Shared { rules: RwLock::new(rules), installed: AtomicBool::new(false) }))
    }

    /// From now on this level counts for a namespace and those below it; `None` for nothing of it.
    pub fn set(&self, namespace: &str, level: impl Into<Option<Level>>) {
        let level = level.into();
        self.change(|rules| {
            rules.by_namespace.retain(|(known, _)| known != namespace);
            rules.by_namespace.push((namespace.to_owned(), level));
            // The longest first: the first that fits counts.
            rules
                .by_namespace
                .sort_by(|(one, _), (other, _)| other.len().cmp(&one.len()).then(one.cmp(other)));
        });
    }

    /// From now on this level counts where no rule fits.
    pub fn set_rest(&self, level: impl Into<Option<Level>>) {
        let level = level.into();
        self.change(|rules| rules.rest = level);
    }

    /// Forgets the rule of a namespace.
    pub fn clear(&self, namespace: &str) {
        self.change(|rules| rules.by_namespace.retain(|(known, _)| known != namespace));
    }

    /// Takes over all rules of others.
    pub fn replace(&self, others: &Levels) {
        let new = others.read(Rules::clone);
        self.change(|rules| *rules = new);
    }

    /// Whether events of this namespace and level are wanted.
    #[must_use]
    pub fn allows(&self, namespace: &str, level: Level) -> bool {
        self.read(|rules| rules.of(namespace).is_some_and(|wanted| level >= wanted))
    }

    /// The level that the least urgent rule has; nothing below it is wanted anywhere.
    #[must_use]
    pub fn least(&self) -> Option<Level> {
        self.read(|rules| {
            let all = rules.by_namespace.iter().map(|(_, level)| *level).chain([rules.rest]);
            all.flatten().min()
        })
    }

    /// They are those of the whole program from now on.
    pub(super) fn install(&self) {
        self.0.installed.store(true, Ordering::Relaxed);
        self.tell();
    }

    fn read<T>(&self, look: impl FnOnce(&Rules) -> T) -> T {
        look(&self.0.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.0.rules.write().unwrap_or_else(PoisonError::into_inner));
        self.tell();
    }

    /// Places in the code remember whether somebody listens to them: they ask again.
    fn tell(&self) {
        tracing::callsite::rebuild_interest_cache();
        if self.0.installed.load(Ordering::Relaxed) {
            ::log::set_max_level(match self.least() {
                None => ::log::LevelFilter::Off,
                Some(Level::Trace) => ::log::LevelFilter::Trace,
                Some(Level::Debug) => ::log::LevelFilter::Debug,
                Some(Level::Info) => ::log::LevelFilter::Info,
                Some(Level::Warn) => ::log::LevelFilter::Warn,
                Some(Level::Error | Level::Critical) => ::log::LevelFilter::Error,
            });
        }
    }
}

impl Rules {
    fn of(&self, namespace: &str) -> Option<Level> {
        let fits = |rule: &str| match namespace.strip_prefix(rule) {
            // Python's namespaces have points.
            Some(below) => below.is_empty() || below.starts_with("::") || below.starts_with('.'),
            None => false,
        };
        let found = self.by_namespace.iter().find(|(rule, _)| fits(rule));
        found.map_or(self.rest, |(_, level)| *level)
    }
}

/// From `info` on.
impl Default for Levels {
    fn default() -> Levels {
        Levels::new(Level::Info)
    }
}

/// As they are written on a command line: `LEVEL` or `NAMESPACE=LEVEL`, separated by commas; the level may be `off`. Where there is no
/// bare level it is `info`.
impl FromStr for Levels {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Levels, LevelError> {
        let level = |word: &str| match word {
            "off" => Ok(None),
            word => word.parse().map(Some),
        };
        let levels = Levels::default();
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some(("", _)) => return Err(LevelError(part.to_owned())),
                Some((namespace, word)) => levels.set(namespace.trim(), level(word.trim())?),
                None => levels.set_rest(level(part)?),
            }
        }
        Ok(levels)
    }
}

/// As they are read.
impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |level: Option<Level>| level.map_or("off", Level::name);
        let rules = self.read(Rules::clone);
        f.write_str(name(rules.rest))?;
        rules.by_namespace.iter().try_for_each(|(rule, level)| write!(f, ",{rule}={}", name(*level)))
    }
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Levels({self})")
    }
}

impl PartialEq for Levels {
    fn eq(&self, other: &Levels) -> bool {
        self.read(Rules::clone) == other.read(Rules::clone)
    }
}

impl Eq for Levels {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_rule_that_fits_counts() {
        let levels: Levels = "error,a=info,a::b=debug,a::b::c=off".parse().unwrap();
        let least = |namespace| Level::ALL.into_iter().find(|level| levels.allows(namespace, *level));
        assert_eq!(least("z"), Some(Level::Error));
        assert_eq!(least("a"), Some(Level::Info));
        assert_eq!(least("a.b"), Some(Level::Info));
        assert_eq!(least("a::b::d"), Some(Level::Debug));
        assert_eq!(least("a::b::c::d"), None);
        assert_eq!(least("ab"), Some(Level::Error));
        assert_eq!(levels.least(), Some(Level::Debug));
        levels.clear("a::b");
        assert_eq!((least("a::b"), levels.least()), (Some(Level::Info), Some(Level::Info)));
    }

    #[test]
    fn they_are_written_as_they_are_read() {
        for text in ["info", "off", "warn,a::b=debug,a=off", "critical,x=trace"] {
            let levels: Levels = text.parse().unwrap();
            assert_eq!(levels.to_string(), text);
            assert_eq!(levels.to_string().parse::<Levels>().unwrap(), levels);
        }
        assert_eq!("a=debug".parse::<Levels>().unwrap().to_string(), "info,a=debug");
        for wrong in ["", "loud", "a=", "=info", "a=b=info", "info,,warn"] {
            assert!(wrong.parse::<Levels>().is_err(), "{wrong}");
        }
    }
}
