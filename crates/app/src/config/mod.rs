//! The configuration file: one TOML file that describes the tree. Each `[services.NAME]` is of a kind, and a kind's table has the words of
//! its sub-command: both come from one struct, so what one of them knows the other one knows. `table` reads the file, `plan` makes services
//! of it, `reload` replaces those that have changed.
//!
//! ```toml
//! grace = 10                    # what the program's own options say, without the dashes
//!
//! [services.site]
//! kind = "web"
//! path = "public"
//! listen = "tcp:8080"
//! after = ["feed"]              # of every kind: starts after these
//! ```

mod example;
mod kind;
mod mistake;
mod plan;
mod reload;
mod table;

pub use example::example;
pub use kind::Kind;
pub use mistake::{ConfigError, Mistake};
pub use plan::{Configuration, Planned};
pub(crate) use reload::reload_of;
