//! The decorator: how one message becomes durable, at the broker or on local disk.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::bounds;
use super::broker::Broker;
use super::drain::{Drain, Handle};
use super::late::{Late, Waiting};
use super::options::{Ack, SpoolOptions};
use super::outage::{Outage, Trouble};
use super::routes::Routes;
use super::status::{Counters, Left, Status, count};
use super::store::SpoolStore;
use crate::context::WebHookQueueContext;
use crate::handler::{Depth, EnqueueError, Health, Receipt, WebHookQueueHandler};
use crate::publisher::{Publishing, WebHookQueuePublisher};

/// A queue handler round a remote backend. A message is acknowledged when the broker has confirmed it, or
/// when it is on local disk, synced: whatever comes first from the acknowledgement's deadline on, and at once
/// from disk while the broker is known not to answer. What is on the disk goes to the broker in the
/// background.
#[derive(Clone)]
pub struct Spooled {
    shared: Arc<Shared>,
}

/// What the handler, its late publishes and its drain share.
pub(super) struct Shared {
    pub(super) publisher: Arc<dyn WebHookQueuePublisher>,
    pub(super) store: Option<Arc<dyn SpoolStore>>,
    pub(super) options: SpoolOptions,
    pub(super) broker: Broker,
    pub(super) outage: Outage,
    pub(super) routes: Routes,
    pub(super) late: Arc<Late>,
    pub(super) drain: Handle,
    pub(super) counters: Counters,
    tasks: TaskTracker,
    draining: TaskTracker,
    closing: AtomicBool,
    /// What the broker last said that it takes; 0: it hasn't yet.
    bytes_max: AtomicUsize,
    /// Nothing is drained any more, for this reason.
    failed: OnceLock<String>,
}

impl Spooled {
    /// Puts a store in front of a publisher, and begins to drain what is in it. Without a store every message
    /// has until the deadline to be confirmed. Needs a runtime.
    pub fn start(
        publisher: Arc<dyn WebHookQueuePublisher>,
        store: Option<Arc<dyn SpoolStore>>,
        options: SpoolOptions,
    ) -> Self {
        let shared = Arc::new(Shared {
            publisher,
            store,
            broker: Broker::new(options.ack_deadline),
            outage: Outage::new(&options.destination),
            routes: Routes::default(),
            late: Late::new(),
            drain: Handle::new(),
            counters: Counters::default(),
            tasks: TaskTracker::new(),
            draining: TaskTracker::new(),
            closing: AtomicBool::new(false),
            bytes_max: AtomicUsize::new(0),
            failed: OnceLock::new(),
            options,
        });
        if let Some(store) = &shared.store {
            let drain = shared.draining.spawn(Drain::new(shared.clone(), store.clone()).run());
            let watching = shared.clone();
            shared.draining.spawn(async move {
                if let Err(error) = drain.await {
                    watching.has_failed(&format!("{error}; please report it"));
                }
            });
        }
        Self { shared }
    }

    /// What is going on.
    pub fn status(&self) -> Status {
        Status {
            destination: self.shared.options.destination.clone(),
            broker: self.shared.publisher.health(),
            suspect: self.shared.broker.is_suspect(),
            spool: self.shared.store.as_ref().map(|store| match self.shared.failed.get() {
                Some(why) => Health::Failed(why.clone()),
                None => store.health(),
            }),
            counts: self.shared.counters.read(),
        }
    }

    /// Waits until the spool is empty, as long as entries go to the broker: `Err` after `patience` in which
    /// none did.
    ///
    /// # Errors
    /// What is left, and why.
    pub async fn drained(&self, patience: Duration) -> Result<u64, Left> {
        let mut progress = self.shared.drain.progress.subscribe();
        let mut before = progress.borrow().drained;
        loop {
            let moved = progress.wait_for(|now| now.empty || now.drained > before);
            match timeout(patience, moved).await.map(|now| now.map(|now| *now)) {
                Ok(Ok(now)) if now.empty => return Ok(now.drained),
                Ok(Ok(now)) => before = now.drained,
                Ok(Err(_)) | Err(_) => return Err(self.left().await),
            }
        }
    }

    /// Takes no more messages and stops, after draining until `until` what the broker takes. What stays is
    /// named in the log. The publisher and the store stay open.
    pub async fn finish(&self, until: Instant) -> Left {
        let shared = &self.shared;
        shared.closing.store(true, Relaxed);
        shared.tasks.close();
        if shared.store.is_none() {
            // Their senders were told to come again; what is still confirmed spares them a duplicate.
            let _ = timeout_at(until.min(Instant::now() + bounds::LAST_RESORT), shared.tasks.wait()).await;
            return Left { depth: Some(Depth::default()), why: None };
        }
        let mut progress = shared.drain.progress.subscribe();
        let _ = timeout_at(until, progress.wait_for(|now| now.empty || now.stuck)).await;
        let _ = shared.drain.until.set(until);
        shared.drain.stop.cancel();
        shared.draining.close();
        let _ = timeout_at(until + bounds::STORE_RETRY, shared.draining.wait()).await;
        let left = self.left().await;
        if !left.is_nothing() {
            self.name_what_stays(&left);
        }
        left
    }

    async fn left(&self) -> Left {
        let depth = match &self.shared.store {
            Some(store) => store.depth().await,
            None => Some(Depth::default()),
        };
        let why = self.shared.failed.get().cloned().or_else(|| match self.shared.publisher.health() {
            Health::Ready => None,
            Health::NotReady(why) | Health::Failed(why) => Some(why),
        });
        Left { depth, why }
    }

    fn name_what_stays(&self, left: &Left) {
        let depth = left.depth.unwrap_or_default();
        tracing::warn!(
            destination = self.shared.options.destination.as_str(),
            messages = depth.messages,
            bytes = depth.bytes,
            path = self.shared.store.as_ref().map(|store| store.location()),
            why = left.why.as_deref().unwrap_or_default(),
            what_to_do = "they go to the broker when sluiced starts again, or with `sluiced drain`",
            "messages stay in the spool"
        );
    }
}

#[async_trait]
impl WebHookQueueHandler for Spooled {
    async fn enqueue(&self, context: &WebHookQueueContext) -> Result<Receipt, EnqueueError> {
        if self.shared.closing.load(Relaxed) {
            return Err(EnqueueError::Unavailable("the daemon is stopping".into()));
        }
        match &self.shared.store {
            Some(store) => self.shared.enqueue(store, context).await,
            None => self.shared.publish_only(context).await,
        }
    }

    fn message_bytes_max(&self) -> usize {
        self.shared.bytes_max()
    }

    fn health(&self) -> Health {
        self.status().health()
    }

    /// What is in the spool.
    async fn depth(&self) -> Option<Depth> {
        self.shared.store.as_ref()?.depth().await
    }

    async fn close(&self) {
        if !self.shared.closing.load(Relaxed) {
            self.finish(Instant::now() + bounds::LAST_RESORT).await;
        }
        self.shared.publisher.close().await;
    }
}

impl Shared {
    async fn enqueue(
        self: &Arc<Self>,
        store: &Arc<dyn SpoolStore>,
        context: &WebHookQueueContext,
    ) -> Result<Receipt, EnqueueError> {
        if self.options.ack == Ack::Spool {
            return self.spool(store, context).await;
        }
        let route = self.publisher.route(context);
        if let Some((trouble, why)) = self.obstacle(&route) {
            if !trouble.is_the_routes() {
                self.outage.trouble(trouble, &why);
            }
            let spooled = self.spool(store, context).await;
            return match spooled {
                Err(disk) if !matches!(disk, EnqueueError::TooLarge { .. }) => {
                    self.last_resort(context, disk).await
                }
                spooled => spooled,
            };
        }
        let began = Instant::now();
        let mut publishing = self.publisher.publish(context);
        match timeout_at(began + self.options.ack_deadline, &mut publishing).await {
            Ok(Ok(receipt)) => {
                self.bytes_max.store(self.publisher.message_bytes_max(), Relaxed);
                self.broker.confirmed_live(began.elapsed());
                self.is_routed(&route);
                Ok(receipt)
            }
            Ok(Err(error @ EnqueueError::TooLarge { .. })) => Err(error),
            Ok(Err(error)) => {
                self.has_refused(&route, &error);
                self.spool(store, context).await
            }
            Err(_) => self.late(store, context, publishing, began).await,
        }
    }

    /// An error is a missed deadline, unless the broker has answered: then it is the route's, or the message's.
    fn has_refused(&self, route: &str, error: &EnqueueError) {
        let (trouble, why) = (Trouble::of(error), error.to_string());
        if trouble.is_the_routes() {
            self.routes.refused(route, trouble, &why, Instant::now());
            return self.outage.trouble_on(trouble, route, &why);
        }
        if !trouble.may_be_one_message() && self.broker.missed() {
            self.drain.wake();
        }
        self.outage.trouble(trouble, &why);
    }

    /// The broker took a message that went this way.
    pub(super) fn is_routed(&self, route: &str) {
        if !self.routes.any() {
            return;
        }
        self.outage.took_one();
        if self.routes.took(route) {
            self.outage.route_is_back(route);
            self.drain.wake();
        }
    }

    /// Why a message shouldn't wait for the broker, if so.
    fn obstacle(&self, route: &str) -> Option<(Trouble, String)> {
        if let Health::NotReady(why) | Health::Failed(why) = self.publisher.health() {
            return Some((Trouble::Away, why));
        }
        let deadline_ms = self.options.ack_deadline.as_millis();
        if self.broker.is_suspect() {
            let misses = bounds::MISSES_MAX;
            let why = format!("{misses} messages in a row were not confirmed within {deadline_ms} ms");
            return Some((Trouble::Late, why));
        }
        if let Some(obstacle) = self.routes.obstacle(route) {
            return Some(obstacle);
        }
        self.late.is_full().then(|| {
            let why = format!("too many messages wait for a confirmation longer than {deadline_ms} ms");
            (Trouble::Late, why)
        })
    }

    /// Straight to the disk; the drain goes on from there.
    async fn spool(
        &self,
        store: &Arc<dyn SpoolStore>,
        context: &WebHookQueueContext,
    ) -> Result<Receipt, EnqueueError> {
        let message = self.encode(context)?;
        let (_, receipt) = store.append(message, context.message_id).await?;
        self.is_spooled();
        Ok(receipt)
    }

    /// Not longer than the broker will take: otherwise the sender must hear of it now.
    fn encode(&self, context: &WebHookQueueContext) -> Result<Bytes, EnqueueError> {
        let message = context.encode();
        let bytes = self.publisher.encoded_bytes(context, &message);
        let bytes_max = self.bytes_max();
        if bytes > bytes_max {
            return Err(EnqueueError::TooLarge { bytes, bytes_max });
        }
        Ok(message)
    }

    /// While the broker is away, what it said when it was there.
    fn bytes_max(&self) -> usize {
        let told = self.publisher.message_bytes_max();
        if self.publisher.health() == Health::Ready {
            self.bytes_max.store(told, Relaxed);
            return told;
        }
        match self.bytes_max.load(Relaxed) {
            0 => told,
            known => known,
        }
    }

    fn is_spooled(&self) {
        count(&self.counters.spooled);
        self.drain.appended();
    }

    /// The deadline is over: the message goes to the disk while its publish goes on.
    async fn late(
        self: &Arc<Self>,
        store: &Arc<dyn SpoolStore>,
        context: &WebHookQueueContext,
        mut publishing: Publishing,
        began: Instant,
    ) -> Result<Receipt, EnqueueError> {
        count(&self.counters.missed);
        if self.broker.missed() {
            self.drain.wake();
        }
        let message = self.encode(context)?;
        let Some(room) = self.late.room_for(message.len()) else {
            drop(publishing);
            return self.spool(store, context).await;
        };
        let appending = self.late.append();
        let (store, id) = (store.clone(), context.message_id);
        let mut append = Box::pin(async move { store.append(message, id).await });
        tokio::select! {
            biased;
            published = &mut publishing => match published {
                Ok(receipt) => {
                    let shared = self.clone();
                    self.tasks.spawn(async move {
                        if let Ok((key, _)) = append.await {
                            appending.ends_confirmed(key);
                            shared.drain.appended();
                        }
                    });
                    Ok(receipt)
                }
                Err(_) => {
                    let (_, receipt) = append.await?;
                    drop(appending);
                    self.is_spooled();
                    Ok(receipt)
                }
            },
            appended = &mut append => match appended {
                Ok((key, receipt)) => {
                    let waiting = appending.waits(key);
                    self.is_spooled();
                    let shared = self.clone();
                    self.tasks.spawn(async move {
                        let published = timeout_at(began + bounds::LATE_DEADLINE, publishing).await;
                        drop(room);
                        shared.has_ended(waiting, matches!(published, Ok(Ok(_))));
                    });
                    Ok(receipt)
                }
                // The broker is all that is left.
                Err(disk) => match timeout(bounds::LAST_RESORT, &mut publishing).await {
                    Ok(Ok(receipt)) => Ok(receipt),
                    Ok(Err(_)) | Err(_) => Err(disk),
                },
            },
        }
    }

    /// A bug of ours, or a store that this process can't use any more. What is in the spool stays there for
    /// the next process.
    pub(super) fn has_failed(&self, why: &str) {
        let destination = self.options.destination.as_str();
        tracing::error!(destination, why, "the drain has failed: this process must end");
        let _ = self.failed.set(format!("the drain has failed: {why}"));
    }

    fn has_ended(&self, mut waiting: Waiting, confirmed: bool) {
        if confirmed {
            count(&self.counters.late_confirmed);
            waiting.is_confirmed();
        }
        drop(waiting);
        self.drain.wake();
    }

    /// The disk takes nothing, and the broker is slow: perhaps it isn't too slow.
    async fn last_resort(
        &self,
        context: &WebHookQueueContext,
        disk: EnqueueError,
    ) -> Result<Receipt, EnqueueError> {
        if self.publisher.health() != Health::Ready {
            return Err(disk);
        }
        let bound = self.options.ack_deadline + bounds::LAST_RESORT;
        match timeout(bound, self.publisher.publish(context)).await {
            Ok(Ok(receipt)) => {
                self.is_routed(&self.publisher.route(context));
                Ok(receipt)
            }
            Ok(Err(_)) | Err(_) => Err(disk),
        }
    }

    /// Without a spool: in time, or not at all.
    async fn publish_only(&self, context: &WebHookQueueContext) -> Result<Receipt, EnqueueError> {
        if let Health::NotReady(why) | Health::Failed(why) = self.publisher.health() {
            return Err(EnqueueError::Unavailable(why));
        }
        let began = Instant::now();
        let mut publishing = self.publisher.publish(context);
        let deadline = self.options.ack_deadline;
        if let Ok(published) = timeout_at(began + deadline, &mut publishing).await {
            return published;
        }
        count(&self.counters.missed);
        // The message may be with the broker already: then a confirmation that still comes frees what the
        // client library keeps for it. The sender comes again in any case.
        if let Some(room) = self.late.room_for(context.encoded_bytes_estimate()) {
            self.tasks.spawn(async move {
                let _ = timeout_at(began + bounds::LATE_DEADLINE, publishing).await;
                drop(room);
            });
        }
        Err(EnqueueError::TimedOut { deadline_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX) })
    }
}
