//! What makes a message durable, and the proof that it is.

use std::time::Duration;

use async_trait::async_trait;

use crate::context::WebHookQueueContext;

/// Puts verified webhooks into a queue.
///
/// Named after the class of ASP.NET WebHooks whose `EnqueueAsync` was left abstract. Many calls run
/// at once; an implementation holds no lock across its wait and gives every wait a deadline.
#[async_trait]
pub trait WebHookQueueHandler: Send + Sync + 'static {
    /// Makes the message durable. `Ok` is a promise: whatever happens to this process and to its
    /// machine from here on, a worker will get the message. Any doubt is an error.
    ///
    /// # Errors
    /// The message may or may not be in the queue after an error; the sender is asked to try again.
    async fn enqueue(&self, context: &WebHookQueueContext) -> Result<Receipt, EnqueueError>;

    /// The longest message that can be taken now, in bytes as encoded.
    fn message_bytes_max(&self) -> usize;

    /// Whether a message could be made durable at this moment.
    fn health(&self) -> Health;

    /// How much waits in the queue; `None` when the backend can't tell cheaply.
    async fn depth(&self) -> Option<Depth> {
        None
    }

    /// Finishes what is under way and lets go of files and connections. Called once, last.
    async fn close(&self);
}

/// Proof that a message is durable. Only a backend makes one, after its confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a receipt that nobody looks at proves nothing"]
pub struct Receipt {
    durable: Durable,
    duplicate: bool,
}

impl Receipt {
    /// To be called by backends, and there in one place: where the confirmation has been seen.
    pub fn confirmed(durable: Durable) -> Self {
        Self { durable, duplicate: false }
    }

    /// The same, for a message that wasn't added because one with its id is durable already, within the
    /// time that [`WebHookQueueContext::dedupe_for`] asks for.
    pub fn of_duplicate(durable: Durable) -> Self {
        Self { durable, duplicate: true }
    }

    /// Whether the message was a duplicate.
    pub fn is_duplicate(self) -> bool {
        self.duplicate
    }

    /// Where the message is safe.
    pub fn durable(self) -> Durable {
        self.durable
    }
}

/// Where an acknowledged message is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// A broker confirmed it.
    Broker,
    /// Fsynced on local disk; goes to the broker from there.
    Spool,
    /// Fsynced in the embedded queue.
    Embedded,
}

impl Durable {
    /// As it stands in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Spool => "spool",
            Self::Embedded => "embedded",
        }
    }
}

/// Why a message isn't durable. The kinds are closed, because what happens next hangs on them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnqueueError {
    /// The backend can't be reached or has stopped taking messages.
    #[error("the queue is unavailable: {0}")]
    Unavailable(String),
    /// No confirmation within the deadline.
    #[error("no confirmation within {deadline_ms} ms")]
    TimedOut {
        /// How long was waited.
        deadline_ms: u64,
    },
    /// The backend is there and said no to this message.
    #[error("the queue refused the message: {0}")]
    Rejected(String),
    /// The queue's bound, or its disk, is reached.
    #[error("the queue is full: {0}")]
    Full(String),
    /// There is no queue behind the destination.
    #[error("no route to the destination: {0}")]
    Unroutable(String),
    /// Longer than the backend takes.
    #[error("the message has {bytes} bytes, the queue takes {bytes_max}")]
    TooLarge {
        /// Encoded length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Credentials, permissions or settings are wrong; only an operator can mend it.
    #[error("the queue is misconfigured: {0}")]
    Misconfigured(String),
}

/// How much waits in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that are not done.
    pub messages: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// How long the oldest has been there; `None` without one.
    pub oldest_age: Option<Duration>,
}

/// A backend's state, for `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Takes messages.
    Ready,
    /// Doesn't, for the reason given; may come back by itself.
    NotReady(String),
    /// Will never again take a message in this process, for the reason given: it must end.
    Failed(String),
}
