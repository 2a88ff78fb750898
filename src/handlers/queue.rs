//! The handler that puts webhooks into a queue.

use std::sync::Arc;

use async_trait::async_trait;
use sluiced_queue::WebHookQueueHandler;

use super::{HandlerError, WebHookHandler, WebHookHandlerContext};

/// Lets a [`WebHookQueueHandler`] stand in the chain. Success leaves the response unset, so that
/// later handlers run and the acknowledgement follows.
pub struct QueueHandler {
    queue: Arc<dyn WebHookQueueHandler>,
}

impl QueueHandler {
    /// Puts every webhook into this queue.
    pub fn new(queue: Arc<dyn WebHookQueueHandler>) -> Self {
        Self { queue }
    }
}

#[async_trait]
impl WebHookHandler for QueueHandler {
    async fn execute(
        &self,
        _receiver: &str,
        context: &mut WebHookHandlerContext,
    ) -> Result<(), HandlerError> {
        let receipt = self.queue.enqueue(context).await?;
        context.set_receipt(receipt);
        Ok(())
    }
}
