//! The rule for pages: what they link to is there. A link to a Rust file whose text is a function's name, such as that of the test
//! that proves a claim, is wrong as soon as the function is not in that file any more.

use std::path::{Component, Path, PathBuf};

use super::Finding;

/// What is wrong with the links of a page at `place`; `read` gives the text of a file of the workspace, and of a folder nothing.
pub(crate) fn findings(
    place: &Path,
    text: &str,
    read: impl Fn(&Path) -> Option<Option<String>>,
) -> Vec<Finding> {
    let folder = place.parent().unwrap_or(Path::new(""));
    let (mut findings, mut is_code) = (Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        for (words, target) in links(line).filter(|_| !is_code) {
            if let Some(what) = wrong(folder, words, target, &read) {
                findings.push(Finding::new(number + 1, what));
            }
        }
    }
    findings
}

/// The words and the targets of a line's links.
fn links(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.match_indices("](").filter_map(|(at, _)| {
        let words = line[..at].rsplit('[').next()?;
        let target = line[at + 2..].split(')').next()?;
        Some((words, target))
    })
}

fn wrong(
    folder: &Path,
    words: &str,
    target: &str,
    read: impl Fn(&Path) -> Option<Option<String>>,
) -> Option<String> {
    let target = target.split('#').next().unwrap_or(target);
    if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let Some(text) = read(&flat(&folder.join(target))) else {
        return Some(format!("the link leads nowhere: {target}"));
    };
    let name = words.strip_prefix('`')?.strip_suffix('`')?;
    let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let is_there = text.is_some_and(|text| text.contains(&format!("fn {name}(")));
    (is_name && target.ends_with(".rs") && !is_there).then(|| format!("there is no `{name}` in {target}"))
}

/// Without the steps upwards.
fn flat(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut flat, component| {
        match component {
            Component::ParentDir => drop(flat.pop()),
            Component::CurDir => {}
            other => flat.push(other),
        }
        flat
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, String)> {
        let read = |path: &Path| match path.to_str() {
            Some("crates/a/tests/b.rs") => Some(Some("#[test]\nfn it_is_so() {}\n".to_owned())),
            Some("docs" | "docs/other.md") => Some(None),
            _ => None,
        };
        let findings = findings(Path::new("docs/page.md"), text, read);
        findings.into_iter().map(|finding| (finding.line, finding.what)).collect()
    }

    #[test]
    fn links_lead_somewhere() {
        let fine = "[a](other.md) and [`it_is_so`](../crates/a/tests/b.rs), [x](https://example.org/) [y](#there)\n\
                    [the tests](../crates/a/tests/b.rs) [`B`](../crates/a/tests/b.rs) ![picture](./other.md#x)";
        assert!(found(fine).is_empty());
        assert_eq!(found("\n[a](nothing.md)"), [(2, "the link leads nowhere: nothing.md".to_owned())]);
        assert!(found("```\n[a](nothing.md)\n```").is_empty(), "code is no link");
    }

    #[test]
    fn a_proof_has_its_name() {
        let gone = "| yes: [`it_is_so`](../crates/a/tests/b.rs) | [`it_was_so`](../crates/a/tests/b.rs) |";
        assert_eq!(found(gone), [(1, "there is no `it_was_so` in ../crates/a/tests/b.rs".to_owned())]);
    }
}
