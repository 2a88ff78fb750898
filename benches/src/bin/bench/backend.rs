//! What is compared: each way of the daemon with the floor that does the same.

use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Where nothing listens: the port is reserved.
const NOBODY: &str = "nats://127.0.0.1:1";

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
    /// Azure Storage Queue, which Azurite plays; beside its client library
    Azure,
    /// A broker that is gone: all is spooled; beside a plain file, written and synced
    Spool,
}

impl Backend {
    /// All but those that put the daemon beside another floor.
    pub(crate) const USUAL: [Self; 6] =
        [Self::Refuse, Self::Embedded, Self::Nats, Self::Rabbitmq, Self::Azure, Self::Spool];

    /// The daemon beside another floor.
    pub(crate) const BESIDE_OTHERS: [Self; 2] = [Self::EmbeddedSqlite, Self::RabbitmqShared];

    /// As on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// On the page.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Refuse => "refused",
            Self::Embedded | Self::EmbeddedSqlite => "embedded",
            Self::Nats => "NATS",
            Self::Rabbitmq | Self::RabbitmqShared => "RabbitMQ",
            Self::Azure => "Azure",
            Self::Spool => "spool",
        }
    }

    /// What it is beside.
    pub(crate) fn floor_title(self) -> &'static str {
        match self {
            Self::Refuse => "hyper and an HMAC",
            Self::Embedded | Self::Spool => "and a synced file",
            Self::EmbeddedSqlite => "and a table of SQLite",
            Self::Nats => "and async-nats",
            Self::Rabbitmq => "and lapin, 64 channels",
            Self::RabbitmqShared => "and lapin, one channel",
            Self::Azure => "and azure_storage_queue",
        }
    }

    /// How often the floor's cost the daemon may cost at most, where that was decided.
    pub(crate) fn goal(self) -> Option<f64> {
        match self {
            Self::Refuse => Some(1.5),
            Self::Embedded => Some(1.6),
            Self::Nats | Self::Rabbitmq => Some(1.4),
            Self::Azure => Some(1.2),
            Self::EmbeddedSqlite | Self::RabbitmqShared | Self::Spool => None,
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
            Self::Azure => &["--queue", "azure", "--queue-url", url],
            // A big body's run would fill the default; and there is nobody to drain to in the end.
            Self::Spool => {
                &["--queue", "nats", "--queue-url", NOBODY, "--spool-max", "10GiB", "--drain-timeout", "1s"]
            }
        };
        flags.iter().map(|flag| (*flag).to_owned()).collect()
    }

    /// The floor's subcommand. Subject and queue are those that the daemon has declared.
    pub(crate) fn floor_flags(self, url: &str, dir: &Path) -> Vec<String> {
        let file = dir.join("floor").display().to_string();
        let queue_url = url.replacen('?', "/webhooks?", 1);
        let flags: &[&str] = match self {
            Self::Refuse => &["none"],
            Self::Embedded | Self::Spool => &["append", &file],
            Self::EmbeddedSqlite => &["sqlite", &file],
            Self::Nats => &["nats", url, "webhooks.github._.push"],
            Self::Rabbitmq => &["rabbitmq", url, "webhooks"],
            Self::RabbitmqShared => &["rabbitmq-shared", url, "webhooks"],
            Self::Azure => &["azure", &queue_url],
        };
        flags.iter().map(|flag| (*flag).to_owned()).collect()
    }
}
