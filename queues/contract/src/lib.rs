//! What the daemon and its backends agree on. In reading order:
//!
//! * [`context`]: [`WebHookQueueContext`], the message: what a worker gets of a webhook.
//! * [`request_headers`]: the request's headers in it.
//! * [`data`]: how a body appears in a message, and how its exact bytes are had back.
//! * [`json`]: the message as JSON, written and read; its schema is `schema/`.
//! * [`notifications`]: typed data of the ASP.NET custom sender.
//! * [`mod@format`]: the forms in which it can go into a queue: context, CloudEvents, raw.
//! * [`handler`]: [`WebHookQueueHandler`], which makes a message durable and gives a [`Receipt`].
//! * [`publisher`]: [`WebHookQueuePublisher`], a queue handler whose confirmation crosses a network.
//! * [`mod@spool`]: [`Spooled`], local disk in front of any such handler, for when the broker is slow or away.
//! * [`route`]: [`RouteTemplate`], subjects and routing keys with variables.
//! * [`consumer`]: [`WebHookQueueConsumer`], through which workers take messages out again.
//! * [`dead`]: [`DeadLetterStore`], what workers gave up on, for an operator's commands.
//! * `conformance`, with the feature of that name: the cases that every backend's tests run.
//!
//! A worker written in Rust depends on this crate and on one backend, never on the daemon.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod consumer;
pub mod context;
pub mod data;
pub mod dead;
pub mod format;
pub mod handler;
pub mod json;
mod json_check;
pub mod notifications;
pub mod publisher;
pub mod request_headers;
pub mod route;
pub mod spool;

pub use consumer::{Backlog, ConsumeError, LeasedMessage, WebHookQueueConsumer};
pub use context::{RequestFacts, WebHookQueueContext};
pub use data::Data;
pub use dead::{DeadLetter, DeadLetterError, DeadLetterStore};
pub use format::{Encoded, Format};
pub use handler::{Depth, Durable, EnqueueError, Health, Receipt, WebHookQueueHandler};
pub use json::DecodeError;
pub use notifications::CustomNotifications;
pub use publisher::{Publishing, WebHookQueuePublisher};
pub use request_headers::RequestHeaders;
pub use route::RouteTemplate;
pub use spool::{Ack, SpoolOptions, SpoolStore, Spooled};
