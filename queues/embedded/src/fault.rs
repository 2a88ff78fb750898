//! What an error of SQLite means for the promise.

use rusqlite::ffi;

/// What may still be done after an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Others held the lock for too long. Nothing was written.
    Busy(String),
    /// No space, by the disk or by a quota. The transaction is undone.
    Full(String),
    /// The transaction is undone and the next may succeed.
    Passing(String),
    /// The outcome is in doubt, or the file is not what was written: nothing more may be
    /// acknowledged by this process.
    Fatal(String),
}

impl Fault {
    /// The list of what one may live on after is closed; everything else is fatal.
    ///
    /// Why these: a failed *write* leaves the log without a commit record that counts, so that the
    /// transaction never was, and the next one writes over its remains. A failed *sync* is another
    /// matter: the kernel then marks the pages clean although the disk doesn't have them, so that a
    /// second sync succeeds and proves nothing, and earlier commits of other processes may be among
    /// them. Shared memory that can't grow (`SHMSIZE`) is how a full disk shows in the log's index.
    pub(crate) fn of(error: &rusqlite::Error) -> Self {
        let why = error.to_string();
        let rusqlite::Error::SqliteFailure(code, _) = error else {
            return Self::Fatal(format!("the store contradicts itself: {why}"));
        };
        match code.extended_code {
            ffi::SQLITE_IOERR_WRITE => Self::Passing(why),
            ffi::SQLITE_IOERR_SHMSIZE => Self::Full(why),
            ffi::SQLITE_IOERR_NOMEM | ffi::SQLITE_IOERR_LOCK => Self::Passing(why),
            extended => match extended & 0xff {
                ffi::SQLITE_FULL => Self::Full(why),
                ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => Self::Busy(why),
                // CANTOPEN: out of file descriptors; the store's own files are open from the start.
                // SCHEMA: partitions came and went too fast for a statement to be planned.
                ffi::SQLITE_NOMEM | ffi::SQLITE_INTERRUPT | ffi::SQLITE_CANTOPEN | ffi::SQLITE_SCHEMA => {
                    Self::Passing(why)
                }
                _ => Self::Fatal(format!("{why} (SQLite code {extended})")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(code: i32) -> Fault {
        Fault::of(&rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
    }

    #[test]
    fn a_failed_sync_and_a_damaged_file_are_fatal() {
        for code in [
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_IOERR_DIR_FSYNC,
            ffi::SQLITE_IOERR_READ,
            ffi::SQLITE_IOERR_SHORT_READ,
            ffi::SQLITE_IOERR,
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_NOTADB,
            ffi::SQLITE_READONLY_DBMOVED,
            ffi::SQLITE_CONSTRAINT,
        ] {
            assert!(matches!(fault(code), Fault::Fatal(_)), "{code}");
        }
    }

    #[test]
    fn a_full_disk_passes() {
        assert!(matches!(fault(ffi::SQLITE_FULL), Fault::Full(_)));
        assert!(matches!(fault(ffi::SQLITE_IOERR_SHMSIZE), Fault::Full(_)));
        assert!(matches!(fault(ffi::SQLITE_IOERR_WRITE), Fault::Passing(_)));
        assert!(matches!(fault(ffi::SQLITE_BUSY), Fault::Busy(_)));
    }

    #[test]
    fn a_missing_row_is_fatal() {
        assert!(matches!(Fault::of(&rusqlite::Error::QueryReturnedNoRows), Fault::Fatal(_)));
    }
}
