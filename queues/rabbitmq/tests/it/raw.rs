//! A client of its own, so that the backend isn't judged by itself.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use lapin::message::Delivery;
use lapin::options::*;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, Consumer};
use uuid::Uuid;

/// A drained queue has given nothing for so long.
const IDLE: Duration = Duration::from_millis(700);

/// A plain connection and a channel.
pub(crate) struct Raw {
    /// Ends when dropped.
    connection: Connection,
    pub(crate) channel: Channel,
}

impl Raw {
    pub(crate) async fn connect(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        Self { connection, channel }
    }

    pub(crate) async fn declare(&self, name: &str, arguments: &[(&str, AMQPValue)]) {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(name.into(), options, table(arguments)).await.unwrap();
    }

    pub(crate) async fn count(&self, name: &str) -> u32 {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = self.channel.queue_declare(name.into(), options, FieldTable::default()).await.unwrap();
        queue.message_count()
    }

    /// Whether there is such a queue. A channel doesn't survive that there is none.
    pub(crate) async fn exists(&self, name: &str) -> bool {
        let channel = self.connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.into(), options, FieldTable::default()).await.is_ok()
    }

    /// Takes one message away.
    pub(crate) async fn take(&self, name: &str) -> Option<Delivery> {
        let options = BasicGetOptions { no_ack: true };
        self.channel.basic_get(name.into(), options).await.unwrap().map(|message| message.delivery)
    }

    /// Takes everything away: how often each message id was there.
    pub(crate) async fn drain(&self, name: &str) -> BTreeMap<Uuid, usize> {
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let tag = format!("drain-{}", Uuid::now_v7());
        let consume =
            self.channel.basic_consume(name.into(), tag.as_str().into(), options, FieldTable::default());
        let mut consumer = consume.await.unwrap();
        let mut ids = BTreeMap::new();
        while let Ok(Some(delivery)) = tokio::time::timeout(IDLE, next(&mut consumer)).await {
            *ids.entry(message_id(&delivery)).or_default() += 1;
        }
        self.channel.basic_cancel(tag.as_str().into(), BasicCancelOptions::default()).await.unwrap();
        ids
    }
}

pub(crate) async fn next(consumer: &mut Consumer) -> Option<Delivery> {
    poll_fn(|context| Pin::new(&mut *consumer).poll_next(context)).await.map(|delivery| delivery.unwrap())
}

pub(crate) fn message_id(delivery: &Delivery) -> Uuid {
    delivery.properties.message_id().as_ref().unwrap().as_str().parse().unwrap()
}

pub(crate) fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), value.clone());
    }
    table
}

pub(crate) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
