//! How workers see one another: AMQP tells how many messages wait in a queue, not how many are unacknowledged
//! elsewhere. So whoever holds messages consumes from a queue of its own name, on the channel on which they are,
//! and the broker counts its consumers. No message ever goes into it. With the channel, whatever it dies of, both
//! the messages and the consumer are gone.

use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};

use crate::fault::Fault;
use crate::message::short;
use crate::session::{Session, answered};

/// The queue whose consumers are counted.
pub(crate) fn name(queue: &str) -> String {
    format!("{queue}.workers")
}

/// Creates it. Only once for a worker, so it doesn't matter that there is no looking first. `false` without the
/// permission: then workers don't see one another.
pub(crate) async fn ensure(session: &Session, queue: &str) -> Result<bool, Fault> {
    let channel = session.channel().await?;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(short(&name(queue)), options, FieldTable::default());
    match answered(declared).await {
        Ok(_) | Err(Fault::Differs(_)) => Ok(true),
        Err(Fault::Refused(_)) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Shows that there are messages on this channel, for as long as it lives.
pub(crate) async fn show(channel: &Channel, queue: &str) -> Result<Consumer, Fault> {
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let consume =
        channel.basic_consume(short(&name(queue)), "sluiced-holds".into(), options, FieldTable::default());
    answered(consume).await
}

/// On how many channels there are messages; `None` where nobody shows it.
pub(crate) async fn count(session: &Session, queue: &str) -> Result<Option<u64>, Fault> {
    let channel = session.channel().await?;
    let options = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
    let asked = channel.queue_declare(short(&name(queue)), options, FieldTable::default());
    match answered(asked).await {
        Ok(queue) => Ok(Some(queue.consumer_count().into())),
        Err(Fault::Missing(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}
