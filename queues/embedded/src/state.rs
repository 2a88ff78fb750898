//! What the threads of a store and its handles know in common: can it take messages, and how many
//! it took.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sluiced_queue::Health;
use tokio::sync::watch;

use crate::{bounds, clock};

/// Shared by the writer, the maintenance thread and the handles.
#[derive(Debug)]
pub(crate) struct State {
    /// Why nothing more may be acknowledged, for ever.
    failed: watch::Sender<Option<String>>,
    /// Why there is no space, as last measured.
    space: Mutex<Option<String>>,
    /// Why the last commit failed, until one succeeds.
    disk: Mutex<Option<String>>,
    /// When the commit under way began, in ms since 1970; 0: none is.
    commit_began_ms: AtomicI64,
    closing: AtomicBool,
    /// Someone should copy the log while nothing is appended.
    log_is_long: AtomicBool,
    used_bytes: AtomicU64,
    appends: AtomicU64,
    commits: AtomicU64,
    checkpoints: AtomicU64,
}

/// What a store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages acknowledged.
    pub appends: u64,
    /// Commits, each of them synced, that it took.
    pub commits: u64,
    /// Times that the log was copied into the database.
    pub checkpoints: u64,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            failed: watch::Sender::new(None),
            space: Mutex::new(None),
            disk: Mutex::new(None),
            commit_began_ms: AtomicI64::new(0),
            closing: AtomicBool::new(false),
            log_is_long: AtomicBool::new(false),
            used_bytes: AtomicU64::new(0),
            appends: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            checkpoints: AtomicU64::new(0),
        }
    }

    /// From here on nothing is acknowledged any more. The first reason stays.
    pub(crate) fn fail(&self, why: &str) {
        let first = self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert_with(|| why.to_owned());
            first
        });
        if first {
            tracing::error!(why, "the store has failed: nothing more is acknowledged, this process must end");
        }
    }

    pub(crate) fn failed(&self) -> Option<String> {
        self.failed.borrow().clone()
    }

    /// Sees the failure when it comes.
    pub(crate) fn watch_failed(&self) -> watch::Receiver<Option<String>> {
        self.failed.subscribe()
    }

    pub(crate) fn set_space(&self, obstacle: Option<String>) {
        *lock(&self.space) = obstacle;
    }

    pub(crate) fn space(&self) -> Option<String> {
        lock(&self.space).clone()
    }

    pub(crate) fn set_disk(&self, obstacle: Option<String>) {
        *lock(&self.disk) = obstacle;
    }

    pub(crate) fn set_used_bytes(&self, bytes: u64) {
        self.used_bytes.store(bytes, Relaxed);
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Relaxed)
    }

    pub(crate) fn disk(&self) -> Option<String> {
        lock(&self.disk).clone()
    }

    pub(crate) fn commit_begins(&self) {
        self.commit_began_ms.store(clock::now_ms(), Relaxed);
    }

    pub(crate) fn commit_ends(&self) {
        self.commit_began_ms.store(0, Relaxed);
    }

    pub(crate) fn count_commit(&self, appends: usize) {
        self.commits.fetch_add(1, Relaxed);
        self.appends.fetch_add(appends as u64, Relaxed);
    }

    pub(crate) fn count_checkpoint(&self, log_is_long: bool) {
        self.checkpoints.fetch_add(1, Relaxed);
        self.log_is_long.store(log_is_long, Relaxed);
    }

    pub(crate) fn log_is_long(&self) -> bool {
        self.log_is_long.load(Relaxed)
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            appends: self.appends.load(Relaxed),
            commits: self.commits.load(Relaxed),
            checkpoints: self.checkpoints.load(Relaxed),
        }
    }

    /// True for the one who closes.
    pub(crate) fn close(&self) -> bool {
        !self.closing.swap(true, Relaxed)
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    pub(crate) fn health(&self) -> Health {
        if let Some(why) = self.failed() {
            return Health::Failed(why);
        }
        let obstacle =
            self.closed().or_else(|| self.space()).or_else(|| self.disk()).or_else(|| self.frozen());
        obstacle.map_or(Health::Ready, Health::NotReady)
    }

    fn closed(&self) -> Option<String> {
        self.is_closing().then(|| "the store is closed".to_owned())
    }

    fn frozen(&self) -> Option<String> {
        let began = self.commit_began_ms.load(Relaxed);
        let ms = clock::now_ms() - began;
        let slow = began != 0 && u128::try_from(ms).is_ok_and(|ms| ms > bounds::COMMIT_SLOW.as_millis());
        slow.then(|| format!("a commit has taken {ms} ms so far: the disk, or a worker, is frozen"))
    }
}

/// What these locks guard is a whole value at any time, whoever panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
