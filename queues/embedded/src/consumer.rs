//! A worker's side of the store: leases messages of one queue, in a process of its own.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use sluiced_queue::{Backlog, ConsumeError, LeasedMessage, WebHookQueueConsumer};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::bounds;
use crate::desk::{Call, Desk, Reply, Settle};
use crate::open_error::OpenError;
use crate::settle::{Key, Verdict};
use crate::store::{self, Layout};

/// Takes messages out of a queue that some daemon appends to, or did. Many can be open at once, in
/// this process and in others. A clone shares the connection and its thread.
///
/// Leases are kept in wall-clock time: see the crate's README for what a jumping clock does.
#[derive(Clone, Debug)]
pub struct EmbeddedConsumer {
    calls: mpsc::Sender<Call>,
}

impl EmbeddedConsumer {
    /// Opens the store in `dir`, which a daemon must have made. The queue itself may come into being
    /// later, with its first message; until then it is empty.
    ///
    /// # Errors
    /// [`OpenError::NotThereYet`] while there is no store; the others won't go away by waiting.
    pub fn open(dir: &Path, queue_name: &str) -> Result<Self, OpenError> {
        let layout = Layout::new(dir);
        let connection = store::open_to_work(&layout)?;
        let (calls, inbox) = mpsc::channel(bounds::DESK_INBOX);
        let desk = Desk::new(connection, inbox, layout.clone(), Arc::from(queue_name));
        // The thread ends with the last handle, and closes the connection then.
        thread::Builder::new()
            .name("sluiced-desk".into())
            .spawn(move || desk.run())
            .map_err(|error| OpenError::io(&layout.dir, error))?;
        Ok(Self { calls })
    }

    /// Every call has a deadline: a thread that waits for a dead disk must not make a worker hang.
    pub(crate) async fn call<T>(&self, call: impl FnOnce(Reply<T>) -> Call) -> Result<T, ConsumeError> {
        let (reply, answer) = oneshot::channel();
        let call = call(reply);
        let asked = async {
            let ended = || ConsumeError::Failed("the store's thread has ended".into());
            self.calls.send(call).await.map_err(|_| ended())?;
            answer.await.map_err(|_| ended())?
        };
        tokio::time::timeout(bounds::CONSUMER_DEADLINE, asked)
            .await
            .unwrap_or_else(|_| Err(ConsumeError::Unavailable(late())))
    }

    async fn settle(&self, message: &LeasedMessage, verdict: Verdict) -> Result<(), ConsumeError> {
        let key = (message.tag.cast_signed(), message.lease.cast_signed());
        self.settle_key(key, verdict).await
    }

    pub(crate) async fn settle_key(&self, key: Key, verdict: Verdict) -> Result<(), ConsumeError> {
        self.call(|reply| Call::Settle(Settle { key, verdict, reply })).await
    }
}

#[async_trait]
impl WebHookQueueConsumer for EmbeddedConsumer {
    async fn receive(
        &self,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<LeasedMessage>, ConsumeError> {
        let until = Instant::now() + wait.min(bounds::LEASE_MAX);
        let mut pause = bounds::POLL_FIRST;
        loop {
            let messages = self.call(|reply| Call::Receive { max, lease, reply }).await?;
            let left = until.saturating_duration_since(Instant::now());
            if !messages.is_empty() || left.is_zero() {
                return Ok(messages);
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 3 / 2).min(bounds::POLL_IDLE);
        }
    }

    async fn acknowledge(&self, message: &LeasedMessage) -> Result<(), ConsumeError> {
        self.settle(message, Verdict::Acknowledge).await
    }

    async fn release(
        &self,
        message: &LeasedMessage,
        delay: Duration,
        failed: bool,
    ) -> Result<(), ConsumeError> {
        self.settle(message, Verdict::Release { delay, failed }).await
    }

    async fn extend(&self, message: &LeasedMessage, lease: Duration) -> Result<(), ConsumeError> {
        self.settle(message, Verdict::Extend(lease)).await
    }

    async fn dead_letter(&self, message: &LeasedMessage, reason: &str) -> Result<(), ConsumeError> {
        self.settle(message, Verdict::DeadLetter(reason.to_owned())).await
    }

    async fn backlog(&self) -> Result<Backlog, ConsumeError> {
        self.call(|reply| Call::Backlog { reply }).await
    }
}

fn late() -> String {
    format!("no answer within {} s", bounds::CONSUMER_DEADLINE.as_secs())
}
