//! A queue on the other side of a network, where a confirmation may come late or never.

use std::pin::Pin;

use crate::context::WebHookQueueContext;
use crate::handler::{EnqueueError, Receipt, WebHookQueueHandler};

/// A message on its way to a broker. It owns all that it needs, so it may outlive the webhook's request:
/// whoever stops waiting for it at the acknowledgement's deadline polls it on in a task of its own, and
/// learns of a late confirmation. It ends by itself, at the backend's publish deadline at the latest.
pub type Publishing = Pin<Box<dyn Future<Output = Result<Receipt, EnqueueError>> + Send + 'static>>;

/// A remote backend's queue handler. Its [`WebHookQueueHandler::enqueue`] awaits [`Self::publish`].
///
/// [`WebHookQueueHandler::health`] is `NotReady` as long as the connection is known to be down or blocked
/// and a publish would only wait; `Failed` is never right for a broker, which may come back.
pub trait WebHookQueuePublisher: WebHookQueueHandler {
    /// Encodes the message at once and begins to make it durable. The future does nothing until it is
    /// polled; dropping it half-way must not hurt another message.
    ///
    /// The future's errors: the message may or may not be in the queue then. `TooLarge` comes only where
    /// trying again can't help.
    fn publish(&self, context: &WebHookQueueContext) -> Publishing;

    /// Which way to the queue a message takes, where there is more than one: a routing key, a subject. While
    /// the broker refuses messages of one way, those of others go on.
    fn route(&self, context: &WebHookQueueContext) -> String {
        let _ = context;
        String::new()
    }

    /// How many bytes of [`WebHookQueueHandler::message_bytes_max`] a message takes, without publishing it;
    /// `as_context` is its encoding as [`crate::Format::Context`], which is there already.
    fn encoded_bytes(&self, context: &WebHookQueueContext, as_context: &[u8]) -> usize {
        let _ = context;
        as_context.len()
    }
}
