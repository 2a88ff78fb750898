//! Taking messages: what a worker's `receive` does to the tables.
//!
//! All of it happens in a transaction that holds the write lock from its beginning, so that no two
//! workers ever take one message.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::bounds;
use crate::message::BYTES;
use crate::partition::Place;

/// One message that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) seq: i64,
    pub(crate) attempt: u32,
    pub(crate) lease: i64,
    pub(crate) bytes: u64,
}

/// A range of `leases`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) lease: i64,
    pub(crate) attempt: u32,
    pub(crate) expires_ms: i64,
    pub(crate) pid: u32,
}

/// What a look without the lock tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Glance {
    /// Something can be taken now.
    pub(crate) visible: bool,
    /// When something becomes visible by itself, if nobody commits anything before.
    pub(crate) next_ms: Option<i64>,
}

/// Ends all leases of a queue: their holder has died. The messages are visible with the next `take`.
pub(crate) fn end_all(connection: &Connection, queue: i64) -> rusqlite::Result<()> {
    connection.execute("UPDATE leases SET expires_ms = 0 WHERE queue = ?", [queue]).map(|_| ())
}

/// Looks whether it is worth asking for the lock.
pub(crate) fn glance(connection: &Connection, queue: i64, now_ms: i64) -> rusqlite::Result<Glance> {
    let (ready, next_ms): (bool, Option<i64>) = connection
        .prepare_cached(
            "SELECT cursor < tail OR EXISTS (SELECT 1 FROM waiting WHERE queue = ?1 AND visible_ms = 0),
                (SELECT min(at_ms) FROM (
                    SELECT min(expires_ms) AS at_ms FROM leases WHERE queue = ?1
                    UNION ALL
                    SELECT min(visible_ms) FROM waiting WHERE queue = ?1 AND visible_ms > 0))
             FROM queues WHERE queue = ?1",
        )?
        .query_row([queue], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Glance { visible: ready || next_ms.is_some_and(|at| at <= now_ms), next_ms })
}

/// Leases up to `max` messages until `expires_ms`, oldest first.
pub(crate) fn take(
    tx: &Transaction<'_>,
    queue: i64,
    max: usize,
    now_ms: i64,
    expires_ms: i64,
) -> rusqlite::Result<Vec<Taken>> {
    expire(tx, queue, now_ms)?;
    wake(tx, queue, now_ms)?;
    let lease = tx
        .prepare_cached("UPDATE queues SET lease = lease + 1 WHERE queue = ? RETURNING lease")?
        .query_row([queue], |row| row.get(0))?;
    let mut taken = Vec::new();
    let mut budget =
        Budget { messages: max.min(bounds::RECEIVE_MESSAGES_MAX), bytes: bounds::RECEIVE_BYTES_MAX };
    // Whatever waits was leased before, so it is older than everything fresh.
    take_waiting(tx, queue, lease, &mut budget, &mut taken)?;
    take_fresh(tx, queue, lease, &mut budget, &mut taken)?;
    for range in ranges(&taken, expires_ms) {
        insert(tx, queue, &range)?;
    }
    Ok(taken)
}

/// The range in which a message is leased, if it is.
pub(crate) fn find(connection: &Connection, queue: i64, seq: i64) -> rusqlite::Result<Option<Range>> {
    let range = connection
        .prepare_cached(
            "SELECT first, last, lease, attempt, expires_ms, pid FROM leases
             WHERE queue = ? AND first <= ? ORDER BY first DESC LIMIT 1",
        )?
        .query_row([queue, seq], range)
        .optional()?;
    Ok(range.filter(|range| range.last >= seq))
}

/// Takes neighbours out of their range; what is left and right of them stays leased.
pub(crate) fn remove(
    tx: &Transaction<'_>,
    queue: i64,
    range: &Range,
    (first, last): (i64, i64),
) -> rusqlite::Result<()> {
    delete(tx, queue, range)?;
    if range.first < first {
        insert(tx, queue, &Range { last: first - 1, ..*range })?;
    }
    if last < range.last {
        insert(tx, queue, &Range { first: last + 1, ..*range })?;
    }
    Ok(())
}

pub(crate) fn insert(tx: &Transaction<'_>, queue: i64, range: &Range) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO leases (queue, first, last, lease, attempt, expires_ms, pid) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        queue,
        range.first,
        range.last,
        range.lease,
        range.attempt,
        range.expires_ms,
        range.pid
    ])
    .map(|_| ())
}

/// Puts a message back. `visible_ms` 0: at once.
pub(crate) fn wait(
    tx: &Transaction<'_>,
    queue: i64,
    seq: i64,
    attempts: u32,
    visible_ms: i64,
) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT INTO waiting (queue, seq, attempts, visible_ms) VALUES (?, ?, ?, ?)")?
        .execute(params![queue, seq, attempts, visible_ms])
        .map(|_| ())
}

/// How much more may be taken.
struct Budget {
    messages: usize,
    bytes: u64,
}

impl Budget {
    /// The first message is always within it, however long.
    fn spend(&mut self, bytes: u64, first: bool) -> bool {
        if self.messages == 0 || (bytes > self.bytes && !first) {
            self.messages = 0;
            return false;
        }
        self.messages -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}

/// Expired leases: their messages are visible again, and the attempt counts.
fn expire(tx: &Transaction<'_>, queue: i64, now_ms: i64) -> rusqlite::Result<()> {
    let expired: Vec<Range> = tx
        .prepare_cached(
            "SELECT first, last, lease, attempt, expires_ms, pid FROM leases
             WHERE queue = ? AND expires_ms <= ? ORDER BY expires_ms LIMIT ?",
        )?
        .query_map(params![queue, now_ms, bounds::EXPIRED_PER_RECEIVE], range)?
        .collect::<Result<_, _>>()?;
    for range in &expired {
        delete(tx, queue, range)?;
        for seq in range.first..=range.last {
            wait(tx, queue, seq, range.attempt, 0)?;
        }
    }
    Ok(())
}

/// Delays that have ended: visible now, so that the oldest can be found by its number.
fn wake(tx: &Transaction<'_>, queue: i64, now_ms: i64) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE waiting SET visible_ms = 0 WHERE queue = ?1 AND seq IN
            (SELECT seq FROM waiting WHERE queue = ?1 AND visible_ms BETWEEN 1 AND ?2
             ORDER BY visible_ms LIMIT ?3)",
    )?
    .execute(params![queue, now_ms, bounds::EXPIRED_PER_RECEIVE])
    .map(|_| ())
}

fn take_waiting(
    tx: &Transaction<'_>,
    queue: i64,
    lease: i64,
    budget: &mut Budget,
    taken: &mut Vec<Taken>,
) -> rusqlite::Result<()> {
    let ready: Vec<(i64, u32)> = tx
        .prepare_cached(
            "SELECT seq, attempts FROM waiting WHERE queue = ? AND visible_ms = 0 ORDER BY seq LIMIT ?",
        )?
        .query_map(params![queue, budget.messages], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut delete = tx.prepare_cached("DELETE FROM waiting WHERE queue = ? AND seq = ?")?;
    for (seq, attempts) in ready {
        let bytes = length(tx, queue, seq)?;
        if !budget.spend(bytes, taken.is_empty()) {
            break;
        }
        delete.execute([queue, seq])?;
        taken.push(Taken { seq, attempt: attempts + 1, lease, bytes });
    }
    Ok(())
}

fn take_fresh(
    tx: &Transaction<'_>,
    queue: i64,
    lease: i64,
    budget: &mut Budget,
    taken: &mut Vec<Taken>,
) -> rusqlite::Result<()> {
    let (before, tail): (i64, i64) = tx
        .prepare_cached("SELECT cursor, tail FROM queues WHERE queue = ?")?
        .query_row([queue], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let until = tail.min(before.saturating_add_unsigned(budget.messages as u64));
    let mut cursor = before;
    while cursor < until && budget.messages > 0 {
        let place = Place::of(tx, queue, cursor + 1)?;
        let sql = format!("SELECT seq, {BYTES} FROM messages_{} WHERE seq BETWEEN ? AND ?", place.number);
        let mut statement = tx.prepare_cached(&sql)?;
        let mut rows = statement.query([cursor + 1, until.min(place.last)])?;
        let begin = cursor;
        while let Some(row) = rows.next()?
            && row.get::<_, i64>(0)? == cursor + 1
            && let bytes = row.get(1)?
            && budget.spend(bytes, taken.is_empty())
        {
            cursor += 1;
            taken.push(Taken { seq: cursor, attempt: 1, lease, bytes });
        }
        if cursor == begin && budget.messages > 0 {
            // The next message should be there and isn't.
            return Err(rusqlite::Error::QueryReturnedNoRows);
        }
    }
    if cursor > before {
        tx.prepare_cached("UPDATE queues SET cursor = ? WHERE queue = ?")?.execute([cursor, queue])?;
    }
    Ok(())
}

/// Bytes of a message.
fn length(tx: &Transaction<'_>, queue: i64, seq: i64) -> rusqlite::Result<u64> {
    let Place { number, .. } = Place::of(tx, queue, seq)?;
    tx.prepare_cached(&format!("SELECT {BYTES} FROM messages_{number} WHERE seq = ?"))?
        .query_row([seq], |row| row.get(0))
}

/// Neighbours with the same count of attempts share a row: a batch of fresh messages is one.
fn ranges(taken: &[Taken], expires_ms: i64) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for &Taken { seq, attempt, lease, .. } in taken {
        match ranges.last_mut() {
            Some(range) if range.last + 1 == seq && range.attempt == attempt => range.last = seq,
            _ => {
                let pid = std::process::id();
                ranges.push(Range { first: seq, last: seq, lease, attempt, expires_ms, pid });
            }
        }
    }
    ranges
}

fn delete(tx: &Transaction<'_>, queue: i64, range: &Range) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM leases WHERE queue = ? AND first = ?")?
        .execute([queue, range.first])
        .map(|_| ())
}

fn range(row: &rusqlite::Row<'_>) -> rusqlite::Result<Range> {
    Ok(Range {
        first: row.get(0)?,
        last: row.get(1)?,
        lease: row.get(2)?,
        attempt: row.get(3)?,
        expires_ms: row.get(4)?,
        pid: row.get(5)?,
    })
}
