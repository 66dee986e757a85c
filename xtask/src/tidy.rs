//! `cargo xtask tidy`: the house rules that neither rustfmt nor clippy knows.
//!
//! This module walks the workspace and prints what the rules find; the rules themselves are functions from text to findings
//! and stand below: `file` for one Rust source, `function` for lengths, `manifest` and `floor` for Cargo's manifests, `link` for pages.

mod file;
mod floor;
mod function;
mod link;
mod manifest;
mod mask;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The whole truth about the architecture has to stay readable in one sitting.
const ARCHITECTURE_LINES_MAX: usize = 200;

/// Folders that hold what is not written by hand.
const SKIPPED: [&str; 3] = ["target", "corpus", "artifacts"];

/// Something that is not as the house wants it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    line: usize,
    what: String,
}

impl Finding {
    fn new(line: usize, what: impl Into<String>) -> Self {
        Finding { line, what: what.into() }
    }
}

/// Prints every finding; true if there is none.
pub(crate) fn run(root: &Path) -> bool {
    let mut report = Report::default();
    if let Err(error) = walk(root, &mut report) {
        println!("could not read the workspace: {error}");
        return false;
    }
    match report.findings {
        0 => println!("{} files, nothing to say", report.files),
        count => println!("{} files, {count} findings", report.files),
    }
    report.findings == 0
}

#[derive(Default)]
struct Report {
    files: usize,
    findings: usize,
}

impl Report {
    fn add(&mut self, place: &Path, mut findings: Vec<Finding>) {
        self.files += 1;
        self.findings += findings.len();
        findings.sort();
        for Finding { line, what } in findings {
            println!("{}:{line}: {what}", place.display());
        }
    }
}

fn walk(root: &Path, report: &mut Report) -> io::Result<()> {
    let mut crates = subfolders(&root.join("crates"))?;
    let packages = crates.iter().cloned().chain([root.join("xtask")]);
    for package in packages.chain([root.join("bench"), root.join("fuzz")]).filter(|package| package.is_dir())
    {
        for path in rust_files(&package)? {
            let text = fs::read_to_string(&path)?;
            let place = path.strip_prefix(root).unwrap_or(&path);
            report.add(place, file::findings(place, &text));
        }
    }

    read(root, "Cargo.toml", report, manifest::root_findings)?;
    read(root, "ARCHITECTURE.md", report, architecture_findings)?;
    for page in pages(root)? {
        let place = page.strip_prefix(root).unwrap_or(&page).to_owned();
        let linked = |path: &Path| {
            let path = root.join(path);
            path.exists().then(|| fs::read_to_string(&path).ok())
        };
        read(root, &place, report, |text| link::findings(&place, text, linked))?;
    }
    crates.push(root.join("xtask"));
    for package in crates {
        let place = package.strip_prefix(root).unwrap_or(&package).join("Cargo.toml");
        read(root, place, report, |text| {
            let name = package.file_name().unwrap_or_default().to_string_lossy();
            let mut findings = manifest::member_findings(text);
            findings.extend(floor::findings(&name, text));
            findings
        })?;
    }
    for package in ["bench", "fuzz"].map(|name| Path::new(name).join("Cargo.toml")) {
        if root.join(&package).is_file() {
            read(root, package, report, manifest::apart_findings)?;
        }
    }
    Ok(())
}

fn read(
    root: &Path,
    place: impl AsRef<Path>,
    report: &mut Report,
    rule: impl FnOnce(&str) -> Vec<Finding>,
) -> io::Result<()> {
    let place = place.as_ref();
    let text = fs::read_to_string(root.join(place))
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", place.display())))?;
    report.add(place, rule(&text));
    Ok(())
}

fn architecture_findings(text: &str) -> Vec<Finding> {
    let lines = text.lines().count();
    if lines <= ARCHITECTURE_LINES_MAX {
        return Vec::new();
    }
    vec![Finding::new(
        lines,
        format!("{lines} lines, at most {ARCHITECTURE_LINES_MAX}: move detail to module heads"),
    )]
}

/// What is written for people: beside the workspace's manifest, and in its `docs`.
fn pages(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in [root.to_owned(), root.join("docs")] {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn subfolders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.join("Cargo.toml").is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn rust_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type()?.is_dir() {
            if !SKIPPED.iter().any(|skipped| name == *skipped) && !name.to_string_lossy().starts_with('.') {
                found.extend(rust_files(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_architecture_stays_short() {
        assert!(architecture_findings(&"line\n".repeat(200)).is_empty());
        assert_eq!(architecture_findings(&"line\n".repeat(201)).len(), 1);
    }

    #[test]
    fn generated_folders_are_not_walked() {
        let files = rust_files(&crate::root().join("xtask")).unwrap();
        assert!(files.iter().any(|path| path.ends_with("src/tidy/mask.rs")));
        assert!(files.iter().all(|path| !path.components().any(|part| part.as_os_str() == "target")));
    }
}
