//! The other thread of the daemon's side: copies the log into the database, drops what is done with and
//! what has ended, gives space back, and finds out when there is space again.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rusqlite::Connection;

use crate::fault::Fault;
use crate::lock::ServeLock;
use crate::options::Options;
use crate::space::Space;
use crate::state::State;
use crate::store::Layout;
use crate::{bounds, claims, connection, dead, partition, schema, stragglers};

/// Ends the thread when dropped.
pub(crate) type Stop = mpsc::SyncSender<()>;

/// The thread's own.
pub(crate) struct Maintenance {
    connection: Connection,
    state: Arc<State>,
    space: Space,
    straggler_age: Duration,
    wal_bytes_max: u64,
    stopped: Receiver<()>,
    rounds: u64,
    /// What others had committed at the last checkpoint; `None` when there is more than that.
    copied_version: Option<i64>,
    _lock: Arc<ServeLock>,
}

impl Maintenance {
    pub(crate) fn new(
        connection: Connection,
        state: Arc<State>,
        lock: Arc<ServeLock>,
        layout: &Layout,
        options: &Options,
    ) -> (Self, Stop) {
        let (stop, stopped) = mpsc::sync_channel(0);
        let this = Self {
            connection,
            state,
            space: Space::new(layout, options),
            straggler_age: options.partitioning.straggler_age,
            wal_bytes_max: bounds::WAL_BYTES_MAX.min(options.bytes_max / bounds::WAL_SHARE),
            stopped,
            rounds: 0,
            copied_version: None,
            _lock: lock,
        };
        (this, stop)
    }

    /// Runs until it is stopped, or the store has failed.
    pub(crate) fn run(mut self) {
        while self.stopped.recv_timeout(bounds::MAINTENANCE_INTERVAL) == Err(RecvTimeoutError::Timeout)
            && self.state.failed().is_none()
        {
            self.rounds += 1;
            if let Err(error) = self.round() {
                self.judge(&error);
            }
        }
        if self.state.failed().is_none() {
            connection::tidy_on_close(&self.connection, true);
        }
    }

    fn round(&mut self) -> rusqlite::Result<()> {
        self.checkpoint()?;
        self.find_space()?;
        let mut wrote = self.give_back()?;
        wrote |= claims::forget_ended(&mut self.connection)?;
        if self.rounds.is_multiple_of(bounds::SWEEP_ROUNDS) {
            wrote |= partition::drop_all_finished(&mut self.connection)?;
            wrote |= stragglers::gather(&mut self.connection, self.straggler_age)?;
        }
        if self.rounds % bounds::PURGE_ROUNDS == 1 {
            wrote |= dead::purge_old(&self.connection)?;
        }
        if wrote {
            // Our own commits don't show in `data_version`.
            self.copied_version = None;
        }
        Ok(())
    }

    /// A failed sync is as bad here as in the writer. What else goes wrong is tried again.
    fn judge(&self, error: &rusqlite::Error) {
        match Fault::of(error) {
            Fault::Fatal(why) => self.state.fail(&why),
            Fault::Busy(why) => tracing::debug!(why, "maintenance waits for its turn"),
            Fault::Full(why) | Fault::Passing(why) => {
                // Once a minute: it is tried ten times a second.
                if self.rounds % bounds::PURGE_ROUNDS < bounds::SWEEP_ROUNDS {
                    tracing::warn!(why, "the log can't be copied into the database; it keeps everything");
                }
            }
        }
    }

    /// If anything was committed since the last time.
    fn checkpoint(&mut self) -> rusqlite::Result<()> {
        let version =
            self.connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if self.copied_version == Some(version) {
            return Ok(());
        }
        let done = connection::checkpoint(&self.connection)?;
        let long = done.frames * u64::from(schema::PAGE_BYTES) >= self.wal_bytes_max;
        self.state.count_checkpoint(long);
        self.copied_version = done.complete.then_some(version);
        Ok(())
    }

    /// While there is no space: the writer only looks before it appends, and nothing is appended now.
    fn find_space(&mut self) -> rusqlite::Result<()> {
        if self.state.space().is_some() {
            let obstacle = self.space.make_room(&mut self.connection, bounds::SPACE_BYTES)?;
            self.state.set_space(obstacle);
        }
        Ok(())
    }

    /// Gives free pages back to the file system, in steps, while there are more than the next
    /// partitions will need and they are a quarter of the file. True if it did.
    fn give_back(&mut self) -> rusqlite::Result<bool> {
        let ask = |pragma| self.connection.prepare_cached(pragma)?.query_row([], |row| row.get::<_, u64>(0));
        let (free, pages) = (ask("PRAGMA freelist_count")?, ask("PRAGMA page_count")?);
        let kept = bounds::FREE_BYTES_KEPT / u64::from(schema::PAGE_BYTES);
        if free <= kept || free * 4 <= pages {
            return Ok(false);
        }
        let sql = format!("PRAGMA incremental_vacuum({})", bounds::VACUUM_PAGES);
        let mut statement = self.connection.prepare_cached(&sql)?;
        // Each row is one page given back.
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(true)
    }
}
