//! The handler that has the queue leave out duplicates.

use std::time::Duration;

use async_trait::async_trait;

use super::{HandlerError, WebHookHandler, WebHookHandlerContext};

/// Asks the queue handlers after it to leave out a message whose id they made durable within the window.
///
/// It only asks: that an id was seen is written down by the queue, together with the message, so the
/// claim is there exactly when the message is. A sender's retry after a 503 is never swallowed, and
/// neither is one that comes while the first try is still under way. A duplicate goes down the rest of the
/// chain and is answered like the first.
pub struct Dedupe {
    window: Duration,
}

impl Dedupe {
    /// Remembers ids for so long.
    pub fn new(window: Duration) -> Self {
        Self { window }
    }
}

#[async_trait]
impl WebHookHandler for Dedupe {
    async fn execute(
        &self,
        _receiver: &str,
        context: &mut WebHookHandlerContext,
    ) -> Result<(), HandlerError> {
        // Without a delivery id every message has an id of its own, and nothing to be told apart by.
        if context.delivery_id.is_some() {
            context.dedupe_for = Some(self.window);
        }
        Ok(())
    }
}
