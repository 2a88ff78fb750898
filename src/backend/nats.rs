//! NATS, as configured.

use std::sync::Arc;

use sluiced_nats::{Destination, NatsConsumer, NatsDeadLetters, NatsQueue, Options, Secret};

use super::remote::Target;
use super::{Opened, Other};
use crate::config::queue::{Retention, Storage, read_setting};
use crate::config::{ConfigError, QueueConfig};

/// Starts the publishers: that of the default queue handler, then those of the others.
pub(super) fn start(
    config: &QueueConfig,
    others: &[Other<'_>],
    limit: Option<usize>,
) -> Result<Vec<Target>, ConfigError> {
    let mut options = options(config)?;
    options.message_bytes_max = options.message_bytes_max.or(limit);
    let queue = NatsQueue::start(options).map_err(|e| ConfigError(format!("nats: {e}")))?;
    let mut targets = vec![target(None, &queue)];
    for other in others {
        let to = other.target;
        if to.exchange.is_some() || to.routing_key.is_some() {
            return Err(
                other.wrong("nats has no exchanges; write queue = { name = \"…\" } or { subject = \"…\" }")
            );
        }
        let destination = Destination {
            queue_name: to.name.clone(),
            stream: to.stream.clone(),
            subject: to.subject.clone(),
        };
        let queue = queue.to(destination, other.handler).map_err(|e| other.wrong(e))?;
        targets.push(target(Some(other.handler), &queue));
    }
    Ok(targets)
}

fn target(handler: Option<&str>, queue: &NatsQueue) -> Target {
    Target {
        handler: handler.map(str::to_owned),
        destination: queue.destination(),
        publisher: Arc::new(queue.clone()),
    }
}

/// For how long the stream knows message ids, as far as the configuration tells.
pub(super) fn duplicate_window(config: &QueueConfig) -> std::time::Duration {
    config.nats.duplicate_window.map_or(Options::default().duplicate_window, |window| window.0)
}

/// Reaches the servers.
pub(super) async fn check(config: &QueueConfig) -> Result<Vec<String>, String> {
    sluiced_nats::check(&options(config).map_err(|e| e.0)?).await
}

pub(super) async fn open_consumer(config: &QueueConfig) -> Result<Opened<NatsConsumer>, ConfigError> {
    // Boxed: the future is large.
    Opened::of(Box::pin(NatsConsumer::connect(options(config)?)).await)
}

pub(super) async fn open_dead_letters(config: &QueueConfig) -> Result<Opened<NatsDeadLetters>, ConfigError> {
    Opened::of(NatsDeadLetters::connect(options(config)?).await)
}

fn options(config: &QueueConfig) -> Result<Options, ConfigError> {
    let given = config.nats.clone();
    let default = Options::default();
    let secret = |key: &str, setting| {
        let text = read_setting(setting).map_err(|e| ConfigError(format!("queue.nats.{key}: {e}")))?;
        Ok::<_, ConfigError>(text.map(|text| Secret::from(text.to_string())))
    };
    Ok(Options {
        url: config.url.iter().map(|url| url.to_string()).collect(),
        token: secret("token", given.token)?,
        user: given.user,
        password: secret("password", given.password)?,
        nkey: secret("nkey", given.nkey)?,
        nkey_file: given.nkey_file,
        creds: secret("creds", given.creds)?,
        creds_file: given.creds_file,
        tls_ca: given.ca_file,
        tls_cert: given.client_cert_file,
        tls_key: given.client_key_file,
        tls_first: given.tls_first.unwrap_or(default.tls_first),
        domain: given.domain,
        inbox_prefix: given.inbox_prefix,
        ping_interval: given.ping_interval.map_or(default.ping_interval, |time| time.0),
        queue_name: config.name.clone(),
        stream: given.stream,
        subject: given.subject,
        format: config.format,
        declare: given.declare.unwrap_or(default.declare),
        handler: None,
        message_bytes_max: given.message_max.map(|max| usize::try_from(max.0).unwrap_or(usize::MAX)),
        publish_deadline: default.publish_deadline,
        ack_timeout: given.ack_timeout.map_or(default.ack_timeout, |time| time.0),
        sync_always: given.sync_always.unwrap_or(default.sync_always),
        storage: given.storage.map_or(default.storage, |storage| match storage {
            Storage::File => sluiced_nats::Storage::File,
            Storage::Memory => sluiced_nats::Storage::Memory,
        }),
        replicas: given.replicas.unwrap_or(default.replicas),
        retention: given.retention.map_or(default.retention, |retention| match retention {
            Retention::WorkQueue => sluiced_nats::Retention::WorkQueue,
            Retention::Limits => sluiced_nats::Retention::Limits,
            Retention::Interest => sluiced_nats::Retention::Interest,
        }),
        duplicate_window: given.duplicate_window.map_or(default.duplicate_window, |time| time.0),
        max_bytes: given.max_bytes.map(|max| max.0),
        max_messages: given.max_messages,
        max_age: given.max_age.map(|time| time.0),
        consumer: given.consumer,
        filter_subject: given.filter_subject,
    })
}
