//! Azure Storage Queue, as configured.

use std::sync::Arc;

use sluiced_azure::{AzureConsumer, AzureDeadLetters, AzureQueue, Destination, Options};

use super::remote::Target;
use super::{Opened, Other};
use crate::config::queue::read_setting;
use crate::config::{ConfigError, QueueConfig};

/// Starts the publishers: that of the default queue handler, then those of the others.
pub(super) fn start(config: &QueueConfig, others: &[Other<'_>]) -> Result<Vec<Target>, ConfigError> {
    let queue = AzureQueue::start(options(config)?).map_err(|e| ConfigError(format!("azure: {e}")))?;
    let mut targets = vec![target(None, &queue)];
    for other in others {
        let name = other.only_name("azure")?;
        let destination = Destination { queue_name: Some(name.to_owned()) };
        let queue = queue.to(destination, other.handler).map_err(|e| other.wrong(e))?;
        targets.push(target(Some(other.handler), &queue));
    }
    Ok(targets)
}

fn target(handler: Option<&str>, queue: &AzureQueue) -> Target {
    Target {
        handler: handler.map(str::to_owned),
        destination: queue.destination(),
        publisher: Arc::new(queue.clone()),
    }
}

/// Reaches the service.
pub(super) async fn check(config: &QueueConfig) -> Result<Vec<String>, String> {
    sluiced_azure::check(&options(config).map_err(|e| e.0)?).await
}

pub(super) async fn open_consumer(config: &QueueConfig) -> Result<Opened<AzureConsumer>, ConfigError> {
    Opened::of(AzureConsumer::connect(options(config)?).await)
}

pub(super) async fn open_dead_letters(config: &QueueConfig) -> Result<Opened<AzureDeadLetters>, ConfigError> {
    Opened::of(AzureDeadLetters::connect(options(config)?).await)
}

fn options(config: &QueueConfig) -> Result<Options, ConfigError> {
    let given = config.azure.clone();
    let default = Options::default();
    let wrong = |key: &str, e: String| ConfigError(format!("queue.azure.{key}: {e}"));
    let credential = given.credential.as_deref().map(str::parse).transpose();
    let secret = read_setting(given.client_secret).map_err(|e| wrong("client_secret", e))?;
    Ok(Options {
        url: config.url.first().map(|url| url.to_string()).unwrap_or_default(),
        queue_name: config.name.clone(),
        format: config.format,
        declare: given.declare.unwrap_or(default.declare),
        handler: None,
        message_bytes_max: given.message_max.map(|max| usize::try_from(max.0).unwrap_or(usize::MAX)),
        publish_deadline: default.publish_deadline,
        concurrency: given.concurrency.unwrap_or(default.concurrency),
        credential: credential.map_err(|e| wrong("credential", e))?.unwrap_or_default(),
        tenant_id: given.tenant_id,
        client_id: given.client_id,
        client_secret: secret.map(|text| text.to_string()),
    })
}
