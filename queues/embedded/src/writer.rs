//! The one thread that appends. Group commit: it takes whatever is queued, commits and syncs that
//! once, and answers everybody; meanwhile the next ones queue up. It never waits for company.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use sluiced_queue::{Durable, EnqueueError, Receipt};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::append::{self, Appended, Entry};
use crate::fault::Fault;
use crate::lock::ServeLock;
use crate::message::Stored;
use crate::options::{Options, Partitioning};
use crate::space::Space;
use crate::state::State;
use crate::store::{Identity, Layout};
use crate::{bounds, claims, clock, connection};

/// What the writer is asked.
pub(crate) enum Command {
    /// Make this durable.
    Append(Append),
    /// End, after everything that came before; tell when done.
    Close(oneshot::Sender<()>),
}

/// What became of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Added {
    pub(crate) receipt: Receipt,
    /// Its number in its queue; a duplicate has none.
    pub(crate) seq: Option<i64>,
}

/// A message and who waits for it. It is committed even if nobody waits any more: the sender that
/// gave up comes again, and at least once is what is promised.
pub(crate) struct Append {
    pub(crate) queue: Arc<str>,
    pub(crate) message: Stored,
    pub(crate) dedupe_for: Option<Duration>,
    pub(crate) reply: oneshot::Sender<Result<Added, EnqueueError>>,
    /// Its share of the memory for waiting messages, given back when this is dropped.
    pub(crate) charge: OwnedSemaphorePermit,
}

impl Entry for Append {
    fn queue(&self) -> &str {
        &self.queue
    }
    fn message(&self) -> &Stored {
        &self.message
    }
    fn dedupe_for(&self) -> Option<Duration> {
        self.dedupe_for
    }
}

/// The thread's own.
pub(crate) struct Writer {
    connection: Connection,
    inbox: Receiver<Command>,
    state: Arc<State>,
    identity: Identity,
    space: Space,
    partitioning: Partitioning,
    claims_max: u64,
    durable: Durable,
    /// Held as long as this thread can write.
    _lock: Arc<ServeLock>,
}

impl Writer {
    pub(crate) fn new(
        connection: Connection,
        inbox: Receiver<Command>,
        state: Arc<State>,
        lock: Arc<ServeLock>,
        (layout, identity): (&Layout, Identity),
        options: &Options,
    ) -> Self {
        Self {
            connection,
            inbox,
            state,
            identity,
            space: Space::new(layout, options),
            partitioning: options.partitioning,
            claims_max: claims::max(options.bytes_max),
            durable: options.durable,
            _lock: lock,
        }
    }

    /// Runs until it is closed, or all handles are gone.
    pub(crate) fn run(mut self) {
        let closed = loop {
            match self.inbox.recv_timeout(bounds::PROBE_INTERVAL) {
                Ok(Command::Append(first)) => {
                    if let Some(closed) = self.take_batch(first) {
                        break Some(closed);
                    }
                }
                Ok(Command::Close(closed)) => break Some(closed),
                Err(RecvTimeoutError::Timeout) => self.probe(),
                Err(RecvTimeoutError::Disconnected) => break None,
            }
        };
        self.leave();
        if let Some(closed) = closed {
            // Whoever closed may have given up waiting.
            let _ = closed.send(());
        }
    }

    /// Commits the first and what is queued behind it. A `Close` among them ends the batch.
    fn take_batch(&mut self, first: Append) -> Option<oneshot::Sender<()>> {
        let mut bytes = first.message.bytes();
        let mut batch = vec![first];
        let mut closed = None;
        while batch.len() < bounds::BATCH_MESSAGES_MAX && bytes < bounds::BATCH_BYTES_MAX {
            match self.inbox.try_recv() {
                Ok(Command::Append(next)) => {
                    bytes += next.message.bytes();
                    batch.push(next);
                }
                Ok(Command::Close(done)) => {
                    closed = Some(done);
                    break;
                }
                Err(_) => break,
            }
        }
        let verdict = self.commit(&batch, bytes as u64);
        self.answer(batch, verdict);
        self.shorten_log();
        closed
    }

    /// `Ok` only when all of the batch is on the disk.
    fn commit(&mut self, batch: &[Append], bytes: u64) -> Result<Vec<Appended>, EnqueueError> {
        self.still_good()?;
        self.check_space(bytes)?;
        self.state.commit_begins();
        let result = self.transaction(batch);
        self.state.commit_ends();
        let appended = result.map_err(|error| self.judge(&error))?;
        // Both may have changed while we wrote: the other thread's sync failed, or the file that we
        // have just synced isn't the one that the next process will find.
        self.still_good()?;
        self.state.set_disk(None);
        self.state.count_commit(batch.len());
        Ok(appended)
    }

    fn transaction(&mut self, batch: &[Append]) -> rusqlite::Result<Vec<Appended>> {
        let tx = Transaction::new(&mut self.connection, TransactionBehavior::Immediate)?;
        let appended = append::append(&tx, batch, &self.partitioning, self.claims_max)?;
        tx.commit()?;
        Ok(appended)
    }

    fn still_good(&self) -> Result<(), EnqueueError> {
        if self.state.failed().is_none() && !self.identity.holds() {
            self.state.fail("queue.db or its log was moved or deleted while in use");
        }
        self.state.failed().map_or(Ok(()), |why| Err(EnqueueError::Unavailable(why)))
    }

    fn check_space(&mut self, bytes: u64) -> Result<(), EnqueueError> {
        // While there is none, the other thread looks for some.
        if self.state.space().is_none() && self.space.is_due(bytes) {
            let obstacle = self.look_for_space(bytes).map_err(|error| self.judge(&error))?;
            self.state.set_space(obstacle);
            self.state.set_used_bytes(self.space.used());
        }
        self.state.space().map_or(Ok(()), |why| Err(EnqueueError::Full(why)))
    }

    fn look_for_space(&mut self, bytes: u64) -> rusqlite::Result<Option<String>> {
        match self.space.measure(&self.connection, bytes)? {
            Some(_) => self.space.make_room(&mut self.connection, bytes),
            None => Ok(None),
        }
    }

    /// What the senders are told, and what follows for the store.
    fn judge(&self, error: &rusqlite::Error) -> EnqueueError {
        let fault = if self.rolled_back() { Fault::of(error) } else { Fault::Fatal(error.to_string()) };
        match fault {
            Fault::Busy(why) => EnqueueError::Unavailable(why),
            Fault::Full(why) => {
                self.state.set_disk(Some(why.clone()));
                EnqueueError::Full(why)
            }
            Fault::Passing(why) => {
                self.state.set_disk(Some(why.clone()));
                EnqueueError::Unavailable(why)
            }
            Fault::Fatal(why) => {
                self.state.fail(&why);
                EnqueueError::Unavailable(why)
            }
        }
    }

    /// A transaction that can be neither committed nor undone leaves its outcome open.
    fn rolled_back(&self) -> bool {
        self.connection.is_autocommit() || self.connection.execute_batch("ROLLBACK").is_ok()
    }

    /// The only place where receipts are made: the commit is synced. So is the one that added what a message
    /// is a duplicate of: it was this one, or one of ours before it, or what opening the store synced.
    fn answer(&self, batch: Vec<Append>, verdict: Result<Vec<Appended>, EnqueueError>) {
        for (at, Append { reply, charge, message, .. }) in batch.into_iter().enumerate() {
            drop((message, charge));
            let answer = match &verdict {
                Ok(appended) => Ok(match appended[at] {
                    Appended::Yes(seq) => Added { receipt: Receipt::confirmed(self.durable), seq: Some(seq) },
                    Appended::Duplicate => Added { receipt: Receipt::of_duplicate(self.durable), seq: None },
                }),
                Err(error) => Err(error.clone()),
            };
            // Whoever gave up waiting has told the sender so.
            let _ = reply.send(answer);
        }
    }

    /// Idle after a failed write: finds out whether the disk is back. Nobody else would, for while the
    /// store isn't ready no messages are sent here.
    fn probe(&mut self) {
        if self.state.disk().is_none() || self.state.failed().is_some() {
            return;
        }
        let probed = self.connection.execute("UPDATE probe SET at_ms = ?", [clock::now_ms()]);
        match probed {
            Ok(_) => self.state.set_disk(None),
            Err(error) => drop(self.judge(&error)),
        }
    }

    /// Copies the log here when the other thread can't keep up: while this thread copies it doesn't
    /// append, so all of the log gets copied and the next commit starts it over.
    fn shorten_log(&mut self) {
        if !self.state.log_is_long() || self.state.failed().is_some() {
            return;
        }
        // Complete or not: the other thread will say if it is still long.
        match connection::checkpoint_restart(&mut self.connection) {
            Ok(_) => self.state.count_checkpoint(false),
            Err(error) => drop(self.judge(&error)),
        }
    }

    /// Leaves a short log behind, and none if this was the last connection; after a failure nothing is
    /// touched any more.
    fn leave(&mut self) {
        if self.state.failed().is_some() {
            return;
        }
        match connection::checkpoint(&self.connection) {
            Ok(_) => connection::tidy_on_close(&self.connection, true),
            Err(error) => tracing::warn!(%error, "the log could not be copied at the end; it stays"),
        }
    }
}
