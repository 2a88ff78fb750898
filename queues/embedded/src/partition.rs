//! Where bodies lie: tables of bounded size, written once, read at most a few times, dropped whole.
//!
//! Deleting row by row costs 5 µs and 2 KB of log per message; counting and dropping costs 1 µs.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::options::Partitioning;
use crate::{clock, schema};

/// A partition's number and how full it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partition {
    pub(crate) number: i64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Of the messages, those that are done.
    pub(crate) done: u64,
}

impl Partition {
    /// The one that a queue's messages are added to, if there is one.
    pub(crate) fn current(connection: &Connection, queue: i64) -> rusqlite::Result<Option<Self>> {
        connection
            .prepare_cached(
                "SELECT partition, messages, bytes, done FROM partitions
                 WHERE queue = ? AND sealed_ms IS NULL ORDER BY first DESC LIMIT 1",
            )?
            .query_row([queue], |row| {
                Ok(Self { number: row.get(0)?, messages: row.get(1)?, bytes: row.get(2)?, done: row.get(3)? })
            })
            .optional()
    }

    /// Makes one whose first message will be `first`.
    pub(crate) fn create(tx: &Transaction<'_>, queue: i64, first: i64) -> rusqlite::Result<Self> {
        let number = tx.query_row(
            "INSERT INTO partitions (queue, first, last) VALUES (?1, ?2, ?2) RETURNING partition",
            [queue, first],
            |row| row.get(0),
        )?;
        tx.execute_batch(&schema::messages_table(number))?;
        Ok(Self { number, messages: 0, bytes: 0, done: 0 })
    }

    /// Whether a message of so many bytes should go into a new one: because this one is full, or
    /// because all in it is done and it is big enough for dropping it to be worth a new table.
    pub(crate) fn is_over(&self, bytes: u64, bounds: &Partitioning) -> bool {
        let full = self.messages >= bounds.messages_max || self.bytes + bytes > bounds.bytes_max;
        let spent = self.done == self.messages
            && (self.bytes >= bounds.bytes_max / 8 || self.messages >= bounds.messages_max / 8);
        self.messages > 0 && (full || spent)
    }

    /// No more messages are added from now on.
    pub(crate) fn seal(&self, tx: &Transaction<'_>, now_ms: i64) -> rusqlite::Result<()> {
        tx.execute("UPDATE partitions SET sealed_ms = ? WHERE partition = ?", [now_ms, self.number])
            .map(|_| ())
    }

    /// Writes down what was added.
    pub(crate) fn save(&self, tx: &Transaction<'_>, last: i64) -> rusqlite::Result<()> {
        tx.prepare_cached("UPDATE partitions SET messages = ?, bytes = ?, last = ? WHERE partition = ?")?
            .execute(params![self.messages, self.bytes, last, self.number])
            .map(|_| ())
    }
}

/// Neighbouring messages that lie in one partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) number: i64,
    first: i64,
    /// The last message of which this holds, if it exists.
    pub(crate) last: i64,
}

impl Place {
    /// Where a message lies, and its successors as far as they lie there too.
    pub(crate) fn of(connection: &Connection, queue: i64, seq: i64) -> rusqlite::Result<Self> {
        let moved: Option<(i64, i64)> = connection
            .prepare_cached(
                "SELECT seq, partition FROM moved WHERE queue = ? AND seq >= ? ORDER BY seq LIMIT 1",
            )?
            .query_row([queue, seq], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match moved {
            Some((at, number)) if at == seq => Ok(Self { number, first: seq, last: seq }),
            next => Self::by_range(connection, queue, seq, next.map_or(i64::MAX, |(at, _)| at - 1)),
        }
    }

    /// This place, or where `seq` lies if that is another.
    pub(crate) fn or_of(
        place: Option<Self>,
        connection: &Connection,
        queue: i64,
        seq: i64,
    ) -> rusqlite::Result<Self> {
        match place {
            Some(place) if (place.first..=place.last).contains(&seq) => Ok(place),
            _ => Self::of(connection, queue, seq),
        }
    }

    fn by_range(connection: &Connection, queue: i64, seq: i64, last_max: i64) -> rusqlite::Result<Self> {
        connection
            .prepare_cached(
                "SELECT partition, last FROM partitions WHERE queue = ?1 AND first <= ?2 AND last >= ?2
                 ORDER BY first DESC LIMIT 1",
            )?
            .query_row([queue, seq], |row| {
                Ok(Self { number: row.get(0)?, first: seq, last: last_max.min(row.get(1)?) })
            })
    }
}

/// Counts messages of one partition as done; true when the partition can be dropped.
pub(crate) fn count_done(
    tx: &Transaction<'_>,
    number: i64,
    messages: u64,
    bytes: u64,
) -> rusqlite::Result<bool> {
    tx.prepare_cached(
        "UPDATE partitions SET done = done + ?, done_bytes = done_bytes + ? WHERE partition = ?
         RETURNING sealed_ms IS NOT NULL AND done = messages",
    )?
    .query_row(params![messages, bytes, number], |row| row.get(0))
}

/// Seals current partitions all of whose messages are done, so that they can be dropped although
/// nothing is appended.
pub(crate) fn seal_spent(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE partitions SET sealed_ms = ? WHERE sealed_ms IS NULL AND done = messages")?
        .execute([clock::now_ms()])
        .map(|_| ())
}

/// Drops all partitions that are sealed and done; true if there were any.
pub(crate) fn drop_all_finished(connection: &mut Connection) -> rusqlite::Result<bool> {
    let mut any = false;
    while drop_finished(connection)? {
        any = true;
    }
    Ok(any)
}

/// Drops one partition that is sealed and done, if there is one; true if so. One to a transaction,
/// since appends wait meanwhile.
pub(crate) fn drop_finished(connection: &mut Connection) -> rusqlite::Result<bool> {
    const FINISHED: &str =
        "SELECT partition FROM partitions WHERE sealed_ms IS NOT NULL AND done = messages LIMIT 1";
    // First without the lock: mostly there is none.
    if connection.prepare_cached(FINISHED)?.query_row([], |_| Ok(())).optional()?.is_none() {
        return Ok(false);
    }
    let tx = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let Some(number) = tx.query_row(FINISHED, [], |row| row.get::<_, i64>(0)).optional()? else {
        return Ok(false);
    };
    tx.execute_batch(&format!("DROP TABLE messages_{number}"))?;
    tx.execute("DELETE FROM partitions WHERE partition = ?", [number])?;
    tx.commit()?;
    Ok(true)
}
