//! RabbitMQ, as configured.

use std::sync::Arc;

use sluiced_rabbitmq::{Destination, Options, RabbitMqConsumer, RabbitMqDeadLetters, RabbitMqQueue};

use super::remote::Target;
use super::{Opened, Other};
use crate::config::{ConfigError, QueueConfig};

/// Starts the publishers: that of the default queue handler, then those of the others.
pub(super) fn start(config: &QueueConfig, others: &[Other<'_>]) -> Result<Vec<Target>, ConfigError> {
    let queue = RabbitMqQueue::start(options(config)).map_err(|e| ConfigError(format!("rabbitmq: {e}")))?;
    let mut targets = vec![target(None, &queue)];
    for other in others {
        let to = other.target;
        if to.subject.is_some() || to.stream.is_some() {
            return Err(
                other.wrong("rabbitmq has no subjects; write queue = { name = \"…\" }, or an exchange")
            );
        }
        let destination = Destination {
            name: to.name.clone(),
            exchange: to.exchange.clone(),
            routing_key: to.routing_key.clone(),
        };
        let queue = queue.to(destination, other.handler).map_err(|e| other.wrong(e))?;
        targets.push(target(Some(other.handler), &queue));
    }
    Ok(targets)
}

fn target(handler: Option<&str>, queue: &RabbitMqQueue) -> Target {
    Target {
        handler: handler.map(str::to_owned),
        destination: queue.destination(),
        publisher: Arc::new(queue.clone()),
    }
}

/// Reaches the broker.
pub(super) async fn check(config: &QueueConfig) -> Result<Vec<String>, String> {
    sluiced_rabbitmq::check(&options(config)).await
}

pub(super) async fn open_consumer(config: &QueueConfig) -> Result<Opened<RabbitMqConsumer>, ConfigError> {
    Opened::of(RabbitMqConsumer::connect(options(config)).await)
}

pub(super) async fn open_dead_letters(
    config: &QueueConfig,
) -> Result<Opened<RabbitMqDeadLetters>, ConfigError> {
    Opened::of(RabbitMqDeadLetters::connect(options(config)).await)
}

fn options(config: &QueueConfig) -> Options {
    let given = &config.rabbitmq;
    let default = Options::default();
    Options {
        url: config.url.iter().map(|url| url.to_string()).collect(),
        queue_name: config.name.clone(),
        exchange: given.exchange.clone(),
        routing_key: given.routing_key.clone(),
        format: config.format,
        declare: given.declare.unwrap_or(default.declare),
        message_bytes_max: given.message_max.map(|max| usize::try_from(max.0).unwrap_or(usize::MAX)),
        channels: given.channels.unwrap_or(default.channels),
        heartbeat: given.heartbeat.map_or(default.heartbeat, |time| time.0),
        delivery_limit: given.delivery_limit.unwrap_or(default.delivery_limit),
        ca_file: given.ca_file.clone(),
        client_cert_file: given.client_cert_file.clone(),
        client_key_file: given.client_key_file.clone(),
        ..default
    }
}
