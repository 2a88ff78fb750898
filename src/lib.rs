//! The sluiced daemon: verifies webhooks, makes them durable, and only then acknowledges them.
//!
//! In reading order:
//!
//! * [`cli`]: the command line; [`commands`]: one file per command.
//! * [`config`]: flags, environment and file, resolved; [`units`]: durations and sizes.
//! * [`app`]: what all deliveries share.
//! * [`http`]: sockets, connections, bodies and their bounds.
//! * [`pipeline`]: the life of a webhook, top to bottom; [`to_the_end`]: what goes on when its sender hangs up.
//! * [`receivers`]: which receiver a path means; [`captures`]: secrets that senders hand over;
//!   [`delivery`]: one HTTP request, not yet verified.
//! * [`catalog`]: the providers, one file of data each; [`verify`]: the engine that reads them.
//! * [`keys`]: keys and certificates that providers publish, fetched and cached.
//! * [`message`]: from a verified delivery to the message.
//! * [`handlers`]: what happens to it; [`backend`]: the seam to the queues.
//! * [`work`]: the worker behind `sluiced work`; [`client`]: its HTTP client, and that of `send`.
//! * [`reason`]: why a delivery wasn't accepted, and the table that maps it to HTTP.
//! * [`log`]: one line per delivery; [`metrics`]; [`ops`]: `/livez`, `/readyz`, `/metrics`.
//! * [`service_manager`]: sockets from systemd, and what it is told.
//! * [`bounds`] and [`limits`]: every bound with its reason, and the process's own.

pub mod app;
pub mod backend;
pub mod bounds;
pub mod captures;
pub mod catalog;
pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod delivery;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod handlers;
pub mod http;
pub mod keys;
pub mod limits;
pub mod live;
pub mod log;
pub mod message;
pub mod metrics;
pub mod networks;
pub mod ops;
pub mod pipeline;
pub mod reason;
pub mod receivers;
pub mod service_manager;
pub mod to_the_end;
pub mod units;
pub mod verify;
pub mod work;

pub use commands::run;
