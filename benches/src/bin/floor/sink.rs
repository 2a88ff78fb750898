//! Where a verified body goes.

use bytes::Bytes;

use crate::{Failure, azure, nats, rabbitmq, writer};

/// One of the ways; it is durable when [`Sink::put`] returns.
pub(crate) enum Sink {
    None,
    Writer(writer::Writer),
    Nats(nats::Stream),
    RabbitMq(rabbitmq::Pool),
    RabbitMqShared(rabbitmq::Shared),
    Azure(azure::Queue),
}

impl Sink {
    pub(crate) async fn put(&self, body: Bytes) -> Result<(), Failure> {
        match self {
            Self::None => Ok(()),
            Self::Writer(writer) => writer.put(body).await,
            Self::Nats(stream) => stream.put(body).await,
            Self::RabbitMq(pool) => pool.put(body).await,
            Self::RabbitMqShared(channel) => channel.put(body).await,
            Self::Azure(queue) => queue.put(body).await,
        }
    }
}
