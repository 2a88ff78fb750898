//! What the daemon and its backends agree on. In reading order:
//!
//! * [`context`]: [`WebHookQueueContext`], the message: what a worker gets of a webhook.
//! * [`data`]: how a body appears in a message, and how its exact bytes are had back.
//! * [`json`]: the message as JSON, written and read; its schema is `schema/`.
//! * [`notifications`]: typed data of the ASP.NET custom sender.
//! * [`mod@format`]: the forms in which it can go into a queue: context, CloudEvents, raw.
//! * [`handler`]: [`WebHookQueueHandler`], which makes a message durable and gives a [`Receipt`].
//! * [`consumer`]: [`WebHookQueueConsumer`], through which workers take messages out again.
//! * [`dead`]: [`DeadLetterStore`], what workers gave up on, for an operator's commands.
//!
//! A worker written in Rust depends on this crate and on one backend, never on the daemon.

pub mod consumer;
pub mod context;
pub mod data;
pub mod dead;
pub mod format;
pub mod handler;
pub mod json;
pub mod notifications;

pub use consumer::{Backlog, ConsumeError, LeasedMessage, WebHookQueueConsumer};
pub use context::{RequestFacts, WebHookQueueContext};
pub use data::Data;
pub use dead::{DeadLetter, DeadLetterError, DeadLetterStore};
pub use format::{Encoded, Format};
pub use handler::{Depth, Durable, EnqueueError, Health, Receipt, WebHookQueueHandler};
pub use json::DecodeError;
pub use notifications::CustomNotifications;
