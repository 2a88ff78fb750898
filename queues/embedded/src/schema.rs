//! The tables, and how a store comes to have them.

use std::path::Path;

use rusqlite::Connection;

use crate::open_error::OpenError;

/// The newest schema version that this build knows: `PRAGMA user_version`.
pub(crate) const VERSION: u32 = 2;

/// `PRAGMA application_id`: "slui". Tells our file from another program's.
pub(crate) const APPLICATION_ID: u32 = 0x736c_7569;

/// Pages of 8 KiB: a few messages fit in one, and the log has half as many frames as with 4 KiB.
pub(crate) const PAGE_BYTES: u32 = 8192;

/// Version 2. How a store of an older one comes to be the same stands in [`crate::migration`].
///
/// A message is in exactly one of four states, told by its sequence number alone:
/// * fresh: above its queue's `cursor`, and not above its `tail`;
/// * leased: inside a range of `leases`;
/// * waiting: a row of `waiting`, after a release (`visible_ms` 0: at once) or an expired lease;
/// * done: none of these.
///
/// So acknowledging takes a number out of a lease and adds one to a count. Bodies are never touched:
/// they lie in tables `messages_<partition>`, which are dropped when all in them is done.
const TABLES: &str = "
    CREATE TABLE queues (
        queue INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        tail INTEGER NOT NULL DEFAULT 0,      -- the last sequence number given
        cursor INTEGER NOT NULL DEFAULT 0,    -- the last one that was ever leased
        lease INTEGER NOT NULL DEFAULT 0,     -- the last lease number given
        claims INTEGER NOT NULL DEFAULT 0     -- how many there are of this queue
    ) STRICT;

    CREATE TABLE partitions (
        partition INTEGER PRIMARY KEY AUTOINCREMENT,
        queue INTEGER NOT NULL,
        first INTEGER NOT NULL,               -- its range of sequence numbers; stragglers of older
        last INTEGER NOT NULL,                -- partitions may lie in it besides, see moved
        messages INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0,
        done INTEGER NOT NULL DEFAULT 0,
        done_bytes INTEGER NOT NULL DEFAULT 0,
        sealed_ms INTEGER                     -- null while messages are still added
    ) STRICT;
    CREATE INDEX partitions_by_range ON partitions (queue, first);

    CREATE TABLE moved (                      -- where a straggler lies, when not in its range's partition
        queue INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        partition INTEGER NOT NULL,
        PRIMARY KEY (queue, seq)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE leases (                     -- disjoint ranges
        queue INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        lease INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL,
        pid INTEGER NOT NULL,                 -- the worker's process, for whoever looks
        PRIMARY KEY (queue, first)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX leases_by_expiry ON leases (queue, expires_ms);

    CREATE TABLE waiting (
        queue INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        attempts INTEGER NOT NULL,            -- that count, so far
        visible_ms INTEGER NOT NULL,          -- 0: now
        PRIMARY KEY (queue, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX waiting_by_time ON waiting (queue, visible_ms, seq);

    CREATE TABLE dead (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        message_id BLOB NOT NULL,
        attempts INTEGER NOT NULL,
        reason TEXT NOT NULL,
        died_ms INTEGER NOT NULL,
        appended_us INTEGER NOT NULL,
        crc32 INTEGER NOT NULL,
        message BLOB NOT NULL,
        headers TEXT
    ) STRICT;
    CREATE INDEX dead_by_time ON dead (died_ms);

    CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), at_ms INTEGER NOT NULL) STRICT;
    INSERT INTO probe VALUES (1, 0);
";

/// Message ids that are taken; see [`crate::claims`]. Its key is the id, for which every append that asks for
/// it looks; the index is for those that end first.
pub(crate) const CLAIMS: &str = "
    CREATE TABLE claims (
        queue INTEGER NOT NULL,
        message_id BLOB NOT NULL,
        expires_ms INTEGER NOT NULL,
        PRIMARY KEY (queue, message_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX claims_by_expiry ON claims (expires_ms);
";

/// Lays out an empty database.
pub(crate) fn create(connection: &Connection) -> rusqlite::Result<()> {
    // The first two only take effect before the first table exists.
    connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES};
         PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA synchronous = FULL;
         BEGIN;
         {TABLES}
         {CLAIMS}
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {VERSION};
         COMMIT;
         PRAGMA journal_mode = WAL;"
    ))
}

/// Whose file it is, and of which version.
pub(crate) fn version(connection: &Connection, path: &Path) -> Result<u32, OpenError> {
    let ask = |pragma: &str| {
        connection
            .pragma_query_value(None, pragma, |row| row.get::<_, u32>(0))
            .map_err(|error| OpenError::sqlite(path, &error))
    };
    let application = ask("application_id")?;
    if application != APPLICATION_ID {
        return Err(OpenError::damaged(
            path,
            format!("it isn't a sluiced store (application id {application:#x})"),
        ));
    }
    match ask("user_version")? {
        0 => Err(OpenError::damaged(path, "it has no schema version")),
        found if found > VERSION => {
            Err(OpenError::NewerSchema { path: path.to_path_buf(), found, known: VERSION })
        }
        found => Ok(found),
    }
}

/// The table of a partition. `headers` are message headers as JSON, null where there are none; `crc32` covers
/// message and headers.
pub(crate) fn messages_table(partition: i64) -> String {
    format!(
        "CREATE TABLE messages_{partition} (
            seq INTEGER PRIMARY KEY,
            message_id BLOB NOT NULL,
            appended_us INTEGER NOT NULL,
            crc32 INTEGER NOT NULL,
            message BLOB NOT NULL,
            headers TEXT
        ) STRICT"
    )
}
