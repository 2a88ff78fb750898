//! Queues and exchanges: asked for first, created where they are missing, and never changed.

use std::sync::Arc;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use crate::bounds;
use crate::fault::Fault;
use crate::message::{short, text};
use crate::options::Place;
use crate::session::{Session, answered};

/// What came of looking for a destination.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// A quorum queue was created just now; see [`bounds::SETTLE`].
    pub(crate) created: bool,
    /// Where what exists isn't as it would have been created, in the broker's words.
    pub(crate) differences: Vec<String>,
}

/// Called when a queue that is missing is about to be created.
pub(crate) type Birth<'a> = &'a (dyn Fn() + Send + Sync);

/// The exchange for dead letters of a queue, and the queue behind it.
pub(crate) fn dead_name(queue: &str) -> String {
    format!("{queue}.dead")
}

/// Looks for a destination. What is missing is created if `declare`, together with the place for its dead
/// letters; what exists is used as it is.
pub(crate) async fn ensure(
    session: &Arc<Session>,
    place: &Place,
    declare: bool,
    delivery_limit: u32,
    birth: Birth<'_>,
) -> Result<Found, Fault> {
    let mut found = Found::default();
    match place {
        Place::Queue(name) => {
            if declare {
                let mut dead = Found::default();
                ensure_dead(session, name, &mut dead, &|| {}).await?;
                found.differences = dead.differences;
            }
            let arguments = main_arguments(name, delivery_limit);
            ensure_queue(session, name, arguments, declare, &mut found, birth).await?;
        }
        Place::Exchange { name, .. } => {
            ensure_exchange(session, name, ExchangeKind::Topic, declare, &mut found).await?;
        }
    }
    Ok(found)
}

/// Where a destination that exists isn't as it would have been created. Declares nothing new.
pub(crate) async fn compare(
    session: &Arc<Session>,
    place: &Place,
    delivery_limit: u32,
) -> Result<Vec<String>, Fault> {
    // Passively first: comparing means declaring, which would create what is missing.
    ensure(session, place, false, delivery_limit, &|| {}).await?;
    let mut found = Found::default();
    match place {
        Place::Queue(name) => {
            let arguments = main_arguments(name, delivery_limit);
            ensure_queue(session, name, arguments, true, &mut found, &|| {}).await?;
        }
        Place::Exchange { name, .. } => {
            ensure_exchange(session, name, ExchangeKind::Topic, true, &mut found).await?;
        }
    }
    Ok(found.differences)
}

/// The place for dead letters: a fanout exchange, and a queue behind it.
pub(crate) async fn ensure_dead(
    session: &Arc<Session>,
    queue: &str,
    found: &mut Found,
    birth: Birth<'_>,
) -> Result<(), Fault> {
    let name = dead_name(queue);
    let exchange_is_old = ensure_exchange(session, &name, ExchangeKind::Fanout, true, found).await?;
    ensure_queue(session, &name, dead_arguments(), true, found, birth).await?;
    let channel = session.channel().await?;
    let (queue, exchange) = (short(&name), short(&name));
    let bound =
        channel.queue_bind(queue, exchange, "".into(), QueueBindOptions::default(), FieldTable::default());
    match answered(bound).await {
        // A user who may only publish: whoever created the two has bound them.
        Err(Fault::Refused(_)) if exchange_is_old && !found.created => Ok(()),
        other => other,
    }
}

/// How many messages are ready in a queue.
pub(crate) async fn ready(session: &Session, queue: &str) -> Result<u64, Fault> {
    let channel = session.channel().await?;
    passive(&channel, queue).await
}

/// As [`ensure`] for one queue.
pub(crate) async fn ensure_queue(
    session: &Session,
    name: &str,
    arguments: FieldTable,
    declare: bool,
    found: &mut Found,
    birth: Birth<'_>,
) -> Result<(), Fault> {
    let channel = session.channel().await?;
    let exists = match passive(&channel, name).await {
        Ok(_) => true,
        Err(Fault::Missing(_)) if declare => false,
        Err(fault) => return Err(fault),
    };
    if !declare {
        return Ok(());
    }
    if !exists {
        birth();
    }
    // A channel doesn't survive a "no": each question has its own.
    let channel = session.channel().await?;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let declared = answered(channel.queue_declare(short(name), options, arguments)).await;
    settle(declared.map(|_| ()), exists, found)?;
    found.created |= !exists;
    Ok(())
}

/// As [`ensure`] for one exchange; whether it was there.
async fn ensure_exchange(
    session: &Session,
    name: &str,
    kind: ExchangeKind,
    declare: bool,
    found: &mut Found,
) -> Result<bool, Fault> {
    let channel = session.channel().await?;
    let passive =
        ExchangeDeclareOptions { passive: true, durable: true, ..ExchangeDeclareOptions::default() };
    let asked = channel.exchange_declare(short(name), kind.clone(), passive, FieldTable::default());
    let exists = match answered(asked).await {
        Ok(()) => true,
        Err(Fault::Missing(_)) if declare => false,
        Err(fault) => return Err(fault),
    };
    if !declare {
        return Ok(exists);
    }
    let channel = session.channel().await?;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declared = channel.exchange_declare(short(name), kind, options, FieldTable::default());
    settle(answered(declared).await, exists, found)?;
    Ok(exists)
}

/// Declaring what exists compares it: a difference, or a missing permission to declare, is no failure then.
fn settle(declared: Result<(), Fault>, exists: bool, found: &mut Found) -> Result<(), Fault> {
    match declared {
        Err(Fault::Differs(why)) if exists => found.differences.push(why),
        Err(Fault::Refused(_)) if exists => {}
        other => return other,
    }
    Ok(())
}

async fn passive(channel: &Channel, name: &str) -> Result<u64, Fault> {
    let options = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
    let queue = answered(channel.queue_declare(short(name), options, FieldTable::default())).await?;
    Ok(queue.message_count().into())
}

fn main_arguments(queue: &str, delivery_limit: u32) -> FieldTable {
    let mut arguments = quorum();
    dead_letter_to(&mut arguments, &dead_name(queue), None);
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(delivery_limit.into()));
    arguments
}

/// Looking at a dead letter counts as a delivery, so there must be no limit to them.
fn dead_arguments() -> FieldTable {
    let mut arguments = quorum();
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(bounds::DEAD_DELIVERY_LIMIT.into()));
    arguments
}

/// A full queue says no to the publisher, where the default would throw the oldest message away. Dead-lettering
/// at least once needs it, too.
pub(crate) fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments
}

pub(crate) fn dead_letter_to(arguments: &mut FieldTable, exchange: &str, routing_key: Option<&str>) {
    arguments.insert("x-dead-letter-exchange".into(), text(exchange));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    if let Some(key) = routing_key {
        arguments.insert("x-dead-letter-routing-key".into(), text(key));
    }
}
