//! The embedded queue: a durable queue on local disk, for a daemon that appends and workers in other
//! processes that take messages out, all through one SQLite file. In reading order:
//!
//! * [`bounds`]: every limit, with its reason.
//! * [`options`]: what the daemon may choose.
//! * [`queue`]: [`EmbeddedQueue`], the daemon's side: append, health, depth, close.
//! * `writer`: the one thread that appends; group commit. `append`, `claims`: what one commit does.
//! * `maintenance`: the other thread: checkpoints, finished partitions, old dead letters, free pages.
//! * [`consumer`]: [`EmbeddedConsumer`], a worker's side. `desk`: its thread. `lease`, `settle`: what
//!   its transactions do.
//! * [`dead`]: [`DeadLetters`], what workers gave up on. [`dead_store`]: the same, as the contract has it.
//! * [`spool`]: [`EmbeddedSpool`], the same store in front of a broker. `limits`: what brokers said they take.
//! * [`message`]: a message on its way in and out. `schema`, `partition`: the tables, and where bodies lie.
//!   `migration`: how an older store comes to have these tables.
//! * [`open_error`], `store`, `connection`, `lock`, `check`: how a directory becomes an open store,
//!   and why it may not.
//! * [`filesystem`], `space`, `fault`, `state`: what the disk is, how full, and what its errors mean.
//!
//! The promise and the reasons for it stand in the crate's README.

pub mod bounds;
pub mod consumer;
pub mod dead;
pub mod dead_store;
pub mod filesystem;
pub mod message;
pub mod open_error;
pub mod options;
pub mod queue;
pub mod spool;

mod append;
mod check;
mod claims;
mod clock;
mod connection;
mod depth;
mod desk;
mod fault;
mod lease;
mod limits;
mod lock;
mod maintenance;
mod migration;
mod partition;
mod schema;
mod settle;
mod space;
mod state;
mod store;
mod stragglers;
mod writer;

pub use consumer::EmbeddedConsumer;
pub use dead::{DeadError, DeadLetter, DeadLetters};
pub use dead_store::EmbeddedDeadLetters;
pub use depth::{Depth, DepthError};
pub use filesystem::{Durability, durability};
pub use message::NewMessage;
pub use open_error::OpenError;
pub use options::{Options, Partitioning};
pub use queue::EmbeddedQueue;
pub use spool::{EmbeddedLane, EmbeddedSpool, Usage};
pub use state::Counts;
