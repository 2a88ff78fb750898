//! A worker's side: a lease is Azure's visibility time-out, proved by a receipt.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use sluiced_queue::{Backlog, ConsumeError, LeasedMessage, WebHookQueueConsumer};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::fault::{Fault, Kind};
use crate::lease::{Lease, Leases};
use crate::notes::{Death, Notes};
use crate::options::Options;
use crate::retry::repeat;
use crate::service::{Queue, Service};
use crate::text::Text;
use crate::{bounds, letters, name};

/// Takes messages out of one queue. A clone shares the connections and what is in hand.
#[derive(Clone)]
pub struct AzureConsumer {
    inner: Arc<Inner>,
}

struct Inner {
    queue: Queue,
    poison: Queue,
    leases: Mutex<Leases>,
    /// Calls run to their end even if nobody waits for them any more: a receipt that got lost on the way would be a
    /// message that can't be settled.
    tasks: TaskTracker,
}

impl AzureConsumer {
    /// Looks for the queue, which must be there already.
    ///
    /// # Errors
    /// [`ConsumeError::Unavailable`] while the account or the queue isn't there, or credentials are refused;
    /// [`ConsumeError::Failed`] when the options are wrong.
    pub async fn connect(options: Options) -> Result<Self, ConsumeError> {
        let failed = |error: crate::OptionsError| ConsumeError::Failed(error.to_string());
        options.check().map_err(failed)?;
        let poison = name::poison(&options.queue_name).map_err(ConsumeError::Failed)?;
        let service = Service::new(&options).map_err(failed)?;
        let queue = service.queue(&options.queue_name).map_err(failed)?;
        let poison = service.queue(&poison).map_err(failed)?;
        match queue.count(bounds::CALL_DEADLINE).await {
            Ok(_) => {}
            // A SAS that may process messages and nothing else.
            Err(fault) if fault.kind == Kind::NotPermitted => {}
            Err(fault) => return Err(there_is_none(fault, &queue.name)),
        }
        let inner = Inner { queue, poison, leases: Mutex::default(), tasks: TaskTracker::new() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs to its end, whether or not the caller waits for that.
    async fn settle(&self, message: &LeasedMessage, verdict: Verdict) -> Result<(), ConsumeError> {
        let lease = self.inner.leases().get(message).ok_or(ConsumeError::LeaseLost)?;
        let (inner, message) = (self.inner.clone(), message.clone());
        let settling = self.inner.tasks.spawn(async move {
            let settled = inner.settle(&lease, &message, verdict).await;
            if matches!(&settled, Err(fault) if fault.kind == Kind::LeaseLost) {
                inner.leases().remove(&message);
            }
            settled
        });
        match settling.await {
            Ok(settled) => settled.map_err(|fault| there_is_none(fault, &self.inner.queue.name)),
            Err(stopped) => Err(ConsumeError::Failed(stopped.to_string())),
        }
    }
}

/// What a worker says of a message in its hands.
enum Verdict {
    Acknowledge,
    Release { delay: Duration, failed: bool },
    Extend(Duration),
    DeadLetter(String),
}

impl Inner {
    /// Held for a few assignments.
    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is there, in as many requests as that needs.
    async fn take(&self, max: usize, lease: Duration) -> Result<Vec<LeasedMessage>, Fault> {
        let max = max.min(bounds::RECEIVE_MAX).min(self.leases().room());
        let visibility = seconds(lease).max(1);
        let mut all = Vec::new();
        while all.len() < max {
            let wanted = (max - all.len()).min(bounds::PAGE_MAX);
            let batch = match self.queue.take(wanted, visibility, bounds::CALL_DEADLINE).await {
                Ok(batch) => batch,
                // What came before it is in hand and goes on.
                Err(_) if !all.is_empty() => break,
                Err(fault) => return Err(fault),
            };
            let last = batch.len() < wanted;
            let mut leases = self.leases();
            all.extend(batch.into_iter().map(|taken| leases.add(taken, lease)));
            if last {
                break;
            }
        }
        Ok(all)
    }

    async fn settle(&self, lease: &Lease, message: &LeasedMessage, verdict: Verdict) -> Result<(), Fault> {
        match verdict {
            Verdict::Acknowledge => self.acknowledge(lease, message).await,
            Verdict::Release { delay, failed } => self.release(lease, message, delay, failed).await,
            Verdict::Extend(by) => self.extend(lease, message, by).await,
            Verdict::DeadLetter(reason) => self.bury(lease, message, &reason).await,
        }
    }

    /// Deletes it. After an answer that got lost, "there is no such message" is good news.
    async fn delete(&self, id: &str, receipt: &str) -> Result<(), Fault> {
        repeat(async |within, uncertain| match self.queue.delete((id, receipt), within).await {
            Err(fault) if uncertain && fault.kind == Kind::LeaseLost => Ok(()),
            outcome => outcome,
        })
        .await
    }

    async fn acknowledge(&self, lease: &Lease, message: &LeasedMessage) -> Result<(), Fault> {
        let receipt = lease.receipt.lock().await;
        self.delete(&lease.id, &receipt).await?;
        self.leases().remove(message);
        Ok(())
    }

    async fn release(
        &self,
        lease: &Lease,
        message: &LeasedMessage,
        delay: Duration,
        failed: bool,
    ) -> Result<(), Fault> {
        let receipt = lease.receipt.lock().await;
        let body = if failed || lease.plain { None } else { handed_back(lease, message) };
        let key = (&*lease.id, &**receipt);
        repeat(async |within, uncertain| {
            match self.queue.update(key, seconds(delay), body.clone(), within).await {
                Err(fault) if uncertain && fault.kind == Kind::LeaseLost => Ok(()),
                outcome => outcome.map(drop),
            }
        })
        .await?;
        let mut leases = self.leases();
        leases.remove(message);
        leases.delay(delay);
        Ok(())
    }

    async fn extend(&self, lease: &Lease, message: &LeasedMessage, by: Duration) -> Result<(), Fault> {
        let mut receipt = lease.receipt.lock().await;
        self.hold(&lease.id, &mut receipt, seconds(by).max(1)).await?;
        self.leases().extended(message, by);
        Ok(())
    }

    /// Keeps a message for so many seconds more, with a new receipt.
    async fn hold(&self, id: &str, receipt: &mut String, visibility: i32) -> Result<(), Fault> {
        let key = (id, &**receipt);
        let next = repeat(async |within, _| self.queue.update(key, visibility, None, within).await).await?;
        *receipt = next;
        Ok(())
    }

    /// First into the poison queue, then out of this one: killed in between, it is in both, and comes again.
    async fn bury(&self, lease: &Lease, message: &LeasedMessage, reason: &str) -> Result<(), Fault> {
        let mut receipt = lease.receipt.lock().await;
        // Also finds out whether it is still ours, before anybody is told that it died.
        self.hold(&lease.id, &mut receipt, bounds::MOVE_SECONDS).await?;
        let death = Death { reason: reason.to_owned(), attempts: message.attempt, died_at: Timestamp::now() };
        let notes = Notes { handed_back: 0, death: Some(death) };
        let noted = if lease.plain { None } else { notes.put_on(&message.message) };
        if noted.is_none() {
            tracing::warn!(
                backend = "azure",
                queue = self.poison.name,
                id = lease.id,
                reason,
                attempts = message.attempt,
                "the dead letter can't carry its reason"
            );
        }
        let text = Text { message: noted.unwrap_or_else(|| message.message.clone()), plain: lease.plain };
        letters::send(&self.poison, text.request_body(), true).await?;
        self.delete(&lease.id, &receipt).await?;
        self.leases().remove(message);
        Ok(())
    }
}

#[async_trait]
impl WebHookQueueConsumer for AzureConsumer {
    async fn receive(
        &self,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<LeasedMessage>, ConsumeError> {
        let until = Instant::now() + wait.min(bounds::VISIBILITY_MAX);
        let lease = lease.min(bounds::VISIBILITY_MAX);
        let mut pause = bounds::POLL_FIRST;
        loop {
            let taken = self.inner.take(max, lease).await;
            let messages = taken.map_err(|fault| there_is_none(fault, &self.inner.queue.name))?;
            let left = until.saturating_duration_since(Instant::now());
            if !messages.is_empty() || max == 0 || left.is_zero() {
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
        let delay = delay.min(bounds::VISIBILITY_MAX);
        self.settle(message, Verdict::Release { delay, failed }).await
    }

    async fn extend(&self, message: &LeasedMessage, by: Duration) -> Result<(), ConsumeError> {
        self.settle(message, Verdict::Extend(by.min(bounds::VISIBILITY_MAX))).await
    }

    async fn dead_letter(&self, message: &LeasedMessage, reason: &str) -> Result<(), ConsumeError> {
        self.settle(message, Verdict::DeadLetter(reason.to_owned())).await
    }

    /// Azure counts all messages together. What this consumer has in hand or delayed is told apart; what others
    /// have counts as visible. The sum is Azure's, and 0 only when Azure says so.
    async fn backlog(&self) -> Result<Backlog, ConsumeError> {
        let counted = self.inner.queue.count(bounds::CALL_DEADLINE).await;
        let messages = counted.map_err(|fault| there_is_none(fault, &self.inner.queue.name))?;
        let (held, delayed) = self.inner.leases().known();
        let leased = held.min(messages);
        let delayed = delayed.min(messages - leased);
        Ok(Backlog { visible: messages - leased - delayed, leased, delayed })
    }
}

impl fmt::Debug for AzureConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureConsumer").field("queue", &self.inner.queue.name).finish_non_exhaustive()
    }
}

/// The message with one more time handed back, if it can carry that.
fn handed_back(lease: &Lease, message: &LeasedMessage) -> Option<Bytes> {
    let notes = Notes { handed_back: lease.handed_back.saturating_add(1), death: None };
    let message = notes.put_on(&message.message)?;
    Some(Text { message, plain: false }.request_body())
}

/// Whole seconds, rounded up: a lease must not end early.
fn seconds(duration: Duration) -> i32 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(whole).unwrap_or(i32::MAX)
}

fn there_is_none(fault: Fault, queue: &str) -> ConsumeError {
    match fault.kind {
        Kind::NoQueue => ConsumeError::Unavailable(format!("there is no queue {queue} yet")),
        _ => fault.consume_error(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up() {
        let of = |millis| seconds(Duration::from_millis(millis));
        assert_eq!((of(0), of(1), of(1_000), of(1_001)), (0, 1, 1, 2));
        assert_eq!(seconds(bounds::VISIBILITY_MAX), 604_800);
    }
}
