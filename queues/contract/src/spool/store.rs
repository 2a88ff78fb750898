//! What the spool needs of a disk.

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use crate::consumer::ConsumeError;
use crate::handler::{Depth, EnqueueError, Health, Receipt};

/// The spooled messages of one destination. This process alone appends and claims; an operator's commands
/// may look at dead letters, and retry them, meanwhile.
#[async_trait]
pub trait SpoolStore: Send + Sync + 'static {
    /// Makes a message durable, and gives its key: after `Ok` it is on the disk, synced. The answer comes within seconds
    /// whatever the disk does.
    ///
    /// # Errors
    /// The message may or may not be in the store after an error.
    async fn append(&self, message: Bytes, message_id: Uuid) -> Result<(u64, Receipt), EnqueueError>;

    /// Claims up to `max` entries that aren't claimed, oldest first. A claim ends with the process; one that
    /// ended otherwise is given again under another lease.
    ///
    /// # Errors
    /// Nothing is claimed after an error, or will be claimed again.
    async fn claim(&self, max: usize) -> Result<Vec<Claimed>, ConsumeError>;

    /// Reads claimed entries, in the order in which they are asked for. `None` for one whose bytes aren't
    /// those that were appended: the store has made a dead letter of it.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn read(&self, entries: &[Claimed]) -> Result<Vec<Option<Bytes>>, ConsumeError>;

    /// Removes claimed entries: they are with the broker. One whose lease ended will be claimed again.
    ///
    /// # Errors
    /// When the store can't be written; to be tried again.
    async fn remove(&self, entries: &[Claimed]) -> Result<(), ConsumeError>;

    /// Makes a claimed entry a dead letter.
    ///
    /// # Errors
    /// When the store can't be written; to be tried again.
    async fn bury(&self, entry: Claimed, reason: &str) -> Result<(), ConsumeError>;

    /// What is there and not removed; `None` when that can't be told in time.
    async fn depth(&self) -> Option<Depth>;

    /// Whether a message could be appended now.
    fn health(&self) -> Health;

    /// Where it lies, for people.
    fn location(&self) -> String;
}

/// An entry that is ours to forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Names the entry, as [`SpoolStore::append`] gave it. Older entries have smaller keys.
    pub key: u64,
    /// Names the claim.
    pub lease: u64,
    /// The message's length.
    pub bytes: u64,
}
