//! The rules of deferreds, one test each, by topic.

mod cancel;
mod chain;
mod depth;
mod harness;
mod log;
mod model;
mod nested;
mod pause;
mod timeout;
mod wait;
