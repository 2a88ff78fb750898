//! Dead letters: messages that workers gave up on, kept with the reason for whoever looks.

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use crate::context::WebHookQueueContext;
use crate::format;
use crate::json::DecodeError;

/// The dead letters of one queue, for an operator's commands. A daemon and workers may be running
/// meanwhile, and other operators too.
#[async_trait]
pub trait DeadLetterStore: Send + Sync {
    /// Up to `max` of them, in the order in which they died: those after the one with the id `after`, or from
    /// the first one on. A page may be shorter for the sake of memory; only an empty one is the end.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn list(&self, after: Option<&str>, max: usize) -> Result<Vec<DeadLetter>, DeadLetterError>;

    /// One of them.
    ///
    /// # Errors
    /// [`DeadLetterError::NotFound`], or when the store can't be read.
    async fn show(&self, id: &str) -> Result<DeadLetter, DeadLetterError>;

    /// Puts one back at the end of its queue, its attempts forgotten. It is in the queue or among the dead
    /// letters at any moment, whatever happens meanwhile.
    ///
    /// # Errors
    /// [`DeadLetterError::NotFound`], [`DeadLetterError::Damaged`], or when the store can't be written.
    async fn retry(&self, id: &str) -> Result<(), DeadLetterError>;

    /// Deletes one for good.
    ///
    /// # Errors
    /// [`DeadLetterError::NotFound`], or when the store can't be written.
    async fn purge(&self, id: &str) -> Result<(), DeadLetterError>;
}

/// One dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Names it inside its backend, for as long as it is there.
    pub id: String,
    /// The message's id, where the backend keeps it apart from the message.
    pub message_id: Option<Uuid>,
    /// The message as encoded; see [`crate::format`].
    pub message: Bytes,
    /// Its message headers, if its format has any.
    pub headers: Vec<(String, String)>,
    /// How often it was handed out.
    pub attempts: u32,
    /// Why it was given up.
    pub reason: String,
    /// When that was.
    pub died_at: Timestamp,
}

impl DeadLetter {
    /// The webhook in it, whatever its format.
    ///
    /// # Errors
    /// When it can't be read, which may be why it died.
    pub fn context(&self) -> Result<WebHookQueueContext, DecodeError> {
        WebHookQueueContext::decode_message(&self.message, &self.headers)
    }

    /// The message as one line of JSON, whatever its body is: see [`crate::format::print_line`].
    ///
    /// # Errors
    /// As for [`DeadLetter::context`].
    pub fn print_line(&self) -> Result<Vec<u8>, DecodeError> {
        format::print_line(&self.message, &self.headers)
    }
}

/// Why a command on dead letters failed; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeadLetterError {
    /// There is none with this id in this queue.
    #[error("there is no dead letter {0}")]
    NotFound(String),
    /// Its bytes aren't what was queued; a worker must not get it as if they were.
    #[error("dead letter {0} is damaged and can't be retried")]
    Damaged(String),
    /// The store can't be read or written.
    #[error("the dead letters can't be reached: {0}")]
    Unavailable(String),
}
