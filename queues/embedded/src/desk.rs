//! The thread of a worker's side: it has the connection, and calls come to it one after the other, so
//! that SQLite's waits never stall the runtime. Verdicts that wait together share a transaction.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use sluiced_queue::{Backlog, ConsumeError, LeasedMessage};
use tokio::sync::{mpsc, oneshot};

use crate::fault::Fault;
use crate::lease::{self, Taken};
use crate::settle::{self, Key, Settled, Verdict};
use crate::store::Layout;
use crate::{append, bounds, clock, connection, partition};

/// Where a call's answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, ConsumeError>>;

/// A worker's call.
pub(crate) enum Call {
    /// Lease up to `max` messages, without waiting for them.
    Receive { max: usize, lease: Duration, reply: Reply<Vec<LeasedMessage>> },
    /// Lease up to `max` messages, for as long as this process lives, without reading them.
    Claim { max: usize, reply: Reply<Vec<Taken>> },
    /// Read leased messages; no content for one that is damaged, which is a dead letter now.
    Read { taken: Vec<Taken>, reply: Reply<Vec<Option<Bytes>>> },
    /// End all leases of the queue.
    EndLeases { reply: Reply<()> },
    /// Do this to a leased message.
    Settle(Settle),
    /// Count.
    Backlog { reply: Reply<Backlog> },
}

/// A verdict and who waits for it to be carried out.
pub(crate) struct Settle {
    pub(crate) key: Key,
    pub(crate) verdict: Verdict,
    pub(crate) reply: Reply<()>,
}

/// The thread's own.
pub(crate) struct Desk {
    connection: Connection,
    calls: mpsc::Receiver<Call>,
    layout: Layout,
    name: Arc<str>,
    queue: Option<i64>,
    quiet: Option<Quiet>,
    commits: u64,
    /// After a failed sync or damage this worker touches the store no more.
    failed: Option<String>,
}

/// Nothing was visible, and nothing will be before `until_ms` unless somebody commits.
#[derive(Clone, Copy)]
struct Quiet {
    data_version: i64,
    until_ms: i64,
}

impl Desk {
    pub(crate) fn new(
        connection: Connection,
        calls: mpsc::Receiver<Call>,
        layout: Layout,
        name: Arc<str>,
    ) -> Self {
        Self { connection, calls, layout, name, queue: None, quiet: None, commits: 0, failed: None }
    }

    /// Runs until the last handle is gone.
    pub(crate) fn run(mut self) {
        let mut calls = Vec::new();
        while let Some(first) = self.calls.blocking_recv() {
            calls.push(first);
            // Verdicts come in bursts, from a worker that has just got a batch done: let the rest of it in.
            thread::yield_now();
            while calls.len() < bounds::DESK_BATCH
                && let Ok(next) = self.calls.try_recv()
            {
                calls.push(next);
            }
            self.answer(&mut calls);
            self.shorten_log();
        }
        connection::tidy_on_close(&self.connection, self.failed.is_none());
    }

    fn answer(&mut self, calls: &mut Vec<Call>) {
        let (mut settles, mut rest) = (Vec::new(), Vec::new());
        for call in calls.drain(..) {
            match call {
                Call::Settle(settle) => settles.push(settle),
                other => rest.push(other),
            }
        }
        self.settle_all(settles);
        for call in rest {
            match call {
                Call::Receive { max, lease, reply } => self.receive(max, lease, reply),
                Call::Backlog { reply } => {
                    let counted = self.guarded(Self::backlog);
                    // Whoever asked may have given up.
                    let _ = reply.send(counted);
                }
                Call::Claim { max, reply } => {
                    let claimed = self.guarded(|desk| desk.claim(max));
                    // Given back when whoever asked has given up: nobody would know of them.
                    if let (Err(Ok(unwanted)), Some(queue)) = (reply.send(claimed), self.queue) {
                        self.give_back(queue, &unwanted);
                    }
                }
                Call::Read { taken, reply } => {
                    let _ = reply.send(self.guarded(|desk| desk.read_bodies(&taken)));
                }
                Call::EndLeases { reply } => {
                    let _ = reply.send(self.guarded(Self::end_leases));
                }
                // They were sorted out above.
                Call::Settle(_) => {}
            }
        }
    }

    /// One transaction for all of them; each gets its own answer, after the commit.
    fn settle_all(&mut self, settles: Vec<Settle>) {
        if settles.is_empty() {
            return;
        }
        let outcome = self.guarded(|desk| desk.settle_in_one(&settles));
        let partition_done = matches!(&outcome, Ok(settled) if settled.contains(&Settled::PartitionDone));
        for (at, settle) in settles.into_iter().enumerate() {
            let answer = match &outcome {
                Ok(settled) if settled[at] == Settled::LeaseLost => Err(ConsumeError::LeaseLost),
                Ok(_) => Ok(()),
                Err(error) => Err(error.clone()),
            };
            // Whoever asked may have given up.
            let _ = settle.reply.send(answer);
        }
        // Not while somebody waits for an answer; and if it fails, somebody else will.
        if partition_done
            && let Err(error) = self.guarded(|desk| partition::drop_finished(&mut desk.connection))
        {
            tracing::debug!(%error, "a finished partition is left for later");
        }
    }

    fn settle_in_one(&mut self, settles: &[Settle]) -> rusqlite::Result<Vec<Settled>> {
        let Some(queue) = self.queue()? else {
            return Ok(vec![Settled::LeaseLost; settles.len()]);
        };
        self.quiet = None;
        let tx = Transaction::new(&mut self.connection, TransactionBehavior::Immediate)?;
        let asked: Vec<_> = settles.iter().map(|settle| (settle.key, &settle.verdict)).collect();
        let settled = settle::settle_all(&tx, queue, &asked)?;
        tx.commit()?;
        self.commits += 1;
        Ok(settled)
    }

    /// Messages whose receiver has gone meanwhile are given back at once.
    fn receive(&mut self, max: usize, lease: Duration, reply: Reply<Vec<LeasedMessage>>) {
        let received = self.guarded(|desk| desk.take(max, lease));
        let Err(Ok(unwanted)) = reply.send(received) else { return };
        let give_back = |message: &LeasedMessage| Settle {
            key: (message.tag.cast_signed(), message.lease.cast_signed()),
            verdict: Verdict::Release { delay: Duration::ZERO, failed: false },
            reply: oneshot::channel().0,
        };
        self.settle_all(unwanted.iter().map(give_back).collect());
    }

    fn take(&mut self, max: usize, lease: Duration) -> rusqlite::Result<Vec<LeasedMessage>> {
        let Some(queue) = self.queue()? else { return Ok(Vec::new()) };
        if max == 0 || !self.is_worth_a_look(queue)? {
            return Ok(Vec::new());
        }
        let now_ms = clock::now_ms();
        let taken = self.lease(queue, max, now_ms, clock::in_ms(now_ms, lease))?;
        let read = self.read(queue, &taken);
        if read.is_err() {
            self.give_back(queue, &taken);
        }
        read
    }

    fn lease(
        &mut self,
        queue: i64,
        max: usize,
        now_ms: i64,
        expires_ms: i64,
    ) -> rusqlite::Result<Vec<Taken>> {
        let tx = Transaction::new(&mut self.connection, TransactionBehavior::Immediate)?;
        let taken = lease::take(&tx, queue, max, now_ms, expires_ms)?;
        tx.commit()?;
        self.commits += 1;
        Ok(taken)
    }

    fn claim(&mut self, max: usize) -> rusqlite::Result<Vec<Taken>> {
        let now_ms = clock::now_ms();
        match self.queue()? {
            Some(queue) if self.is_worth_a_look(queue)? => {
                self.lease(queue, max, now_ms, now_ms + bounds::SPOOL_LEASE_MS)
            }
            _ => Ok(Vec::new()),
        }
    }

    fn read_bodies(&mut self, taken: &[Taken]) -> rusqlite::Result<Vec<Option<Bytes>>> {
        let Some(queue) = self.queue()? else { return Ok(vec![None; taken.len()]) };
        let mut bodies = Vec::with_capacity(taken.len());
        for (taken, content) in settle::contents(&mut self.connection, queue, taken)? {
            if content.is_none() {
                self.bury_damaged(queue, taken)?;
            }
            bodies.push(content.map(|(body, _)| body));
        }
        Ok(bodies)
    }

    fn end_leases(&mut self) -> rusqlite::Result<()> {
        match self.queue()? {
            Some(queue) => lease::end_all(&self.connection, queue),
            None => Ok(()),
        }
    }

    /// Nothing stays leased after an error, if that can be helped; otherwise the leases will end.
    fn give_back(&mut self, queue: i64, taken: &[Taken]) {
        let release = Verdict::Release { delay: Duration::ZERO, failed: false };
        let asked: Vec<_> = taken.iter().map(|message| ((message.seq, message.lease), &release)).collect();
        let given_back = Transaction::new(&mut self.connection, TransactionBehavior::Immediate)
            .and_then(|tx| settle::settle_all(&tx, queue, &asked).and_then(|_| tx.commit()));
        if let Err(error) = given_back {
            tracing::warn!(%error, "messages that could not be read stay leased until their leases end");
        }
    }

    /// After the commit, so that nobody waits while bodies are read: the lease keeps them.
    fn read(&mut self, queue: i64, taken: &[Taken]) -> rusqlite::Result<Vec<LeasedMessage>> {
        let mut leased = Vec::with_capacity(taken.len());
        for (taken, content) in settle::contents(&mut self.connection, queue, taken)? {
            let Some((message, headers)) = content else {
                self.bury_damaged(queue, taken)?;
                continue;
            };
            leased.push(LeasedMessage {
                message,
                headers,
                attempt: taken.attempt,
                tag: taken.seq.cast_unsigned(),
                lease: taken.lease.cast_unsigned(),
            });
        }
        Ok(leased)
    }

    /// Never handed out as good, and kept for whoever wants to look at it.
    fn bury_damaged(&mut self, queue: i64, message: Taken) -> rusqlite::Result<()> {
        tracing::error!(
            queue = &*self.name,
            seq = message.seq,
            "a message's bytes aren't what was appended: it is a dead letter now; check the disk"
        );
        let reason = Verdict::DeadLetter("damaged: the bytes don't match their checksum".into());
        let tx = Transaction::new(&mut self.connection, TransactionBehavior::Immediate)?;
        settle::settle_all(&tx, queue, &[((message.seq, message.lease), &reason)])?;
        tx.commit()
    }

    /// Without the lock, and mostly without reading anything.
    fn is_worth_a_look(&mut self, queue: i64) -> rusqlite::Result<bool> {
        let data_version =
            self.connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        let now_ms = clock::now_ms();
        if self.quiet.is_some_and(|quiet| quiet.data_version == data_version && now_ms < quiet.until_ms) {
            return Ok(false);
        }
        let glance = lease::glance(&self.connection, queue, now_ms)?;
        let until_ms = glance.next_ms.unwrap_or(i64::MAX);
        self.quiet = (!glance.visible).then_some(Quiet { data_version, until_ms });
        Ok(glance.visible)
    }

    fn backlog(&mut self) -> rusqlite::Result<Backlog> {
        match self.queue()? {
            Some(queue) => settle::backlog(&self.connection, queue, clock::now_ms()),
            None => Ok(Backlog::default()),
        }
    }

    /// The queue's number, once it has had a message.
    fn queue(&mut self) -> rusqlite::Result<Option<i64>> {
        if self.queue.is_none() {
            self.queue = append::find_queue(&self.connection, &self.name)?;
        }
        Ok(self.queue)
    }

    /// Runs a piece of work and says what an error of it means to the worker.
    fn guarded<T>(&mut self, work: impl FnOnce(&mut Self) -> rusqlite::Result<T>) -> Result<T, ConsumeError> {
        if let Some(why) = &self.failed {
            return Err(ConsumeError::Failed(why.clone()));
        }
        work(self).map_err(|error| match Fault::of(&error) {
            Fault::Busy(why) | Fault::Full(why) | Fault::Passing(why) => ConsumeError::Unavailable(why),
            Fault::Fatal(why) => {
                let why = format!("{}: {why}", self.layout.db.display());
                self.failed = Some(why.clone());
                ConsumeError::Failed(why)
            }
        })
    }

    /// The daemon does this, if there is one; a log that got so long says that there is none.
    fn shorten_log(&mut self) {
        if self.commits < bounds::WORKER_COMMITS_PER_LOOK {
            return;
        }
        self.commits = 0;
        let long = fs::metadata(&self.layout.wal).is_ok_and(|meta| meta.len() > bounds::WAL_BYTES_WORKER);
        if long && let Err(error) = self.guarded(|desk| connection::checkpoint(&desk.connection)) {
            tracing::warn!(%error, "the log can't be copied into the database");
        }
    }
}
