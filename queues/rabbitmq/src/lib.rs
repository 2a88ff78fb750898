//! The RabbitMQ backend: quorum queues, persistent, mandatory, confirmed. In reading order:
//!
//! * [`options`]: what can be chosen, and what of it can't be right.
//! * `address`: the broker's URIs; `tls`: certificates.
//! * `connect`: one attempt to connect; `session`: a connection that stands, and what it says of itself.
//! * `channel`: closed for certain. `pool`: channels, each with one message in flight; `publish`: a message and its confirmation.
//! * `fault`: what AMQP's errors mean to us.
//! * `link`: the connection that comes back for ever; `target`: a destination on it, checked and created.
//! * `topology`: queues and exchanges as they are declared.
//! * `message`: properties and headers of a message; `frame`: how long they become.
//! * [`queue`]: [`RabbitMqQueue`], the queue handler over all this.
//! * [`mod@check`]: `check --connect`.
//! * [`consumer`]: [`RabbitMqConsumer`], a worker's side; `intake`, `lease`, `headers`, `delay`, `marker`,
//!   `young`: its parts.
//! * [`dead`]: [`RabbitMqDeadLetters`], an operator's side, which looks with `scan`.

pub mod bounds;
pub mod check;
pub mod consumer;
pub mod dead;
pub mod options;
pub mod queue;

mod address;
mod channel;
mod connect;
mod delay;
mod fault;
mod frame;
mod headers;
mod intake;
mod lease;
mod link;
mod marker;
mod message;
mod pool;
mod publish;
mod scan;
mod session;
mod target;
mod tls;
mod topology;
mod young;

pub use check::check;
pub use consumer::RabbitMqConsumer;
pub use dead::RabbitMqDeadLetters;
pub use options::{Destination, Options, OptionsError};
pub use queue::RabbitMqQueue;
