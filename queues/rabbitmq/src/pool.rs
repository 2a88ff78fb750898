//! Channels, each with one message in flight.
//!
//! Several publishes on one channel can't be told apart: the library hands a `basic.return` to the wrong one,
//! and when the connection is cut it may report one message's confirmation for another. Alone on its channel a
//! message can only meet its own answer; so a channel goes back only after its answer has come.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lapin::Channel;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bounds;
use crate::channel;
use crate::fault::Fault;
use crate::session::Session;

/// The channels of one connection. Opened when they are first needed.
pub(crate) struct Pool {
    idle: Mutex<Vec<Idle>>,
    channels: Arc<Semaphore>,
    size: usize,
    publishes: Arc<Semaphore>,
    refusals: AtomicU64,
}

/// A channel without a message, and how many refusals there had been when it was opened.
struct Idle {
    channel: Channel,
    refusals: u64,
}

impl Pool {
    pub(crate) fn new(channels: usize) -> Self {
        Self {
            idle: Mutex::default(),
            channels: Arc::new(Semaphore::new(channels)),
            size: channels,
            publishes: Arc::new(Semaphore::new(bounds::PUBLISHES_MAX)),
            refusals: AtomicU64::new(0),
        }
    }

    /// Waits until none is in use. For a caller with a deadline.
    pub(crate) async fn all_idle(&self) {
        let _ = self.channels.acquire_many(u32::try_from(self.size).unwrap_or(u32::MAX)).await;
    }

    /// A message was refused. A full quorum queue tells every channel that has published to it, and doesn't tell
    /// them when its bound is raised: they would be refused for ever, while a new one isn't.
    pub(crate) fn refused(&self) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
    }

    fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    fn pop(&self) -> Option<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let popped = idle.pop()?;
            if popped.channel.status().connected() {
                return Some(popped);
            }
        }
    }
}

/// A channel that nobody else uses. Dropped, it is closed: whatever answer it still waits for can't reach
/// anyone. [`Held::put_back`] is for one whose answer has come.
pub(crate) struct Held {
    session: Arc<Session>,
    channel: Option<Channel>,
    refusals: u64,
    permit: Option<OwnedSemaphorePermit>,
    _publish: OwnedSemaphorePermit,
}

impl Held {
    /// Waits for a channel. For a caller with a deadline.
    pub(crate) async fn acquire(session: &Arc<Session>) -> Result<Self, Fault> {
        let pool = &session.pool;
        let publish = pool.publishes.clone().try_acquire_owned().map_err(|_| Fault::Busy)?;
        let ended = |_| Fault::Lost("the connection has ended".into());
        let permit = pool.channels.clone().acquire_owned().await.map_err(ended)?;
        let now = pool.refusals();
        let (channel, refusals) = match pool.pop() {
            Some(Idle { channel, refusals }) if refusals == now => (channel, refusals),
            older => {
                if let Some(Idle { channel, .. }) = older {
                    channel::close(channel, &Arc::downgrade(session)).await;
                }
                (session.confirming_channel().await?, now)
            }
        };
        let (session, channel, permit) = (session.clone(), Some(channel), Some(permit));
        Ok(Self { session, channel, refusals, permit, _publish: publish })
    }

    pub(crate) fn channel(&self) -> &Channel {
        self.channel.as_ref().expect("only drop and put_back take it")
    }

    /// The answer has come: the next message may have the channel.
    pub(crate) fn put_back(mut self) {
        if let Some(channel) = self.channel.take() {
            let idle = Idle { channel, refusals: self.refusals };
            self.session.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
        }
    }
}

impl Held {
    /// Closes the channel as soon as this has ended.
    pub(crate) fn close_after(self, work: impl Future + Send + 'static) {
        let session = self.session.clone();
        session.clone().spawn(async move {
            channel::finish(work, &session).await;
            drop(self);
        });
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (Some(channel), Some(permit)) = (self.channel.take(), self.permit.take()) else { return };
        if channel.status().connected() {
            let session = Arc::downgrade(&self.session);
            // The permit is kept until the channel is gone, so that there never are more than allowed.
            self.session.spawn(async move {
                channel::close(channel, &session).await;
                drop(permit);
            });
        }
    }
}
