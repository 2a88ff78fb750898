//! What becomes of a leased message: done, given back, kept for longer, or dead.

use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, Row, Transaction};
use sluiced_queue::Backlog;

use crate::lease::{self, Range, Taken};
use crate::message::{self, BYTES};
use crate::partition::{self, Place};
use crate::{clock, dead};

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

/// Sequence number and lease.
pub(crate) type Key = (i64, i64);

/// Carries verdicts out, each if its lease still stands; one answer for each. Acknowledgements of
/// neighbours, which is what a worker that keeps up sends, cost hardly more than one.
///
/// A lease that has expired stands until somebody's `receive` takes its messages back: nobody else has
/// had the message yet, so work that was done in time or nearly so isn't done again.
pub(crate) fn settle_all(
    tx: &Transaction<'_>,
    queue: i64,
    asked: &[(Key, &Verdict)],
) -> rusqlite::Result<Vec<Settled>> {
    let mut settled = vec![Settled::LeaseLost; asked.len()];
    let mut acknowledged: Vec<(Key, usize)> = Vec::new();
    for (at, (key, verdict)) in asked.iter().enumerate() {
        match verdict {
            Verdict::Acknowledge => acknowledged.push((*key, at)),
            _ => settled[at] = settle(tx, queue, *key, verdict)?,
        }
    }
    acknowledged.sort_unstable_by_key(|((seq, lease), _)| (*lease, *seq));
    let neighbours =
        |((a, of_a), _): &(Key, usize), ((b, of_b), _): &(Key, usize)| of_a == of_b && *b == a + 1;
    for run in acknowledged.chunk_by(neighbours) {
        acknowledge_run(tx, queue, run, &mut settled)?;
    }
    Ok(settled)
}

/// Acknowledges neighbours of one lease.
fn acknowledge_run(
    tx: &Transaction<'_>,
    queue: i64,
    mut run: &[(Key, usize)],
    settled: &mut [Settled],
) -> rusqlite::Result<()> {
    while let Some(&((first, lease), _)) = run.first() {
        let Some(range) = lease::find(tx, queue, first)?.filter(|range| range.lease == lease) else {
            run = &run[1..];
            continue;
        };
        let covered = run.iter().take_while(|((seq, _), _)| *seq <= range.last).count();
        let (now, later) = run.split_at(covered);
        let last = now.last().map_or(first, |((seq, _), _)| *seq);
        lease::remove(tx, queue, &range, (first, last))?;
        let outcome = done(tx, queue, first, last)?;
        now.iter().for_each(|(_, at)| settled[*at] = outcome);
        run = later;
    }
    Ok(())
}

/// Carries one verdict out.
fn settle(
    tx: &Transaction<'_>,
    queue: i64,
    (seq, lease): Key,
    verdict: &Verdict,
) -> rusqlite::Result<Settled> {
    let Some(range) = lease::find(tx, queue, seq)?.filter(|range| range.lease == lease) else {
        return Ok(Settled::LeaseLost);
    };
    lease::remove(tx, queue, &range, (seq, seq))?;
    match verdict {
        Verdict::Acknowledge => done(tx, queue, seq, seq),
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
            done(tx, queue, seq, seq)
        }
    }
}

/// A message as workers get it: payload and headers.
pub(crate) type Content = (Bytes, Vec<(String, String)>);

/// Reads what was taken. No content for a message that isn't what was appended.
pub(crate) fn contents(
    connection: &mut Connection,
    queue: i64,
    taken: &[Taken],
) -> rusqlite::Result<Vec<(Taken, Option<Content>)>> {
    // One transaction: a message may be moved between the look where it lies and the look there.
    let tx = connection.transaction()?;
    let mut contents = Vec::with_capacity(taken.len());
    let mut place = None;
    for &message in taken {
        let here = Place::or_of(place, &tx, queue, message.seq)?;
        place = Some(here);
        let sql = format!("SELECT crc32, message, headers FROM messages_{} WHERE seq = ?", here.number);
        let content = tx.prepare_cached(&sql)?.query_row([message.seq], content)?;
        contents.push((message, content));
    }
    Ok(contents)
}

/// Payload and headers out of a row of checksum, message and headers; `None` where they don't match.
pub(crate) fn content(row: &Row<'_>) -> rusqlite::Result<Option<Content>> {
    let (crc32, payload, json): (u32, Vec<u8>, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
    if message::crc32(&payload, json.as_deref()) != crc32 {
        return Ok(None);
    }
    Ok(message::headers(json.as_deref()).map(|headers| (payload.into(), headers)))
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

/// Counts neighbours as done, in whichever partitions they lie.
fn done(tx: &Transaction<'_>, queue: i64, first: i64, last: i64) -> rusqlite::Result<Settled> {
    let mut settled = Settled::Yes;
    let mut next = first;
    while next <= last {
        let place = Place::of(tx, queue, next)?;
        let here = (next, last.min(place.last));
        let (messages, bytes): (u64, u64) = tx
            .prepare_cached(&format!(
                "SELECT count(*), coalesce(sum{BYTES}, 0) FROM messages_{} WHERE seq BETWEEN ? AND ?",
                place.number
            ))?
            .query_row(<[i64; 2]>::from(here), |row| Ok((row.get(0)?, row.get(1)?)))?;
        if partition::count_done(tx, place.number, messages, bytes)? {
            settled = Settled::PartitionDone;
        }
        next = here.1 + 1;
    }
    tx.prepare_cached("DELETE FROM moved WHERE queue = ? AND seq BETWEEN ? AND ?")?
        .execute([queue, first, last])?;
    Ok(settled)
}
