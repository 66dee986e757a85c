//! Headings and marks for the terminal; colour only when standard output is one.
//!
//! Every command of this package prints through it. It knows nothing of what it prints.

use std::io::IsTerminal;
use std::time::Duration;

/// How a step ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mark {
    Passed,
    Failed,
    NotRun,
}

/// A line that says what comes now.
pub(crate) fn heading(title: &str) {
    println!("\n{}", paint("1;36", &format!("== {title} ==")));
}

/// One line of a summary.
pub(crate) fn result(mark: Mark, title: &str, took: Duration) {
    let (word, colour) = match mark {
        Mark::Passed => ("ok     ", "32"),
        Mark::Failed => ("FAILED ", "1;31"),
        Mark::NotRun => ("not run", "33"),
    };
    match mark {
        Mark::NotRun => println!("  {}  {title}", paint(colour, word)),
        _ => println!("  {}  {title}  ({:.1} s)", paint(colour, word), took.as_secs_f64()),
    }
}

/// The last word.
pub(crate) fn verdict(passed: bool, text: &str) {
    println!("{}", paint(if passed { "1;32" } else { "1;31" }, text));
}

/// `NO_COLOR` is honoured as <https://no-color.org> asks.
fn paint(code: &str, text: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if plain || !std::io::stdout().is_terminal() {
        return text.to_owned();
    }
    format!("\x1b[{code}m{text}\x1b[0m")
}
