//! Imports point down only: the floors, and who may depend on whom.
//!
//! Cargo refuses cycles; this refuses what is no cycle yet. The picture of the floors stands in ARCHITECTURE.md.

use super::Finding;
use super::manifest::{Dependency, dependencies};

/// Every crate of the workspace that users meet, and the floor it stands on. A new crate is entered here and in the picture.
const FLOORS: [(&str, u8); 11] = [
    ("wire", 0),
    ("reactor", 1),
    ("net", 2),
    ("store", 2),
    ("channel", 2),
    ("web", 3),
    ("tail", 4),
    ("hub", 4),
    ("ftp", 4),
    ("app", 5),
    ("ropewalk", 6),
];

/// On one floor they do not know each other, but for these: who imports, and whom.
const NEIGHBOURS: [(&str, &str); 1] = [("channel", "store")];

/// They serve the developers: they may look at every floor, and no floor may look at them outside of its tests.
const BESIDE: [&str; 2] = ["testkit", "xtask"];

/// What the manifest of the crate in folder `name` imports that it must not.
pub(crate) fn findings(name: &str, text: &str) -> Vec<Finding> {
    if BESIDE.contains(&name) {
        return Vec::new();
    }
    let Some(floor) = floor(name) else {
        return vec![Finding::new(
            1,
            format!("`{name}` stands on no floor: enter it in xtask/src/tidy/floor.rs"),
        )];
    };
    let imports = dependencies(text).into_iter().filter(|found| !found.section.contains("dev-dependencies"));
    imports.filter_map(|found| refuse(name, floor, &found)).collect()
}

fn refuse(name: &str, floor: u8, import: &Dependency<'_>) -> Option<Finding> {
    let target = target(import)?;
    if BESIDE.contains(&target) {
        let what = format!("`{name}` imports `{target}`, which is for tests: make it a dev-dependency");
        return Some(Finding::new(import.line, what));
    }
    let Some(other) = self::floor(target) else {
        return Some(Finding::new(import.line, format!("`{target}` stands on no floor")));
    };
    (other >= floor && !NEIGHBOURS.contains(&(name, target))).then(|| {
        let what =
            format!("`{name}` (floor {floor}) imports `{target}` (floor {other}): imports point down only");
        Finding::new(import.line, what)
    })
}

/// The folder of the crate that is meant, if it is one of ours, under whatever name it is imported.
fn target<'a>(import: &Dependency<'a>) -> Option<&'a str> {
    let renamed = import.value.split_once("package").and_then(|(_, rest)| rest.split('"').nth(1));
    match renamed.unwrap_or(import.name) {
        whole @ ("ropewalk" | "xtask") => Some(whole),
        package => package.strip_prefix("ropewalk-"),
    }
}

fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(known, _)| *known == name).map(|(_, floor)| *floor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(name: &str, text: &str) -> Vec<String> {
        findings(name, text).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn down_is_fine() {
        assert!(
            whats(
                "web",
                "[dependencies]\nropewalk-net.workspace = true\nropewalk-wire.workspace = true\nmio = \"1\"\n"
            )
            .is_empty()
        );
        assert!(whats("ropewalk", "[dependencies]\nropewalk-app.workspace = true\n").is_empty());
    }

    #[test]
    fn up_is_refused() {
        let text = "[dependencies]\nropewalk-web.workspace = true\n";
        assert_eq!(whats("net", text), ["`net` (floor 2) imports `web` (floor 3): imports point down only"]);
        assert_eq!(whats("net", &text.replace("[dep", "[build-dep")).len(), 1);
        assert_eq!(whats("wire", "[dependencies]\nropewalk = { path = \"../ropewalk\" }\n").len(), 1);
    }

    #[test]
    fn neighbours_do_not_know_each_other() {
        assert_eq!(whats("net", "[dependencies]\nropewalk-channel.workspace = true\n").len(), 1);
        assert_eq!(whats("hub", "[dependencies]\nropewalk-ftp.workspace = true\n").len(), 1);
    }

    #[test]
    fn a_new_name_hides_nothing() {
        let text = "[dependencies]\nbelow = { package = \"ropewalk-web\", path = \"../web\" }\n";
        assert_eq!(whats("net", text).len(), 1);
        assert_eq!(whats("net", "[dependencies.ropewalk-web]\nworkspace = true\n").len(), 1);
    }

    #[test]
    fn tests_may_look_anywhere() {
        let text = "ropewalk-web.workspace = true\nropewalk-testkit.workspace = true\n";
        assert!(whats("net", &format!("[dev-dependencies]\n{text}")).is_empty());
        assert_eq!(whats("net", &format!("[dependencies]\n{text}")).len(), 2);
        assert!(whats("testkit", &format!("[dependencies]\n{text}")).is_empty());
    }

    #[test]
    fn a_crate_has_a_floor() {
        assert_eq!(whats("attic", "[dependencies]\n").len(), 1);
        assert_eq!(whats("net", "[dependencies]\nropewalk-attic.workspace = true\n").len(), 1);
    }
}
