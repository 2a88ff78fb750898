//! RabbitMQ: published to a queue, mandatory and persistent, and its confirmation awaited.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::sync::Semaphore;

use crate::Failure;

const PERSISTENT: u8 = 2;

/// Channels, each with one message in flight: what tells confirmations apart with certainty.
pub(crate) struct Pool {
    queue: ShortString,
    idle: Mutex<Vec<Channel>>,
    count: Semaphore,
    _connection: Connection,
}

impl Pool {
    pub(crate) async fn connect(url: &str, queue: &str, channels: u16) -> Result<Self, Failure> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let mut idle = Vec::new();
        for _ in 0..channels {
            idle.push(confirming(&connection).await?);
        }
        let count = Semaphore::new(channels.into());
        Ok(Self { queue: queue.into(), idle: Mutex::new(idle), count, _connection: connection })
    }

    pub(crate) async fn put(&self, body: Bytes) -> Result<(), Failure> {
        let _turn = self.count.acquire().await?;
        let channel = self.lock().pop().ok_or("no channel is left")?;
        publish(&channel, &self.queue, &body).await?;
        self.lock().push(channel);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Channel>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One channel for all.
pub(crate) struct Shared {
    queue: ShortString,
    channel: Channel,
    _connection: Connection,
}

impl Shared {
    pub(crate) async fn connect(url: &str, queue: &str) -> Result<Self, Failure> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = confirming(&connection).await?;
        Ok(Self { queue: queue.into(), channel, _connection: connection })
    }

    pub(crate) async fn put(&self, body: Bytes) -> Result<(), Failure> {
        publish(&self.channel, &self.queue, &body).await
    }
}

async fn confirming(connection: &Connection) -> Result<Channel, Failure> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

async fn publish(channel: &Channel, queue: &ShortString, body: &[u8]) -> Result<(), Failure> {
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let confirm = channel.basic_publish("".into(), queue.clone(), options, body, properties).await?;
    match confirm.await? {
        Confirmation::Ack(None) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}
