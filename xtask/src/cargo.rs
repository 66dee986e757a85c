//! Starts cargo: the same one that started this program, in the workspace's root.
//!
//! The commands call it; what cargo is asked to do stands with them.

use std::path::Path;
use std::process::Command;

/// Cargo with these arguments, not started yet.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root);
    command
}

/// Runs it to its end; what went wrong in starting it is said.
pub(crate) fn succeeds(mut command: Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("could not start {}: {error}", command.get_program().to_string_lossy());
            false
        }
    }
}
