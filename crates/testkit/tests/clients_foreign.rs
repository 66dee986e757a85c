//! The convention itself: a test asks for its program, and is skipped politely where there is none.

use std::process::Command;

#[test]
fn what_was_found_can_be_started() {
    for name in ["curl", "python3"] {
        let Some(program) = ropewalk_testkit::require(name) else { continue };
        let output = Command::new(program).arg("--version").output().unwrap();
        assert!(output.status.success(), "{name} --version: {output:?}");
    }
}
