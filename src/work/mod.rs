//! The worker behind `sluiced work`: takes messages out of a queue and settles each by what came of it.
//! In reading order:
//!
//! * [`intake`]: waits for the queue and asks it for messages.
//! * [`engine`]: takes as many messages as can be begun at once, until there is a reason to stop.
//! * [`worker`]: the life of one message, from its lease to its verdict.
//! * [`attempt`]: one try at a message, and why it may fail.
//! * [`exec`], [`group`]: a command for each message, in a process group of its own.
//! * [`forward`], [`hop`]: an HTTP request for each message.
//! * [`facts`]: what both are told of a message besides its body.
//! * [`print`](mod@print): one line for each message instead.
//! * [`backoff`]: when something that failed is tried again.
//! * [`report`]: the log, and the summary at the end.

pub mod attempt;
pub mod backoff;
pub mod engine;
pub mod exec;
pub mod facts;
pub mod forward;
pub mod group;
pub mod hop;
pub mod intake;
pub mod print;
pub mod report;
pub mod worker;

use crate::config::ConfigError;

/// Why a worker ended before it was told to. What it held has gone back, or does when its lease ends.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The queue can't be opened, and waiting won't help.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The queue can't be used any more.
    #[error("{0}")]
    Queue(String),
    /// Nobody reads what `--print` writes.
    #[error("stdout was closed; what was not written is back in the queue")]
    OutputClosed,
    /// What `--print` writes can't be written.
    #[error("can't write to stdout: {0}; what was not written is back in the queue")]
    Output(String),
}
