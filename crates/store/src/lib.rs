//! Tables on disk, used from the loop: SQLite on threads of its own, with commits in groups.
#![forbid(unsafe_code)]
