//! The command to remember.
fn main() {}
