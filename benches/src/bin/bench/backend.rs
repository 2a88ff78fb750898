//! What is compared: each way of the daemon with the floor that does the same.

use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A way, and its floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Backend {
    /// A wrong signature; beside hyper and an HMAC
    Refuse,
    /// The embedded queue; beside a plain file, written and synced
    Embedded,
    /// The embedded queue; beside one table of SQLite
    EmbeddedSqlite,
    /// JetStream; beside its client library
    Nats,
    /// RabbitMQ; beside its client library with as many channels
    Rabbitmq,
    /// RabbitMQ; beside its client library with one channel for all, which isn't safe
    RabbitmqShared,
}

impl Backend {
    /// Those that the contract has ratios for.
    pub(crate) const USUAL: [Self; 4] = [Self::Refuse, Self::Embedded, Self::Nats, Self::Rabbitmq];

    /// As on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// How often the floor's cost the daemon may cost at most, where that was decided.
    pub(crate) fn goal(self) -> Option<f64> {
        match self {
            Self::Refuse => Some(1.5),
            Self::Embedded => Some(1.6),
            Self::Nats | Self::Rabbitmq => Some(1.4),
            Self::EmbeddedSqlite | Self::RabbitmqShared => None,
        }
    }

    /// The status of every answer.
    pub(crate) fn status(self) -> u16 {
        if self == Self::Refuse { 401 } else { 200 }
    }

    /// The daemon's flags for its queue.
    pub(crate) fn daemon_flags(self, url: &str) -> Vec<String> {
        let flags: &[&str] = match self {
            Self::Refuse | Self::Embedded | Self::EmbeddedSqlite => &["--queue", "embedded"],
            Self::Nats => &["--queue", "nats", "--queue-url", url],
            Self::Rabbitmq | Self::RabbitmqShared => &["--queue", "rabbitmq", "--queue-url", url],
        };
        flags.iter().map(|flag| (*flag).to_owned()).collect()
    }

    /// The floor's subcommand. Subject and queue are those that the daemon has declared.
    pub(crate) fn floor_flags(self, url: &str, dir: &Path) -> Vec<String> {
        let file = dir.join("floor").display().to_string();
        let flags: &[&str] = match self {
            Self::Refuse => &["none"],
            Self::Embedded => &["append", &file],
            Self::EmbeddedSqlite => &["sqlite", &file],
            Self::Nats => &["nats", url, "webhooks.github._.push"],
            Self::Rabbitmq => &["rabbitmq", url, "webhooks"],
            Self::RabbitmqShared => &["rabbitmq-shared", url, "webhooks"],
        };
        flags.iter().map(|flag| (*flag).to_owned()).collect()
    }
}
