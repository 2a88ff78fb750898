//! Dead letters: messages that workers gave up on, kept with the reason for whoever looks.

use std::path::Path;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use crate::append::{self, Entry};
use crate::message::{self, BYTES, Stored};
use crate::open_error::OpenError;
use crate::options::Partitioning;
use crate::partition::Place;
use crate::store::{self, Layout};
use crate::{bounds, clock};

/// The dead letters of one queue, for an operator's commands. Calls block; a daemon and workers may
/// be running meanwhile.
#[derive(Debug)]
pub struct DeadLetters {
    connection: Connection,
    /// `None`: of every queue in the store.
    name: Option<String>,
}

/// One dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Names it in the commands.
    pub id: u64,
    /// The message's id.
    pub message_id: Uuid,
    /// How often it was handed out.
    pub attempts: u32,
    /// What the worker said.
    pub reason: String,
    /// When that was, in ms since 1970.
    pub died_ms: i64,
    /// When it was appended, in µs since 1970.
    pub appended_us: i64,
    /// The message's length in bytes, headers included.
    pub bytes: u64,
}

/// Why a command on dead letters failed; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeadError {
    /// There is none with this id in this queue.
    #[error("no dead letter {0}")]
    NotFound(u64),
    /// Its bytes aren't what was appended; a worker must not get it as if they were.
    #[error("dead letter {0} is damaged and can't be retried")]
    Damaged(u64),
    /// The store can't be read or written.
    #[error("the store can't be used: {0}")]
    Store(String),
}

impl From<rusqlite::Error> for DeadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.to_string())
    }
}

impl DeadLetters {
    /// Opens the store in `dir`.
    ///
    /// # Errors
    /// As for a worker: [`OpenError::NotThereYet`] while there is no store.
    pub fn open(dir: &Path, queue_name: &str) -> Result<Self, OpenError> {
        let connection = store::open_to_work(&Layout::new(dir))?;
        Ok(Self { connection, name: Some(queue_name.to_owned()) })
    }

    /// Opens the store in `dir`, for the dead letters of all queues in it.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_all(dir: &Path) -> Result<Self, OpenError> {
        let connection = store::open_to_work(&Layout::new(dir))?;
        Ok(Self { connection, name: None })
    }

    /// Up to [`bounds::DEAD_LIST_MAX`] of them with ids above `after`, in the order in which they died.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn list(&self, after: u64) -> Result<Vec<DeadLetter>, DeadError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "{} WHERE queues.name = coalesce(?, queues.name) AND dead.id > ? ORDER BY dead.id LIMIT ?",
            select()
        ))?;
        let rows = statement.query_map(params![self.name, after, bounds::DEAD_LIST_MAX], letter)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One of them, with its message.
    ///
    /// # Errors
    /// [`DeadError::NotFound`], or when the store can't be read.
    pub fn show(&self, id: u64) -> Result<(DeadLetter, Bytes), DeadError> {
        let letter = self
            .connection
            .query_row(
                &format!("{} WHERE queues.name = coalesce(?, queues.name) AND dead.id = ?", select()),
                params![self.name, id],
                letter,
            )
            .optional()?
            .ok_or(DeadError::NotFound(id))?;
        let message: Vec<u8> =
            self.connection.query_row("SELECT message FROM dead WHERE id = ?", [id], |row| row.get(0))?;
        Ok((letter, message.into()))
    }

    /// The message headers of one of them.
    ///
    /// # Errors
    /// [`DeadError::NotFound`], [`DeadError::Damaged`], or when the store can't be read.
    pub fn headers(&self, id: u64) -> Result<Vec<(String, String)>, DeadError> {
        let json: Option<String> = self
            .connection
            .query_row(
                "SELECT headers FROM dead JOIN queues USING (queue)
                 WHERE queues.name = coalesce(?, queues.name) AND dead.id = ?",
                params![self.name, id],
                |row| row.get(0),
            )
            .optional()?
            .ok_or(DeadError::NotFound(id))?;
        message::headers(json.as_deref()).ok_or(DeadError::Damaged(id))
    }

    /// Puts one back at the end of its queue, its attempts forgotten.
    ///
    /// # Errors
    /// [`DeadError::NotFound`], [`DeadError::Damaged`], or when the store can't be written.
    pub fn retry(&mut self, id: u64) -> Result<(), DeadError> {
        let tx = Transaction::new(&mut self.connection, TransactionBehavior::Immediate)?;
        let queue: String = tx
            .query_row(
                "SELECT queues.name FROM dead JOIN queues USING (queue)
                 WHERE queues.name = coalesce(?, queues.name) AND dead.id = ?",
                params![self.name, id],
                |row| row.get(0),
            )
            .optional()?
            .ok_or(DeadError::NotFound(id))?;
        let message = tx
            .query_row(
                "DELETE FROM dead WHERE id = ? RETURNING crc32, message, headers, message_id",
                [id],
                stored,
            )?
            .ok_or(DeadError::Damaged(id))?;
        let back = Back { queue, message };
        // Claims neither hold it up nor are made: whoever retries it means it.
        append::append(&tx, &[back], &Partitioning::default(), u64::MAX)?;
        Ok(tx.commit()?)
    }

    /// Deletes one for good.
    ///
    /// # Errors
    /// [`DeadError::NotFound`], or when the store can't be written.
    pub fn purge(&mut self, id: u64) -> Result<(), DeadError> {
        let purged = self.connection.execute(
            "DELETE FROM dead WHERE id = ? AND queue IN (SELECT queue FROM queues WHERE name = coalesce(?, name))",
            params![id, self.name],
        )?;
        if purged == 0 { Err(DeadError::NotFound(id)) } else { Ok(()) }
    }
}

/// Copies a message to the dead letters; the caller counts it as done.
pub(crate) fn bury(
    tx: &Transaction<'_>,
    queue: i64,
    seq: i64,
    attempts: u32,
    reason: &str,
) -> rusqlite::Result<()> {
    let Place { number, .. } = Place::of(tx, queue, seq)?;
    tx.execute(
        &format!(
            "INSERT INTO dead
                (queue, seq, message_id, attempts, reason, died_ms, appended_us, crc32, message, headers)
             SELECT ?, seq, message_id, ?, ?, ?, appended_us, crc32, message, headers
             FROM messages_{number} WHERE seq = ?"
        ),
        params![queue, attempts, reason, clock::now_ms(), seq],
    )?;
    // Nobody works on it any more: a sender's redelivery must not be taken for a duplicate of it.
    let forgotten = tx.execute(
        &format!(
            "DELETE FROM claims WHERE queue = ?1
                AND message_id = (SELECT message_id FROM messages_{number} WHERE seq = ?2)"
        ),
        params![queue, seq],
    )?;
    if forgotten > 0 {
        tx.execute("UPDATE queues SET claims = claims - 1 WHERE queue = ?", [queue])?;
    }
    Ok(())
}

/// Deletes some of those that are too old; true if there were any.
pub(crate) fn purge_old(connection: &Connection) -> rusqlite::Result<bool> {
    let age_ms = i64::try_from(bounds::DEAD_LETTER_AGE.as_millis()).unwrap_or(i64::MAX / 2);
    let purged = connection.execute(
        "DELETE FROM dead WHERE id IN (SELECT id FROM dead WHERE died_ms < ? ORDER BY died_ms LIMIT ?)",
        params![clock::now_ms() - age_ms, bounds::PURGE_MESSAGES_MAX],
    )?;
    if purged > 0 {
        tracing::info!(purged, "dead letters older than 14 days are deleted");
    }
    Ok(purged > 0)
}

fn select() -> String {
    format!(
        "SELECT dead.id, message_id, attempts, reason, died_ms, appended_us, {BYTES}
         FROM dead JOIN queues USING (queue)"
    )
}

fn letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        id: row.get(0)?,
        message_id: id(row, 1)?,
        attempts: row.get(2)?,
        reason: row.get(3)?,
        died_ms: row.get(4)?,
        appended_us: row.get(5)?,
        bytes: row.get(6)?,
    })
}

/// The message of a row; `None` where it isn't what was appended.
fn stored(row: &Row<'_>) -> rusqlite::Result<Option<Stored>> {
    let (crc32, payload, headers): (u32, Vec<u8>, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let good = message::crc32(&payload, headers.as_deref()) == crc32;
    let message_id = id(row, 3)?;
    Ok(good.then(|| Stored { payload: payload.into(), headers, message_id }))
}

fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    let id: Vec<u8> = row.get(column)?;
    // Sixteen bytes went in.
    Ok(Uuid::from_slice(&id).unwrap_or_default())
}

/// A dead letter on its way back.
struct Back {
    queue: String,
    message: Stored,
}

impl Entry for Back {
    fn queue(&self) -> &str {
        &self.queue
    }
    fn message(&self) -> &Stored {
        &self.message
    }
}
