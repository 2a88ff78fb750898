//! How workers take messages out of a queue.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::context::WebHookQueueContext;
use crate::format;
use crate::json::DecodeError;

/// Takes messages out of a queue, each under a lease: until the lease ends, or is given up, nobody
/// else gets the message. Delivery is at least once; a worker may see one `messageId` twice.
///
/// A worker's loop, on whatever backend. `LEASE` is longer than the work ever takes; one that takes longer
/// calls [`extend`](WebHookQueueConsumer::extend) meanwhile. A worker that dies just leaves its leases to end.
///
/// ```
/// use std::time::Duration;
/// use sluiced_queue::{ConsumeError, WebHookQueueConsumer, WebHookQueueContext};
///
/// const LEASE: Duration = Duration::from_secs(60);
/// const ATTEMPTS_MAX: u32 = 5;
///
/// async fn run(queue: &dyn WebHookQueueConsumer) -> Result<(), ConsumeError> {
///     loop {
///         // No more than can be begun at once: what is leased, nobody else can work on.
///         for message in queue.receive(1, LEASE, Duration::from_secs(1)).await? {
///             let done = match message.context() {
///                 Ok(context) => work(&context).await,
///                 // A message that can't be read won't be readable later either.
///                 Err(error) => {
///                     queue.dead_letter(&message, &error.to_string()).await?;
///                     continue;
///                 }
///             };
///             match done {
///                 Ok(()) => queue.acknowledge(&message).await?,
///                 Err(why) if message.attempt >= ATTEMPTS_MAX => queue.dead_letter(&message, &why).await?,
///                 Err(_) => queue.release(&message, Duration::from_secs(30), true).await?,
///             }
///         }
///     }
/// }
///
/// /// Remembers `context.message_id` together with what it does, so that it does nothing twice.
/// async fn work(context: &WebHookQueueContext) -> Result<(), String> {
///     println!("{} {:?}", context.receiver, context.actions);
///     Ok(())
/// }
/// ```
#[async_trait]
pub trait WebHookQueueConsumer: Send + Sync {
    /// Leases up to `max` messages for `lease`, oldest first. Waits up to `wait` for the first one
    /// and then takes what is there; an empty answer means that none came.
    ///
    /// # Errors
    /// Nothing is leased after an error.
    async fn receive(
        &self,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<LeasedMessage>, ConsumeError>;

    /// The work is done: the message is gone for good.
    ///
    /// # Errors
    /// [`ConsumeError::LeaseLost`] when somebody else may have it by now.
    async fn acknowledge(&self, message: &LeasedMessage) -> Result<(), ConsumeError>;

    /// The work failed or wasn't begun: the message comes back after `delay`. `failed` says which,
    /// since only a failure counts as an attempt.
    ///
    /// # Errors
    /// [`ConsumeError::LeaseLost`] when somebody else may have it by now.
    async fn release(
        &self,
        message: &LeasedMessage,
        delay: Duration,
        failed: bool,
    ) -> Result<(), ConsumeError>;

    /// The work goes on: the lease ends `lease` from now.
    ///
    /// # Errors
    /// [`ConsumeError::LeaseLost`] when somebody else may have it by now.
    async fn extend(&self, message: &LeasedMessage, lease: Duration) -> Result<(), ConsumeError>;

    /// The work will never succeed: the message goes to the dead letters with the reason.
    ///
    /// # Errors
    /// [`ConsumeError::LeaseLost`] when somebody else may have it by now.
    async fn dead_letter(&self, message: &LeasedMessage, reason: &str) -> Result<(), ConsumeError>;

    /// What is in the queue now.
    ///
    /// # Errors
    /// When the queue can't be asked; never read that as empty.
    async fn backlog(&self) -> Result<Backlog, ConsumeError>;
}

/// A message and the right to work on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedMessage {
    /// The message as encoded; see [`crate::format`].
    pub message: Bytes,
    /// Its message headers, if its format has any.
    pub headers: Vec<(String, String)>,
    /// How often it has been handed out, this time included: 1 at first.
    pub attempt: u32,
    /// Names the message inside its backend.
    pub tag: u64,
    /// Names the lease inside its backend.
    pub lease: u64,
}

impl LeasedMessage {
    /// The webhook in it, whatever its format.
    ///
    /// # Errors
    /// When it can't be read: it is of a newer sluiced, or somebody else's.
    pub fn context(&self) -> Result<WebHookQueueContext, DecodeError> {
        WebHookQueueContext::decode_message(&self.message, &self.headers)
    }

    /// The message as one line of JSON, whatever its body is: see [`crate::format::print_line`].
    ///
    /// # Errors
    /// As for [`LeasedMessage::context`].
    pub fn print_line(&self) -> Result<Vec<u8>, DecodeError> {
        format::print_line(&self.message, &self.headers)
    }
}

/// What is in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Ready to be leased.
    pub visible: u64,
    /// In some worker's hands.
    pub leased: u64,
    /// Waiting for their delay to end.
    pub delayed: u64,
}

impl Backlog {
    /// Nothing is visible, leased or delayed.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Why a worker's call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeError {
    /// The queue can't be reached now, or isn't there yet; try again.
    #[error("the queue is unavailable: {0}")]
    Unavailable(String),
    /// The lease ended before the call: somebody else may have the message.
    #[error("the lease has ended")]
    LeaseLost,
    /// The store is damaged or of another version; trying again won't help.
    #[error("the queue can't be used: {0}")]
    Failed(String),
}
