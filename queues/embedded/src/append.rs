//! What one commit of the writer does: numbers the messages and puts them into partitions.
//!
//! Nothing is remembered between commits, the tables are the only state; so a transaction that was
//! undone leaves nothing to be put right, and other processes may append too.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::claims::{self, Claim};
use crate::clock;
use crate::message::{self, Stored};
use crate::options::Partitioning;
use crate::partition::Partition;

/// A message on its way into a queue.
pub(crate) trait Entry {
    /// The queue's name.
    fn queue(&self) -> &str;
    /// The message.
    fn message(&self) -> &Stored;
    /// For how long its id is claimed, and left out if it is claimed already.
    fn dedupe_for(&self) -> Option<Duration> {
        None
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// It was added, with this number.
    Yes(i64),
    /// One with its id was there already.
    Duplicate,
}

/// Appends all of them, in order; says of each what became of it. Of one id that is claimed twice here the
/// second is the duplicate.
pub(crate) fn append<E: Entry>(
    tx: &Transaction<'_>,
    entries: &[E],
    bounds: &Partitioning,
    claims_max: u64,
) -> rusqlite::Result<Vec<Appended>> {
    let mut appended = Vec::with_capacity(entries.len());
    // One end for each queue that occurs: nearly always one.
    let mut ends: Vec<End<'_>> = Vec::new();
    for entry in entries {
        let at = match ends.iter().position(|end| end.name == entry.queue()) {
            Some(at) => at,
            None => {
                ends.push(End::load(tx, entry.queue())?);
                ends.len() - 1
            }
        };
        appended.push(ends[at].push(tx, entry, bounds)?);
    }
    ends.iter().try_for_each(|end| end.save(tx))?;
    let claims = ends.iter().map(|end| end.claims).sum();
    if claims > 0 {
        claims::keep_to(tx, claims_max, claims)?;
    }
    Ok(appended)
}

/// The number of a queue, if it has ever been appended to.
pub(crate) fn find_queue(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT queue FROM queues WHERE name = ?")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// The end of a queue, where messages are added.
struct End<'a> {
    name: &'a str,
    queue: i64,
    tail: i64,
    /// Added by this commit.
    claims: u64,
    partition: Option<Partition>,
    insert: String,
}

impl<'a> End<'a> {
    fn load(tx: &Transaction<'_>, name: &'a str) -> rusqlite::Result<Self> {
        let found = tx
            .prepare_cached("SELECT queue, tail FROM queues WHERE name = ?")?
            .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (queue, tail) = match found {
            Some(found) => found,
            None => {
                tx.query_row("INSERT INTO queues (name) VALUES (?) RETURNING queue, tail", [name], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?
            }
        };
        let partition = Partition::current(tx, queue)?;
        let insert = partition.map(|partition| insert_into(partition.number)).unwrap_or_default();
        Ok(Self { name, queue, tail, claims: 0, partition, insert })
    }

    fn push(
        &mut self,
        tx: &Transaction<'_>,
        entry: &impl Entry,
        bounds: &Partitioning,
    ) -> rusqlite::Result<Appended> {
        if let Some(window) = entry.dedupe_for() {
            match claims::claim(tx, self.queue, entry.message().message_id, window)? {
                Claim::Taken => return Ok(Appended::Duplicate),
                Claim::Renewed => {}
                Claim::New => self.claims += 1,
            }
        }
        self.add(tx, entry.message(), bounds)?;
        Ok(Appended::Yes(self.tail))
    }

    fn add(&mut self, tx: &Transaction<'_>, message: &Stored, bounds: &Partitioning) -> rusqlite::Result<()> {
        let bytes = message.bytes() as u64;
        let mut partition = self.room_for(tx, bytes, bounds)?;
        self.tail += 1;
        tx.prepare_cached(&self.insert)?.execute(params![
            self.tail,
            message.message_id.as_bytes().as_slice(),
            clock::now_us(),
            message::crc32(&message.payload, message.headers.as_deref()),
            message.payload.as_ref(),
            message.headers
        ])?;
        partition.messages += 1;
        partition.bytes += bytes;
        self.partition = Some(partition);
        Ok(())
    }

    /// The current partition, or a new one.
    fn room_for(
        &mut self,
        tx: &Transaction<'_>,
        bytes: u64,
        bounds: &Partitioning,
    ) -> rusqlite::Result<Partition> {
        match self.partition {
            Some(partition) if !partition.is_over(bytes, bounds) => return Ok(partition),
            Some(partition) => {
                partition.save(tx, self.tail)?;
                partition.seal(tx, clock::now_ms())?;
            }
            None => {}
        }
        let partition = Partition::create(tx, self.queue, self.tail + 1)?;
        self.insert = insert_into(partition.number);
        Ok(partition)
    }

    fn save(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        if let Some(partition) = self.partition {
            partition.save(tx, self.tail)?;
        }
        tx.prepare_cached("UPDATE queues SET tail = ?, claims = claims + ? WHERE queue = ?")?
            .execute(params![self.tail, self.claims, self.queue])
            .map(|_| ())
    }
}

fn insert_into(partition: i64) -> String {
    format!(
        "INSERT INTO messages_{partition} (seq, message_id, appended_us, crc32, message, headers)
         VALUES (?, ?, ?, ?, ?, ?)"
    )
}
