//! The seam to the queues: which backends this build has, and the one place that opens them.
//!
//! A new backend is one crate, one feature, one arm in each `match` here.

use std::sync::Arc;

use sluiced_queue::{DeadLetterStore, WebHookQueueConsumer, WebHookQueueHandler};

use crate::config::{ConfigError, QueueConfig, QueueTarget};

/// The backends of this build, by the name that `--queue` takes.
pub const NAMES: &[&str] = &[
    #[cfg(feature = "embedded")]
    "embedded",
];

/// What `serve` needs of a backend.
pub struct Backend {
    /// Makes messages durable.
    pub handler: Arc<dyn WebHookQueueHandler>,
    /// Opens another queue of the backend, for handlers that name one.
    pub destination: Destination,
    /// What an operator should know about it.
    pub warnings: Vec<String>,
}

/// Opens another queue of a backend.
pub type Destination =
    Box<dyn Fn(&QueueTarget) -> Result<Arc<dyn WebHookQueueHandler>, ConfigError> + Send + Sync>;

/// Opens the configured backend for the daemon.
///
/// # Errors
/// Says what stands in the way and how to get past it.
pub fn open(config: &QueueConfig) -> Result<Backend, ConfigError> {
    match config.backend.as_str() {
        #[cfg(feature = "embedded")]
        "embedded" => embedded::open(config),
        other => Err(not_in_this_build(other)),
    }
}

/// Opens the configured queue for a worker; `None` while it isn't there yet.
///
/// # Errors
/// Says what stands in the way and how to get past it.
pub async fn open_consumer(
    config: &QueueConfig,
) -> Result<Option<Arc<dyn WebHookQueueConsumer>>, ConfigError> {
    match config.backend.as_str() {
        #[cfg(feature = "embedded")]
        "embedded" => embedded::open_consumer(config).await,
        other => Err(not_in_this_build(other)),
    }
}

/// Opens the dead letters of the configured queue; with `local`, those kept in the data directory. `None`
/// while there is no queue.
///
/// # Errors
/// Says what stands in the way and how to get past it.
pub async fn open_dead_letters(
    config: &QueueConfig,
    local: bool,
) -> Result<Option<Arc<dyn DeadLetterStore>>, ConfigError> {
    match config.backend.as_str() {
        #[cfg(feature = "embedded")]
        backend if local || backend == "embedded" => embedded::open_dead_letters(config).await,
        other => Err(not_in_this_build(other)),
    }
}

/// Looks at what `serve` would open, without opening it: `check`.
pub fn warnings(config: &QueueConfig) -> Vec<String> {
    match config.backend.as_str() {
        #[cfg(feature = "embedded")]
        "embedded" => embedded::warnings(config),
        _ => Vec::new(),
    }
}

fn not_in_this_build(name: &str) -> ConfigError {
    ConfigError(format!("there is no queue backend `{name}` in this build; it has: {}", NAMES.join(", ")))
}

#[cfg(feature = "embedded")]
mod embedded {
    use sluiced_embedded::{
        Durability, EmbeddedConsumer, EmbeddedDeadLetters, EmbeddedQueue, OpenError, Options, durability,
    };

    use super::{Arc, Backend, ConfigError, DeadLetterStore, QueueConfig, WebHookQueueConsumer};
    use crate::config::check_queue_name;

    pub(super) fn open(config: &QueueConfig) -> Result<Backend, ConfigError> {
        let options = Options {
            queue_name: config.name.clone(),
            format: config.format,
            bytes_max: config.embedded_bytes_max,
            message_bytes_max: usize::try_from(config.embedded_message_bytes_max).unwrap_or(usize::MAX),
            ..Options::default()
        };
        let queue = EmbeddedQueue::open(&config.data_dir, options).map_err(|e| ConfigError(e.to_string()))?;
        let other = queue.clone();
        Ok(Backend {
            handler: Arc::new(queue),
            destination: Box::new(move |target| {
                check_queue_name(&target.name)?;
                Ok(Arc::new(other.named(&target.name)))
            }),
            warnings: warnings(config),
        })
    }

    pub(super) async fn open_consumer(
        config: &QueueConfig,
    ) -> Result<Option<Arc<dyn WebHookQueueConsumer>>, ConfigError> {
        let (dir, name) = (config.data_dir.clone(), config.name.clone());
        let opened = tokio::task::spawn_blocking(move || EmbeddedConsumer::open(&dir, &name))
            .await
            .map_err(|e| ConfigError(e.to_string()))?;
        match opened {
            Ok(consumer) => Ok(Some(Arc::new(consumer))),
            Err(OpenError::NotThereYet(_)) => Ok(None),
            Err(error) => Err(ConfigError(error.to_string())),
        }
    }

    pub(super) async fn open_dead_letters(
        config: &QueueConfig,
    ) -> Result<Option<Arc<dyn DeadLetterStore>>, ConfigError> {
        let (dir, name) = (config.data_dir.clone(), config.name.clone());
        let opened = tokio::task::spawn_blocking(move || EmbeddedDeadLetters::open(&dir, &name))
            .await
            .map_err(|e| ConfigError(e.to_string()))?;
        match opened {
            Ok(letters) => Ok(Some(Arc::new(letters))),
            Err(OpenError::NotThereYet(_)) => Ok(None),
            Err(error) => Err(ConfigError(error.to_string())),
        }
    }

    pub(super) fn warnings(config: &QueueConfig) -> Vec<String> {
        match durability(&config.data_dir) {
            Ok(Durability::NotDurable(why)) => vec![format!(
                "the data directory {} is not durable: {why}; put it on a disk that survives the machine's end",
                config.data_dir.display()
            )],
            // A directory that isn't there yet is made by `serve`, which looks again.
            Ok(Durability::Durable) | Err(_) => Vec::new(),
        }
    }
}
