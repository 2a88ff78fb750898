//! Claims: which message ids were made durable lately, so that a further message with one of them is left
//! out. A claim is written in the transaction that writes its message: it is there exactly when the message
//! is, and is undone with it.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use crate::{bounds, clock};

/// What came of claiming an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is claimed now; there is one claim more.
    New,
    /// It is claimed now; an older claim had ended.
    Renewed,
    /// An earlier message has it, and keeps it for as long as it asked for.
    Taken,
}

/// Claims an id for a while.
pub(crate) fn claim(
    tx: &Transaction<'_>,
    queue: i64,
    message_id: Uuid,
    window: Duration,
) -> rusqlite::Result<Claim> {
    let now_ms = clock::now_ms();
    let until_ms = now_ms + i64::try_from(window.min(bounds::CLAIM_AGE_MAX).as_millis()).unwrap_or(0);
    let id = message_id.as_bytes().as_slice();
    let found: Option<i64> = tx
        .prepare_cached("SELECT expires_ms FROM claims WHERE queue = ? AND message_id = ?")?
        .query_row(params![queue, id], |row| row.get(0))
        .optional()?;
    let (sql, claim) = match found {
        Some(expires_ms) if expires_ms > now_ms => return Ok(Claim::Taken),
        Some(_) => ("UPDATE claims SET expires_ms = ?3 WHERE queue = ?1 AND message_id = ?2", Claim::Renewed),
        None => ("INSERT INTO claims (queue, message_id, expires_ms) VALUES (?1, ?2, ?3)", Claim::New),
    };
    tx.prepare_cached(sql)?.execute(params![queue, id, until_ms])?;
    Ok(claim)
}

/// How many claims a store of this bound may hold.
pub(crate) fn max(store_bytes_max: u64) -> u64 {
    bounds::CLAIMS_MAX.min(store_bytes_max / bounds::CLAIM_SHARE / bounds::CLAIM_BYTES)
}

/// Ends claims where there are more than `max` after so many were added, the oldest first. It ends some more
/// than were added, so that a store whose bound was lowered comes down to it too.
pub(crate) fn keep_to(tx: &Transaction<'_>, max: u64, added: u64) -> rusqlite::Result<()> {
    let held: u64 = tx.prepare_cached("SELECT sum(claims) FROM queues")?.query_row([], |row| row.get(0))?;
    if held > max {
        forget(tx, i64::MAX, (held - max).min(added + bounds::CLAIMS_PER_STEP))?;
    }
    Ok(())
}

/// Deletes some of the claims that have ended; true if there were any.
pub(crate) fn forget_ended(connection: &mut Connection) -> rusqlite::Result<bool> {
    let now_ms = clock::now_ms();
    // First without the lock: mostly there is none.
    let any: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM claims WHERE expires_ms <= ?)")?
        .query_row([now_ms], |row| row.get(0))?;
    if any {
        let tx = Transaction::new(connection, TransactionBehavior::Immediate)?;
        forget(&tx, now_ms, bounds::CLAIMS_PER_STEP)?;
        tx.commit()?;
    }
    Ok(any)
}

/// Deletes claims that end by then, those that end first going first.
fn forget(tx: &Transaction<'_>, until_ms: i64, at_most: u64) -> rusqlite::Result<()> {
    let oldest: Vec<(i64, Vec<u8>)> = tx
        .prepare_cached(
            "SELECT queue, message_id FROM claims WHERE expires_ms <= ? ORDER BY expires_ms LIMIT ?",
        )?
        .query_map(params![until_ms, at_most], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut forgotten: BTreeMap<i64, i64> = BTreeMap::new();
    let mut delete = tx.prepare_cached("DELETE FROM claims WHERE queue = ? AND message_id = ?")?;
    for (queue, message_id) in &oldest {
        delete.execute(params![queue, message_id])?;
        *forgotten.entry(*queue).or_default() += 1;
    }
    let mut count = tx.prepare_cached("UPDATE queues SET claims = claims - ? WHERE queue = ?")?;
    forgotten.iter().try_for_each(|(queue, claims)| count.execute([claims, queue]).map(|_| ()))
}
