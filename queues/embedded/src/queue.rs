//! The daemon's side of the store.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::Connection;
use sluiced_queue::{EnqueueError, Format, Health, Receipt, WebHookQueueContext, WebHookQueueHandler};
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use crate::connection::{self, Role};
use crate::depth::{self, Depth, DepthError};
use crate::maintenance::{Maintenance, Stop};
use crate::message::{NewMessage, Stored};
use crate::open_error::OpenError;
use crate::options::Options;
use crate::state::{Counts, State, lock};
use crate::store::{self, Layout};
use crate::writer::{Added, Append, Command, Writer};
use crate::{bounds, clock};

/// A durable queue in a directory, open for appending. One process has it at a time; workers take
/// messages out through [`crate::EmbeddedConsumer`]. A clone, or [`Self::named`], is another handle
/// on the same store.
#[derive(Clone, Debug)]
pub struct EmbeddedQueue {
    name: Arc<str>,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Arc<State>,
    inbox: SyncSender<Command>,
    /// Memory for messages that wait, in KiB.
    room: Arc<Semaphore>,
    format: Format,
    message_bytes_max: usize,
    append_deadline: Duration,
    /// `None` once closed.
    reader: Arc<Mutex<Option<Connection>>>,
    threads: Mutex<Option<Threads>>,
}

#[derive(Debug)]
struct Threads {
    writer: JoinHandle<()>,
    maintenance: JoinHandle<()>,
    stop: Stop,
}

impl EmbeddedQueue {
    /// Opens the store in `dir` and starts its two threads; makes directory and store where they are
    /// missing. What is there is checked and never reset.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing is changed then.
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let layout = Layout::new(dir);
        let (lock, writing, identity) = store::open_to_serve(&layout)?;
        let lock = Arc::new(lock);
        let state = Arc::new(State::new());
        let maintaining = connection::open(&layout.db, Role::Other)?;
        let reading = connection::open(&layout.db, Role::Other)?;
        let (inbox, commands) = sync_channel(inbox_length());
        let writer =
            Writer::new(writing, commands, state.clone(), lock.clone(), (&layout, identity), &options);
        let (maintenance, stop) = Maintenance::new(maintaining, state.clone(), lock, &layout, &options);
        let threads = Threads {
            writer: spawn("sluiced-append", &layout, move || writer.run())?,
            maintenance: spawn("sluiced-tidy", &layout, move || maintenance.run())?,
            stop,
        };
        let inner = Inner {
            state,
            inbox,
            room: Arc::new(Semaphore::new(bounds::PENDING_BYTES_MAX / KIB)),
            format: options.format,
            message_bytes_max: options.message_bytes_max,
            append_deadline: options.append_deadline,
            reader: Arc::new(Mutex::new(Some(reading))),
            threads: Mutex::new(Some(threads)),
        };
        Ok(Self { name: options.queue_name.into(), inner: Arc::new(inner) })
    }

    /// A handle on another queue of the same store. It comes into being with its first message.
    #[must_use]
    pub fn named(&self, queue_name: &str) -> Self {
        Self { name: queue_name.into(), inner: self.inner.clone() }
    }

    /// Makes an encoded message without headers durable: see [`Self::add`].
    ///
    /// # Errors
    /// As for [`Self::add`].
    pub async fn append(&self, message: Bytes, message_id: Uuid) -> Result<Receipt, EnqueueError> {
        self.add(NewMessage::new(message, message_id)).await
    }

    /// Makes a message durable: after `Ok` it is on the disk, synced; or the one whose duplicate it is.
    ///
    /// # Errors
    /// The message may or may not be in the queue after an error.
    pub async fn add(&self, message: NewMessage) -> Result<Receipt, EnqueueError> {
        self.add_numbered(message).await.map(|added| added.receipt)
    }

    /// The same, and its number.
    pub(crate) async fn add_numbered(&self, message: NewMessage) -> Result<Added, EnqueueError> {
        let dedupe_for = message.dedupe_for;
        let message = Stored::from(message);
        self.inner.admit(message.bytes())?;
        let deadline = self.inner.append_deadline;
        let handed_over = self.hand_over(message, dedupe_for);
        tokio::time::timeout(deadline, handed_over)
            .await
            .unwrap_or_else(|_| Err(EnqueueError::TimedOut { deadline_ms: ms(deadline) }))
    }

    /// Resolves when the store has failed, with the reason: the process must end then, for it can
    /// acknowledge nothing any more. Pending for ever if that doesn't happen.
    pub async fn failed(&self) -> String {
        let mut failed = self.inner.state.watch_failed();
        match failed.wait_for(Option::is_some).await.map(|why| why.clone()) {
            Ok(Some(why)) => why,
            // The state lives as long as this handle does.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// What is in this handle's queue. A few lookups, whatever its length.
    ///
    /// # Errors
    /// When the store can't be read, or not in time.
    pub async fn depth(&self) -> Result<Depth, DepthError> {
        let (reader, name) = (self.inner.reader.clone(), self.name.clone());
        let read = tokio::task::spawn_blocking(move || match lock(&reader).as_mut() {
            Some(connection) => depth::depth(connection, &name).map_err(|error| error.to_string()),
            None => Err("it is closed".into()),
        });
        match tokio::time::timeout(bounds::DEPTH_DEADLINE, read).await {
            Err(_) => Err(DepthError::TimedOut { deadline_ms: ms(bounds::DEPTH_DEADLINE) }),
            Ok(Err(panicked)) => Err(DepthError::Unreadable(panicked.to_string())),
            Ok(Ok(depth)) => depth.map_err(DepthError::Unreadable),
        }
    }

    /// What the store has done since it was opened.
    pub fn counts(&self) -> Counts {
        self.inner.state.counts()
    }

    /// Bytes on disk, as last measured before an append.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.inner.state.used_bytes()
    }

    /// Can be asked without a queue handler: see [`WebHookQueueHandler::health`].
    pub fn health(&self) -> Health {
        self.inner.state.health()
    }

    /// Takes no more messages, finishes those under way, and lets go of the files; a later call does
    /// nothing. After the deadline it returns all the same; the lock then stays until the disk answers.
    pub async fn close(&self) {
        if !self.inner.state.close() {
            return;
        }
        let deadline = tokio::time::timeout(bounds::CLOSE_DEADLINE, self.finish());
        if deadline.await.is_err() {
            tracing::error!("the store could not be closed in time; nothing acknowledged is lost");
        }
    }

    async fn hand_over(&self, message: Stored, dedupe_for: Option<Duration>) -> Result<Added, EnqueueError> {
        let gone = |_| EnqueueError::Unavailable("the store is closed".into());
        let charge =
            self.inner.room.clone().acquire_many_owned(charge_kib(message.bytes())).await.map_err(|_| {
                // The semaphore is never closed.
                EnqueueError::Unavailable("the store is closed".into())
            })?;
        let (reply, answer) = oneshot::channel();
        let append = Append { queue: self.name.clone(), message, dedupe_for, reply, charge };
        self.inner.inbox.try_send(Command::Append(append)).map_err(|error| {
            // Full can't be: the charges bound the number. Disconnected: the writer has ended.
            EnqueueError::Unavailable(format!("the writer takes nothing: {error}"))
        })?;
        answer.await.map_err(gone)?
    }

    /// The writer goes last: whoever closes the last connection removes the log.
    async fn finish(&self) {
        let Some(Threads { writer, maintenance, stop }) = lock(&self.inner.threads).take() else { return };
        drop(stop);
        let reader = self.inner.reader.clone();
        join(move || {
            drop(lock(&reader).take());
            maintenance.join()
        })
        .await;
        let (done, closed) = oneshot::channel();
        if self.inner.inbox.try_send(Command::Close(done)).is_ok() {
            // An error means that the writer ended already.
            let _ = closed.await;
        }
        join(move || writer.join()).await;
    }
}

/// Waits for a thread's end where waiting is allowed.
async fn join(end: impl FnOnce() -> thread::Result<()> + Send + 'static) {
    if !matches!(tokio::task::spawn_blocking(end).await, Ok(Ok(()))) {
        tracing::error!("a thread of the store panicked");
    }
}

#[async_trait]
impl WebHookQueueHandler for EmbeddedQueue {
    async fn enqueue(&self, context: &WebHookQueueContext) -> Result<Receipt, EnqueueError> {
        self.add(NewMessage::of(context, self.inner.format)).await
    }

    fn message_bytes_max(&self) -> usize {
        self.inner.message_bytes_max
    }

    fn health(&self) -> Health {
        Self::health(self)
    }

    async fn depth(&self) -> Option<sluiced_queue::Depth> {
        let depth = Self::depth(self).await.ok()?;
        let age = |us: i64| Duration::from_micros(u64::try_from(clock::now_us() - us).unwrap_or_default());
        Some(sluiced_queue::Depth {
            messages: depth.messages,
            bytes: depth.bytes,
            oldest_age: depth.oldest_us.map(age),
        })
    }

    async fn close(&self) {
        Self::close(self).await;
    }
}

const KIB: usize = 1 << 10;

impl Inner {
    /// What can be said no to at once.
    fn admit(&self, bytes: usize) -> Result<(), EnqueueError> {
        if let Some(why) = self.state.failed() {
            return Err(EnqueueError::Unavailable(why));
        }
        if self.state.is_closing() {
            return Err(EnqueueError::Unavailable("the store is closed".into()));
        }
        if bytes > self.message_bytes_max {
            return Err(EnqueueError::TooLarge { bytes, bytes_max: self.message_bytes_max });
        }
        Ok(())
    }
}

/// The share of the memory for waiting messages. One longer than all of it takes all.
fn charge_kib(bytes: usize) -> u32 {
    let charged = bytes.clamp(bounds::PENDING_CHARGE_MIN, bounds::PENDING_BYTES_MAX);
    u32::try_from(charged.div_ceil(KIB)).unwrap_or(u32::MAX)
}

/// Every charged message has a place.
fn inbox_length() -> usize {
    bounds::PENDING_BYTES_MAX / bounds::PENDING_CHARGE_MIN + bounds::INBOX_SLACK
}

fn spawn(
    name: &str,
    layout: &Layout,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    thread::Builder::new().name(name.into()).spawn(run).map_err(|error| OpenError::io(&layout.dir, error))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
