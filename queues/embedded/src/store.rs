//! How a directory becomes an open store.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rustix::fs::Access;

use crate::connection::{self, Role};
use crate::lock::ServeLock;
use crate::open_error::OpenError;
use crate::{check, filesystem, migration, schema};

/// Where things lie.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The data directory, 0700.
    pub(crate) dir: PathBuf,
    /// The database, 0600; SQLite gives its -wal and -shm the same mode.
    pub(crate) db: PathBuf,
    /// The write-ahead log.
    pub(crate) wal: PathBuf,
    /// What the daemon locks.
    pub(crate) lock: PathBuf,
}

impl Layout {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            db: dir.join("queue.db"),
            wal: dir.join("queue.db-wal"),
            lock: dir.join("serve.lock"),
        }
    }
}

/// Which files are open, to notice when somebody moves or deletes them under us.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    db: PathBuf,
    wal: PathBuf,
    ids: [(u64, u64); 2],
}

impl Identity {
    fn of(layout: &Layout) -> io::Result<Self> {
        let ids = [file_id(&layout.db)?, file_id(&layout.wal)?];
        Ok(Self { db: layout.db.clone(), wal: layout.wal.clone(), ids })
    }

    /// Whether the paths still lead to the files that are open. Two `stat`s: about 2 µs.
    pub(crate) fn holds(&self) -> bool {
        file_id(&self.db).is_ok_and(|id| id == self.ids[0])
            && file_id(&self.wal).is_ok_and(|id| id == self.ids[1])
    }
}

/// The daemon's way in: takes the lock, makes what is missing, checks what is there.
pub(crate) fn open_to_serve(layout: &Layout) -> Result<(ServeLock, Connection, Identity), OpenError> {
    make_dir(&layout.dir)?;
    filesystem::refuse_network(&layout.dir)?;
    may_write(&layout.dir)?;
    let lock = ServeLock::take(&layout.lock)?;
    if !exists(&layout.db)? {
        create(layout)?;
    }
    check::shape(layout)?;
    may_write(&layout.db)?;
    let mut connection = connection::open(&layout.db, Role::Writer)?;
    let found = schema::version(&connection, &layout.db)?;
    check::contents(&connection, layout)?;
    let sqlite = |error| OpenError::sqlite(&layout.db, &error);
    write_ahead(&connection).map_err(sqlite)?;
    migration::migrate(&mut connection, found).map_err(sqlite)?;
    // What a daemon that was killed committed may be in the log and not yet on the disk. A message of ours
    // may be left out as its duplicate, and then nothing is written that would sync it.
    File::open(&layout.wal).and_then(|log| log.sync_all()).map_err(|e| OpenError::io(&layout.wal, e))?;
    // The log may have been made by a worker that never synced the directory: then our commits would
    // be synced into a file that a power cut leaves without a name. From here on it keeps its name,
    // for only the last connection to close removes it.
    sync_dir(&layout.dir)?;
    let identity = Identity::of(layout).map_err(|error| OpenError::io(&layout.db, error))?;
    Ok((lock, connection, identity))
}

/// A worker's way in: nothing is made, and the daemon may be running.
pub(crate) fn open_to_work(layout: &Layout) -> Result<Connection, OpenError> {
    if !exists(&layout.dir)? {
        return Err(OpenError::NotThereYet(layout.dir.clone()));
    }
    filesystem::refuse_network(&layout.dir)?;
    // Before asking for the file: a directory that can't be searched isn't one without a store.
    may_write(&layout.dir)?;
    check::shape(layout)?;
    if !exists(&layout.db)? {
        return Err(OpenError::NotThereYet(layout.dir.clone()));
    }
    may_write(&layout.db)?;
    let connection = connection::open(&layout.db, Role::Other)?;
    let found = schema::version(&connection, &layout.db)?;
    if found < schema::VERSION {
        // The daemon migrates when it starts.
        return Err(OpenError::NotThereYet(layout.dir.clone()));
    }
    write_ahead(&connection).map_err(|error| OpenError::sqlite(&layout.db, &error))?;
    Ok(connection)
}

/// Makes the store under another name, synced, and renames it: whoever finds `queue.db` finds all of
/// it, so an empty or half-made one can only be damage.
fn create(layout: &Layout) -> Result<(), OpenError> {
    check::no_orphan(layout)?;
    let new = layout.dir.join("queue.db.new");
    let io = |error| OpenError::io(&new, error);
    for leftover in ["queue.db.new", "queue.db.new-journal", "queue.db.new-wal", "queue.db.new-shm"] {
        match fs::remove_file(layout.dir.join(leftover)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(io)?;
    drop(file);
    let connection = connection::open(&new, Role::Writer)?;
    schema::create(&connection).map_err(|error| OpenError::sqlite(&new, &error))?;
    connection::tidy_on_close(&connection, true);
    connection.close().map_err(|(_, error)| OpenError::sqlite(&new, &error))?;
    File::open(&new).and_then(|file| file.sync_all()).map_err(io)?;
    fs::rename(&new, &layout.db).map_err(io)?;
    sync_dir(&layout.dir)
}

/// Turns the write-ahead log on, which the file remembers, and opens it.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR);
        return Err(rusqlite::Error::SqliteFailure(error, Some(format!("journal mode is {mode}, not wal"))));
    }
    // The first read is what opens the log.
    connection.query_row("SELECT count(*) FROM queues", [], |row| row.get::<_, i64>(0)).map(|_| ())
}

/// Makes the data directory, 0700, and the way to it; each name is synced into its parent.
fn make_dir(dir: &Path) -> Result<(), OpenError> {
    if exists(dir)? {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_dir(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(OpenError::io(dir, error)),
        _ => {}
    }
    sync_dir(parent.unwrap_or(Path::new(".")))
}

pub(crate) fn sync_dir(dir: &Path) -> Result<(), OpenError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| OpenError::io(dir, error))
}

fn exists(path: &Path) -> Result<bool, OpenError> {
    path.try_exists().map_err(|error| OpenError::io(path, error))
}

/// Asked beforehand, since SQLite says no more than "unable to open".
fn may_write(path: &Path) -> Result<(), OpenError> {
    let mut access = Access::READ_OK | Access::WRITE_OK;
    if path.is_dir() {
        access |= Access::EXEC_OK;
    }
    rustix::fs::access(path, access).map_err(|errno| OpenError::io(path, errno.into()))
}

fn file_id(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|meta| (meta.dev(), meta.ino()))
}
