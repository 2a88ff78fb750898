//! Is the store what was written? Damage is found and told, never repaired or reset.
//!
//! Nothing here opens `queue.db` but through SQLite: closing any other descriptor of that file would
//! drop the locks that this process holds on it (`fcntl(2)`), and with them the store's safety.

use std::fs;
use std::io;

use rusqlite::Connection;

use crate::bounds;
use crate::open_error::OpenError;
use crate::store::Layout;

/// What can be told without looking inside. SQLite would take an empty file for a new database, and
/// would even delete the log beside it.
pub(crate) fn shape(layout: &Layout) -> Result<(), OpenError> {
    let meta = match fs::metadata(&layout.db) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return no_orphan(layout),
        other => other.map_err(|error| OpenError::io(&layout.db, error))?,
    };
    if !meta.is_file() {
        return Err(OpenError::damaged(&layout.db, "it isn't a file"));
    }
    if meta.len() == 0 {
        return Err(OpenError::damaged(&layout.db, "it is empty, and a store never is"));
    }
    Ok(())
}

/// A log without its database: somebody has removed or restored half of a store.
pub(crate) fn no_orphan(layout: &Layout) -> Result<(), OpenError> {
    match fs::metadata(&layout.wal) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(OpenError::io(&layout.wal, error)),
        Ok(_) => Err(OpenError::damaged(&layout.db, "it is missing, but its log queue.db-wal is there")),
    }
}

/// What SQLite can tell, and whether the tables agree with each other.
pub(crate) fn contents(connection: &Connection, layout: &Layout) -> Result<(), OpenError> {
    let sqlite = |error| OpenError::sqlite(&layout.db, &error);
    let bytes = fs::metadata(&layout.db).map_err(|error| OpenError::io(&layout.db, error))?.len();
    if bytes <= bounds::QUICK_CHECK_BYTES_MAX {
        let verdict: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sqlite)?;
        if verdict != "ok" {
            return Err(OpenError::damaged(&layout.db, verdict));
        }
    }
    match contradiction(connection).map_err(sqlite)? {
        Some(what) => Err(OpenError::damaged(&layout.db, what)),
        None => Ok(()),
    }
}

/// The first thing that doesn't add up, if any.
fn contradiction(connection: &Connection) -> rusqlite::Result<Option<String>> {
    for (what, sql) in RULES {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        if let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            return Ok(Some(format!("{name}: {what}")));
        }
    }
    ends(connection)
}

/// Queries that find nothing in a good store.
const RULES: &[(&str, &str)] = &[
    (
        "a partition without its table",
        "SELECT 'messages_' || partition AS name FROM partitions WHERE name NOT IN
            (SELECT name FROM sqlite_schema WHERE type = 'table')",
    ),
    (
        "a table without its partition",
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'messages_[0-9]*' AND name NOT IN
            (SELECT 'messages_' || partition FROM partitions)",
    ),
    (
        "more done than there is",
        "SELECT 'messages_' || partition FROM partitions WHERE done > messages OR done_bytes > bytes",
    ),
    (
        "its queue's numbers don't add up",
        "SELECT name FROM queues WHERE cursor > tail OR tail - cursor
            + (SELECT coalesce(sum(last - first + 1), 0) FROM leases WHERE leases.queue = queues.queue)
            + (SELECT count(*) FROM waiting WHERE waiting.queue = queues.queue)
            <> (SELECT coalesce(sum(messages - done), 0) FROM partitions WHERE partitions.queue = queues.queue)",
    ),
];

/// Each partition begins and ends where its row says: finds a lost end without reading it all.
fn ends(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare("SELECT partition, last FROM partitions")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (partition, last): (i64, i64) = (row.get(0)?, row.get(1)?);
        let found: Option<i64> =
            connection
                .query_row(&format!("SELECT max(seq) FROM messages_{partition}"), [], |row| row.get(0))?;
        if found != Some(last) {
            return Ok(Some(format!("messages_{partition}: its last message is missing")));
        }
    }
    Ok(None)
}
