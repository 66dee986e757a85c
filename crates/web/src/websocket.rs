//! WebSocket (RFC 6455), with permessage-deflate (RFC 7692): the server's upgrade, and a client.
//!
//! ```text
//!  Request ─► upgrade │ upgrade_with ─► 101 ─► Connection (a Protocol) ─► WebSocketHandler │ Conversation
//!  url ─────► connect │ dial ─────────────────────┘         ▲
//!                        WebSocket, a cheap handle ─────────┘ send_text, send_shared, ping, close
//! ```
//! Three shapes, as one likes: a [`WebSocketHandler`] whose methods are called; a [`Conversation`] in an async function that receives
//! and sends; and in both the [`WebSocket`], a handle that is kept wherever messages come from.
//!
//! ```
//! use std::rc::Rc;
//! use ropewalk_web::websocket::{self, Message, Options, WebSocket, WebSocketHandler};
//! use ropewalk_web::{Request, Router};
//!
//! struct Echo;
//! impl WebSocketHandler for Echo {
//!     fn message(&mut self, socket: &WebSocket, message: Message) {
//!         socket.send(&message);
//!     }
//! }
//!
//! let options = Rc::new(Options::default());
//! let asynchronous = Rc::clone(&options);
//! let router = Router::new()
//!     .get("/echo", move |request: Request| websocket::upgrade(&request, Rc::clone(&options), Echo))
//!     .get("/later", move |request: Request| {
//!         websocket::upgrade_with(&request, Rc::clone(&asynchronous), |mut socket| async move {
//!             while let Some(message) = socket.receive().await {
//!                 socket.send(&message);
//!             }
//!             Ok(())
//!         })
//!     });
//! # drop(router);
//! ```
//!
//! A quiet connection holds no buffer, and no compressor either unless context takeover was agreed on, which the options must ask for.

mod client;
mod connection;
mod conversation;
mod handle;
mod handler;
mod options;
mod shared;
mod upgrade;

pub use client::{HandshakeError, connect, dial};
pub use conversation::{Conversation, Drained};
pub(crate) use handle::Burst;
pub use handle::{Closed, WebSocket};
pub use handler::{Piece, WebSocketHandler};
pub use options::{Options, Origins};
pub use ropewalk_wire::websocket::{DeflateOptions, Delivery, Limits, Message, Prepared, code};
pub use upgrade::{upgrade, upgrade_with};
