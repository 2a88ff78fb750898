//! The broker behind daemon and floor, and its emptying between runs.

use async_nats::jetstream;
use lapin::options::{QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use sluiced_benches::bounds;
use sluiced_test_brokers::{Nats, RabbitMq};
use tokio::time::{Instant, sleep, timeout};

use crate::Failure;
use crate::backend::Backend;

/// Destinations as the daemon names them.
const STREAM: &str = "WEBHOOKS";
const QUEUE: &str = "webhooks";

/// A private instance, gone with this value.
pub(crate) enum Broker {
    None,
    Nats(Nats),
    RabbitMq(RabbitMq),
}

impl Broker {
    pub(crate) async fn start(backend: Backend) -> Result<Self, Failure> {
        Ok(match backend {
            Backend::Refuse | Backend::Embedded | Backend::EmbeddedSqlite => Self::None,
            Backend::Nats => Self::Nats(Nats::start().await),
            Backend::Rabbitmq | Backend::RabbitmqShared => Self::RabbitMq(RabbitMq::start().await),
        })
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Nats(nats) => nats.url(),
            Self::RabbitMq(rabbitmq) => rabbitmq.url(),
        }
    }

    /// Waits for the daemon to have declared its destination.
    pub(crate) async fn wait_for_destination(&self) -> Result<(), Failure> {
        let until = Instant::now() + bounds::START_DEADLINE;
        loop {
            match self.empty().await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => sleep(bounds::POLL).await,
            }
        }
    }

    /// Takes all messages away, so that every run begins with none.
    pub(crate) async fn empty(&self) -> Result<(), Failure> {
        match self {
            Self::None => Ok(()),
            Self::Nats(nats) => timeout(bounds::CALL_DEADLINE, purge_stream(&nats.url())).await?,
            Self::RabbitMq(rabbitmq) => timeout(bounds::CALL_DEADLINE, purge_queue(&rabbitmq.url())).await?,
        }
    }
}

async fn purge_stream(url: &str) -> Result<(), Failure> {
    let context = jetstream::new(async_nats::connect(url).await?);
    context.get_stream(STREAM).await?.purge().await?;
    Ok(())
}

async fn purge_queue(url: &str) -> Result<(), Failure> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(QUEUE.into(), passive, FieldTable::default()).await?;
    channel.queue_purge(QUEUE.into(), QueuePurgeOptions::default()).await?;
    connection.close(200, "done".into()).await?;
    Ok(())
}
