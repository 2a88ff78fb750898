//! Connections to the file: one kind for each role, all of them patient.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, OpenFlags};

use crate::bounds;
use crate::open_error::OpenError;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Appends: its commits are promises, so each of them is synced.
    Writer,
    /// Everybody else. Their commits reach the disk with the next synced one, or not at all: a lost
    /// lease or acknowledgement is a redelivery.
    Other,
}

/// Opens an existing store's file. The connection never checkpoints by itself, neither after a commit
/// nor on close: SQLite would swallow the errors of that, and a failed sync must be seen.
///
/// Durability with several processes in one log rests on three things. A commit of the writer syncs
/// the log *file*, so frames that workers wrote before it without a sync become durable with it and
/// the chain of checksums up to the writer's commit is whole. Whoever checkpoints syncs the log
/// before it writes to the database, and the database before the log may start over: this holds for
/// `NORMAL` as for `FULL`, and no connection is ever opened with `OFF`. And whoever starts the log
/// over syncs its new header first.
pub(crate) fn open(path: &Path, role: Role) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sqlite = |error| OpenError::sqlite(path, &error);
    let mut connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    configure(&mut connection, role).map_err(sqlite)?;
    // SQLite falls back to reading only, silently.
    if connection.is_readonly(MAIN_DB).map_err(sqlite)? {
        return Err(OpenError::PermissionDenied(path.to_path_buf()));
    }
    Ok(connection)
}

/// Says whether closing may tidy up: checkpoint the log and remove it, if this is the last connection.
pub(crate) fn tidy_on_close(connection: &Connection, tidy: bool) {
    // It only sets a flag; if it can't, the log stays, which is harmless.
    let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !tidy);
}

/// How far a checkpoint came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checkpoint {
    /// Frames in the log.
    pub(crate) frames: u64,
    /// All of them are in the database now.
    pub(crate) complete: bool,
}

/// Copies the log into the database as far as it goes without waiting for anybody.
pub(crate) fn checkpoint(connection: &Connection) -> rusqlite::Result<Checkpoint> {
    checkpoint_mode(connection, "PASSIVE")
}

/// Copies all of the log and waits, but not for long, until nobody reads it, so that the next commit
/// starts it over. Workers that read all the time would otherwise let it grow without end.
pub(crate) fn checkpoint_restart(connection: &mut Connection) -> rusqlite::Result<Checkpoint> {
    connection.busy_handler(Some(turns(bounds::RESTART_DEADLINE)))?;
    let done = checkpoint_mode(connection, "RESTART");
    connection.busy_handler(Some(turns(bounds::BUSY_DEADLINE)))?;
    done
}

/// Copies all of the log, waiting for others, and cuts its file to nothing.
pub(crate) fn checkpoint_truncate(connection: &Connection) -> rusqlite::Result<Checkpoint> {
    checkpoint_mode(connection, "TRUNCATE")
}

fn checkpoint_mode(connection: &Connection, mode: &str) -> rusqlite::Result<Checkpoint> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let (busy, frames, copied): (bool, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        // -1 where there is no log, or where somebody else is copying it.
        Ok(Checkpoint { frames: u64::try_from(frames).unwrap_or(0), complete: !busy && copied == frames })
    })
}

fn configure(connection: &mut Connection, role: Role) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Otherwise a statement with a bound LIMIT or range is planned anew at each use: SQLite peeks at the
    // value. That was half of what a worker's transaction cost.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(bounds::STATEMENTS_MAX);
    connection.busy_handler(Some(turns(bounds::BUSY_DEADLINE)))?;
    let synchronous = match role {
        Role::Writer => "FULL",
        Role::Other => "NORMAL",
    };
    connection.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous};
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = {};
         PRAGMA cache_size = -{};
         PRAGMA cell_size_check = ON;
         PRAGMA trusted_schema = OFF;",
        bounds::WAL_BYTES_MAX,
        bounds::CACHE_KIB,
    ))
}

/// Waits for a turn. SQLite's own handler would begin with a millisecond and go up to 100; most
/// transactions here take a fraction of one.
pub(crate) fn turns(deadline: Duration) -> impl FnMut(i32) -> bool + Send + 'static {
    let mut began = Instant::now();
    move |tries| {
        if tries == 0 {
            began = Instant::now();
        }
        let wait = if tries < 20 { bounds::BUSY_WAIT_FIRST } else { bounds::BUSY_WAIT };
        thread::park_timeout(wait);
        began.elapsed() < deadline
    }
}
