//! One message on its way: until it is stored, or until its deadline.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluiced_queue::{Durable, EnqueueError, Receipt};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
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
        match self.with_retries(body, until).await {
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
        let mut retries = Retries::of_send(self.declare);
        let mut last = None;
        loop {
            // Not held during pauses: others can send meanwhile, also to another queue.
            let Some(lane) = self.lane(until).await else {
                return Err(last.unwrap_or_else(|| Fault::late(self.publish_deadline)));
            };
            let began = Instant::now();
            let fault = match self.once(body.clone(), until).await {
                Ok(()) => return Ok(()),
                Err(fault) => fault,
            };
            drop(lane);
            self.prepare(&mut retries, fault.clone(), began, until).await?;
            // A queue that was missing isn't any more.
            last = (fault.kind != Kind::NoQueue).then_some(fault);
        }
    }

    /// The turn to send. `None` when too little time is left then: a message would get lost on its way, or arrive
    /// and nobody would know.
    async fn lane(&self, until: Instant) -> Option<SemaphorePermit<'_>> {
        let permit = timeout_at(until, self.lanes.sending.acquire()).await.ok()?;
        let permit = permit.expect("the semaphore is never closed");
        (Instant::now() + bounds::SEND_LEAST < until).then_some(permit)
    }

    /// What another try needs: the queue, or a pause. `Err` when there is to be no other.
    async fn prepare(
        &self,
        retries: &mut Retries,
        mut fault: Fault,
        began: Instant,
        until: Instant,
    ) -> Result<(), Fault> {
        loop {
            if fault.kind == Kind::Throttled {
                self.watch.slowed(&fault);
            }
            match retries.after(&fault) {
                None => return Err(fault),
                Some(Next::Create) => match self.create(began, until).await {
                    Ok(()) => return Ok(()),
                    Err(of_creation) => fault = of_creation,
                },
                // A pause that ends after the deadline isn't worth beginning.
                Some(Next::Again(pause)) if Instant::now() + pause >= until => return Err(fault),
                Some(Next::Again(pause)) => {
                    tokio::time::sleep(pause).await;
                    return Ok(());
                }
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
            Ok(done) => done,
            Err(_) => Err(Fault::late(self.publish_deadline)),
        }
    }
}
