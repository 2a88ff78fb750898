//! What the daemon may choose.

use std::time::Duration;

use super::bounds;

/// What a webhook's answer waits for: `--ack`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// The broker's confirmation, and at the deadline the spool's.
    #[default]
    Queue,
    /// The spool's; the broker gets the message from there.
    Spool,
}

impl Ack {
    /// As it is written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Spool => "spool",
        }
    }
}

impl std::fmt::Display for Ack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How one destination is spooled for.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// Names backend, queue and handler in logs and metrics, without credentials.
    pub destination: String,
    /// What an answer waits for.
    pub ack: Ack,
    /// For how long it waits for the broker.
    pub ack_deadline: Duration,
}

impl SpoolOptions {
    /// The defaults for a destination.
    pub fn new(destination: impl Into<String>) -> Self {
        Self { destination: destination.into(), ack: Ack::default(), ack_deadline: bounds::ACK_DEADLINE }
    }
}
