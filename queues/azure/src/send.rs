//! One message on its way: until it is stored, or until its deadline.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluiced_queue::{Durable, EnqueueError, Receipt};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::bounds;
use crate::fault::{Fault, Kind};
use crate::retry::{Next, Retries};
use crate::service::Queue;
use crate::watch::Watch;

/// What all sends of an account share.
pub(crate) struct Lanes {
    /// One for each send under way.
    sending: Semaphore,
    /// One for each that is under way or waits.
    pending: Semaphore,
}

impl Lanes {
    pub(crate) fn new(sends: usize) -> Self {
        Self { sending: Semaphore::new(sends), pending: Semaphore::new(bounds::PENDING_MAX.max(sends)) }
    }
}

/// Sends to one queue.
pub(crate) struct Sender {
    pub(crate) queue: Arc<Queue>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) declare: bool,
    pub(crate) publish_deadline: Duration,
    /// When the queue was last created because a send found it missing; held while creating.
    created: Mutex<Option<Instant>>,
}

impl Sender {
    pub(crate) fn new(
        queue: Arc<Queue>,
        watch: Arc<Watch>,
        lanes: Arc<Lanes>,
        declare: bool,
        publish_deadline: Duration,
    ) -> Self {
        Self { queue, watch, lanes, declare, publish_deadline, created: Mutex::new(None) }
    }

    /// Sends a message of `bytes`, whose request is `body`.
    pub(crate) async fn send(&self, body: Bytes, bytes: usize) -> Result<Receipt, EnqueueError> {
        let until = Instant::now() + self.publish_deadline;
        let Ok(_pending) = self.lanes.pending.try_acquire() else {
            let most = bounds::PENDING_MAX;
            return Err(EnqueueError::Unavailable(format!("{most} messages are on their way already")));
        };
        let sent = match timeout_at(until, self.lanes.sending.acquire()).await {
            // With what is left a message would get lost on its way, or arrive and nobody would know.
            Ok(_) if until <= Instant::now() + bounds::SEND_LEAST => Err(Fault::late(self.publish_deadline)),
            Ok(permit) => {
                let _permit = permit.expect("the semaphore is never closed");
                self.with_retries(body, until).await
            }
            Err(_) => Err(Fault::late(self.publish_deadline)),
        };
        match sent {
            Ok(()) => {
                self.watch.stored();
                Ok(Receipt::confirmed(Durable::Broker))
            }
            Err(fault) => {
                self.watch.failed(&fault);
                Err(fault.enqueue_error(bytes, self.publish_deadline))
            }
        }
    }

    async fn with_retries(&self, body: Bytes, until: Instant) -> Result<(), Fault> {
        let mut retries = Retries::new(self.declare);
        loop {
            let began = Instant::now();
            let fault = match self.once(body.clone(), until).await {
                Ok(()) => return Ok(()),
                Err(fault) => fault,
            };
            let Some(next) = retries.after(&fault) else { return Err(fault) };
            if fault.kind == Kind::Throttled {
                self.watch.slowed(&fault);
            }
            match next {
                Next::Create => self.create(began, until).await?,
                // A pause that ends after the deadline isn't worth beginning.
                Next::Again(pause) if Instant::now() + pause >= until => return Err(fault),
                Next::Again(pause) => tokio::time::sleep(pause).await,
            }
        }
    }

    /// One try. It goes on when it takes long, since its confirmation may still come; but then the watch looks
    /// whether anybody is there.
    async fn once(&self, body: Bytes, until: Instant) -> Result<(), Fault> {
        let within = until.saturating_duration_since(Instant::now());
        let send = self.queue.send(body, within);
        tokio::pin!(send);
        match tokio::time::timeout(bounds::STALL, &mut send).await {
            Ok(sent) => sent,
            Err(_) => {
                self.watch.suspect();
                send.await
            }
        }
    }

    /// Creates the queue that a send begun at `missed` found missing, unless another send has done so since.
    async fn create(&self, missed: Instant, until: Instant) -> Result<(), Fault> {
        let creating = async {
            let mut created = self.created.lock().await;
            if created.is_some_and(|at| at > missed) {
                return Ok::<(), Fault>(());
            }
            self.queue.create(bounds::CALL_DEADLINE).await?;
            *created = Some(Instant::now());
            tracing::warn!(
                backend = "azure",
                queue = self.queue.name,
                "the queue was gone while this was running, and was created again"
            );
            Ok(())
        };
        match timeout_at(until, creating).await {
            // Azure needs half a minute to delete a queue; the next try finds out.
            Ok(Err(fault)) if fault.kind == Kind::BeingDeleted => Ok(()),
            Ok(done) => done,
            Err(_) => Err(Fault::late(self.publish_deadline)),
        }
    }
}
