//! The NATS JetStream backend. In reading order:
//!
//! * [`Options`]: servers, credentials, stream and subject; [`Destination`] for a handler of its own.
//! * [`NatsQueue`]: makes webhooks durable: a message is confirmed when its stream has acknowledged it.
//! * [`NatsConsumer`]: hands messages to workers; [`NatsDeadLetters`]: what they gave up on.
//! * [`check`]: whether it would work, for an operator.
//!
//! Behind them: `supervisor` keeps one `link` up; `target` and `stream` look after streams; `post` sends one
//! message until it is acknowledged, and `answer` reads the acknowledgement. A worker's `durable` consumer is
//! asked by `pull`, `lease` keeps what it holds, `verdict` gives it back; `letters` writes and reads dead ones.

mod address;
mod answer;
mod bounds;
mod check;
mod consumer;
mod credentials;
mod dead;
mod durable;
mod headers;
mod lease;
mod letters;
mod link;
mod options;
mod post;
mod pull;
mod queue;
mod secret;
mod settings;
mod stream;
mod subject;
mod supervisor;
mod target;
mod verdict;

pub use check::check;
pub use consumer::NatsConsumer;
pub use dead::NatsDeadLetters;
pub use options::{Destination, Options, OptionsError, Retention, Storage};
pub use queue::NatsQueue;
pub use secret::Secret;
