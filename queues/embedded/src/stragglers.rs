//! A few messages that come back again and again would keep a whole partition on the disk. Once it is
//! old and nearly done, they are copied into the current partition, and the old one can be dropped.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::message::BYTES;
use crate::partition::{self, Partition};
use crate::{bounds, clock};

/// Moves the stragglers of one partition, if one is worth it. They keep their numbers, so leases and
/// delays stay as they are; `moved` says where they lie. True if anything was moved.
///
/// Fresh messages are never stragglers: while a partition holds some, it is just being worked off.
pub(crate) fn gather(connection: &mut Connection, age: Duration) -> rusqlite::Result<bool> {
    let sealed_before = clock::now_ms() - i64::try_from(age.as_millis()).unwrap_or(i64::MAX / 2);
    // First without the lock: mostly there is none.
    if find(connection, sealed_before)?.is_none() {
        return Ok(false);
    }
    let tx = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let Some(old) = find(&tx, sealed_before)? else {
        return Ok(false);
    };
    // Without a current partition the next append makes one; then there is one to move to.
    let Some(mut current) = Partition::current(&tx, old.queue)? else {
        return Ok(false);
    };
    let seqs = left_in(&tx, &old)?;
    let bytes = copy(&tx, &old, current.number, &seqs)?;
    current.messages += seqs.len() as u64;
    current.bytes += bytes;
    let last =
        tx.query_row("SELECT last FROM partitions WHERE partition = ?", [current.number], |row| row.get(0))?;
    current.save(&tx, last)?;
    partition::count_done(&tx, old.number, seqs.len() as u64, bytes)?;
    tx.commit()?;
    Ok(!seqs.is_empty())
}

/// A partition that is nearly done.
struct Old {
    number: i64,
    queue: i64,
    first: i64,
    last: i64,
}

fn find(connection: &Connection, sealed_before: i64) -> rusqlite::Result<Option<Old>> {
    connection
        .prepare_cached(
            "SELECT partition, queue, first, last FROM partitions JOIN queues USING (queue)
             WHERE sealed_ms <= ?1 AND done < messages AND (bytes - done_bytes) * ?2 <= bytes AND last <= cursor
             ORDER BY partition LIMIT 1",
        )?
        .query_row(params![sealed_before, bounds::STRAGGLER_SHARE], |row| {
            Ok(Old { number: row.get(0)?, queue: row.get(1)?, first: row.get(2)?, last: row.get(3)? })
        })
        .optional()
}

/// Messages that lie there and aren't done: those of its range that haven't been moved away, and
/// those that were moved in.
fn left_in(tx: &Transaction<'_>, old: &Old) -> rusqlite::Result<Vec<i64>> {
    let mut statement = tx.prepare_cached(&format!(
        "WITH undone (seq) AS (
            SELECT seq FROM waiting WHERE queue = ?1
            UNION ALL
            SELECT body.seq FROM leases JOIN messages_{} AS body ON body.seq BETWEEN first AND leases.last
                WHERE queue = ?1)
         SELECT seq FROM undone WHERE seq BETWEEN ?2 AND ?3
            AND seq NOT IN (SELECT seq FROM moved WHERE queue = ?1 AND partition <> ?4)
         UNION
         SELECT seq FROM moved WHERE queue = ?1 AND partition = ?4
         ORDER BY seq LIMIT ?5",
        old.number
    ))?;
    let seqs = statement.query_map(
        params![old.queue, old.first, old.last, old.number, bounds::STRAGGLER_MESSAGES_MAX],
        |row| row.get(0),
    )?;
    seqs.collect()
}

/// Copies bodies; answers how many bytes.
fn copy(tx: &Transaction<'_>, old: &Old, to: i64, seqs: &[i64]) -> rusqlite::Result<u64> {
    let mut insert = tx.prepare_cached(&format!(
        "INSERT INTO messages_{to} SELECT * FROM messages_{} WHERE seq = ? RETURNING {BYTES}",
        old.number
    ))?;
    let mut note =
        tx.prepare_cached("INSERT OR REPLACE INTO moved (queue, seq, partition) VALUES (?, ?, ?)")?;
    let mut bytes = 0;
    for seq in seqs {
        bytes += insert.query_row([seq], |row| row.get::<_, u64>(0))?;
        note.execute([old.queue, *seq, to])?;
    }
    Ok(bytes)
}
