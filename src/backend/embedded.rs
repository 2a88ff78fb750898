//! The embedded queue: one store in the data directory, for the daemon and for workers.

use std::collections::HashMap;
use std::sync::Arc;

use sluiced_embedded::{
    Durability, EmbeddedConsumer, EmbeddedDeadLetters, EmbeddedQueue, OpenError, Options, durability,
};
use sluiced_queue::{DeadLetterStore, WebHookQueueConsumer, WebHookQueueHandler};

use super::{Backend, Opened, Other};
use crate::config::{ConfigError, QueueConfig, check_queue_name};

pub(super) fn open(config: &QueueConfig, others: &[Other<'_>]) -> Result<Backend, ConfigError> {
    let options = Options {
        queue_name: config.name.clone(),
        format: config.format,
        bytes_max: config.embedded_bytes_max,
        message_bytes_max: usize::try_from(config.embedded_message_bytes_max).unwrap_or(usize::MAX),
        ..Options::default()
    };
    let mut names = Vec::new();
    for other in others {
        names.push((other.handler.to_owned(), named(other)?));
    }
    let queue =
        EmbeddedQueue::open(&config.data_dir, options).map_err(|e| ConfigError(super::cant_open(&e)))?;
    let others = names.into_iter().map(|(handler, name)| {
        let other: Arc<dyn WebHookQueueHandler> = Arc::new(queue.named(&name));
        (handler, other)
    });
    let others: HashMap<_, _> = others.collect();
    Ok(Backend { handler: Arc::new(queue), others, warnings: warnings(config), remote: None })
}

fn named(other: &Other<'_>) -> Result<String, ConfigError> {
    let name = other.only_name("the embedded queue")?;
    check_queue_name(name)?;
    Ok(name.to_owned())
}

/// Whether `open` would take these.
pub(super) fn check(others: &[Other<'_>]) -> Result<(), ConfigError> {
    others.iter().try_for_each(|other| named(other).map(drop))
}

pub(super) async fn open_consumer(
    config: &QueueConfig,
) -> Result<Opened<Arc<dyn WebHookQueueConsumer>>, ConfigError> {
    let (dir, name) = (config.data_dir.clone(), config.name.clone());
    let opened = tokio::task::spawn_blocking(move || EmbeddedConsumer::open(&dir, &name))
        .await
        .map_err(|e| ConfigError(e.to_string()))?;
    match opened {
        Ok(consumer) => Ok(Opened::Open(Arc::new(consumer))),
        Err(error @ OpenError::NotThereYet(_)) => Ok(Opened::NotYet(error.to_string())),
        Err(error) => Err(ConfigError(error.to_string())),
    }
}

/// Those of the queue; or those of the spool in front of a broker, whatever their destination was.
pub(super) async fn open_dead_letters(
    config: &QueueConfig,
) -> Result<Opened<Arc<dyn DeadLetterStore>>, ConfigError> {
    let (dir, name) = match config.is_remote() {
        true => (config.spool_dir(), None),
        false => (config.data_dir.clone(), Some(config.name.clone())),
    };
    let open = move || match name {
        Some(name) => EmbeddedDeadLetters::open(&dir, &name),
        None => EmbeddedDeadLetters::open_all(&dir),
    };
    let opened = tokio::task::spawn_blocking(open).await.map_err(|e| ConfigError(e.to_string()))?;
    match opened {
        Ok(letters) => Ok(Opened::Open(Arc::new(letters))),
        Err(error @ OpenError::NotThereYet(_)) => Ok(Opened::NotYet(error.to_string())),
        Err(error) => Err(ConfigError(error.to_string())),
    }
}

pub(super) fn warnings(config: &QueueConfig) -> Vec<String> {
    // What is mounted may be the spool alone.
    let (what, dir) = match config.is_remote() {
        true => ("spool", config.spool_dir()),
        false => ("data directory", config.data_dir.clone()),
    };
    match durability(&dir) {
        Ok(Durability::NotDurable(why)) => vec![format!(
            "the {what} {} is not durable: {why}; put it on a disk that survives the machine's end",
            dir.display()
        )],
        // A directory that isn't there yet is made by `serve`, which looks again.
        Ok(Durability::Durable) | Err(_) => Vec::new(),
    }
}
