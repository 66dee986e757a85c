//! The rules for one Rust source: its head, its length, its functions, and what may not stand in it.
//!
//! From a place and a text to findings; it reads no file. `tidy` calls it for every `.rs` file of the workspace.

use std::path::Path;

use super::Finding;
use super::function::functions;
use super::mask::{is_word, mask};

/// Without its tests; a longer file has more than one subject.
const FILE_LINES_MAX: usize = 700;

/// One screen and a half.
const FUNCTION_LINES_MAX: usize = 70;

/// An example is read in one go.
const EXAMPLE_LINES_MAX: usize = 100;

/// What stands in a source that is not finished.
const UNFINISHED: [&str; 2] = ["todo", "unimplemented"];

/// Everything that is wrong with the file at `place`, a path from the workspace's root.
pub(crate) fn findings(place: &Path, text: &str) -> Vec<Finding> {
    let masked = mask(text);
    let kind = Kind::of(place);
    let mut findings = unfinished(&masked);
    findings.extend(bare_ignores(&masked));
    findings.extend(long_functions(&masked));
    match kind {
        Kind::Source => {
            findings.extend(head(text));
            findings.extend(length(&masked));
            findings.extend(forbids_unsafe(place, &masked));
        }
        Kind::Example => findings.extend(example(text)),
        Kind::Other => {}
    }
    findings
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Source,
    Example,
    /// An integration test, a benchmark, a build script.
    Other,
}

impl Kind {
    fn of(place: &Path) -> Kind {
        let has = |folder: &str| place.components().any(|part| part.as_os_str() == folder);
        if has("examples") {
            Kind::Example
        } else if has("src") {
            Kind::Source
        } else {
            Kind::Other
        }
    }
}

fn head(text: &str) -> Option<Finding> {
    let says_something = text.strip_prefix("//!").is_some_and(|rest| {
        let first = rest.lines().next().unwrap_or_default();
        !first.trim().is_empty()
    });
    (!says_something)
        .then(|| Finding::new(1, "begins without `//!`: say what it is, what it is not, and who calls it"))
}

fn length(masked: &str) -> Option<Finding> {
    let lines = lines_before_tests(masked);
    (lines > FILE_LINES_MAX).then(|| {
        Finding::new(lines, format!("{lines} lines without the tests, at most {FILE_LINES_MAX}: split it"))
    })
}

/// Up to `#[cfg(test)]` before `mod tests`; there may be attributes between them.
fn lines_before_tests(masked: &str) -> usize {
    let lines: Vec<&str> = masked.lines().map(str::trim).collect();
    let is_tests = |line: &str| line.starts_with("mod tests") || line.starts_with("pub(crate) mod tests");
    let start = lines.iter().enumerate().position(|(at, line)| {
        let mut after = lines[at + 1..].iter().skip_while(|line| line.is_empty() || line.starts_with("#["));
        match line.strip_prefix("#[cfg(test)]") {
            Some("") => after.next().is_some_and(|line| is_tests(line)),
            Some(rest) => is_tests(rest.trim_start()),
            None => false,
        }
    });
    start.unwrap_or(lines.len())
}

fn long_functions(masked: &str) -> Vec<Finding> {
    let long = functions(masked).into_iter().filter(|function| function.lines > FUNCTION_LINES_MAX);
    long.map(|function| {
        let what = format!("`{}` has {} lines, at most {FUNCTION_LINES_MAX}", function.name, function.lines);
        Finding::new(function.line, what)
    })
    .collect()
}

/// The workspace's lint forbids it too; the attribute says so to who reads the library alone.
fn forbids_unsafe(place: &Path, masked: &str) -> Option<Finding> {
    let missing = place.ends_with("src/lib.rs") && !masked.contains("#![forbid(unsafe_code)]");
    missing.then(|| Finding::new(1, "a library root says `#![forbid(unsafe_code)]`"))
}

/// In masked source a reason is blank but its `=` stays.
fn bare_ignores(masked: &str) -> Vec<Finding> {
    let bare = masked.lines().enumerate().filter(|(_, line)| {
        let line: String = line.split_whitespace().collect();
        line.contains("#[ignore]")
    });
    bare.map(|(at, _)| Finding::new(at + 1, "a bare `#[ignore]`: say why, as `#[ignore = \"…\"]`, or run it"))
        .collect()
}

fn unfinished(masked: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in masked.lines().enumerate() {
        for name in UNFINISHED {
            let called = line.match_indices(name).any(|(place, _)| {
                let before = place.checked_sub(1).map(|before| line.as_bytes()[before]);
                !before.is_some_and(is_word) && line[place + name.len()..].starts_with('!')
            });
            if called {
                findings.push(Finding::new(at + 1, format!("`{name}!` is not finished")));
            }
        }
    }
    findings
}

fn example(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let head: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
    if !head.iter().any(|line| line.contains("cargo run")) || head.len() < 2 {
        findings.push(Finding::new(
            1,
            "an example begins with `//!`: how to run it (`cargo run …`) and what will be seen",
        ));
    }
    let lines = text.lines().count();
    if lines > EXAMPLE_LINES_MAX {
        findings
            .push(Finding::new(lines, format!("{lines} lines, an example has at most {EXAMPLE_LINES_MAX}")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "//! What it is.\n";

    fn source(text: &str) -> Vec<String> {
        whats("crates/net/src/line.rs", text)
    }

    fn whats(place: &str, text: &str) -> Vec<String> {
        findings(Path::new(place), text).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_source_begins_with_its_head() {
        assert!(source(HEAD).is_empty());
        for text in ["", "use std::fs;\n", "//!\n", "\n//! Too late.\n", "// Not a head.\n"] {
            assert_eq!(source(text).len(), 1, "{text:?}");
        }
        assert!(whats("crates/net/tests/echo.rs", "use std::fs;\n").is_empty(), "tests need none");
    }

    #[test]
    fn a_file_is_counted_up_to_its_tests() {
        let tests = format!("#[cfg(test)]\n#[rustfmt::skip]\nmod tests {{\n{}}}\n", "// case\n".repeat(900));
        let code = |lines: usize| format!("{HEAD}{}", "const A: u8 = 1;\n".repeat(lines - 1));
        assert!(source(&format!("{}{tests}", code(700))).is_empty());
        assert_eq!(source(&format!("{}{tests}", code(701))).len(), 1);
        assert_eq!(source(&format!("{}#[cfg(test)]\nuse a::b;\n", code(700))).len(), 1, "not yet the tests");
        assert!(whats("crates/net/tests/long.rs", &code(900)).is_empty(), "all of it is tests");
    }

    #[test]
    fn a_function_has_seventy_lines_at_most() {
        let function =
            |lines: usize| format!("{HEAD}fn long() {{\n{}}}\n", "    step();\n".repeat(lines - 2));
        assert!(source(&function(70)).is_empty());
        assert_eq!(source(&function(71)), ["`long` has 71 lines, at most 70"]);
    }

    #[test]
    fn an_ignored_test_says_why() {
        assert_eq!(source(&format!("{HEAD}#[ignore]\nfn f() {{}}\n")).len(), 1);
        assert!(
            source(&format!("{HEAD}#[ignore = \"needs a disk\"]\nfn f() {{}}\n// #[ignore]\n")).is_empty()
        );
    }

    #[test]
    fn nothing_is_left_unfinished() {
        let text = format!("{HEAD}fn f() {{\n    todo!()\n}}\nfn g() {{ std::unimplemented!(\"x\") }}\n");
        assert_eq!(source(&text), ["`todo!` is not finished", "`unimplemented!` is not finished"]);
        assert!(source(&format!("{HEAD}// todo!()\nconst T: &str = \"todo!\";\nmy_todo!();\n")).is_empty());
    }

    #[test]
    fn a_library_root_forbids_unsafe_code() {
        let root = "crates/net/src/lib.rs";
        assert_eq!(whats(root, HEAD).len(), 1);
        assert_eq!(whats(root, &format!("{HEAD}// #![forbid(unsafe_code)]\n")).len(), 1);
        assert!(whats(root, &format!("{HEAD}#![forbid(unsafe_code)]\n")).is_empty());
    }

    #[test]
    fn an_example_says_how_to_run_it() {
        let place = "crates/ropewalk/examples/echo.rs";
        let good = "//! `cargo run --example echo`\n//! Then what is typed comes back.\nfn main() {}\n";
        assert!(whats(place, good).is_empty());
        assert_eq!(whats(place, "//! An example.\nfn main() {}\n").len(), 1);
        assert_eq!(
            whats(place, &format!("{good}{}", "// x\n".repeat(98))),
            ["101 lines, an example has at most 100"]
        );
    }
}
