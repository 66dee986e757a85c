//! What the tests of several crates share. No program and no library depends on it outside of its tests.
#![forbid(unsafe_code)]

mod foreign;

pub use foreign::{headless, node, program, python, require};
