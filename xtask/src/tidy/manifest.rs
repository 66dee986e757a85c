//! The rules for Cargo's manifests: lints are inherited, and every dependency says why it is there.
//!
//! It also reads the dependencies for `floor`. A few lines of TOML are read by hand: sections, keys at the start of a line,
//! values that go over several lines; that is how manifests are written here.

use super::Finding;

/// One dependency, as a manifest declares it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dependency<'a> {
    pub(crate) line: usize,
    /// The section it stands in, without brackets.
    pub(crate) section: &'a str,
    pub(crate) name: &'a str,
    /// The rest of the line: the version, the table, or `true` after `.workspace`.
    pub(crate) value: &'a str,
    inherited: bool,
    explained: bool,
}

impl Dependency<'_> {
    fn is_ours(&self) -> bool {
        self.value.contains("path =") || self.value.contains("path=")
    }
}

/// The root: the lint is there, and the dependencies of others are explained.
pub(crate) fn root_findings(text: &str) -> Vec<Finding> {
    let mut findings = unexplained(text);
    if !has_line(text, "workspace.lints.rust", |line| {
        line.starts_with("unsafe_code") && line.ends_with("\"forbid\"")
    }) {
        findings.push(Finding::new(1, "`[workspace.lints.rust]` says `unsafe_code = \"forbid\"`"));
    }
    findings
}

/// A member: it takes the workspace's lints, and its own dependencies are explained or the workspace's.
pub(crate) fn member_findings(text: &str) -> Vec<Finding> {
    let mut findings = unexplained(text);
    if !has_line(text, "lints", |line| line.replace(' ', "") == "workspace=true") {
        findings.push(Finding::new(1, "takes the workspace's lints: `[lints]` says `workspace = true`"));
    }
    findings
}

/// A package outside of the workspace: it cannot take the lints, so it has its own.
pub(crate) fn apart_findings(text: &str) -> Vec<Finding> {
    let mut findings = unexplained(text);
    if !has_line(text, "lints.rust", |line| line.starts_with("unsafe_code") && line.ends_with("\"forbid\"")) {
        findings.push(Finding::new(1, "`[lints.rust]` says `unsafe_code = \"forbid\"`"));
    }
    findings
}

fn unexplained(text: &str) -> Vec<Finding> {
    let dependencies = dependencies(text).into_iter();
    let unexplained = dependencies.filter(|found| !found.is_ours() && !found.inherited && !found.explained);
    let what = |name| format!("`{name}` without a line of why above it");
    unexplained.map(|found| Finding::new(found.line, what(found.name))).collect()
}

/// Every dependency of every kind, in the order of the text.
pub(crate) fn dependencies(text: &str) -> Vec<Dependency<'_>> {
    let mut found = Vec::new();
    let mut explained = false;
    for Line { number, section, text } in lines(text) {
        if text.starts_with('#') {
            explained = true;
            continue;
        }
        if let Some(name) = text.strip_prefix('[').and_then(|_| table_name(section)) {
            found.push(Dependency { line: number, section, name, value: "", inherited: false, explained });
        } else if section.ends_with("dependencies") && !text.starts_with('[') {
            found.extend(dependency(number, section, text, explained));
        }
        explained = false;
    }
    found
}

/// `[dependencies.NAME]`, which a manifest may have in place of a line.
fn table_name(section: &str) -> Option<&str> {
    let (before, name) = section.rsplit_once('.')?;
    before.ends_with("dependencies").then_some(name)
}

fn dependency<'a>(line: usize, section: &'a str, text: &'a str, explained: bool) -> Option<Dependency<'a>> {
    let (key, value) = text.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let name = key.strip_suffix(".workspace").unwrap_or(key).trim_matches('"');
    let inherited = name != key || value.replace(' ', "").contains("workspace=true");
    Some(Dependency { line, section, name, value, inherited, explained })
}

fn has_line(text: &str, section: &str, wanted: impl Fn(&str) -> bool) -> bool {
    lines(text).any(|line| line.section == section && wanted(line.text))
}

/// A line that begins something: the ones within a value are left out.
struct Line<'a> {
    number: usize,
    section: &'a str,
    text: &'a str,
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut section = "";
    let mut depth = 0_usize;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let text = line.trim();
        let within = depth > 0;
        depth = depth_after(text, depth);
        if !within && text.starts_with('[') {
            section = text.split(']').next().unwrap_or(text).trim_start_matches('[').trim();
        }
        (!within).then_some(Line { number: at + 1, section, text })
    })
}

/// How many brackets are open after this line; those in strings and comments are not brackets.
fn depth_after(line: &str, before: usize) -> usize {
    let mut quoted = false;
    let mut depth = before;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            '#' if !quoted => break,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    depth
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINTS: &str = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\n";

    #[test]
    fn a_dependency_says_why() {
        let good = format!(
            "[workspace.dependencies]\nours = {{ path = \"x\" }}\n\n# Sockets.\nmio = \"1\"\n{LINTS}"
        );
        assert!(root_findings(&good).is_empty());
        let bad = good.replace("# Sockets.\n", "");
        assert_eq!(root_findings(&bad), [Finding::new(4, "`mio` without a line of why above it")]);
    }

    #[test]
    fn one_comment_explains_one_dependency() {
        let text = format!("[workspace.dependencies]\n# Both.\na = \"1\"\nb = \"1\"\n{LINTS}");
        assert_eq!(root_findings(&text), [Finding::new(4, "`b` without a line of why above it")]);
    }

    #[test]
    fn values_over_several_lines_are_one_dependency() {
        let text = "[dependencies]\n# Why.\na = { version = \"1\", features = [\n  \"x\", # a [ here\n  \"]\",\n] }\n# Why.\nb = \"1\"";
        let names: Vec<&str> = dependencies(text).iter().map(|found| found.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(apart_findings(&format!("{text}\n[lints.rust]\nunsafe_code = \"forbid\"")).is_empty());
    }

    #[test]
    fn tables_are_dependencies_too() {
        let text =
            "[target.'cfg(unix)'.dependencies]\nx.workspace = true\n[dependencies.y]\nversion = \"1\"\n";
        let found: Vec<(&str, bool)> =
            dependencies(text).iter().map(|found| (found.name, found.inherited)).collect();
        assert_eq!(found, [("x", true), ("y", false)]);
    }

    #[test]
    fn a_member_takes_the_lints_and_the_workspace_s_dependencies() {
        let good =
            "[lints]\nworkspace = true\n[dependencies]\nmio.workspace = true\nurl = { workspace = true }\n";
        assert!(member_findings(good).is_empty());
        assert_eq!(member_findings("[dependencies]\nmio = \"1\"\n").len(), 2);
    }

    #[test]
    fn the_root_forbids_unsafe_code() {
        assert_eq!(root_findings("[workspace]\n").len(), 1);
        assert_eq!(root_findings("[workspace.lints.rust]\nunsafe_code = \"deny\"\n").len(), 1);
    }
}
