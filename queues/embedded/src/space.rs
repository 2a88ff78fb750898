//! How much the store takes of the disk, and what the disk has left.

use std::fs;
use std::time::Instant;

use rusqlite::Connection;

use crate::options::Options;
use crate::store::Layout;
use crate::{bounds, connection, partition};

/// The bounds and when they were last looked at.
#[derive(Debug)]
pub(crate) struct Space {
    layout: Layout,
    bytes_max: u64,
    free_percent_min: u8,
    measured: Option<Instant>,
    used: u64,
    bytes_since: u64,
}

impl Space {
    pub(crate) fn new(layout: &Layout, options: &Options) -> Self {
        Self {
            layout: layout.clone(),
            bytes_max: options.bytes_max,
            free_percent_min: options.free_percent_min,
            measured: None,
            used: 0,
            bytes_since: 0,
        }
    }

    /// Whether it is time to measure again, before so many bytes more are appended. Not for each
    /// commit: the store may go past its bound by [`bounds::SPACE_BYTES`] and one batch.
    pub(crate) fn is_due(&mut self, bytes: u64) -> bool {
        self.bytes_since += bytes;
        self.bytes_since >= bounds::SPACE_BYTES
            || self.measured.is_none_or(|at| at.elapsed() >= bounds::SPACE_INTERVAL)
    }

    /// Why so many bytes may not be appended now, if so.
    pub(crate) fn measure(
        &mut self,
        connection: &Connection,
        bytes: u64,
    ) -> rusqlite::Result<Option<String>> {
        self.measured = Some(Instant::now());
        self.bytes_since = 0;
        let log = fs::metadata(&self.layout.wal).map_or(0, |meta| meta.len());
        let used = used(connection)? + log;
        self.used = used;
        if used >= self.bytes_max {
            let text = format!("the store takes {used} bytes on disk, its bound is {}", self.bytes_max);
            return Ok(Some(text));
        }
        Ok(self.disk_is_short(log, bytes))
    }

    /// Bytes on disk, when it was last measured.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// Measures again after everything that can be given back was: partitions whose messages are done,
    /// and then the log, cut to nothing.
    pub(crate) fn make_room(
        &mut self,
        connection: &mut Connection,
        bytes: u64,
    ) -> rusqlite::Result<Option<String>> {
        partition::seal_spent(connection)?;
        partition::drop_all_finished(connection)?;
        connection::checkpoint_truncate(connection)?;
        self.measure(connection, bytes)
    }

    /// What is in the log has to fit into the database too, and so has what is appended now; after that
    /// there must still be room for workers to say that they are done, or nobody could empty the disk.
    fn disk_is_short(&self, log: u64, bytes: u64) -> Option<String> {
        // A disk that can't be asked isn't taken for full: the write itself will tell.
        let disk = rustix::fs::statvfs(&self.layout.dir).ok()?;
        let kept = disk.f_blocks.saturating_mul(disk.f_frsize) / 100 * u64::from(self.free_percent_min);
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let wanted = log + 2 * bytes.max(bounds::SPACE_BYTES);
        (free < kept + wanted).then(|| {
            format!(
                "the disk has {} MiB free; {} % of it ({} MiB) are kept for others and for workers",
                free >> 20,
                self.free_percent_min,
                kept >> 20
            )
        })
    }
}

/// Bytes of the database that hold something.
fn used(connection: &Connection) -> rusqlite::Result<u64> {
    let ask = |pragma| connection.prepare_cached(pragma)?.query_row([], |row| row.get::<_, u64>(0));
    let pages = ask("PRAGMA page_count")?.saturating_sub(ask("PRAGMA freelist_count")?);
    Ok(pages * ask("PRAGMA page_size")?)
}
