//! The configuration, resolved: flags over environment over file over defaults, each value with
//! where it came from.
//!
//! * [`mod@file`]: the TOML file.
//! * [`front_door`]: who may come in and how.
//! * [`source`]: where secrets come from.
//! * [`providers`]: rows of one's own beside the catalogue's.
//! * [`receivers`]: which receivers there are, from all three places.
//! * [`queue`]: which queue, how to reach it, and the spool in front of it.
//! * [`handlers`]: what happens to their webhooks.
//! * [`mod@resolve`]: puts them together.
//! * [`known`]: one receiver only, for commands that judge without serving.

mod draft;
pub mod file;
pub mod front_door;
pub mod handlers;
pub mod known;
pub mod providers;
pub mod queue;
pub mod receivers;
pub mod resolve;
pub mod source;

use std::time::Duration;

use crate::catalog::Catalog;
use crate::log::{Format, Level};
pub use front_door::FrontDoorConfig;
pub use handlers::{HandlerConfig, HandlerKind, QueueTarget};
pub use known::{Known, resolve_known};
pub use providers::resolve_catalog;
pub use queue::QueueConfig;
pub use receivers::ReceiverConfig;
pub use resolve::{Shown, check_queue_name, resolve, resolve_drain, resolve_queue, resolve_work};

/// What is wrong with the configuration and how to mend it. Exit code 78.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Everything that `serve` needs to know.
#[derive(Debug)]
pub struct Config {
    /// Where webhooks come in.
    pub listen: String,
    /// Where `/livez` and `/readyz` are served.
    pub ops_listen: Option<String>,
    /// The base URL that senders know, without a slash at its end.
    pub public_url: Option<String>,
    /// The path under which receivers stand: starts with a slash and doesn't end with one.
    pub base_path: String,
    /// Who may come in and how.
    pub front_door: FrontDoorConfig,
    /// The queue.
    pub queue: QueueConfig,
    /// The providers: the catalogue's, and the file's own.
    pub catalog: Catalog,
    /// The receivers.
    pub receivers: Vec<ReceiverConfig>,
    /// What happens to their webhooks.
    pub handlers: Vec<HandlerConfig>,
    /// Whether a queue handler for everything stands in the chain.
    pub default_queue: bool,
    /// How long accepting goes on after SIGTERM.
    pub drain_delay: Duration,
    /// How long what is in flight may take after that.
    pub drain_timeout: Duration,
    /// Bounds that an operator may change.
    pub limits: Limits,
    /// How log lines look.
    pub log_format: Format,
    /// Which log lines are written.
    pub log_level: Level,
    /// Every value with where it came from.
    pub shown: Vec<Shown>,
    /// What works and should be looked at all the same.
    pub warnings: Vec<String>,
}

/// Bounds that an operator may change; reasons are in [`crate::bounds`].
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a body, where the receiver says nothing else.
    pub body_bytes_max: u64,
    /// Time for a body.
    pub body_timeout: Duration,
    /// The slowest that a body may come.
    pub body_rate_min_bytes_per_s: u64,
    /// Bytes of bodies in memory.
    pub body_memory_bytes_max: u64,
    /// Headers of a request.
    pub headers_max: u64,
    /// Bytes of a request's headers.
    pub headers_bytes_max: u64,
    /// Time for the headers.
    pub header_timeout: Duration,
    /// Time for a keep-alive connection without a request.
    pub idle_timeout: Duration,
    /// Open connections.
    pub connections_max: u64,
    /// Open connections of one address that is no trusted proxy; half of them all, unless configured.
    pub connections_per_address_max: Option<u64>,
    /// Connections past the bound that are being told so; see [`crate::bounds::REJECTIONS_MAX`].
    pub rejections_max: u64,
    /// Webhooks between the end of their body and their answer.
    pub in_flight_max: u64,
}
