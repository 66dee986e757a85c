//! `cargo xtask check`: the steps in order, a heading for each, and a summary at the end.
//!
//! It stops at the first step that fails; the summary says what was not run. The rules themselves stand in `tidy`.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::cargo::{cargo, succeeds};
use crate::terminal::{self, Mark};
use crate::tidy;

/// Whether the tests are among the steps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tests {
    Run,
    /// For a caller who has run them already, as `.ci/run` has.
    Skip,
}

/// One step: its title is what one would type to run it alone.
struct Step {
    title: &'static str,
    run: fn(&Path) -> bool,
}

const STEPS: [Step; 6] = [
    Step { title: "cargo fmt --all --check", run: format },
    Step { title: "cargo clippy --workspace --all-targets -- -D warnings", run: clippy },
    Step { title: "cargo xtask tidy", run: tidy::run },
    Step { title: TESTS, run: tests },
    Step { title: "clippy and the tests of the features that are off", run: features },
    Step { title: "cargo doc --workspace --no-deps --all-features, warnings denied", run: documentation },
];

/// The features that are off by default: the package that has the code, the feature, and the test file that needs it.
const FEATURES: [(&str, &str, &str); 2] =
    [("ropewalk-reactor", "tokio", "beside"), ("ropewalk-web", "tower", "tower")];

const TESTS: &str = "cargo test --workspace";

/// Runs the steps; true if all of them passed.
pub(crate) fn run(root: &Path, tests: Tests) -> bool {
    let steps = STEPS.iter().filter(|step| tests == Tests::Run || step.title != TESTS);
    let mut results: Vec<(Mark, &str, Duration)> = Vec::new();
    let mut failed = false;
    for step in steps {
        if failed {
            results.push((Mark::NotRun, step.title, Duration::ZERO));
            continue;
        }
        terminal::heading(step.title);
        let start = Instant::now();
        failed = !(step.run)(root);
        results.push((if failed { Mark::Failed } else { Mark::Passed }, step.title, start.elapsed()));
    }
    terminal::heading("summary");
    for (mark, title, took) in results {
        terminal::result(mark, title, took);
    }
    terminal::verdict(!failed, if failed { "The check failed." } else { "All is well." });
    !failed
}

fn format(root: &Path) -> bool {
    succeeds(cargo(root, &["fmt", "--all", "--check"]))
}

fn clippy(root: &Path) -> bool {
    succeeds(cargo(root, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn tests(root: &Path) -> bool {
    succeeds(cargo(root, &["test", "--workspace"]))
}

/// Also for a caller who has run the tests: those of the workspace are without these features.
fn features(root: &Path) -> bool {
    FEATURES.iter().all(|(package, feature, test)| {
        let what = ["-p", package, "--features", feature];
        let clippy = [&["clippy", "--all-targets"], &what[..], &["--", "-D", "warnings"]].concat();
        let tests = [&["test"], &what[..], &["--test", test]].concat();
        let examples = [&["test"], &what[..], &["--doc"]].concat();
        [clippy, tests, examples].iter().all(|arguments| succeeds(cargo(root, arguments)))
    })
}

fn documentation(root: &Path) -> bool {
    let mut command = cargo(root, &["doc", "--workspace", "--no-deps", "--all-features"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    succeeds(command)
}
