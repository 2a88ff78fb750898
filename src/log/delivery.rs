//! The line of one delivery, written when its answer is decided.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use sluiced_queue::Durable;
use uuid::Uuid;

use super::{Level, Logger};
use crate::reason::Reason;
use crate::receivers::Receiver;

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An event, durable.
    Accepted,
    /// A handshake, a ping, or a handler's own response.
    Answered,
    /// An event that is durable already.
    Duplicate,
    /// Not accepted: the sender's doing.
    Refused,
    /// Not accepted: ours.
    Failed,
}

impl Outcome {
    /// As it stands in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Answered => "answered",
            Self::Duplicate => "duplicate",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    fn level(self) -> Level {
        match self {
            Self::Accepted | Self::Answered | Self::Duplicate => Level::Info,
            Self::Refused => Level::Warn,
            Self::Failed => Level::Error,
        }
    }
}

/// What is known of a delivery; filled as it goes along.
#[derive(Debug)]
pub struct DeliveryRecord {
    /// When its headers were complete.
    pub started: Instant,
    /// The client's address.
    pub client: IpAddr,
    /// The receiver, once it is found.
    pub receiver: Option<Arc<Receiver>>,
    /// The id in the URL.
    pub id: Option<String>,
    /// The path, for requests to no receiver.
    pub path: Option<String>,
    /// The event's names.
    pub actions: Vec<String>,
    /// The provider's id of the event.
    pub delivery_id: Option<String>,
    /// The message's id.
    pub message_id: Option<Uuid>,
    /// Bytes of the body, as far as it came.
    pub bytes: u64,
    /// Microseconds from the complete body to the verdict.
    pub verify_us: Option<u64>,
    /// Microseconds that the handlers took, the queue's confirmation included.
    pub enqueue_us: Option<u64>,
    /// Where the message is safe.
    pub durable: Option<Durable>,
    /// The sender hung up before its answer.
    pub client_gone: bool,
    /// For the operator: what the reason alone doesn't say. Never a secret, never the body.
    pub detail: Option<String>,
    /// For the operator at debug level: mistakes that explain a refusal.
    pub hints: Vec<String>,
}

impl DeliveryRecord {
    /// Begins with what every request has.
    pub fn new(client: IpAddr) -> Self {
        Self {
            started: Instant::now(),
            client,
            receiver: None,
            id: None,
            path: None,
            actions: Vec::new(),
            delivery_id: None,
            message_id: None,
            bytes: 0,
            verify_us: None,
            enqueue_us: None,
            durable: None,
            client_gone: false,
            detail: None,
            hints: Vec::new(),
        }
    }

    /// Microseconds since the headers were complete.
    pub fn total_us(&self) -> u64 {
        micros_since(self.started)
    }

    /// Writes the line.
    pub fn write(&self, logger: &Logger, outcome: Outcome, reason: Option<Reason>, status: StatusCode) {
        let level = outcome.level();
        if !logger.enabled(level) {
            return;
        }
        let mut line = logger.line(level, "delivery");
        line.string("outcome", outcome.as_str())
            .optional("reason", reason.map(Reason::as_str))
            .optional("receiver", self.receiver.as_ref().map(|receiver| receiver.name.as_str()))
            .optional("id", self.id.as_deref())
            .list("actions", &self.actions)
            .optional("delivery_id", self.delivery_id.as_deref());
        match self.message_id {
            Some(id) => line.plain("message_id", id),
            None => line.optional("message_id", None),
        };
        line.number("status", u64::from(status.as_u16()))
            .number("bytes", self.bytes)
            .optional_number("verify_us", self.verify_us)
            .optional_number("enqueue_us", self.enqueue_us)
            .number("total_us", self.total_us())
            .plain("client", self.client)
            .optional("durable", self.durable.map(Durable::as_str));
        if let Some(path) = &self.path {
            line.string("path", path);
        }
        if self.client_gone {
            line.raw("client_gone", "true");
        }
        if let Some(detail) = &self.detail {
            line.string("detail", detail);
        }
        if !self.hints.is_empty() {
            line.list("hints", &self.hints);
        }
        logger.write(line);
    }
}

/// Microseconds since a moment.
pub fn micros_since(moment: Instant) -> u64 {
    u64::try_from(moment.elapsed().as_micros()).unwrap_or(u64::MAX)
}
