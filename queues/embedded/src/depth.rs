//! What is in a queue, for metrics.

use rusqlite::{Connection, OptionalExtension};

use crate::append;
use crate::partition::Place;

/// What is in a queue and not done: waiting, leased or delayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages.
    pub messages: u64,
    /// Their bytes, as encoded.
    pub bytes: u64,
    /// When the oldest of them was appended, in µs since 1970.
    pub oldest_us: Option<i64>,
}

/// Why the depth isn't known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DepthError {
    /// The disk is slow, or somebody holds the file.
    #[error("no answer within {deadline_ms} ms")]
    TimedOut {
        /// How long was waited.
        deadline_ms: u64,
    },
    /// The store can't be read.
    #[error("the store can't be read: {0}")]
    Unreadable(String),
}

/// Reads it. A few lookups; the number of messages doesn't matter.
pub(crate) fn depth(connection: &mut Connection, name: &str) -> rusqlite::Result<Depth> {
    // One transaction: the partition of the oldest must not be dropped in between.
    let tx = connection.transaction()?;
    let Some(queue) = append::find_queue(&tx, name)? else {
        return Ok(Depth::default());
    };
    let (messages, bytes) = tx
        .prepare_cached(
            "SELECT coalesce(sum(messages - done), 0), coalesce(sum(bytes - done_bytes), 0)
             FROM partitions WHERE queue = ?",
        )?
        .query_row([queue], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let oldest_us = match oldest(&tx, queue)? {
        Some(seq) => appended_us(&tx, queue, seq)?,
        None => None,
    };
    Ok(Depth { messages, bytes, oldest_us })
}

fn oldest(connection: &Connection, queue: i64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT min(seq) FROM (
                SELECT min(first) AS seq FROM leases WHERE queue = ?1
                UNION ALL SELECT min(seq) FROM waiting WHERE queue = ?1
                UNION ALL SELECT cursor + 1 FROM queues WHERE queue = ?1 AND cursor < tail)",
        )?
        .query_row([queue], |row| row.get(0))
}

fn appended_us(connection: &Connection, queue: i64, seq: i64) -> rusqlite::Result<Option<i64>> {
    let Place { number, .. } = Place::of(connection, queue, seq)?;
    connection
        .query_row(&format!("SELECT appended_us FROM messages_{number} WHERE seq = ?"), [seq], |row| {
            row.get(0)
        })
        .optional()
}
