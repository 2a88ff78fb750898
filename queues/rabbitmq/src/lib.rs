//! The RabbitMQ backend: quorum queues, persistent, mandatory, confirmed. In reading order:
//!
//! * [`options`]: what can be chosen, and what of it can't be right.
//! * `address`: the broker's URIs; `tls`: certificates.
//! * `connect`: one attempt to connect; `session`: a connection that stands, and what it says of itself.
//! * `pool`: channels, each with one message in flight; `publish`: a message and its confirmation.
//! * `fault`: what AMQP's errors mean to us.
//! * `link`: the connection that comes back for ever; `target`: a destination on it, checked and created.
//! * `topology`: queues and exchanges as they are declared.
//! * `message`: properties and headers of a message.
//! * [`queue`]: [`RabbitMq`](queue::RabbitMqQueue), the queue handler over all this.
//! * [`mod@check`]: `check --connect`.

pub mod bounds;
pub mod check;
pub mod options;
pub mod queue;

mod address;
mod connect;
mod fault;
mod link;
mod message;
mod pool;
mod publish;
mod session;
mod target;
mod tls;
mod topology;

pub use check::check;
pub use options::{Destination, Options, OptionsError};
pub use queue::RabbitMqQueue;
