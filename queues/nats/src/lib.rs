//! The NATS JetStream backend. In reading order:
//!
//! * [`Options`]: servers, credentials, stream and subject; [`Destination`] for a handler of its own.
//! * [`NatsQueue`]: makes webhooks durable: a message is confirmed when its stream has acknowledged it.
//!
//! Behind them: `supervisor` keeps one `link` up; `target` and `stream` look after streams; `post` sends one
//! message until it is acknowledged, and `answer` reads the acknowledgement.

mod address;
mod answer;
mod bounds;
mod credentials;
mod headers;
mod link;
mod options;
mod post;
mod queue;
mod secret;
mod settings;
mod stream;
mod subject;
mod supervisor;
mod target;

pub use options::{Destination, Options, OptionsError, Retention, Storage};
pub use queue::NatsQueue;
pub use secret::Secret;
