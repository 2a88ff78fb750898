//! The store in front of a broker: messages of each destination in a queue of its own, taken out again by the
//! process that put them in.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use sluiced_queue::spool::{Claimed, SpoolStore};
use sluiced_queue::{ConsumeError, Depth, Durable, EnqueueError, Health, Receipt, WebHookQueueHandler};
use uuid::Uuid;

use crate::connection::{self, Role};
use crate::consumer::EmbeddedConsumer;
use crate::desk::Call;
use crate::lease::Taken;
use crate::limits::Limits;
use crate::message::NewMessage;
use crate::open_error::OpenError;
use crate::options::Options;
use crate::queue::EmbeddedQueue;
use crate::settle::Verdict;
use crate::store::Layout;

/// The spool's directory, open. One process has it at a time. A clone is another handle.
#[derive(Clone, Debug)]
pub struct EmbeddedSpool {
    queue: EmbeddedQueue,
    dir: PathBuf,
    bytes_max: u64,
    limits: Arc<Mutex<Limits>>,
}

/// What a spool takes of its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk, as last measured before an append.
    pub bytes: u64,
    /// The bound.
    pub bytes_max: u64,
}

impl EmbeddedSpool {
    /// Opens the store in `dir`, or makes it. `bytes_max`: its bound on disk.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing is changed then.
    pub fn open(dir: &Path, bytes_max: u64) -> Result<Self, OpenError> {
        let options = Options { bytes_max, durable: Durable::Spool, ..Options::default() };
        let queue = EmbeddedQueue::open(dir, options)?;
        let limits = Arc::new(Mutex::new(Limits::read(dir)));
        Ok(Self { queue, dir: dir.to_owned(), bytes_max, limits })
    }

    /// The entries of a destination. They are nobody's yet, whoever had claimed them before.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn lane(&self, destination: &str) -> Result<EmbeddedLane, OpenError> {
        let (dir, name) = (self.dir.clone(), destination.to_owned());
        let opened = tokio::task::spawn_blocking(move || EmbeddedConsumer::open(&dir, &name)).await;
        let failed =
            |why: String| OpenError::Io { path: self.dir.clone(), error: std::io::Error::other(why) };
        let consumer = opened.map_err(|panicked| failed(panicked.to_string()))??;
        Ok(EmbeddedLane {
            queue: self.queue.named(destination),
            consumer,
            dir: self.dir.clone(),
            claims_ended: Arc::default(),
        })
    }

    /// Which destinations have entries, and how many. Blocks for a moment: to be asked at the start.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn destinations(&self) -> Result<Vec<(String, u64)>, OpenError> {
        let db = Layout::new(&self.dir).db;
        let sqlite = |error: rusqlite::Error| OpenError::sqlite(&db, &error);
        let connection = connection::open(&db, Role::Other)?;
        let mut statement = connection
            .prepare(
                "SELECT name, sum(messages - done) AS count FROM queues JOIN partitions USING (queue)
                 GROUP BY name HAVING count > 0 ORDER BY name",
            )
            .map_err(sqlite)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(sqlite)?;
        rows.collect::<Result<_, _>>().map_err(sqlite)
    }

    /// What it takes of its bound.
    pub fn usage(&self) -> Usage {
        Usage { bytes: self.queue.used_bytes(), bytes_max: self.bytes_max }
    }

    /// The longest message that a destination takes, as its broker last said.
    pub fn known_limit(&self, destination: &str) -> Option<usize> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner).get(destination)
    }

    /// Keeps what a broker said. Blocks when it is new.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn remember_limit(&self, destination: &str, bytes_max: usize) -> std::io::Result<()> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner).set(destination, bytes_max)
    }

    /// Whether a message could be appended now.
    pub fn health(&self) -> Health {
        self.queue.health()
    }

    /// Takes no more messages and lets go of the files.
    pub async fn close(&self) {
        self.queue.close().await;
    }
}

/// The entries of one destination.
#[derive(Clone, Debug)]
pub struct EmbeddedLane {
    queue: EmbeddedQueue,
    consumer: EmbeddedConsumer,
    dir: PathBuf,
    /// Those of the process before.
    claims_ended: Arc<AtomicBool>,
}

#[async_trait]
impl SpoolStore for EmbeddedLane {
    async fn append(&self, message: Bytes, message_id: Uuid) -> Result<(u64, Receipt), EnqueueError> {
        let added = self.queue.add_numbered(NewMessage::new(message, message_id)).await?;
        // Only a message that asks to be left out can be a duplicate, and these don't ask.
        let seq =
            added.seq.ok_or_else(|| EnqueueError::Rejected("the spool took it for a duplicate".into()))?;
        Ok((seq.cast_unsigned(), added.receipt))
    }

    async fn claim(&self, max: usize) -> Result<Vec<Claimed>, ConsumeError> {
        // Not when the lane is opened: on a full disk this fails, and webhooks can be served all the same.
        if !self.claims_ended.load(Relaxed) {
            self.consumer.call(|reply| Call::EndLeases { reply }).await?;
            self.claims_ended.store(true, Relaxed);
        }
        let taken = self.consumer.call(|reply| Call::Claim { max, reply }).await?;
        Ok(taken.into_iter().map(claimed).collect())
    }

    async fn read(&self, entries: &[Claimed]) -> Result<Vec<Option<Bytes>>, ConsumeError> {
        let taken = entries.iter().map(taken).collect();
        self.consumer.call(|reply| Call::Read { taken, reply }).await
    }

    async fn remove(&self, entries: &[Claimed]) -> Result<(), ConsumeError> {
        // Asked for together, they share a transaction.
        let mut removing = tokio::task::JoinSet::new();
        for entry in entries {
            let (consumer, key) = (self.consumer.clone(), key(entry));
            removing.spawn(async move { consumer.settle_key(key, Verdict::Acknowledge).await });
        }
        let mut outcome = Ok(());
        while let Some(removed) = removing.join_next().await {
            match removed {
                Ok(Ok(()) | Err(ConsumeError::LeaseLost)) => {}
                Ok(Err(error)) => outcome = Err(error),
                Err(panicked) => outcome = Err(ConsumeError::Unavailable(panicked.to_string())),
            }
        }
        outcome
    }

    async fn bury(&self, entry: Claimed, reason: &str) -> Result<(), ConsumeError> {
        match self.consumer.settle_key(key(&entry), Verdict::DeadLetter(reason.to_owned())).await {
            Err(ConsumeError::LeaseLost) => Ok(()),
            buried => buried,
        }
    }

    async fn depth(&self) -> Option<Depth> {
        WebHookQueueHandler::depth(&self.queue).await
    }

    fn health(&self) -> Health {
        self.queue.health()
    }

    fn location(&self) -> String {
        self.dir.display().to_string()
    }
}

fn key(entry: &Claimed) -> (i64, i64) {
    (entry.key.cast_signed(), entry.lease.cast_signed())
}

fn claimed(Taken { seq, lease, bytes, .. }: Taken) -> Claimed {
    Claimed { key: seq.cast_unsigned(), lease: lease.cast_unsigned(), bytes }
}

fn taken(entry: &Claimed) -> Taken {
    let (seq, lease) = key(entry);
    Taken { seq, attempt: 1, lease, bytes: entry.bytes }
}
