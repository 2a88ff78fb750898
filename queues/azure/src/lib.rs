//! The Azure Storage Queue backend. In reading order:
//!
//! * [`options`]: [`Options`], what an operator sets, and [`OptionsError`], which says what is wrong in it.
//! * [`queue`]: [`AzureQueue`], the queue handler: `Ok` once Azure answered 201 Created.
//! * [`consumer`]: [`AzureConsumer`], a worker's side: leases are visibility time-outs.
//! * [`dead`]: [`AzureDeadLetters`], what is in `{queue}-poison`.
//! * [`mod@check`]: what `sluiced check --connect` finds out.
//!
//! Below them: `account` (connection strings and URLs), `shared_key`, `entra` and `tokens` (credentials), `service` (one
//! method per operation, each with a deadline), `transport` and `http` (the client under it), `fault` (what can go
//! wrong, in closed kinds), `watch` (health, and the probe), `send` and `retry`, `text` and `notes` (what stands in a message), `lease` and
//! `letters` (what is in our hands), `bounds`.

mod account;
mod bounds;
pub mod check;
pub mod consumer;
pub mod dead;
mod entra;
mod fault;
mod http;
mod lease;
mod letters;
mod name;
mod notes;
pub mod options;
pub mod queue;
mod retry;
mod send;
mod service;
mod shared_key;
mod text;
mod tokens;
mod transport;
mod watch;

pub use check::check;
pub use consumer::AzureConsumer;
pub use dead::AzureDeadLetters;
pub use options::{Credential, Destination, Options, OptionsError};
pub use queue::AzureQueue;
