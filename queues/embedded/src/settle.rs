//! What becomes of a leased message: done, given back, kept for longer, or dead.

use std::time::Duration;

use rusqlite::{Connection, Transaction, params};
use sluiced_queue::Backlog;

use crate::lease::{self, Range, Taken};
use crate::{clock, dead, partition};

/// A worker's verdict on one message.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// Done, for good.
    Acknowledge,
    /// Comes back after `delay`.
    Release {
        /// From now.
        delay: Duration,
        /// Whether the attempt counts.
        failed: bool,
    },
    /// The lease ends this long from now.
    Extend(Duration),
    /// To the dead letters, with the reason.
    DeadLetter(String),
}

/// What the verdict came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Carried out.
    Yes,
    /// Carried out, and the message's partition can be dropped.
    PartitionDone,
    /// The lease isn't this worker's any more.
    LeaseLost,
}

/// Carries a verdict out, if the lease still stands.
///
/// A lease that has expired stands until somebody's `receive` takes its messages back: nobody else has
/// had the message yet, so work that was done in time or nearly so isn't done again.
pub(crate) fn settle(
    tx: &Transaction<'_>,
    queue: i64,
    (seq, lease): (i64, i64),
    verdict: &Verdict,
) -> rusqlite::Result<Settled> {
    let Some(range) = lease::find(tx, queue, seq)?.filter(|range| range.lease == lease) else {
        return Ok(Settled::LeaseLost);
    };
    lease::remove(tx, queue, &range, seq)?;
    match verdict {
        Verdict::Acknowledge => done(tx, queue, seq),
        Verdict::Release { delay, failed } => {
            let attempts = if *failed { range.attempt } else { range.attempt - 1 };
            let visible_ms = if delay.is_zero() { 0 } else { clock::in_ms(clock::now_ms(), *delay) };
            lease::wait(tx, queue, seq, attempts, visible_ms)?;
            Ok(Settled::Yes)
        }
        Verdict::Extend(span) => {
            let expires_ms = clock::in_ms(clock::now_ms(), *span);
            lease::insert(tx, queue, &Range { first: seq, last: seq, expires_ms, ..range })?;
            Ok(Settled::Yes)
        }
        Verdict::DeadLetter(reason) => {
            dead::bury(tx, queue, seq, range.attempt, reason)?;
            done(tx, queue, seq)
        }
    }
}

/// Reads what was taken. No bytes for a message whose bytes aren't what was appended.
pub(crate) fn bodies(
    connection: &mut Connection,
    queue: i64,
    taken: &[Taken],
) -> rusqlite::Result<Vec<(Taken, Option<Vec<u8>>)>> {
    // One transaction: a message may be moved between the look where it lies and the look there.
    let tx = connection.transaction()?;
    let mut bodies = Vec::with_capacity(taken.len());
    for &message in taken {
        let number = partition::locate(&tx, queue, message.seq)?;
        let (crc32, body): (u32, Vec<u8>) = tx
            .prepare_cached(&format!("SELECT crc32, message FROM messages_{number} WHERE seq = ?"))?
            .query_row([message.seq], |row| Ok((row.get(0)?, row.get(1)?)))?;
        bodies.push((message, (crc32fast::hash(&body) == crc32).then_some(body)));
    }
    Ok(bodies)
}

/// What is in the queue, expired leases and delays counted as what they have become.
pub(crate) fn backlog(connection: &Connection, queue: i64, now_ms: i64) -> rusqlite::Result<Backlog> {
    connection
        .prepare_cached(
            "SELECT tail - cursor
                + (SELECT count(*) FROM waiting WHERE queue = ?1 AND visible_ms <= ?2)
                + (SELECT coalesce(sum(last - first + 1), 0) FROM leases WHERE queue = ?1 AND expires_ms <= ?2),
                (SELECT coalesce(sum(last - first + 1), 0) FROM leases WHERE queue = ?1 AND expires_ms > ?2),
                (SELECT count(*) FROM waiting WHERE queue = ?1 AND visible_ms > ?2)
             FROM queues WHERE queue = ?1",
        )?
        .query_row([queue, now_ms], |row| {
            Ok(Backlog { visible: row.get(0)?, leased: row.get(1)?, delayed: row.get(2)? })
        })
}

fn done(tx: &Transaction<'_>, queue: i64, seq: i64) -> rusqlite::Result<Settled> {
    let number = partition::locate(tx, queue, seq)?;
    let bytes: u64 = tx
        .prepare_cached(&format!("SELECT length(message) FROM messages_{number} WHERE seq = ?"))?
        .query_row([seq], |row| row.get(0))?;
    tx.prepare_cached("DELETE FROM moved WHERE queue = ? AND seq = ?")?.execute(params![queue, seq])?;
    let finished = partition::count_done(tx, number, 1, bytes)?;
    Ok(if finished { Settled::PartitionDone } else { Settled::Yes })
}
