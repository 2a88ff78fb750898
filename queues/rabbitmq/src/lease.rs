//! Leases: messages that are unacknowledged on a channel of ours.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicNackOptions};
use lapin::{Acker, Consumer};
use sluiced_queue::{ConsumeError, LeasedMessage};
use tokio::time::timeout;

use crate::bounds;
use crate::channel::OwnChannel;
use crate::headers::Letter;
use crate::session::answered;

/// What was received together shares a channel, which is closed with the last of them.
pub(crate) struct Together {
    pub(crate) channel: OwnChannel,
    /// Shows other workers that there is something on the channel.
    pub(crate) marker: Option<Consumer>,
}

/// A message in a worker's hands.
pub(crate) struct Lease {
    pub(crate) letter: Letter,
    acker: Acker,
    together: Arc<Together>,
}

impl Lease {
    /// The channel, and with it the connection, still stands.
    pub(crate) fn holds(&self) -> bool {
        self.acker.usable()
    }

    /// The message is gone from the queue.
    pub(crate) async fn acknowledge(&self) -> Result<(), ConsumeError> {
        settled(self.acker.ack(BasicAckOptions::default())).await
    }

    /// The message goes back to where it was.
    pub(crate) async fn put_back(&self) -> Result<(), ConsumeError> {
        settled(self.acker.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() })).await
    }
}

/// AMQP doesn't confirm acknowledgements. A failure here means that the broker gives, or has given, the message
/// to somebody else.
async fn settled(call: impl Future<Output = lapin::Result<bool>>) -> Result<(), ConsumeError> {
    match timeout(bounds::CALL_DEADLINE, call).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false) | Err(_)) => Err(ConsumeError::LeaseLost),
        Err(_) => Err(ConsumeError::Unavailable("the acknowledgement could not be written".into())),
    }
}

/// A worker's leases.
#[derive(Default)]
pub(crate) struct Leases {
    held: Mutex<HashMap<u64, Arc<Lease>>>,
    last: AtomicU64,
}

impl Leases {
    /// Keeps what was taken on a channel, and gives it out.
    pub(crate) fn give(&self, together: Together, taken: Vec<Delivery>) -> Vec<LeasedMessage> {
        let together = Arc::new(together);
        let mut held = self.lock();
        // Those of a lost channel can't be settled any more.
        held.retain(|_, lease| lease.holds());
        let mut messages = Vec::with_capacity(taken.len());
        for delivery in taken {
            let acker = delivery.acker.clone();
            let lease = Lease { letter: Letter::of(delivery), acker, together: together.clone() };
            let tag = self.last.fetch_add(1, Ordering::Relaxed) + 1;
            messages.push(LeasedMessage {
                message: lease.letter.data.clone(),
                headers: lease.letter.application_headers(),
                attempt: lease.letter.attempt(),
                tag,
                lease: tag,
            });
            held.insert(tag, Arc::new(lease));
        }
        messages
    }

    /// The lease of this message, if it still holds.
    pub(crate) fn of(&self, message: &LeasedMessage) -> Result<Arc<Lease>, ConsumeError> {
        let lease = self.lock().get(&message.tag).cloned();
        lease.filter(|lease| lease.holds()).ok_or(ConsumeError::LeaseLost)
    }

    /// The message is somebody else's or nobody's now. With the last one of those that came together their channel
    /// is closed; the broker's answer to that comes after it has done what it was told on the channel.
    pub(crate) async fn end(&self, message: &LeasedMessage, lease: Arc<Lease>) {
        let together = lease.together.clone();
        drop(lease);
        self.lock().remove(&message.tag);
        if let Some(Together { channel, marker }) = Arc::into_inner(together) {
            if let Some(marker) = marker {
                // Closing alone would take it out of the count a moment later.
                let _ =
                    answered(channel.get().basic_cancel(marker.tag(), BasicCancelOptions::default())).await;
            }
            channel.close().await;
        }
    }

    /// How many there are, and on how many channels that others see.
    pub(crate) fn count(&self) -> (u64, u64) {
        let held = self.lock();
        let holding: Vec<_> = held.values().filter(|lease| lease.holds()).collect();
        let marked = holding.iter().filter(|lease| lease.together.marker.is_some());
        let channels: HashSet<_> = marked.map(|lease| lease.together.channel.get().id()).collect();
        (holding.len() as u64, channels.len() as u64)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Lease>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
