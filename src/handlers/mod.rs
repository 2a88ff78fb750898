//! What happens to a verified webhook: handlers in ascending order, each only for its receiver, one
//! shared context. A handler that sets a response ends the chain, and that response is sent.
//!
//! * [`queue`]: makes a webhook durable; one stands in every chain by default.
//! * [`respond`]: answers; [`dedupe`]: has duplicates left out.
//! * [`narrow`]: puts a handler at an order, for some webhooks only.
//! * [`build`]: the chain, from the configuration.
//!
//! A new kind of handler is one file here and one arm in [`build`].

pub mod build;
pub mod dedupe;
pub mod narrow;
pub mod queue;
pub mod respond;

use std::ops::{Deref, DerefMut};

use async_trait::async_trait;
use sluiced_queue::{EnqueueError, Receipt, WebHookQueueContext};

pub use crate::verify::Reply;
pub use queue::QueueHandler;

/// Where handlers stand that say nothing else.
pub const ORDER_DEFAULT: i32 = 50;

/// Handles verified webhooks.
#[async_trait]
pub trait WebHookHandler: Send + Sync + 'static {
    /// Handlers run in ascending order; equal orders run as they were added.
    fn order(&self) -> i32 {
        ORDER_DEFAULT
    }

    /// The only receiver whose webhooks it wants, whatever the case; `None` is all of them.
    fn receiver(&self) -> Option<&str> {
        None
    }

    /// Handles one webhook. Setting `context.response` ends the chain.
    ///
    /// # Errors
    /// Ends the chain; the sender gets 503 and tries again.
    async fn execute(&self, receiver: &str, context: &mut WebHookHandlerContext) -> Result<(), HandlerError>;
}

/// A verified webhook on its way through the handlers, which share it: what one changes, the later
/// ones see, the queue handler too. `id`, `actions`, `data` and `request` are the message's.
#[derive(Debug)]
pub struct WebHookHandlerContext {
    /// What is sent instead of going on, once a handler sets it.
    pub response: Option<Reply>,
    message: WebHookQueueContext,
    receipt: Option<Receipt>,
}

impl WebHookHandlerContext {
    /// Begins a chain.
    pub fn new(message: WebHookQueueContext) -> Self {
        Self { response: None, message, receipt: None }
    }

    /// Proof that some handler made the webhook durable.
    pub fn receipt(&self) -> Option<Receipt> {
        self.receipt
    }

    /// To be called by a handler that made the webhook durable. It is a duplicate only if all say so.
    pub fn set_receipt(&mut self, receipt: Receipt) {
        if self.receipt.is_none_or(Receipt::is_duplicate) {
            self.receipt = Some(receipt);
        }
    }
}

impl Deref for WebHookHandlerContext {
    type Target = WebHookQueueContext;

    fn deref(&self) -> &WebHookQueueContext {
        &self.message
    }
}

impl DerefMut for WebHookHandlerContext {
    fn deref_mut(&mut self) -> &mut WebHookQueueContext {
        &mut self.message
    }
}

/// Why a handler failed.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The message couldn't be made durable.
    #[error(transparent)]
    Enqueue(#[from] EnqueueError),
    /// Anything else, for the log.
    #[error("{0}")]
    Failed(String),
}

/// The handlers, sorted once.
#[derive(Default)]
pub struct Chain {
    handlers: Vec<Box<dyn WebHookHandler>>,
}

impl Chain {
    /// Sorts the handlers; equal orders keep their sequence.
    pub fn new(mut handlers: Vec<Box<dyn WebHookHandler>>) -> Self {
        handlers.sort_by_key(|handler| handler.order());
        Self { handlers }
    }

    /// Runs the handlers that want this receiver's webhooks, up to the first response.
    ///
    /// # Errors
    /// The first handler's that fails; later ones don't run.
    pub async fn run(&self, context: &mut WebHookHandlerContext) -> Result<(), HandlerError> {
        let receiver = context.receiver.clone();
        for handler in &self.handlers {
            if handler.receiver().is_none_or(|wanted| wanted.eq_ignore_ascii_case(&receiver)) {
                handler.execute(&receiver, context).await?;
                if context.response.is_some() {
                    break;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
