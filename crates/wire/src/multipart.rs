//! `multipart/form-data` read (RFC 7578, over RFC 2046 section 5.1): bytes in, parts and their pieces out.
//!
//! Not a store: a piece is a slice of what was fed, and what it becomes is the caller's business. The web floor calls it with the
//! pieces of a request's body. The outcome is the same however the bytes are cut.
//!
//! ```
//! use ropewalk_wire::multipart::{Boundary, Decoder, Event, Limits};
//!
//! let boundary = Boundary::of(b"multipart/form-data; boundary=rope").unwrap();
//! let mut decoder = Decoder::new(&boundary);
//! let mut rest: &[u8] = b"--rope\r\nContent-Disposition: form-data; name=\"motto\"\r\n\r\nhold on\r\n--rope--\r\n";
//! let mut text = Vec::new();
//! loop {
//!     let (consumed, event) = decoder.decode(rest, &Limits::default()).unwrap();
//!     rest = &rest[consumed..];
//!     match event {
//!         Event::Part(head) => assert_eq!(head.disposition().unwrap().name.as_deref(), Some("motto")),
//!         Event::Data(piece) => text.extend_from_slice(piece),
//!         Event::PartEnd => {}
//!         Event::End | Event::NeedMore => break,
//!     }
//! }
//! assert_eq!(text, b"hold on");
//! assert_eq!(decoder.finish(), Ok(()));
//! ```

mod boundary;
mod decoder;
mod disposition;
mod head;
mod parameters;

pub use boundary::Boundary;
pub use decoder::{Decoder, Event};
pub use disposition::{Disposition, safe_file_name};
pub use head::PartHead;

use std::fmt;

/// What a body may have in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Parts, 100: forms have fewer, and each costs more than its bytes.
    pub parts_max: usize,
    /// Bytes of the head of one part with its line ends, 8 KiB: three fields, one of them with a name.
    pub head_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { parts_max: 100, head_bytes_max: 8 * 1024 }
    }
}

/// Why a body is refused. A refusal is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// More parts than there may be.
    TooManyParts,
    /// The head of a part is larger than it may be.
    HeadTooLarge,
    /// Something stands behind a boundary on its line.
    AfterBoundary,
    /// A line of a part's head is no field.
    Field,
    /// A part of a form does not say what it is, or says it in a way that two readers may read differently.
    Disposition,
    /// The body ends before the boundary that ends it.
    Truncated,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::TooManyParts => "the form has too many parts",
            Malformed::HeadTooLarge => "the head of a part is too large",
            Malformed::AfterBoundary => "something stands behind a boundary",
            Malformed::Field => "the head of a part is malformed",
            Malformed::Disposition => "a part has no proper Content-Disposition",
            Malformed::Truncated => "the form ends before its end",
        })
    }
}

impl std::error::Error for Malformed {}
