//! The queue handler: a message is durable when Azure has answered 201 Created.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use sluiced_queue::{
    EnqueueError, Format, Health, Publishing, Receipt, WebHookQueueContext, WebHookQueueHandler,
    WebHookQueuePublisher,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::options::{Destination, Options, OptionsError};
use crate::send::{Lanes, Sender};
use crate::service::Service;
use crate::watch::{self, Watch};
use crate::{name, text};

/// What the default queue handler is called in the log.
const DEFAULT_HANDLER: &str = "queue";

/// Puts messages into one queue of an account. A clone is the same queue.
#[derive(Clone)]
pub struct AzureQueue {
    inner: Arc<Inner>,
}

struct Inner {
    service: Arc<Service>,
    sender: Arc<Sender>,
    format: Format,
    declare: bool,
    message_bytes_max: usize,
    /// Ends the watch, also those of the queues made by [`AzureQueue::to`].
    stop: CancellationToken,
    /// The watch, and every publish under way.
    tasks: TaskTracker,
}

impl AzureQueue {
    /// Looks for the queue in the background, and creates it if it is missing; an account that doesn't answer is
    /// looked for until it does. Must be called within a runtime of tokio.
    ///
    /// # Errors
    /// When the options are wrong; nothing has been asked of anybody then.
    pub fn start(options: Options) -> Result<Self, OptionsError> {
        options.check()?;
        let service = Arc::new(Service::new(&options)?);
        let lanes = Arc::new(Lanes::new(options.concurrency));
        let handler = options.handler.as_deref().unwrap_or(DEFAULT_HANDLER);
        let queue = Arc::new(service.queue(&options.queue_name)?);
        let watch = Arc::new(Watch::new(&service.address, &options.queue_name, handler));
        let sender = Sender::new(queue, watch, lanes, options.declare, options.publish_deadline);
        Ok(Self::watched(Inner {
            service,
            sender: Arc::new(sender),
            format: options.format,
            declare: options.declare,
            message_bytes_max: options.message_bytes_max(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Another queue of the same account, over the same connections and within the same bounds. Closing the first
    /// one ends this one's watch, but not the other way round.
    ///
    /// # Errors
    /// When Azure takes no queue of this name.
    pub fn to(&self, destination: Destination, handler: &str) -> Result<Self, OptionsError> {
        let first = &self.inner;
        let name = destination.queue_name.unwrap_or_else(|| first.sender.queue.name.clone());
        name::check(&name).map_err(OptionsError)?;
        let queue = Arc::new(first.service.queue(&name)?);
        let watch = Arc::new(Watch::new(&first.service.address, &name, handler));
        let lanes = first.sender.lanes.clone();
        let sender = Sender::new(queue, watch, lanes, first.declare, first.sender.publish_deadline);
        Ok(Self::watched(Inner {
            service: first.service.clone(),
            sender: Arc::new(sender),
            format: first.format,
            declare: first.declare,
            message_bytes_max: first.message_bytes_max,
            stop: first.stop.child_token(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Names the queue without the account: entries of a spool are kept for it.
    pub fn destination(&self) -> String {
        format!("queue {}", self.inner.sender.queue.name)
    }

    fn watched(inner: Inner) -> Self {
        let Inner { sender, declare, stop, tasks, .. } = &inner;
        tasks.spawn(watch::run(sender.watch.clone(), sender.queue.clone(), *declare, stop.clone()));
        Self { inner: Arc::new(inner) }
    }
}

impl Inner {
    /// The request's body and the message's length.
    fn encode(&self, context: &WebHookQueueContext) -> Result<(bytes::Bytes, usize), EnqueueError> {
        let message = context.encode_as(self.format).payload;
        let (bytes, bytes_max) = (message.len(), self.message_bytes_max);
        if bytes > bytes_max {
            return Err(EnqueueError::TooLarge { bytes, bytes_max });
        }
        if self.stop.is_cancelled() {
            return Err(EnqueueError::Unavailable("the queue has been closed".into()));
        }
        Ok((text::request_body(&message), bytes))
    }
}

impl WebHookQueuePublisher for AzureQueue {
    fn publish(&self, context: &WebHookQueueContext) -> Publishing {
        let encoded = self.inner.encode(context);
        let inner = self.inner.clone();
        Box::pin(async move {
            let (body, bytes) = encoded?;
            inner.tasks.track_future(inner.sender.send(body, bytes)).await
        })
    }

    fn encoded_bytes(&self, context: &WebHookQueueContext, as_context: &[u8]) -> usize {
        match self.inner.format {
            Format::Context => as_context.len(),
            format => context.encode_as(format).payload.len(),
        }
    }
}

#[async_trait]
impl WebHookQueueHandler for AzureQueue {
    async fn enqueue(&self, context: &WebHookQueueContext) -> Result<Receipt, EnqueueError> {
        self.publish(context).await
    }

    fn message_bytes_max(&self) -> usize {
        self.inner.message_bytes_max
    }

    fn health(&self) -> Health {
        self.inner.sender.watch.health()
    }

    /// Waits for the publishes under way, which end by their deadline.
    async fn close(&self) {
        let Inner { stop, tasks, sender, .. } = &*self.inner;
        stop.cancel();
        tasks.close();
        // One that nobody polls any more never ends.
        let _ = tokio::time::timeout(sender.publish_deadline, tasks.wait()).await;
    }
}

impl fmt::Debug for AzureQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureQueue").field("destination", &self.destination()).finish_non_exhaustive()
    }
}
