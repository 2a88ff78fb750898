//! Why a store can't be opened: each case names the path and the way out.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why a store can't be opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another daemon has it.
    #[error(
        "{} is in use by another sluiced{}: stop that one, or give this one a data directory of its own",
        path.display(), pid_text(*pid)
    )]
    Locked {
        /// The other's process id, if it could be read.
        pid: Option<u32>,
        /// The lock file.
        path: PathBuf,
    },
    /// The file system is mounted read-only.
    #[error("{} is on a read-only file system: mount it writable, or choose another data directory", .0.display())]
    ReadOnly(PathBuf),
    /// This user may not write there.
    #[error("no permission to read and write {}: make it belong to the user that runs sluiced", .0.display())]
    PermissionDenied(PathBuf),
    /// Locks and shared memory can't be relied on there.
    #[error("{} is on a network file system ({kind}): a queue needs a local disk", path.display())]
    NetworkFilesystem {
        /// The data directory.
        path: PathBuf,
        /// Which file system.
        kind: &'static str,
    },
    /// The store isn't what was written. It is never reset.
    #[error(
        "{} is damaged: {what}. Nothing was changed. Keep the file: move it and its -wal aside together \
         and read what is left with `sqlite3 queue.db .recover`; a new store is made when none is there",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// Written by a newer sluiced.
    #[error("{} has schema version {found}, this sluiced knows {known}: run the newer sluiced", path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// No store yet: the daemon makes it. Only workers see this one; they wait.
    #[error("there is no queue in {} yet: it is made when `sluiced serve` starts", .0.display())]
    NotThereYet(PathBuf),
    /// Anything else that the operating system or SQLite says.
    #[error("{}: {error}", path.display())]
    Io {
        /// What was being used.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
}

impl OpenError {
    /// Sorts an error of the operating system.
    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        let path = path.to_path_buf();
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::PermissionDenied(path),
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(path),
            _ => Self::Io { path, error },
        }
    }

    /// Sorts an error of SQLite.
    pub(crate) fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::Damaged { path, what: error.to_string() }
            }
            Some(ErrorCode::ReadOnly) => Self::ReadOnly(path),
            Some(ErrorCode::PermissionDenied) => Self::PermissionDenied(path),
            // Not SQLite's own: a row or a column that must be there isn't.
            None => Self::Damaged { path, what: error.to_string() },
            Some(_) => Self::Io { path, error: io::Error::other(error.to_string()) },
        }
    }

    /// The store contradicts itself.
    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_path_buf(), what: what.into() }
    }
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}
