//! What the daemon may choose.

use std::time::Duration;

use sluiced_queue::{Durable, Format};

use crate::bounds;

/// How a store is to be opened by the daemon. All of it has defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// The queue that this handle appends to.
    pub queue_name: String,
    /// The form in which webhooks go into the queue; workers read any.
    pub format: Format,
    /// The store's bound on disk in bytes: pages in use plus write-ahead log.
    pub bytes_max: u64,
    /// Appends stop when less than so many percent of the disk are free.
    pub free_percent_min: u8,
    /// The longest message in bytes, as encoded.
    pub message_bytes_max: usize,
    /// When an append is answered at the latest.
    pub append_deadline: Duration,
    /// What receipts say: `Embedded`, or `Spool` for the store in front of a broker.
    pub durable: Durable,
    /// How bodies are laid out.
    pub partitioning: Partitioning,
}

/// How bodies are laid out: tables of bounded size, each dropped whole once its messages are done.
#[derive(Clone, Copy, Debug)]
pub struct Partitioning {
    /// Messages in a partition.
    pub messages_max: u64,
    /// Bytes of messages in a partition; a longer message gets one of its own.
    pub bytes_max: u64,
    /// How long a sealed partition waits for its last messages before they are moved.
    pub straggler_age: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queue_name: "webhooks".into(),
            format: Format::Context,
            bytes_max: bounds::QUEUE_BYTES_MAX,
            free_percent_min: bounds::FREE_PERCENT_MIN,
            message_bytes_max: bounds::MESSAGE_BYTES_MAX,
            append_deadline: bounds::APPEND_DEADLINE,
            durable: Durable::Embedded,
            partitioning: Partitioning::default(),
        }
    }
}

impl Default for Partitioning {
    fn default() -> Self {
        Self {
            messages_max: bounds::PARTITION_MESSAGES_MAX,
            bytes_max: bounds::PARTITION_BYTES_MAX,
            straggler_age: bounds::STRAGGLER_AGE,
        }
    }
}
