//! An FTP server: RFC 959 and what followed, over the transports of `net`.
#![forbid(unsafe_code)]
